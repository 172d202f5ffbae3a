"""Asking the store what a session asks, one question after the other, and handing back the answers.

Must never know: transports, what an answer does.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from weft_engine.errors import MachineError, StoreClosed
from weft_engine.sync.driving.carrying import Carrying
from weft_engine.sync.driving.line import Place
from weft_engine.sync.driving.link_store import LinkStore
from weft_engine.sync.end.questions import (
    Answer,
    FrontiersRead,
    Question,
    ReadFrontiers,
    Writing,
    answer,
)
from weft_engine.sync.end.record_questions import ReadRecords, RecordsRead
from weft_engine.sync.end.regions.tree_questions import ReadTree
from weft_engine.sync.end.ticket_questions import (
    KeepTicket,
    ReadTicket,
    RenewIdentity,
    TicketKept,
    TicketRead,
)

if TYPE_CHECKING:
    from weft_engine.sync.driving.link import Link


class Answering:
    """One link's share."""

    def __init__(self, link: Link, store: LinkStore, carrying: Carrying) -> None:
        self._link = link
        self._session = link.session
        self._store = store
        self._carrying = carrying
        self._is_asking = False
        """An answer is under way."""
        self._place: Place | None = None
        """In the line of those that catch up."""

    def go_on(self) -> bool:
        """What was sent has left: send more, if that is all there is to do. It is, thousands of
        times, for whoever catches up."""
        if self._place is None or self._is_asking or self._session.sending.has_frames:
            return False
        self.changed()
        return self._is_asking

    def changed(self) -> None:
        """Ask the store what there is to ask, at once where the answer is at hand. Nothing while
        what was read before is still on its way out, or an answer is."""
        if self._is_asking or self._carrying.is_congested:
            return
        question = self._link.next_question()
        if question is None:
            if self._session.sending.has_frames:
                self._carrying.flush()
            if self._place is not None and self._session.sending.is_settled:
                self._store.hub.line.leave(self._place)
                self._place = None
            return
        self._is_asking = True
        if isinstance(question, ReadRecords) and self._store.hub.pages.has(question):
            self._store.hub.line.step(self._standing(), partial(self._give, question))
        else:
            self._link.begin(self._ask(question))

    def _standing(self) -> Place:
        if self._place is None:
            self._place = self._store.hub.line.place()
        return self._place

    def _give(self, question: ReadRecords) -> None:
        """The page for the last question; what comes behind it when the others had their turn."""
        if self._link.is_over:
            return
        pages = self._store.hub.pages
        page = pages.get(question)
        if page is None:  # It was forgotten meanwhile.
            self._link.begin(self._ask(question))
            return
        ahead = pages.ahead(question)
        if ahead is not None:
            self._link.begin(self._read_ahead(ahead))
        self._session.supply(page)
        self._is_asking = False
        self._carrying.flush()
        if not self._carrying.is_congested:
            asyncio.get_running_loop().call_soon(self._link.transport_drained)

    async def _read_ahead(self, question: ReadRecords) -> None:
        await self._read_page(question)

    async def _ask(self, question: Question) -> None:
        found = await self._answer(question)
        if isinstance(found, RecordsRead):
            found = await self._in_line(question, found)
        self._session.supply(found)
        self._is_asking = False
        self._link.changed()

    async def _in_line(self, question: Question, found: Answer) -> Answer:
        """`found` when it is its turn; read again if something of it may have been erased
        meanwhile."""
        pages = self._store.hub.pages
        while True:
            forgotten = pages.forgotten
            await self._store.hub.line.turn(self._standing())
            if forgotten == pages.forgotten:
                return found
            found = await self._answer(question)

    async def _answer(self, question: Question) -> Answer:
        guard = self._store.guard
        if (
            guard is not None
            and isinstance(question, KeepTicket)
            and not guard.shows(self._link, question.peer)
        ):
            # This link is over, and the next one shows what was held before: that stays, or what
            # it is given next would not follow from what it showed.
            return TicketKept()
        if isinstance(question, Writing):
            return await self._store.journal.write(lambda connection: answer(connection, question))
        if guard is not None and isinstance(question, RenewIdentity):
            await guard.superseded(self._link)
        if guard is not None and isinstance(question, ReadTicket):
            is_shown = guard.may_show(self._link, question.peer)
            if not is_shown:
                return TicketRead(None, is_shown)
            # Behind what an earlier link has it kept.
            return await self._store.journal.write(lambda connection: answer(connection, question))
        if isinstance(question, ReadRecords):
            return await self._read_page(question)
        if isinstance(question, ReadFrontiers):
            frontiers, head = self._store.hub.frontiers, self._store.hub.head
            return await frontiers.read(question, self._read_frontiers, lambda: head.committed)
        if isinstance(question, ReadTree):
            return await self._store.hub.tree.read(question, self._store.journal.read)
        found = await self._store.journal.read(lambda connection: answer(connection, question))
        if not isinstance(found, RecordsRead):
            return found
        items = await self._store.signature_items(found.all)
        return replace(found, items=tuple(items))

    async def _read_page(self, question: ReadRecords) -> RecordsRead:
        return await self._store.hub.pages.read(
            question, self._read_records, self._store.signature_items
        )

    async def _read_records(self, question: ReadRecords) -> RecordsRead:
        found = await self._store.journal.read(lambda connection: answer(connection, question))
        assert isinstance(found, RecordsRead), "the answer to such a question"
        return found

    async def _read_frontiers(self, question: ReadFrontiers) -> FrontiersRead:
        found = await self._store.journal.read(lambda connection: answer(connection, question))
        assert isinstance(found, FrontiersRead), "the answer to such a question"
        return found

    async def keep_cursor(self) -> None:
        """Keep how far this link came. If that fails the next one compares more, nothing else."""
        question = self._session.cursors.last()
        if question is not None:
            with suppress(MachineError, StoreClosed):
                await self._store.journal.write(lambda connection: answer(connection, question))

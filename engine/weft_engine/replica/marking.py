"""What an application says about a context beside its messages: facts, pins, hides, that it ends.

Each is an event of its own that others may take back. Whether the context is closed is kept in
memory, for every append asks it. Must never know: views.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from weft_engine.errors import Conflict, ContextClosed
from weft_engine.events.event import Body, Close, Criticality, Event, Hide, Pin, Revoke
from weft_engine.events.facts import FactBook, SaidFact
from weft_engine.names import ContextName, EventId
from weft_engine.replica.facts import KnownFact, known_facts, new_fact, withdrawal
from weft_engine.replica.targets import (
    find_ends,
    find_marks,
    find_message,
    find_revocable,
)
from weft_engine.storage.ledger import Stored
from weft_engine.storage.lineage import Lineage, ReadingOrder
from weft_engine.storage.marks import load_facts
from weft_engine.storage.stated import EventMemo, load_standing

if TYPE_CHECKING:
    from weft_engine.replica.replica import Replica

_ABOUT_CLOSING: Final = re.compile(rb'"kind"\s*:\s*"(?:close|revoke)"')

T = TypeVar("T")


class Marking:
    """Of one branch of a context; None is main."""

    def __init__(self, replica: Replica, name: ContextName, branch: EventId | None) -> None:
        self._replica = replica
        self._name = name
        self._branch = branch
        self._memo = EventMemo()
        self._closes: Sequence[tuple[EventId, str | None]] = ()
        self._revoked_by: EventId | None = None
        """What took the beginning of this branch back."""
        self._noticed = 0
        self._looked_at = -1
        """`_closes` and `_revoked_by` are how it was when this many things had been noticed."""

    # ---- facts --------------------------------------------------------------------------------

    async def fact(
        self,
        name: str,
        value: object,
        *,
        rule: str | None,
        crit: Criticality | str | None,
        expires: int | None,
        author: str | None,
    ) -> EventId:
        await self.check_open()
        book = await self._facts(name)
        body = new_fact(book, name, value, rule=rule, crit=crit, expires=expires)
        return await self._write(body, author or "fact")

    async def forget_fact(self, name: str, *, author: str | None) -> EventId | None:
        await self.check_open()
        body = withdrawal(await self._facts(name), name)
        return None if body is None else await self._write(body, author or "fact")

    async def facts(self) -> Mapping[str, KnownFact]:
        return known_facts(await self._facts())

    async def _facts(self, name: str | None = None) -> FactBook:
        """All facts, or those of one name."""

        def question(order: ReadingOrder) -> list[SaidFact]:
            said = load_facts(order, load_standing(order), self._memo)
            return said if name is None else [one for one in said if one.fact.key == name]

        return FactBook(await self._ask(question) or ())

    # ---- pins and hides -----------------------------------------------------------------------

    async def mark(
        self, kind: type[Pin] | type[Hide], event: EventId, author: str | None
    ) -> EventId:
        """Pin or hide a message; the event that does, which may stand already."""
        await self.check_open()
        target, standing = await self._marks(kind, event)
        return standing[0] if standing else await self._write(kind(target), author or _word(kind))

    async def unmark(
        self, kind: type[Pin] | type[Hide], event: EventId, author: str | None
    ) -> list[EventId]:
        """Take back what pins or hides a message; the revoke events, none if nothing did."""
        await self.check_open()
        _, standing = await self._marks(kind, event)
        return await self._revoke(standing, None, author)

    async def _marks(
        self, kind: type[Pin] | type[Hide], event: EventId
    ) -> tuple[EventId, list[EventId]]:
        def question(order: ReadingOrder) -> tuple[EventId, list[EventId]]:
            target = find_message(order, event)
            return target, find_marks(order, kind, target, self._memo)

        found = await self._ask(question)
        return found if found is not None else (find_message(None, event), [])

    # ---- taking back --------------------------------------------------------------------------

    async def revoke(self, event: EventId, *, reason: str | None, author: str | None) -> EventId:
        now_ms = self._replica.now_ms()
        if await self._ask(lambda order: find_revocable(order, event, now_ms)) is None:
            find_revocable(None, event, now_ms)
        (id_,) = await self._revoke([event], reason, author)
        return id_

    async def _revoke(
        self, events: Sequence[EventId], reason: str | None, author: str | None
    ) -> list[EventId]:
        bodies = [Revoke(event, reason) for event in events]
        return await self._write_all(bodies, author or "revoke")

    # ---- closing ------------------------------------------------------------------------------

    async def close(self, reason: str | None, *, author: str | None) -> EventId:
        await self._look()
        if self._closes:
            return self._closes[0][0]
        return await self._write(Close(reason), author or "close")

    async def reopen(self, *, reason: str | None, author: str | None) -> list[EventId]:
        await self._look()
        return await self._revoke([event for event, _ in self._closes], reason, author)

    async def check_open(self) -> None:
        """ContextClosed if a close event stands, Conflict if the branch was revoked. What others
        write is never refused for it."""
        await self._look()
        if self._revoked_by is not None:
            raise Conflict(
                f"branch {self._branch} of context {self._name!r} was set aside by the revoke"
                f" {self._revoked_by}",
                hint="revoke that on the branch this one comes from; or go on in a branch of it",
            )
        if self._closes:
            reason = self._closes[-1][1]
            which = f"context {self._name!r}"
            if self._branch is not None:
                which = f"branch {self._branch} of {which}"
            raise ContextClosed(
                f"{which} is closed" + (f": {reason}" if reason else ""),
                hint="reopen() revokes that; or go on in a branch of it",
            )

    def notice(self, stored: Stored) -> None:
        """Something was committed in this context, by whomever; before who wrote it goes on."""
        if _ABOUT_CLOSING.search(stored.record.payload):
            self._noticed += 1

    def forget(self) -> None:
        """Some of it was erased, or it is to take less memory."""
        self._memo = EventMemo()
        self._noticed += 1

    async def _look(self) -> None:
        while self._looked_at != self._noticed:
            noticed = self._noticed
            ends = await self._replica.ask(
                self._name, lambda table, _: find_ends(table, self._branch)
            )
            self._closes, self._revoked_by = ((), None) if ends is None else ends
            self._looked_at = noticed

    # ---- inside -------------------------------------------------------------------------------

    async def _ask(self, question: Callable[[ReadingOrder], T]) -> T | None:
        return await self._replica.ask(
            self._name, lambda table, _: question(Lineage(table, self._branch))
        )

    async def _write(self, body: Body, author: str) -> EventId:
        (id_,) = await self._write_all([body], author)
        return id_

    async def _write_all(self, bodies: Sequence[Body], author: str) -> list[EventId]:
        events = [Event(author, body, branch=self._branch) for body in bodies]
        return await self._replica.scribe.append(
            self._name, [partial(_draft, event) for event in events]
        )


def _draft(event: Event, _: EventId) -> Event:
    return event


def _word(kind: type[Pin] | type[Hide]) -> str:
    return "pin" if kind is Pin else "hide"

"""A context as it was: at a moment, at a cut, or when a view was made. Reads only.

Whatever the moment was named by, it becomes a cut: the maximal records of a causally closed past.
What is shown follows from the records of that past alone, so it never changes and is the same on
every replica that holds them. Nothing of it is written, receipts included.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeAlias, TypeVar

from weft_engine.errors import CallerError
from weft_engine.names import ContextName, EventId, NoteName, RecordHash, note_name
from weft_engine.records.frontier import EMPTY, Frontier, fingerprint
from weft_engine.replica import history, paging
from weft_engine.replica.cuts import state_at
from weft_engine.replica.history import Said
from weft_engine.replica.settings import Settings, resolve
from weft_engine.replica.viewing import Asked, resolve_spec, view_at
from weft_engine.storage import reading, tail
from weft_engine.storage.cut import cut_at, maximal_of
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.lineage import Lineage, ReadingOrder
from weft_engine.storage.reading import ContextState
from weft_engine.views.policy import Policy
from weft_engine.views.receipt import Receipt
from weft_engine.views.view import View

if TYPE_CHECKING:
    from weft_engine.replica.replica import Replica

When: TypeAlias = datetime | int | Collection[bytes] | Receipt | str
"""A moment: an aware `datetime`, or milliseconds since 1970. A cut: hashes of records; none of
them is before everything. A receipt, or the trace id of a view of this store."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NOTHING_ASKED: Final = Asked()

T = TypeVar("T")


class Past:
    """Made by `Context.at`. Reads nothing until a method is awaited; which records it stands on is
    settled by the first one: of a moment, those that are held then.

    Every method raises MissingRecords if the cut names records that are not held, NotFound if the
    trace id is of no view of this store.
    """

    def __init__(
        self, replica: Replica, name: ContextName, when: When, branch: EventId | None = None
    ) -> None:
        self.name = name
        self.branch_id = branch
        """Whose messages it shows; of a receipt of another branch, that one, once it is settled."""
        self._replica = replica
        self._when = _checked(when, name)
        self._cut: Frontier | None = None
        self._receipt: Receipt | None = None
        self._settling = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Give the memory back that it takes. It may be used again, for the price of the first
        question; without this, a few that were used last stay in memory until the store closes."""
        if self._cut is not None:
            await self._replica.cuts.forget(self.name, self._cut)

    # ---- what it stands on --------------------------------------------------------------------

    async def frontier(self) -> Frontier:
        """The hashes of the maximal records then: the cut it stands on."""
        async with self._settling:
            if self._cut is None:
                self._cut = await self._settle(self._when)
        return self._cut

    async def fingerprint(self) -> str:
        """In hex; what `Context.fingerprint` gave then."""
        return fingerprint(await self.frontier()).hex()

    async def settings(self) -> Settings:
        """What the views of this context used then."""
        return await self._ask(lambda order: resolve(tail.configs(order)))

    # ---- views --------------------------------------------------------------------------------

    async def view(
        self,
        *,
        budget: int | None = None,
        reserved: int | None = None,
        policy: Policy | None = None,
        tokenizer: str | None = None,
        tools: Sequence[Mapping[str, object]] | None = None,
        format: str | None = None,  # noqa: A002 - the field's word
        as_of: int | None = None,
        trace_id: str | None = None,
    ) -> View:
        """What would have been sent to the model then, with the settings of then where nothing is
        asked for. Of a receipt, if nothing is asked for: the view it was given for.

        The view has a receipt, which is not kept by the store. Raises as `Context.view`, and for
        a receipt RendererMismatch and ReplayMismatch.
        """
        cut = await self.frontier()
        asked = Asked(budget, reserved, policy, tokenizer, tools, format, as_of)
        receipt = self._receipt
        if receipt is not None and asked == _NOTHING_ASKED and trace_id is None:
            return await self._replica.context(self.name).replay(receipt)
        trace = trace_id or self._replica.random_hex(16)

        def question(order: ReadingOrder) -> View:
            settings = resolve(tail.configs(order))
            spec = resolve_spec(asked, settings, self.branch_id)
            return view_at(order, self.name, cut=cut, spec=spec, settings=settings, trace_id=trace)

        return await self._ask(question)

    # ---- reading ------------------------------------------------------------------------------

    def note(self, name: str) -> PastNote:
        """The note of this name, as it was."""
        return PastNote(self, note_name(name))

    async def note_text(self, name: NoteName) -> str:
        document = await self._replica.cuts.document(self.name, await self.frontier())
        return document.text(name)

    def history(
        self,
        *,
        after: EventId | None = None,
        before: EventId | None = None,
        newest_first: bool = False,
    ) -> AsyncIterator[Said]:
        """The messages of this branch in their reading order of then; as `Context.history`."""
        return paging.messages(self.page, after=after, before=before, newest_first=newest_first)

    async def page(
        self,
        *,
        after: EventId | None = None,
        before: EventId | None = None,
        newest: bool = False,
        limit: int = paging.PAGE,
    ) -> list[Said]:
        """Up to `limit` messages, oldest first: those behind `after`, those right in front of
        `before`, the newest, or else the oldest. NotFound if that event was not there yet."""
        if newest:
            return await self._ask(partial(history.newest, limit=limit))
        return await self._ask(partial(history.messages, after=after, before=before, limit=limit))

    def events(
        self, *, after: EventId | None = None, newest_first: bool = False
    ) -> AsyncIterator[Said]:
        """Every event that was there, of every kind and branch, by (time, id); as
        `Context.events`."""
        return paging.events(self._ask_all, after=after, newest_first=newest_first)

    async def problems(self) -> list[tuple[str, str]]:
        """(key, reason) of everything that looked like an event and was none."""
        found = await self._ask_all(lambda table, _: table.problems())
        return [(key, reason) for _, key, reason in found]

    async def export(self) -> list[str]:
        """The messages of then as JSON texts of the OpenAI chat format; as `Context.export`."""
        return await paging.exported(self.history())

    # ---- inside -------------------------------------------------------------------------------

    async def _ask(self, question: Callable[[ReadingOrder], T]) -> T:
        return await self._ask_all(
            lambda table, _: question(Lineage(table, self.branch_id)),
        )

    async def _ask_all(self, question: Callable[[EventTable, ContextState], T]) -> T:
        return await self._replica.cuts.ask(self.name, await self.frontier(), question)

    async def _settle(self, when: int | Frontier | Receipt | str) -> Frontier:
        """The cut that `when` means."""
        if isinstance(when, str):
            when = _of_context(await self._replica.receipts.find(when), self.name)
        if isinstance(when, Receipt):
            self._receipt = when
            if self.branch_id is None:
                self.branch_id = when.spec.branch
            when = when.cut
        return await self._replica.journal.read(partial(_cut_of, self.name, when))


class PastNote:
    """A note as it was; read by `Past.note`."""

    def __init__(self, past: Past, name: NoteName) -> None:
        self.name = name
        self._past = past

    async def text(self) -> str:
        return await self._past.note_text(self.name)


def _checked(when: When, name: ContextName) -> int | Frontier | Receipt | str:
    """`when` with a moment in milliseconds since 1970 and a cut in ascending order."""
    match when:
        case datetime():
            if when.tzinfo is None or when.utcoffset() is None:
                raise CallerError(
                    f"the time {when.isoformat()} says nothing of its time zone",
                    hint="give an aware datetime, such as datetime.now(UTC)",
                )
            return (when - _EPOCH) // timedelta(milliseconds=1)
        case bool():
            pass
        case int() | str():
            return when
        case Receipt():
            return _of_context(when, name)
        case bytes() | bytearray() | memoryview():
            pass
        case Collection() if all(type(hash_) is bytes and len(hash_) == 32 for hash_ in when):
            return tuple(sorted({RecordHash(hash_) for hash_ in when}))
    raise CallerError(
        f"{type(when).__name__} names no moment of context {name!r}",
        hint="give an aware datetime, milliseconds, a frontier, a receipt or its trace id",
    )


def _of_context(receipt: Receipt, name: ContextName) -> Receipt:
    if receipt.context != name:
        raise CallerError(
            f"receipt {receipt.trace_id!r} is of context {receipt.context!r}, not of {name!r}",
            hint="ask the context that its view was made of",
        )
    return receipt


def _cut_of(name: ContextName, when: int | Frontier, connection: sqlite3.Connection) -> Frontier:
    if isinstance(when, int):
        state = reading.context(connection, name)
        return EMPTY if state is None else cut_at(connection, state, when)
    return maximal_of(connection, state_at(connection, name, when), when)

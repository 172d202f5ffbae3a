"""A replica: one open store and who writes in it.

Takes time and randomness from whoever opens it. What it writes is committed before anybody hears
of it; what it hears from the journal it passes on to the contexts that are in use.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar
from weakref import WeakValueDictionary

from weft_engine.names import (
    ContextName,
    EventId,
    Incarnation,
    context_name,
)
from weft_engine.records.certificate import RegionKey
from weft_engine.records.envelope import Kind
from weft_engine.records.frontier import Frontier
from weft_engine.records.identity import SignatureItem, WriterKey
from weft_engine.replica.checking import Checks
from weft_engine.replica.context import Context
from weft_engine.replica.cuts import Cuts
from weft_engine.replica.erasing import Erasing
from weft_engine.replica.guard import Guard
from weft_engine.replica.hints import HintBook
from weft_engine.replica.presence import Showings
from weft_engine.replica.projector import Projector
from weft_engine.replica.receipts import ReceiptBook
from weft_engine.replica.scribe import Scribe
from weft_engine.replica.searching import Searching
from weft_engine.replica.streams import Streams
from weft_engine.replica.unsynced import Savings
from weft_engine.replica.wall_clock import WallClock
from weft_engine.storage import reading
from weft_engine.storage.checkpoints import Erasures, erasures
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.journal import Identity, SqliteJournal
from weft_engine.storage.lane import Lane, ThreadLane
from weft_engine.storage.ledger import Stored
from weft_engine.storage.machine import Machine
from weft_engine.storage.projection import completed, current
from weft_engine.storage.reading import ContextState
from weft_engine.storage.schema import connect
from weft_engine.sync.driving.hub import Hub
from weft_engine.sync.presence import Presence
from weft_engine.sync.reach import Reach

_RESIDENT_MAX: Final = 256

T = TypeVar("T")
Question = Callable[[EventTable, ContextState], T]


@dataclass(frozen=True, slots=True)
class _Overlay:
    """An event index that is completed in the memory of a connection of its own."""

    connection: sqlite3.Connection
    state: ContextState
    erasures: Erasures
    table: EventTable


class Replica:
    """Open with `Replica.open`; close with `close` or as an async context manager."""

    def __init__(
        self,
        journal: SqliteJournal,
        *,
        now_ms: Callable[[], int],
        random: Callable[[int], bytes],
        monotonic_ms: Callable[[], int] | None = None,
        indexes_ahead: bool = True,
    ) -> None:
        self.journal = journal
        self._wall = WallClock(now_ms, monotonic_ms)
        self._random = random
        self._contexts: WeakValueDictionary[ContextName, Context] = WeakValueDictionary()
        """Those that somebody uses, or that hold something in memory (`_resident`)."""
        self._resident: dict[tuple[ContextName, EventId | None], Context] = {}
        self.receipts = ReceiptBook(journal)
        self.hints = HintBook(journal)
        self.projector = Projector(
            journal,
            moved=self._moved,
            branches_in_use=self._branches_in_use,
            is_ahead=indexes_ahead,
        )
        self.scribe = Scribe(journal, wall=self._wall, random=random, wanted=self._is_resident)
        self.guard = Guard(journal, self.scribe, self._wall)
        self.erasing = Erasing(journal, self.scribe, self.projector, forget=self._forget)
        self.streams = Streams(self)
        self.presence = Presence()
        """Who is in its contexts now. Its times are the event loop's, in milliseconds."""
        self.reach = Reach()
        """Which regions hold its journal."""
        self.hub = Hub(journal, sign=self.sign_now)
        """Tells its links of what is committed."""
        self.showings = Showings(self)
        self.savings = Savings()
        """What relays hold of it, as far as its links know."""
        self._end_listening = journal.listen(self._committed, failed=self.scribe.failed)
        self.cuts = Cuts(journal, count=self.projector.count)
        self.checks = Checks(journal, self.projector, mended=self._mended)
        """Compares what its event indexes say with other regions."""
        self.searching = Searching(self)
        self._overlay: _Overlay | None = None
        self._closed = False
        self._region: RegionKey | None = None
        self._forgetting: list[Callable[[ContextName], None]] = [self.hub.pages.forget]

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        now_ms: Callable[[], int],
        random: Callable[[int], bytes],
        readonly: bool = False,
        monotonic_ms: Callable[[], int] | None = None,
        machine: Machine | None = None,
        lane: Callable[[], Lane] = ThreadLane,
        indexes_ahead: bool = True,
    ) -> Self:
        """The replica in the file at `path`. `now_ms` is wall time in milliseconds since 1970,
        `monotonic_ms` a clock that never steps (without it, nobody notices that the machine was
        suspended), `random(n)` gives n bytes from a cryptographic source. `machine` is this one
        unless somebody simulates another, and `lane` makes what commits run on. `indexes_ahead`:
        the index of events follows the journal by itself; otherwise when somebody reads. Needs a
        running event loop."""
        journal = SqliteJournal.open(
            path, readonly=readonly, now_ms=now_ms(), random=random, machine=machine, lane=lane
        )
        return cls(
            journal,
            now_ms=now_ms,
            random=random,
            monotonic_ms=monotonic_ms,
            indexes_ahead=indexes_ahead,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Finish every commit, index what is left to do, let go of the file. In a forked process
        nothing happens: it all belongs to the one that opened it.

        Raises StoreError if receipts could not be kept any more; the file is let go of all the
        same, and everything acknowledged is in it.
        """
        if self._closed or not self.journal.is_ours:
            return
        self._closed = True
        in_use = list(self._contexts.values())
        for context in in_use:
            context.end_watching()
        standing = None
        try:
            await self.showings.close()
            for context in in_use:
                await context.close_notes()
            if not self.journal.readonly:
                self.guard.close()
                try:
                    try:
                        await self.streams.close()
                    finally:
                        await self.erasing.close()
                finally:
                    await self.scribe.close()
                    try:
                        await self.hints.close()
                        await self.receipts.close()
                    finally:
                        await self.projector.close()
                    standing = self.scribe.standing()
        finally:
            self._end_listening()
            try:
                await self.searching.close()
                await self.cuts.close()
            finally:
                if self._overlay is not None:
                    self._overlay.connection.close()
                await self.journal.close(standing)

    @property
    def identity(self) -> Identity:
        return self.journal.identity

    @property
    def path(self) -> Path:
        return self.journal.path

    def now_ms(self) -> int:
        """Milliseconds since 1970, corrected by what a relay last said."""
        return self._wall.now_ms()

    def random(self, size: int) -> bytes:
        return self._random(size)

    def random_hex(self, size: int) -> str:
        """`size` random bytes, in hex."""
        return self._random(size).hex()

    # ---- contexts -----------------------------------------------------------------------------

    def context(self, name: str) -> Context:
        """The context of this name. Reads nothing and writes nothing."""
        checked = context_name(name)
        context = self._contexts.get(checked)
        if context is None:
            context = self._contexts[checked] = Context(self, checked)
        return context

    async def contexts(
        self, prefix: str = "", *, after: str = "", limit: int = 1000
    ) -> list[ContextState]:
        """Up to `limit` contexts whose names start with `prefix`, behind `after`, by name."""
        return await self.journal.read(
            lambda connection: reading.contexts(connection, prefix=prefix, after=after, limit=limit)
        )

    async def state(self, name: ContextName) -> ContextState | None:
        """What the journal holds of a context; None if nothing."""
        return await self.journal.read(lambda connection: reading.context(connection, name))

    async def ask(self, name: ContextName, question: Question[T]) -> T | None:
        """What `question` answers from the event index of a context, which has everything that was
        committed before this was called; None if the context holds nothing."""
        await self.streams.recovered()
        return await self.ask_now(name, question)

    async def ask_now(self, name: ContextName, question: Question[T]) -> T | None:
        """As `ask`, even while streams that a crash broke off have not been ended."""

        def asked(connection: sqlite3.Connection) -> T | None:
            # One transaction, so that all of it is of one moment.
            connection.execute("BEGIN")
            try:
                state = reading.context(connection, name)
                if state is None:
                    return None
                if state.projected >= state.position or not self.journal.readonly:
                    return question(current(connection, state), state)
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            return self._ask_completed(name, question)

        while True:
            resets = self.projector.resets
            if not self.journal.readonly:
                await self.projector.catch_up(name)
            found = await self.journal.read(asked)
            if resets == self.projector.resets:
                return found

    def _ask_completed(self, name: ContextName, question: Question[T]) -> T | None:
        """As `ask`, from the index of a context that a read-only store has to complete in memory;
        kept until the next one is asked for, the context has grown, or something of it was erased.
        On the reader's thread."""
        if self._overlay is not None:
            own = self._overlay.connection
            own.execute("BEGIN")
            state = reading.context(own, name)
            if (
                state != self._overlay.state
                or not self._overlay.erasures.is_settled
                or erasures(own, self._overlay.state.id) != self._overlay.erasures
            ):
                own.close()
                self._overlay = None
        if self._overlay is None:
            own = connect(self.path, readonly=True)
            try:
                own.execute("BEGIN")  # all of it is of one moment
                state = reading.context(own, name)
                assert state is not None, "a context with records stays"
                table = completed(own, state, self.projector.count)
                self._overlay = _Overlay(own, state, erasures(own, state.id), table)
            except BaseException:
                own.close()
                raise
        overlay = self._overlay
        try:
            return question(overlay.table, overlay.state)
        finally:
            overlay.connection.execute("COMMIT")

    async def ask_at(self, name: ContextName, cut: Frontier, question: Question[T]) -> T:
        """What `question` answers from the event index as it is for the causal past of `cut`.
        MissingRecords if a record of it is not held."""
        return await self.cuts.ask(name, cut, question)

    def used(self, context: Context) -> None:
        """`context` holds messages in memory; those unused for longest let go of theirs."""
        key = (context.name, context.branch_id)
        self._resident.pop(key, None)
        self._resident[key] = context
        while len(self._resident) > _RESIDENT_MAX:
            self._resident.pop(next(iter(self._resident))).let_go()

    def listen_forgotten(self, listener: Callable[[ContextName], None]) -> Callable[[], None]:
        """Call `listener` when something of a context was erased and must not be held in memory any
        more; returns what ends that."""
        self._forgetting.append(listener)
        return lambda: self._forgetting.remove(listener)

    # ---- signing ------------------------------------------------------------------------------

    def certify(self, region: RegionKey) -> None:
        """From now on whoever writes here, now and under later incarnations, does so with the
        word of this region: what it signs goes out, and is kept, with a certificate."""
        self._region = region

    async def signature_items(self, records: Sequence[Stored]) -> list[SignatureItem]:
        """Signatures that cover `records`: those that are kept, and for chains of our own a fresh
        one over each record that none of the others follows, which is kept then."""
        kept = await self.journal.read(
            lambda connection: reading.signature_items(connection, records)
        )
        if self.journal.readonly:
            return kept
        keys = await self.scribe.keys()
        kept = [self._with_word(item, keys) for item in kept]
        signed = {item.tip for item in kept}
        followed = {stored.record.envelope.prev for stored in records}
        fresh = [
            (stored, self._signed(keys[stored.record.envelope.origin], stored))
            for stored in records
            if stored.record.envelope.origin in keys
            and stored.record.hash not in signed
            and stored.record.hash not in followed
        ]
        if fresh:
            await self.journal.keep_signatures(fresh)
        return [*kept, *(item for _, item in fresh)]

    def sign_now(self, records: Sequence[Stored]) -> list[SignatureItem]:
        """Signatures that cover `records` of our own that were committed just now, one context's.
        They are not kept: whoever reads these records later signs the same again."""
        keys = self.scribe.keys_at_hand
        followed = {stored.record.envelope.prev for stored in records}
        return [
            self._signed(keys[stored.record.envelope.origin], stored)
            for stored in records
            if stored.record.envelope.origin in keys
            and (stored.record.hash not in followed or stored.record.envelope.kind is Kind.ERASE)
        ]

    def _signed(self, key: WriterKey, stored: Stored) -> SignatureItem:
        item = key.sign(stored.record.hash)
        if self._region is None:
            return item
        return replace(item, certificate=self._region.certify(key.incarnation))

    def _with_word(
        self, item: SignatureItem, keys: Mapping[Incarnation, WriterKey]
    ) -> SignatureItem:
        """An item of our own chains may have been made where the region's key was not at hand."""
        region = self._region
        if region is None or item.certificate is not None or item.incarnation not in keys:
            return item
        return replace(item, certificate=region.certify(item.incarnation))

    # ---- what the journal tells ---------------------------------------------------------------

    def _committed(self, stored: Sequence[Stored], session: bytes) -> None:
        for one in stored:
            written = self.scribe.committed(one, session)
            if one.record.envelope.kind is Kind.ERASE:
                self.erasing.work()
            name = one.record.envelope.context
            self.projector.note(name)
            self.searching.note(name)
            context = self._contexts.get(name)
            if context is not None:
                context.committed(one, written)

    async def _forget(self, name: ContextName) -> None:
        context = self._contexts.get(name)
        if context is not None:
            await context.forget()
        for listener in tuple(self._forgetting):
            listener(name)
        await self.cuts.forget(name)
        # Who was reading meanwhile has ended: the reader's thread has been asked something since.
        self.projector.forget()

    async def _mended(self, name: ContextName) -> None:
        """The event index of a context was wrong and was made anew."""
        await self.cuts.forget(name)
        self.projector.forget()
        self._moved(name)

    def _is_resident(self, name: ContextName) -> bool:
        context = self._contexts.get(name)
        return context is not None and context.is_resident

    def _branches_in_use(self, name: ContextName) -> list[EventId]:
        return [branch for of, branch in self._resident if of == name and branch is not None]

    def _moved(self, name: ContextName) -> None:
        context = self._contexts.get(name)
        if context is not None:
            context.moved()

"""A replica: one open store and who writes in it.

Takes time and randomness from whoever opens it. What it writes is committed before anybody hears
of it; what it hears from the journal it passes on to the contexts that are in use.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from weft_engine.errors import MissingRecords, StoreClosed
from weft_engine.events.codec import encode_event
from weft_engine.events.event import Event
from weft_engine.names import (
    ContextName,
    EventId,
    Hlc,
    Incarnation,
    Position,
    context_name,
    event_id,
)
from weft_engine.records.clock import HybridClock
from weft_engine.records.envelope import Record
from weft_engine.records.frontier import Frontier
from weft_engine.records.identity import SignatureItem, WriterKey
from weft_engine.replica.context import Context
from weft_engine.replica.head import Head
from weft_engine.replica.projector import Projector
from weft_engine.replica.receipts import ReceiptBook
from weft_engine.storage import reading
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.journal import Identity, SqliteJournal
from weft_engine.storage.ledger import SKEWED, Stored
from weft_engine.storage.projection import at_cut, completed, current
from weft_engine.storage.reading import ContextState
from weft_engine.storage.schema import connect

_HEADS_MAX: Final = 10_000
_RESIDENT_MAX: Final = 256

T = TypeVar("T")
Question = Callable[[EventTable, ContextState], T]
Draft = Callable[[EventId], Event]
"""Makes an event for the id it will have."""
Written = Sequence[tuple[EventId, Event]]


class Replica:
    """Open with `Replica.open`; close with `close` or as an async context manager."""

    def __init__(
        self,
        journal: SqliteJournal,
        *,
        now_ms: Callable[[], int],
        random: Callable[[int], bytes],
    ) -> None:
        self.journal = journal
        self._now_ms = now_ms
        self._random = random
        self._clock = HybridClock()
        self._key: WriterKey | None = None
        self._heads: dict[ContextName, Head] = {}
        self._loading: dict[ContextName, list[Stored]] = {}
        self._contexts: dict[ContextName, Context] = {}
        self._seeds: dict[Incarnation, WriterKey] | None = None
        self._written: dict[bytes, Written] = {}
        self._resident: dict[ContextName, Context] = {}
        self.receipts = ReceiptBook(journal)
        self.projector = Projector(journal, moved=self._moved)
        self._end_listening = journal.listen(self._committed, failed=self._failed)
        self._closed = False

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        now_ms: Callable[[], int],
        random: Callable[[int], bytes],
        readonly: bool = False,
    ) -> Self:
        """The replica in the file at `path`. `now_ms` is wall time in milliseconds since 1970,
        `random(n)` gives n bytes from a cryptographic source. Needs a running event loop."""
        journal = SqliteJournal.open(path, readonly=readonly, now_ms=now_ms(), random=random)
        return cls(journal, now_ms=now_ms, random=random)

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
        """Sign and index what is left to do, finish every commit, let go of the file."""
        if self._closed:
            return
        self._closed = True
        for context in self._contexts.values():
            context.close()
        try:
            if not self.journal.readonly:
                await self.receipts.flush()
                await self.projector.close()
        finally:
            self._end_listening()
            await self.journal.close()

    @property
    def identity(self) -> Identity:
        return self.journal.identity

    @property
    def path(self) -> Path:
        return self.journal.path

    def now_ms(self) -> int:
        return self._now_ms()

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
        if not self.journal.readonly:
            await self.projector.catch_up(name)

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
                connection.execute("ROLLBACK")
            with closing(connect(self.path, readonly=True)) as own:
                return question(completed(own, state, self.projector.count), state)

        return await self.journal.read(asked)

    async def ask_at(self, name: ContextName, cut: Frontier, question: Question[T]) -> T:
        """What `question` answers from the event index as it is for the causal past of `cut`.
        MissingRecords if a record of it is not held."""

        def asked(_: sqlite3.Connection) -> T:
            with closing(connect(self.path, readonly=True)) as own:
                state = reading.context(own, name)
                if state is None:
                    raise MissingRecords(f"this store has no context {name!r}", missing=cut)
                return question(at_cut(own, state, cut, self.projector.count), state)

        return await self.journal.read(asked)

    def used(self, context: Context) -> None:
        """`context` holds messages in memory; those unused for longest let go of theirs."""
        self._resident.pop(context.name, None)
        self._resident[context.name] = context
        while len(self._resident) > _RESIDENT_MAX:
            self._resident.pop(next(iter(self._resident))).let_go()

    # ---- writing ------------------------------------------------------------------------------

    async def append(
        self, name: ContextName, drafts: Sequence[Draft], *, records_bytes: int | None = None
    ) -> list[EventId]:
        """Write events that follow one another, durably, in one go; their ids.

        They go into one record, or into several of about `records_bytes` of payload. Either all
        are written or, if this raises, none is acknowledged.
        """
        await self.journal.room()
        head = await self._head(name)
        # Everything that can be wrong with an event shows here, before a record is made of it.
        now = self._now_ms()
        incarnation = self._writer_key().incarnation
        groups: list[tuple[Hlc, list[tuple[EventId, Event]], list[tuple[EventId, bytes]]]] = []
        size = 0
        joins = [self._clock.tick(now) for _ in range(head.joins_needed)]
        for draft in drafts:
            id_ = event_id(self._clock.tick(now), incarnation)
            event = draft(id_)
            data = encode_event(event)
            if not groups or (records_bytes is not None and size >= records_bytes):
                groups.append((self._clock.last, [], []))
                size = 0
            _, events, entries = groups[-1]
            events.append((id_, event))
            entries.append((id_, data))
            groups[-1] = (self._clock.last, events, entries)
            size += len(data)
        records = [head.join(hlc) for hlc in joins]
        context = self._contexts.get(name)
        for hlc, events, entries in groups:
            record = head.append_events(entries, hlc)
            records.append(record)
            if context is not None and context.is_resident:
                self._written[record.hash] = events
        await self._commit(records)
        return [id_ for _, events, _ in groups for id_, _ in events]

    async def append_update(self, name: ContextName, payload: bytes, structs: int) -> None:
        """Write a native update that is not an event append, durably. Its clocks are ours from
        `clock_now` on, so nothing is awaited before it takes its place."""
        head = self._heads[name]
        now = self._now_ms()
        records = [head.join(self._clock.tick(now)) for _ in range(head.joins_needed)]
        records.append(head.append(payload, structs, self._clock.tick(now)))
        await self._commit(records)

    async def settled_clock(self, name: ContextName) -> int:
        """Our next Yjs clock in a context, once all that we have written there is committed."""
        await self._head(name)
        await self.journal.write(lambda _: None)
        return (await self._head(name)).client_clock

    def clock_now(self, name: ContextName) -> int | None:
        """Our next Yjs clock in a context at this very moment."""
        head = self._heads.get(name)
        return None if head is None else head.client_clock

    async def _commit(self, records: Sequence[Record]) -> None:
        if records:
            await self.journal.submit(records, self._writer_key())

    def _failed(self) -> None:
        """A commit failed. Whether it reached the disk is not known, so this incarnation's chains
        end here: a sequence number is never used for two records."""
        self._key = None
        self._seeds = None
        self._heads.clear()
        self._written.clear()

    def writer_incarnation(self) -> Incarnation:
        """Who writes here, from now until the next failure or close."""
        return self._writer_key().incarnation

    def _writer_key(self) -> WriterKey:
        if self._closed:
            raise StoreClosed("the store is closed")
        if self._key is None:
            self._key = WriterKey(self._random(32))
            if self._seeds is not None:
                self._seeds[self._key.incarnation] = self._key
        return self._key

    async def _head(self, name: ContextName) -> Head:
        head = self._heads.get(name)
        if head is not None:
            return head
        if self.journal.readonly:
            raise StoreClosed(
                f"the store {self.path} is open for reading only",
                hint="open it without readonly to write",
            )
        arrived = self._loading.setdefault(name, [])
        state = await self.state(name)
        head = self._heads.get(name)
        if head is not None:
            return head
        self._loading.pop(name, None)
        head = Head(name, self._writer_key(), () if state is None else state.frontier)
        known = Position(0) if state is None else state.position
        if state is not None:
            self._clock.observe(state.hlc)
        for stored in arrived:
            if stored.position > known:
                head.observe(stored.record)
        if len(self._heads) >= _HEADS_MAX:
            # A head can't be loaded again, its chain would begin anew: a new incarnation begins.
            self._failed()
            head = Head(name, self._writer_key(), head.frontier)
        self._heads[name] = head
        return head

    # ---- signing ------------------------------------------------------------------------------

    async def signature_items(self, records: Sequence[Stored]) -> list[SignatureItem]:
        """Signatures that cover `records`: those that are kept, and for chains of our own a fresh
        one over each record that none of the others follows, which is kept then."""
        kept = await self.journal.read(
            lambda connection: reading.signature_items(connection, records)
        )
        if self.journal.readonly:
            return kept
        keys = await self._own_keys()
        signed = {item.tip for item in kept}
        followed = {stored.record.envelope.prev for stored in records}
        fresh = [
            (stored, keys[stored.record.envelope.origin].sign(stored.record.hash))
            for stored in records
            if stored.record.envelope.origin in keys
            and stored.record.hash not in signed
            and stored.record.hash not in followed
        ]
        if fresh:
            await self.journal.keep_signatures(fresh)
        return [*kept, *(item for _, item in fresh)]

    async def _own_keys(self) -> dict[Incarnation, WriterKey]:
        if self._seeds is None:
            seeds = await self.journal.read(reading.seeds)
            self._seeds = {incarnation: WriterKey(seed) for incarnation, seed in seeds.items()}
            if self._key is not None:
                self._seeds[self._key.incarnation] = self._key
        return self._seeds

    # ---- what the journal tells ---------------------------------------------------------------

    def _committed(self, stored: Sequence[Stored], session: bytes) -> None:
        by_context: dict[ContextName, list[Stored]] = {}
        for one in stored:
            by_context.setdefault(one.record.envelope.context, []).append(one)
        for name, some in by_context.items():
            loading = self._loading.get(name)
            if loading is not None:
                loading.extend(some)
            if session:
                self._observe(name, some)
            self.projector.note(name)
            context = self._contexts.get(name)
            for one in some:
                written = self._written.pop(one.record.hash, None)
                if context is not None:
                    context.committed(one, written)

    def _observe(self, name: ContextName, some: Sequence[Stored]) -> None:
        head = self._heads.get(name)
        for one in some:
            if head is not None:
                head.observe(one.record)
            if not one.flags & SKEWED:
                self._clock.observe(one.record.envelope.hlc)

    def _moved(self, name: ContextName) -> None:
        context = self._contexts.get(name)
        if context is not None:
            context.moved()

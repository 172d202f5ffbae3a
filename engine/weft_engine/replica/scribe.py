"""Writing: this incarnation, its chains, and how appends become records.

Appends that wait while a commit is under way share the next one, and within a context they share
records. So many writers cost little more than one, and a lone writer never waits for company.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from weft_engine.errors import MalformedRecord, StoreClosed, StoreError
from weft_engine.events.codec import encode_event
from weft_engine.events.event import Event
from weft_engine.limits import BATCH_ITEMS_MAX, RECORD_PAYLOAD_BYTES
from weft_engine.names import (
    ClientId,
    ContextName,
    EventId,
    Hlc,
    Incarnation,
    Position,
    RecordHash,
    event_id,
)
from weft_engine.records.clock import HybridClock, hlc_ms
from weft_engine.records.envelope import Record
from weft_engine.records.frontier import EMPTY, Frontier
from weft_engine.records.identity import WriterKey
from weft_engine.records.sound import read_record
from weft_engine.replica.head import Head
from weft_engine.replica.wall_clock import WallClock
from weft_engine.storage import reading
from weft_engine.storage.identity import OwnHead, Standing, own_head
from weft_engine.storage.journal import SqliteJournal
from weft_engine.storage.ledger import SKEWED, Stored
from weft_engine.storage.reading import ContextState
from weft_engine.storage.writer import settle

_HEADS_MAX: Final = 10_000
LONG_AGO: Final = Hlc(0)
"""Before anything was written."""

Draft = Callable[[EventId], Event]
"""Makes an event for the id it will have."""
Written = Sequence[tuple[EventId, Event]]


@dataclass(frozen=True, slots=True)
class Standpoint:
    """Where the next native record of ours in a context will stand. `clock`: its first Yjs clock;
    `frontier`: what it will have seen."""

    incarnation: Incarnation
    client: ClientId
    clock: int
    frontier: Frontier
    hlc: Hlc


@dataclass(frozen=True, slots=True)
class Native:
    """A native update that takes up `structs` of our Yjs clock, and what is to be written with it
    beside the journal. `is_quiet`: no event comes by it."""

    payload: bytes
    structs: int
    beside: Callable[[sqlite3.Connection], None] | None = None
    is_quiet: bool = False


@dataclass(slots=True, eq=False)
class _Request:
    """Events of one caller. The future gives their ids, or None to ask again."""

    context: ContextName
    drafts: Sequence[Draft]
    future: asyncio.Future[list[EventId] | None]


@dataclass(slots=True, eq=False)
class _Page:
    """Events that go into one record."""

    hlc: Hlc
    events: list[tuple[EventId, Event]] = field(default_factory=list)
    entries: list[tuple[EventId, bytes]] = field(default_factory=list)
    size: int = 0


@dataclass(slots=True, eq=False)
class _Chapter:
    """What a batch writes in one context, in this order."""

    head: Head
    joins: list[Hlc]
    pages: list[_Page] = field(default_factory=list)


class Scribe:
    """Owns the clock, the key and the heads. `wanted` tells of which contexts the events are worth
    remembering until their commit (`taken`)."""

    def __init__(
        self,
        journal: SqliteJournal,
        *,
        wall: WallClock,
        random: Callable[[int], bytes],
        wanted: Callable[[ContextName], bool],
    ) -> None:
        self._journal = journal
        self._wall = wall
        self._random = random
        self._wanted = wanted
        self._clock = HybridClock()
        self._key: WriterKey | None = None
        self._resumable = journal.resumable
        self._resumed: WriterKey | None = None
        self._keys: dict[Incarnation, WriterKey] = {}
        self._has_all_keys = False
        self._heads: dict[ContextName, Head] = {}
        self._loading: dict[ContextName, list[Stored]] = {}
        self._written: dict[bytes, Written] = {}
        self._waiting: list[_Request] = []
        self._is_writing = False
        self._idle = asyncio.Event()
        self._closed = False
        self._go = asyncio.Event()
        self._go.set()
        self.on_foreign: Callable[[bytes], None] = lambda _: None
        """Called with the session that brought a record of this incarnation that is not ours."""

    @property
    def incarnation(self) -> Incarnation:
        """Who writes here, from now until it is retired or the store closes; after a clean close
        it may go on."""
        return self._writer().incarnation

    async def append(self, name: ContextName, drafts: Sequence[Draft]) -> list[EventId]:
        """Write events that follow one another, durably and in one commit; their ids. If this
        raises, none of them is acknowledged."""
        if not drafts:
            return []
        self._journal.check_process()
        while True:
            await self._go.wait()
            if self._journal.is_full:
                await self._journal.room()
            if name not in self._heads:
                await self._load(name)
            request = _Request(name, drafts, asyncio.get_running_loop().create_future())
            self._waiting.append(request)
            if not self._is_writing:
                self._write_down()
            ids = await request.future
            if ids is not None:
                return ids

    async def append_update(self, name: ContextName, payload: bytes, structs: int) -> None:
        """Write a native update that is not an event append, durably. Its clocks are ours from
        `clock_now` on, so nothing is awaited before it takes its place."""
        head = self._heads[name]
        key = self._writer()  # Before the head moves: a record that is not submitted is none.
        now = self._wall.now_ms()
        records = [head.join(self._clock.tick(now)) for _ in range(head.joins_needed)]
        records.append(self._sound(head.append(payload, structs, self._clock.tick(now))))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._journal.submit(records, key, lambda error: settle(future, None, error))
        await future

    async def append_native(
        self,
        name: ContextName,
        make: Callable[[Standpoint], Native | None],
        *,
        not_before: Hlc = LONG_AGO,
    ) -> bool:
        """Write the update that `make` gives for where it will stand, durably; False if it gives
        none. What `make` raises is raised, and nothing is written; StoreError if no other replica
        would take what it makes. It is stamped not before
        `not_before`, even if our clock was found to run ahead since that one was given."""
        self._journal.check_process()
        if self._journal.is_full:
            await self._journal.room()
        head = await self._head(name)
        key = self._writer()
        now = self._wall.now_ms()
        records = [head.join(self._clock.tick(now)) for _ in range(head.joins_needed)]
        # A time far ahead is followed by this record only: whoever writes next begins anew.
        self._clock.observe(not_before)
        hlc = self._clock.tick(now)
        native: Native | None = None
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            native = make(
                Standpoint(key.incarnation, head.client, head.client_clock, head.frontier, hlc)
            )
            if native is not None:
                record = head.append(native.payload, native.structs, hlc)
                # Pieces of streams are many, and made in one way, as appended events are.
                records.append(record if native.is_quiet else self._sound(record))
                if native.is_quiet and self._wanted(name):
                    self._written[record.hash] = ()
        finally:
            # Records that were made are part of the chain, whatever becomes of the rest.
            if records:
                beside = None if native is None else native.beside
                self._journal.submit(
                    records, key, lambda error: settle(future, None, error), beside=beside
                )
        if records:
            await future
        return native is not None

    async def append_foreign(self, name: ContextName, payloads: Sequence[bytes]) -> None:
        """Write updates of Yjs clients as foreign records, in this order, durably and in one
        commit. Who may do so, and that they are sound and build on what is journaled, the caller
        knows. If this raises, whether they are on disk is not known."""
        self._journal.check_process()
        if self._journal.is_full:
            await self._journal.room()
        head = await self._head(name)
        key = self._writer()
        now = self._wall.now_ms()
        records = [head.join(self._clock.tick(now)) for _ in range(head.joins_needed)]
        records += [head.append_foreign(one, self._clock.tick(now)) for one in payloads]
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._journal.submit(records, key, lambda error: settle(future, None, error))
        await future

    async def append_erasures(
        self,
        name: ContextName,
        after: Frontier | None,
        make: Callable[[Incarnation], Sequence[bytes]],
    ) -> list[RecordHash]:
        """Write erasing records with the payloads that `make` gives for their writer, durably and
        in one commit; their hashes. Their past is that of `after`, or all that is held (None)."""
        self._journal.check_process()
        head = await self._head(name)
        key = self._writer()
        now = self._wall.now_ms()
        payloads = make(key.incarnation)
        joins = head.joins_needed if after is None else 0
        records = [head.join(self._clock.tick(now)) for _ in range(joins)]
        for payload in payloads:
            past = head.frontier if after is None else after
            records.append(self._sound(head.erase(payload, past, self._clock.tick(now))))
            # Those that follow have it behind the first one.
            after = EMPTY if after is not None else None
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._journal.submit(records, key, lambda error: settle(future, None, error))
        await future
        return [record.hash for record in records[joins:]]

    async def join(self, name: ContextName) -> None:
        """Tie a wide frontier together, durably."""
        head = await self._head(name)
        key = self._writer()
        now = self._wall.now_ms()
        records = [head.join(self._clock.tick(now)) for _ in range(head.joins_needed)]
        if records:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._journal.submit(records, key, lambda error: settle(future, None, error))
            await future

    async def settled_clock(self, name: ContextName) -> int:
        """Our next Yjs clock in a context, once all that we have written there is committed."""
        while True:
            await self._head(name)
            await self._journal.write(lambda _: None)
            clock = self.clock_now(name)
            if clock is not None:
                return clock

    def clock_now(self, name: ContextName) -> int | None:
        """Our next Yjs clock in a context at this very moment; None if it can't be written to."""
        if not self._go.is_set() or self._must_retire():
            self.retire()
        head = self._heads.get(name)
        return None if head is None else head.client_clock

    async def keys(self) -> dict[Incarnation, WriterKey]:
        """The keys of every incarnation this store ever had."""
        if not self._has_all_keys:
            seeds = await self._journal.read(reading.seeds)
            for incarnation, seed in seeds.items():
                if incarnation not in self._keys:
                    self._keys[incarnation] = WriterKey(seed)
            self._has_all_keys = True
        return self._keys

    @property
    def keys_at_hand(self) -> Mapping[Incarnation, WriterKey]:
        """As `keys`, as far as they were used since the store was opened."""
        return self._keys

    async def close(self) -> None:
        """Finish what was asked for; nothing is written after that."""
        while self._waiting or self._is_writing:
            self._idle.clear()
            if not self._is_writing:
                self._write_down()
            if self._is_writing:
                await self._idle.wait()
        self._closed = True

    def standing(self) -> Standing:
        """What the next session may go on from, once this one is closed."""
        found = [head.tip for head in self._heads.values()]
        tips = [tip for tip in found if tip is not None]
        # A key that has signed nothing is not in the store.
        may_go_on = bool(tips) or self._key is self._resumed
        last = self._clock.last
        if self._resumable is not None:
            last = max(last, self._resumable.clock)
        return Standing(self._present() if may_go_on else None, last, tips)

    # ---- identity -----------------------------------------------------------------------------

    def retire(self) -> None:
        """The next write begins a new incarnation: a sequence number is never used for two records,
        by nobody. What is under way ends as it began."""
        self._key = None  # It stays in `_keys`: its last records are to be signed yet.
        self._resumable = self._resumed = None
        self._heads.clear()
        self._written.clear()
        self._loading.clear()

    def hold(self) -> None:
        """Appends wait from now on until `release`."""
        self._go.clear()

    def release(self) -> None:
        self._go.set()

    # ---- what the journal tells ---------------------------------------------------------------

    def committed(self, stored: Stored, session: bytes) -> Written | None:
        """Take notice of a record that was journaled; its events, if it is one of ours and they
        were wanted."""
        name = stored.record.envelope.context
        if self._loading:
            arrived = self._loading.get(name)
            if arrived is not None:
                arrived.append(stored)
        if not session:
            if stored.record.envelope.origin != self._present():
                # Of an incarnation that was retired while this was under way.
                self._observe(stored)
            return self._written.pop(stored.record.hash, None)
        if stored.record.envelope.origin == self._present():
            self.retire()
            self.on_foreign(session)
        self._observe(stored)
        if not stored.flags & SKEWED:
            self._clock.observe(stored.record.envelope.hlc)
        return None

    def failed(self) -> None:
        """A commit failed. Whether it reached the disk is not known, so this incarnation's chains
        end here."""
        self.retire()

    def _observe(self, stored: Stored) -> None:
        head = self._heads.get(stored.record.envelope.context)
        if head is not None:
            head.observe(stored.record)

    # ---- inside -------------------------------------------------------------------------------

    def _sound(self, record: Record) -> Record:
        """A record that was made, as it is. StoreError if others would refuse it: in the journal
        it would keep its writer from syncing for good."""
        try:
            read_record(record.envelope_bytes, record.payload)
        except MalformedRecord as error:
            self.retire()  # Its chain ends before this one.
            raise StoreError(
                f"nothing was written: {error.message}",
                hint="this is a fault in Weft itself; please report it",
            ) from error
        return record

    async def _head(self, name: ContextName) -> Head:
        """The head of a context, to be written with before anything is awaited."""
        while True:
            await self._go.wait()
            if name not in self._heads:
                await self._load(name)
            if self.clock_now(name) is not None:
                return self._heads[name]

    def _write_down(self) -> None:
        """Turn what waits into records and hand them to the journal."""
        while self._waiting and not self._write_some():
            pass

    def _write_some(self) -> bool:
        """The same of the next batch; False if nobody in it has anything to write any more."""
        requests = self._waiting[:BATCH_ITEMS_MAX]
        del self._waiting[:BATCH_ITEMS_MAX]
        if not self._go.is_set() or self._must_retire():
            self.retire()
        now = self._wall.now_ms()
        chapters: dict[ContextName, _Chapter] = {}
        asked: list[tuple[_Request, list[EventId]]] = []
        for request in requests:
            if request.future.cancelled():
                continue
            head = self._heads.get(request.context)
            if head is None:
                request.future.set_result(None)
                continue
            chapter = chapters.get(request.context)
            if chapter is None:
                joins = [self._clock.tick(now) for _ in range(head.joins_needed)]
                chapter = chapters[request.context] = _Chapter(head, joins)
            try:
                ids = self._add(request, chapter, now)
            except Exception as error:  # noqa: BLE001 - it is the caller's own, and goes to him
                request.future.set_exception(error)
            else:
                asked.append((request, ids))
        if not asked:
            return False
        records = [record for chapter in chapters.values() for record in self._records(chapter)]
        self._is_writing = True
        self._journal.submit(records, self._writer(), lambda error: self._settle(asked, error))
        return True

    def _add(self, request: _Request, chapter: _Chapter, now: int) -> list[EventId]:
        """Put a request's events onto the pages of its context, all or none."""
        incarnation = self._writer().incarnation
        made: list[tuple[Hlc, EventId, Event, bytes]] = []
        for draft in request.drafts:
            hlc = self._clock.tick(now)
            id_ = event_id(hlc, incarnation)
            event = draft(id_)
            made.append((hlc, id_, event, encode_event(event)))
        pages = chapter.pages
        is_first = True
        for hlc, id_, event, data in made:
            # Events that stand before one in its record count as seen by it; so one that says
            # itself what it has seen shares no record with what others said meanwhile.
            apart = is_first and event.seen is not None
            if not pages or apart or pages[-1].size >= RECORD_PAYLOAD_BYTES:
                pages.append(_Page(hlc))
            page = pages[-1]
            page.hlc = hlc
            page.events.append((id_, event))
            page.entries.append((id_, data))
            page.size += len(data)
            is_first = False
        return [id_ for _, id_, _, _ in made]

    def _records(self, chapter: _Chapter) -> list[Record]:
        if not chapter.pages:
            return []
        head = chapter.head
        wanted = self._wanted(head.context)
        records = [head.join(hlc) for hlc in chapter.joins]
        for page in chapter.pages:
            record = head.append_events(page.entries, page.hlc)
            records.append(record)
            if wanted:
                self._written[record.hash] = page.events
        return records

    def _settle(
        self, asked: Sequence[tuple[_Request, list[EventId]]], error: BaseException | None
    ) -> None:
        """Answer everybody whose events were in the batch."""
        for request, ids in asked:
            settle(request.future, ids, error)
        if self._waiting or len(asked) > 1:
            # Those who are answered now may have more to say: the next batch waits for them.
            asyncio.get_running_loop().call_soon(self._go_on)
        else:
            self._go_on()

    def _go_on(self) -> None:
        self._is_writing = False
        if self._waiting:
            self._write_down()
        if not self._is_writing:
            self._idle.set()

    def _writer(self) -> WriterKey:
        if self._closed:
            raise StoreClosed("the store is closed")
        if self._key is None:
            self._key = self._resume() or WriterKey(self._random(32))
            self._keys[self._key.incarnation] = self._key
        return self._key

    def _resume(self) -> WriterKey | None:
        """The incarnation of the last session, if it may go on."""
        found, self._resumable = self._resumable, None
        if found is None or self._is_ahead(found.clock):
            return None
        self._clock.observe(found.clock)
        self._resumed = WriterKey(found.seed)
        return self._resumed

    def _present(self) -> Incarnation | None:
        """Who writes here, or would."""
        if self._key is not None:
            return self._key.incarnation
        return None if self._resumable is None else self._resumable.incarnation

    def _must_retire(self) -> bool:
        """Whether the machine was set back or suspended, or our own clock has run away."""
        has_jumped = self._wall.has_jumped()
        if self._is_ahead(self._clock.last):
            self._clock = HybridClock()
            return True
        return has_jumped

    def _is_ahead(self, hlc: Hlc) -> bool:
        latest = self._wall.latest_ms()
        return latest is not None and hlc_ms(hlc) > latest

    async def _load(self, name: ContextName) -> None:
        """Make the head of a context, standing on everything that is journaled."""
        if self._journal.readonly:
            raise StoreClosed(
                f"the store {self._journal.path} is open for reading only",
                hint="open it without readonly to write",
            )
        key = self._writer()
        arrived = self._loading.setdefault(name, [])
        is_resumed = key is self._resumed
        state, tip = await self._journal.read(partial(_standing_of, name, is_resumed))
        hlc = Hlc(0) if state is None else state.hlc
        latest = self._wall.latest_ms()
        if latest is not None and self._is_ahead(hlc):
            hlc = await self._journal.flag_skewed(name, latest)
        if name in self._heads or key is not self._key:
            return
        self._loading.pop(name, None)
        known = Position(0)
        head = Head(name, key, ())
        if state is not None:
            known = state.position
            head = Head(name, key, state.frontier, tip)
            self._clock.observe(hlc)
        for stored in arrived:
            if stored.position > known:
                head.observe(stored.record)
        if len(self._heads) >= _HEADS_MAX:
            # A head can't be made twice, its chain would begin anew: so a new incarnation begins.
            self.retire()
            head = Head(name, self._writer(), head.frontier)
        self._heads[name] = head


def _standing_of(
    name: ContextName, is_resumed: bool, connection: sqlite3.Connection
) -> tuple[ContextState | None, OwnHead | None]:
    """What is journaled of a context, and where the chain stands that goes on in it."""
    tip = own_head(connection, name) if is_resumed else None
    return reading.context(connection, name), tip

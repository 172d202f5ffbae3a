"""A context's document as Yjs clients edit it: it follows the journal, and is ahead of it only
while what a client has just sent is being committed.

Belongs to the thread of the event loop, because a document may not change threads; whatever takes
long is done in turns. Must never know: connections, what a client is told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from weft_engine.document.assembly import Assembly
from weft_engine.document.authoring import candidate_ids, changed, unchanged
from weft_engine.document.document import Document, is_panic
from weft_engine.document.offered import Offered, read_offered
from weft_engine.document.replay import Replay
from weft_engine.document.waiting import needs
from weft_engine.limits import (
    CHECKPOINT_BYTES,
    CHECKPOINT_RECORDS,
    YJS_FRAGMENT_BYTES,
    YJS_INLINE_BYTES,
)
from weft_engine.names import ClientId, ContextName, Incarnation, Position
from weft_engine.records.envelope import UPDATES, Kind, Record
from weft_engine.records.erasure import decode_erasure
from weft_engine.records.identity import client_id
from weft_engine.replica.checkpointing import write_checkpoint
from weft_engine.replica.held import held_candidates
from weft_engine.replica.pace import Pace, read_large, take_all
from weft_engine.replica.pages import page
from weft_engine.replica.replica import Replica
from weft_engine.storage import checkpoints, reading
from weft_engine.storage.erasers import named_events
from weft_engine.storage.ledger import Stored
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.ready import ready_part
from weft_engine.yjs.update import Id, Update, first_clocks, ranges
from weft_engine.yjs.update import Kind as StructKind

_ENCODED_KEPT: Final = 4
"""What many ask for at once, after a restart for example, they ask for in the same words."""


@dataclass(frozen=True, slots=True)
class Part:
    """`offered`: what lacks nothing of an update that lacks something, None if that is nothing.
    `lacks`: per client the first clock up to which everything must be there before more of it can
    be taken. `left`: how many structs have to wait."""

    offered: Offered | None
    lacks: Mapping[ClientId, int]
    left: int


class LiveDocument:
    """Tell it of every commit of its context, from before it is loaded on."""

    def __init__(self, replica: Replica, name: ContextName) -> None:
        self._replica = replica
        self._name = name
        self._arrived: deque[tuple[Stored, bool]] = deque()
        self._assembly = _empty()
        self._position = Position(0)
        self._held: set[Id] | None = None
        self._erased: set[str] = set()
        """The events of it that erasers name."""
        self._origins: set[Incarnation] = set()
        self._withheld: set[ClientId] = set()
        """Of whom nothing new is taken from a Yjs client: of all who wrote here, whose structs come
        in records of their own; and of whom the same was left out twice."""
        self._pace = Pace()
        self._since = self._since_bytes = 0
        """What it had to apply since its last checkpoint, in records and bytes."""
        self._encoded: dict[bytes | None, bytes] = {}
        self.version = 0
        """Another number whenever it has changed."""
        self.is_torn = False
        """It is not the document of the journal any more, or not that of all its records in order:
        load it anew."""

    def tell(self, stored: Stored, *, was_offered: bool) -> None:
        """A record was committed; `was_offered`: this document has it already."""
        record = stored.record
        if record.envelope.kind is Kind.ERASE:
            # Nothing of it is written down again, even before it is followed.
            erasure = decode_erasure(record.payload, record.envelope.origin)
            self._erased.update(erasure.events)
        self._arrived.append((stored, was_offered))

    @property
    def has_arrived(self) -> bool:
        """Whether `follow` would do something."""
        return bool(self._arrived)

    async def load(self) -> None:
        """Make it anew from the journal. If this raises, it is torn."""
        self.is_torn = True
        journal, name = self._replica.journal, self._name
        state = await journal.read(lambda connection: reading.context(connection, name))
        self._erased.update(await journal.read(lambda one: named_events(one, name)))
        self._assembly = _empty()
        self._position = Position(0)
        self._held = None
        self._origins.clear()
        self._withheld.clear()
        self._since = self._since_bytes = 0
        if state is not None:
            found = await journal.read(lambda connection: checkpoints.load(connection, state))
            if found is not None:
                if self._assembly.restore(found.state, found.tips):
                    self._position = found.position
                    for origin in found.tips:
                        self._note(origin)
                else:
                    self._assembly = _empty()
            while self._position < state.position:
                for stored in await journal.read(partial(page, state.id, self._position)):
                    if not await self._take(stored.record):
                        await self._load_whole()
                        break
                    self._position = stored.position
        self._changed()
        self.is_torn = False

    async def follow(self) -> list[bytes]:
        """Take in what was committed since; the updates of it that a client has not been told. It
        may be torn after that; then what is told is of no use."""
        updates: list[bytes] = []
        while self._arrived and not self.is_torn:
            stored, was_offered = self._arrived.popleft()
            if stored.position <= self._position:
                continue
            self._position = stored.position
            record = stored.record
            is_update = record.envelope.kind in UPDATES
            if was_offered:
                self._count(record)
                is_taken = self._assembly.pass_over(record, await read_large(record))
            else:
                is_taken = await self._take(record)
                if is_update:
                    self._changed()
                    updates.append(record.payload)
            if not is_taken or self._assembly.is_left_out(record.hash):
                self.is_torn = not is_taken
                updates.clear()
                if is_taken:
                    updates.append(self.encoded())
            if is_update and self._held is not None:
                self._held.update(candidate_ids(read_update(record.payload)))
        return updates

    async def lacks(self, offered: Offered) -> bool:
        """Whether something that it begins behind, points to or deletes has not come; or it holds
        what is withheld. A store's word under its Yjs client id is its own record: one that took
        the clocks before it would take the place of what it has written meanwhile."""
        clocks = self._assembly.clocks
        if offered.update is not None:
            is_theirs = _brings(offered.update, clocks, self._withheld)
            return is_theirs or self._assembly.lacks(offered.update)
        # What one part brings the next may need: only what no part brings must be there.
        return await asyncio.to_thread(_miss, offered.slices, dict(clocks), set(self._withheld))

    async def part(self, offered: Offered, cpu_s: Callable[[], float]) -> Part:
        """What of an update that lacks something lacks nothing. MalformedUpdate if that costs too
        much by itself; `cpu_s` tells the seconds of the processor that a thread has had."""
        clocks, withheld, data = self._assembly.clocks, self._withheld, offered.sent
        if len(data) <= YJS_INLINE_BYTES:
            return _part(data, clocks, withheld, cpu_s)
        return await asyncio.to_thread(_part, data, dict(clocks), set(withheld), cpu_s)

    def has(self, lacked: Mapping[ClientId, int]) -> bool:
        """Whether something has come of what a `Part` lacked."""
        clocks = self._assembly.clocks
        return any(clocks.get(client, 0) >= end for client, end in lacked.items())

    async def offer(self, offered: Offered) -> Sequence[bytes]:
        """Take in what a client has sent, which lacks nothing: the payloads to be written for it.
        From here until they are committed it is ahead of the journal. If this raises it is torn."""
        was_torn, self.is_torn = self.is_torn, True
        payloads = await (
            self._offer_small(offered) if offered.update else self._offer_all(offered)
        )
        self.is_torn = was_torn
        return payloads

    def brings_structs(self, offered: Offered) -> bool:
        """Whether it holds a struct that has not come."""
        clocks = self._assembly.clocks
        return any(_brings(read_update(data), clocks) for data in offered.slices)

    def sets_again(self, update: Update) -> bool:
        """Whether it sets a key of `events` or `streams` that somebody else has set."""
        document = self._assembly.document
        return any(
            struct.key is not None
            and isinstance(struct.parent, str)
            and struct.kind is not StructKind.GC
            and struct.clock >= self._assembly.clocks.get(struct.client, 0)
            and document.has_key(struct.parent, struct.key)
            for struct in update.structs
        )

    def encoded(self, since: bytes | None = None) -> bytes:
        """As an update: all of it, or what it has beyond a state vector. Made once per version."""
        found = self._encoded.get(since)
        if found is None:
            found = self._assembly.document.encoded(since)
            if since is not None and len(self._encoded) > _ENCODED_KEPT:
                # Clients may claim to have whatever they like.
                del self._encoded[next(one for one in self._encoded if one is not None)]
            self._encoded[since] = found
        return found

    @property
    def is_small(self) -> bool:
        """Whether all of it is not worth sharing."""
        return len(self.encoded()) <= YJS_FRAGMENT_BYTES

    def state_vector(self) -> bytes:
        return self._assembly.document.state_vector()

    @property
    def wants_checkpoint(self) -> bool:
        """Whether loading it again would take long."""
        is_long = self._since > CHECKPOINT_RECORDS or self._since_bytes > CHECKPOINT_BYTES
        return is_long and not self.is_torn and self._assembly.is_plain

    async def keep_checkpoint(self) -> None:
        """Write a checkpoint, if nothing was committed meanwhile."""
        self._since = self._since_bytes = 0
        journal, name = self._replica.journal, self._name
        live, version = self.encoded(), self.version
        state = await journal.read(lambda connection: reading.context(connection, name))
        if state is not None and state.position == self._position and version == self.version:
            await write_checkpoint(journal, state, live)

    # ---- inside -------------------------------------------------------------------------------

    def _changed(self) -> None:
        self.version += 1
        self._encoded.clear()

    async def _take(self, record: Record) -> bool:
        await self.turn()
        self._count(record)
        return self._assembly.take_one(record, await read_large(record))

    def _count(self, record: Record) -> None:
        self._since += 1
        self._since_bytes += len(record.payload)
        self._note(record.envelope.origin)

    def _note(self, origin: Incarnation) -> None:
        if origin not in self._origins:
            self._origins.add(origin)
            self._withheld.add(client_id(origin, self._name))

    async def _load_whole(self) -> None:
        """As `load`, for a context with an equivocation or a culprit."""
        journal, name = self._replica.journal, self._name
        state = await journal.read(lambda connection: reading.context(connection, name))
        assert state is not None, "a context with records stays"
        records: list[Record] = []
        self._position = Position(0)
        while self._position < state.position:
            some = await journal.read(partial(page, state.id, self._position))
            records += [stored.record for stored in some]
            self._position = some[-1].position
        self._assembly = _empty()
        replay = await take_all(self._assembly, records, self._pace)
        for record in records:
            self._note(record.envelope.origin)
        scribe = self._replica.scribe
        own = [one.hash for one in records if one.envelope.origin == scribe.incarnation]
        if own and replay.leaves_out(own[-1]):
            # A client's word was left out with what it built on, and so would be all that we write
            # behind it: whatever any client says from now on, and says again.
            scribe.retire()
        self._withheld |= _left_out_twice(records, replay)

    async def _offer_small(self, offered: Offered) -> Sequence[bytes]:
        update = offered.update
        assert update is not None, "it is small"
        delta = self._assembly.offer(offered.sent, update, self._assembly.document.observed)
        if delta is not None:
            self._changed()
            return (changed(offered.sent, update, delta, self._erased),)
        if not candidate_ids(update, self._erased):
            return ()
        payload = unchanged(offered.sent, update, await self._held_candidates(), self._erased)
        return () if payload is None else (payload,)

    async def _offer_all(self, offered: Offered) -> Sequence[bytes]:
        has_changed = False
        found: list[Id] = []
        for data in offered.slices:
            await self.turn()
            update = read_update(data)
            found += candidate_ids(update, self._erased)
            delta = self._assembly.offer(data, update, self._assembly.document.observed)
            has_changed = has_changed or delta is not None
        if has_changed:
            self._changed()
            return offered.records
        if not found:
            return ()
        held = await self._held_candidates()
        return () if all(one in held for one in found) else offered.records

    async def _held_candidates(self) -> set[Id]:
        """Those of all records so far; read once, when a client says again what was said."""
        if self._held is None:
            self._held = await held_candidates(self._replica.journal, self._name, self._position)
        return self._held

    async def turn(self) -> None:
        """Let others have theirs if we have had ours."""
        await self._pace.turn()


def _empty() -> Assembly[Document]:
    return Assembly(partial(Document, ClientId(0)), is_panic)


def _left_out_twice(records: Sequence[Record], replay: Replay) -> set[ClientId]:
    """The Yjs clients of whom the document leaves out the same in two records. Said again under a
    new chain, and with what holds in its past, a client's word may hold; the third time it would be
    left out as the second time, and the journal would grow with each."""
    found: set[ClientId] = set()
    begun: set[Id] = set()
    for record in records:
        if record.envelope.kind is Kind.FOREIGN and replay.leaves_out(record.hash):
            for one in first_clocks(read_update(record.payload)).items():
                if one in begun:
                    found.add(one[0])
                begun.add(one)
    return found


def _part(
    data: bytes,
    clocks: Mapping[ClientId, int],
    withheld: Container[ClientId],
    cpu_s: Callable[[], float],
) -> Part:
    ready = ready_part(data, clocks, withheld)
    offered = read_offered(ready.data, cpu_s)
    return Part(None if offered.is_empty else offered, ready.lacks, ready.left)


def _brings(
    update: Update, clocks: Mapping[ClientId, int], of: Container[ClientId] | None = None
) -> bool:
    """Whether it holds a struct that has not come, by one of these clients; None: by whomever."""
    return any(
        struct.clock + struct.length > clocks.get(struct.client, 0)
        and (of is None or struct.client in of)
        and struct.kind is not StructKind.SKIP
        for struct in update.structs
    )


def _miss(
    slices: Sequence[bytes], ends: dict[ClientId, int], withheld: Container[ClientId]
) -> bool:
    """Whether one of these lacks something, beside those before it, or brings what is withheld."""
    for data in slices:
        update = read_update(data)
        if _brings(update, ends, withheld):
            return True
        if any(ends.get(client, 0) < end for client, end in needs(update).items()):
            return True
        for client, spans in ranges(update).items():
            ends[client] = max(spans[-1][1], ends.get(client, 0))
    return False

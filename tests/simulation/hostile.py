"""Hostile writers and hostile links: sound records with bad intent, and frames that are none.

Each act is under a key of its own, or under one stolen from a store. What it writes is sound, so
every replica has to take it and come to the same result; what is not sound must change nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import pycrdt

from tests.simulation.loop import Life, in_life
from weft_engine.document.replay import replayed
from weft_engine.events.candidate import Candidate, candidates
from weft_engine.events.codec import encode_event
from weft_engine.events.event import Event, Message, Role
from weft_engine.events.part import Text
from weft_engine.limits import DEPS_MAX
from weft_engine.names import (
    ClientId,
    ContextName,
    EventId,
    Hlc,
    Incarnation,
    RecordHash,
    event_id,
    event_id_hlc,
    is_event_id,
)
from weft_engine.records.clock import COUNTER_BITS
from weft_engine.records.digest import payload_digest
from weft_engine.records.envelope import Envelope, Kind, Record, seal
from weft_engine.records.identity import SignatureItem, WriterKey, client_id
from weft_engine.storage.journal import Identity
from weft_engine.sync.end.session import Session
from weft_engine.sync.faults import LinkLost
from weft_engine.sync.framing.frames import encode
from weft_engine.sync.framing.messages import Contexts, Records, Resume, Ticket
from weft_engine.sync.interest import EVERYTHING
from weft_engine.yjs.encoder import encode_event_append
from weft_engine.yjs.lib0 import var_uint
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.stand_in import Anatomy

if TYPE_CHECKING:
    from tests.simulation.machine import Machine
    from tests.simulation.world import World

QUOTA: Final = b"hostile"
_YEAR_MS: Final = 365 * 86_400_000
_BODIES: Final = (b"{}", b"not json", b'{"kind":"later"}', b'{"a":1}')


class _Pen:
    """Writes records of one key in one context, on top of what a machine holds."""

    def __init__(self, world: World, machine: Machine, rng: random.Random) -> None:
        assert machine.replica is not None
        self.rng = rng
        self.context = ContextName(rng.choice(("sim/a", "sim/b")))
        self.key = WriterKey(rng.randbytes(32))
        self.records, self.frontier, self.seeds = machine.look_at(self.context)
        self.now_ms = machine.clock.now_ms()
        self.prev: Record | None = None
        self.clock = 0

    @property
    def client(self) -> ClientId:
        return client_id(self.key.incarnation, self.context)

    def candidates(self) -> list[tuple[Record, Candidate]]:
        return [
            (record, candidate)
            for record in self.records
            if record.envelope.kind is Kind.NATIVE
            for candidate in candidates(read_update(record.payload))
            if is_event_id(candidate.key)
        ]

    def hlc(self) -> Hlc:
        highest = max((record.envelope.hlc for record in self.records), default=0)
        return Hlc(max(highest, self.now_ms << COUNTER_BITS) + 1 + self.rng.randrange(8))

    def write(
        self,
        payload: bytes,
        *,
        hlc: Hlc | None = None,
        deps: tuple[RecordHash, ...] | None = None,
    ) -> Record:
        prev = self.prev
        deps = tuple(sorted(self.frontier if deps is None else deps))
        envelope = Envelope(
            self.context,
            self.key.incarnation,
            1 if prev is None else prev.envelope.seq + 1,
            None if prev is None else prev.hash,
            tuple(h for h in deps if prev is None or h != prev.hash)[:DEPS_MAX],
            hlc or self.hlc(),
            Kind.NATIVE,
            payload_digest(payload),
        )
        return seal(envelope, payload)

    def events(self, *entries: tuple[EventId, bytes]) -> bytes:
        return encode_event_append(self.client, self.clock, list(entries)).payload

    def sign(self, records: Sequence[Record]) -> list[SignatureItem]:
        return [self.key.sign(record.hash) for record in records]


def _said(text: str) -> bytes:
    return encode_event(Event("mallory", Message(Role.USER, (Text(text),))))


def _offer(world: World, machine: Machine, records: Sequence[Record], pen: _Pen) -> None:
    """Through the gate of a machine, as its own link would."""
    replica = machine.replica
    if replica is None:
        return
    world.counts["hostile records"] += len(records)
    items = pen.sign(records)

    async def offer() -> None:
        await replica.journal.admit(records, items, session=QUOTA, now_ms=replica.now_ms())

    world.work(machine, "hostile", offer)


def overwrite(world: World, machine: Machine, rng: random.Random) -> None:
    """Set, overwrite or delete what others have said."""
    if not machine.is_up:
        return
    pen = _Pen(world, machine, rng)
    found = pen.candidates()
    if not found:
        return
    _, victim = rng.choice(found)
    match rng.randrange(3):
        case 0:
            payload = pen.events((EventId(victim.key), _said("mine now")))
        case 1:
            payload = b"\x00\x01" + _uints(victim.client, 1, victim.clock, 1)
        case _:
            payload = _overwritten(pen, victim)
    hlc = Hlc(max(pen.hlc(), event_id_hlc(EventId(victim.key))))
    _offer(world, machine, [pen.write(payload, hlc=hlc)], pen)


def forge(world: World, machine: Machine, rng: random.Random) -> None:
    """Ids of others, and what is no event."""
    if not machine.is_up:
        return
    pen = _Pen(world, machine, rng)
    hlc = pen.hlc()
    others = [record.envelope.origin for record in pen.records]
    origin = rng.choice(others) if others else Incarnation(rng.randbytes(16))
    id_ = event_id(hlc, origin if rng.random() < 0.6 else pen.key.incarnation)
    body = rng.choice(_BODIES) if rng.random() < 0.5 else _said("forged")
    _offer(world, machine, [pen.write(pen.events((id_, body)), hlc=hlc)], pen)


def equivocate(world: World, machine: Machine, rng: random.Random) -> None:
    """Two records under one number, given to different machines. Half the time the key is one
    that was copied from a store, and the other side is its own."""
    up = [one for one in world.machines.values() if one.is_up]
    if not up:
        return
    machine = machine if machine.is_up else up[0]
    pen = _Pen(world, machine, rng)
    other = rng.choice(up)
    own = [record for record in pen.records if record.envelope.origin in pen.seeds]
    if own and rng.random() < 0.5:
        taken = rng.choice(own)
        pen.key = WriterKey(pen.seeds[taken.envelope.origin])
        pen.clock = 0
        held = {record.hash: record for record in pen.records}
        pen.prev = None if taken.envelope.prev is None else held[taken.envelope.prev]
        pen.frontier = taken.envelope.deps
        pen.clock = max((c.clock for r, c in pen.candidates() if r is taken), default=0)
    before = pen.prev
    for target, text in ((machine, "one side"), (other, "the other side")):
        pen.prev = before
        sides: list[Record] = []
        for number in range(rng.choice((1, 2))):
            hlc = pen.hlc() + number + 1
            id_ = event_id(Hlc(hlc), pen.key.incarnation)
            record = pen.write(pen.events((id_, _said(f"{text} {number}"))), hlc=Hlc(hlc))
            sides.append(record)
            pen.prev = record
            pen.clock += 1
        _offer(world, target, sides, pen)


def skew(world: World, machine: Machine, rng: random.Random) -> None:
    """Stamped a year ahead; it has to be taken, and to move nobody's clock."""
    if not machine.is_up:
        return
    pen = _Pen(world, machine, rng)
    hlc = Hlc((pen.now_ms + _YEAR_MS) << COUNTER_BITS)
    payload = pen.events((event_id(hlc, pen.key.incarnation), _said("from the future")))
    _offer(world, machine, [pen.write(payload, hlc=hlc)], pen)


def park(world: World, machine: Machine, rng: random.Random) -> None:
    """Records that wait for what does not exist."""
    if not machine.is_up:
        return
    pen = _Pen(world, machine, rng)
    records = []
    for _ in range(rng.choice((1, 5, 40))):
        id_ = event_id(pen.hlc(), pen.key.incarnation)
        deps = (RecordHash(rng.randbytes(32)),)
        records.append(
            pen.write(pen.events((id_, _said("waits"))), deps=deps, hlc=event_id_hlc(id_))
        )
    world.garbage.update(record.hash for record in records)
    _offer(world, machine, records, pen)


def garbage(world: World, machine: Machine, rng: random.Random) -> None:
    """A link to a relay on which not much makes sense."""
    relays = [relay for relay in world.relays if relay.is_up]
    if not relays:
        return
    identity = Identity(rng.randbytes(16), rng.randbytes(8))
    hello = Session(identity, interest=EVERYTHING, now_ms=0).frames_to_send()[0]
    frames = [hello] if rng.random() < 0.8 else []
    heard = world.wiretap.heard
    for _ in range(rng.randint(1, 6)):
        frame = bytearray(rng.choice(heard) if heard and rng.random() < 0.8 else rng.randbytes(40))
        for _ in range(rng.choice((0, 1, 1, 5))):
            if frame:
                frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
        if rng.random() < 0.2:
            del frame[rng.randrange(len(frame) + 1) :]
        frames.append(bytes(frame))

    _speak(world, rng.choice(relays), frames)


def _speak(world: World, relay: Machine, frames: Sequence[bytes]) -> None:
    """Say these frames to a relay, over a connection of one's own."""
    assert relay.life is not None
    life = Life("mallory")
    wire = world.network.connect(("mallory", life), (relay.name, relay.life))
    relay.receive(wire.b)

    async def speak() -> None:
        try:
            for frame in frames:
                await wire.a.send(frame)
                world.counts["garbage frames"] += 1
            while await wire.a.receive() is not None:
                pass
        except LinkLost:
            pass
        wire.a.finish()

    in_life(life, lambda: asyncio.get_running_loop().create_task(speak()))
    world.strangers.append(life)


def _overwritten(pen: _Pen, victim: Candidate) -> bytes:
    """The update by which a document overwrites an event."""
    doc: pycrdt.Doc[pycrdt.Map[str]] = pycrdt.Doc(client_id=pen.client)
    for record in replayed(pen.records):
        doc.apply_update(record.payload)
    before = doc.get_state()
    doc.get("events", type=pycrdt.Map)[victim.key] = "overwritten"
    update: bytes = doc.get_update(before)
    return update


def _uints(*values: int) -> bytes:
    return b"".join(var_uint(value) for value in values)


def impersonate(world: World, machine: Machine, rng: random.Random) -> None:
    """A record under somebody else's name, offered to a relay under a signature that is made up."""
    relays = [relay for relay in world.relays if relay.is_up]
    if not relays or not machine.is_up:
        return
    pen = _Pen(world, machine, rng)
    keys = machine.public_keys()
    found = [record for record in pen.records if record.envelope.origin in keys]
    if not found:
        return
    victim = rng.choice(found)
    origin = victim.envelope.origin
    hlc = pen.hlc()
    payload = encode_event_append(
        client_id(origin, pen.context), 1000, [(event_id(hlc, origin), _said("not me"))]
    ).payload
    envelope = Envelope(
        pen.context,
        origin,
        victim.envelope.seq + 1,
        victim.hash,
        (),
        hlc,
        Kind.NATIVE,
        payload_digest(payload),
    )
    record = seal(envelope, payload)
    _send(world, rng, record, payload, SignatureItem(keys[origin], record.hash, rng.randbytes(64)))


def stand_in(world: World, machine: Machine, rng: random.Random) -> None:
    """A record of one's own, with a stand-in for its payload and no eraser that says so."""
    if not machine.is_up:
        return
    pen = _Pen(world, machine, rng)
    id_ = event_id(pen.hlc(), pen.key.incarnation)
    payload = pen.events((id_, _said("erased by nobody")))
    record = pen.write(payload, hlc=event_id_hlc(id_))
    _send(world, rng, record, Anatomy.of(payload).blank(), pen.key.sign(record.hash))


def _send(
    world: World, rng: random.Random, record: Record, payload: bytes, item: SignatureItem
) -> None:
    """Offer what must be refused to a relay, over a link."""
    relays = [relay for relay in world.relays if relay.is_up]
    if not relays:
        return
    world.impostors.add(record.hash)
    session = Session(Identity(rng.randbytes(16), rng.randbytes(8)), interest=EVERYTHING, now_ms=0)
    _speak(
        world,
        rng.choice(relays),
        [
            session.frames_to_send()[0],
            encode(Ticket(None)),
            encode(Resume(None)),
            encode(Contexts((), last=True)),
            encode(Records(1, None, ((record.envelope_bytes, payload),), (item,))),
        ],
    )

"""Erasers among everything else, honest or not, in any order of delivery and any split, with
originals or stand-ins, and the work done sooner or later: every replica ends with the same
payloads, events, order and problems, the ones that the definitions give."""

from __future__ import annotations

import random
import sqlite3

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.test_convergence import Everything, empty_store, everything, project
from tests.worlds import World, causal_shuffle, make_world
from weft_engine.errors import MalformedRecord
from weft_engine.events.candidate import candidates
from weft_engine.names import EventId, RecordHash
from weft_engine.records.envelope import Kind, Record
from weft_engine.records.erasure import (
    Eraser,
    Erasure,
    decode_erasure,
    is_right,
    listed,
    proving,
    untouched,
)
from weft_engine.records.gate import admit
from weft_engine.records.sound import read_record
from weft_engine.storage import erasing
from weft_engine.storage.ledger import ERASED, Ledger
from weft_engine.storage.shelf import SqliteShelf
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.stand_in import Anatomy

UPDATES = (Kind.NATIVE, Kind.FOREIGN)
Payloads = dict[RecordHash, bytes]


def expected(world: World) -> Payloads:
    """The payload of each record when all erasers have been heard of, from the definitions."""
    past: dict[RecordHash, set[RecordHash]] = {}
    erasers: list[tuple[RecordHash, Erasure]] = []
    for record in world.records:
        past[record.hash] = set().union(
            *(past[parent] | {parent} for parent in record.envelope.parents)
        )
        if record.envelope.kind is Kind.ERASE:
            erasers.append((record.hash, decode_erasure(record.payload, record.envelope.origin)))
    return {record.hash: _expected(record, erasers, past) for record in world.records}


def _expected(
    record: Record,
    erasers: list[tuple[RecordHash, Erasure]],
    past: dict[RecordHash, set[RecordHash]],
) -> bytes:
    if record.envelope.kind not in UPDATES:
        return record.payload
    anatomy = Anatomy.of(record.payload)
    replaced: set[int] = set()
    for hash_, erasure in erasers:
        is_past = record.hash in past[hash_]
        if erasure.is_everything:
            if is_past:
                return anatomy.blank()
            continue
        shown = erasure.shown(anatomy)
        said = erasure.records.get(record.hash) if is_past else None
        if is_right(erasure, said, anatomy, untouched(anatomy)):
            replaced |= shown
        elif shown:
            return anatomy.blank()
    return anatomy.without(replaced)


def work(connection: sqlite3.Connection, ledger: Ledger, rng: random.Random) -> None:
    """What `replica.erasing` does, in steps of any size."""
    for position in erasing.pending(connection):
        plan = erasing.plan(connection, position)
        left = list(plan.positions)
        while left:
            some = [left.pop(0) for _ in range(min(len(left), rng.randint(1, 4)))]
            connection.execute("BEGIN")
            erasing.step(connection, plan, some)
            connection.execute("COMMIT")
            if rng.random() < 0.3:
                project(connection, rng)
        connection.execute("BEGIN")
        erasing.clear_rooms(connection, ledger.erasers, plan)
        erasing.finish(connection, plan, bytes(16))
        connection.execute("COMMIT")


def deliver(
    world: World, rng: random.Random, *, stand_ins: Payloads | None
) -> tuple[Everything, Payloads]:
    """Offer the world in some order and split; with `stand_ins` as a replica would that has done
    all the work: each record with its final payload, beside what proves it."""
    records = causal_shuffle(rng, world.records)
    if rng.random() < 0.5:
        records = rng.sample(world.records, len(world.records))
    items = {item.tip: item for item in world.items}
    erasers = [
        Eraser(r, decode_erasure(r.payload, r.envelope.origin), items[r.hash])
        for r in records
        if r.envelope.kind is Kind.ERASE
    ]
    with empty_store() as connection:
        ledger = Ledger(connection)
        while records:
            batch = [records.pop(0) for _ in range(min(len(records), rng.randint(1, 6)))]
            proofs: dict[RecordHash, list[Eraser]] = {}
            if stand_ins is not None:
                batch = [_as_stand_in(r, stand_ins[r.hash], erasers, proofs, rng) for r in batch]
            connection.execute("BEGIN")
            shelf = SqliteShelf(connection, ledger, session=b"s", now_ms=2_000_000, proofs=proofs)
            outcome = admit(shelf, batch, [items[record.hash] for record in batch])
            assert not outcome.refused
            ledger.sign(shelf.items)
            ledger.flush()
            connection.execute("COMMIT")
            if rng.random() < 0.3:
                work(connection, ledger, rng)
            if rng.random() < 0.3:
                project(connection, rng)
        work(connection, ledger, rng)
        project(connection, rng)
        payloads = {
            RecordHash(row[0]): row[1]
            for row in connection.execute("SELECT hash, payload FROM records")
        }
        flagged = {
            row[0]
            for row in connection.execute("SELECT hash FROM records WHERE flags & ?", (ERASED,))
        }
        assert flagged == {r.hash for r in world.records if payloads[r.hash] != r.payload}
        return everything(connection), payloads


def _as_stand_in(
    record: Record,
    payload: bytes,
    erasers: list[Eraser],
    proofs: dict[RecordHash, list[Eraser]],
    rng: random.Random,
) -> Record:
    if payload == record.payload or rng.random() < 0.3:
        return record
    right = proving(record.hash, payload, [eraser.erasure for eraser in erasers])
    assert right, "the stand-in of an honest replica can always be proved"
    proofs[record.hash] = [e for e in erasers if any(e.erasure is one for one in right)]
    return read_record(record.envelope_bytes, payload, erasures=right)


@given(seed=st.integers(0, 2**32), steps=st.integers(1, 60), authors=st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_every_delivery_of_erasers_ends_the_same(seed: int, steps: int, authors: int) -> None:
    world = make_world(seed, steps=steps, authors=authors, erasing=0.12)
    right = expected(world)
    first, payloads = deliver(world, random.Random(seed), stand_ins=None)
    assert payloads == right
    assert deliver(world, random.Random(seed + 1), stand_ins=None) == (first, right)
    assert deliver(world, random.Random(seed + 2), stand_ins=right) == (first, right)
    named = {
        event
        for record in world.records
        if record.envelope.kind is Kind.ERASE
        for event in decode_erasure(record.payload, record.envelope.origin).events
    }
    for record in world.records:
        if record.envelope.kind in UPDATES:
            left = {candidate.key for candidate in candidates(read_update(right[record.hash]))}
            assert left.isdisjoint(named)
    assert named.isdisjoint(event for event, _ in first[1])


@given(seed=st.integers(0, 2**32), steps=st.integers(5, 60))
@settings(max_examples=100, deadline=None)
def test_honest_erasers_that_heard_of_each_other_or_not_take_nothing_else(
    seed: int, steps: int
) -> None:
    """Of a record that every eraser of its events knew, all other events are left."""
    world = make_world(seed, steps=steps, erasing=0.1)
    right = expected(world)
    for record in world.records:
        payload = right[record.hash]
        if record.envelope.kind not in UPDATES or payload == Anatomy.of(payload).blank():
            continue
        before = Anatomy.of(record.payload)
        after = Anatomy.of(payload)
        assert after.around() == before.around()
        for index in range(len(before.spans)):
            assert after.struct(index) == before.struct(index) or after.is_empty(index)


@given(seed=st.integers(0, 2**32), steps=st.integers(5, 50))
@settings(max_examples=150, deadline=None)
def test_whatever_else_a_peer_puts_in_place_of_a_payload_is_refused(seed: int, steps: int) -> None:
    world = make_world(seed, steps=steps, erasing=0.15)
    rng = random.Random(seed)
    right = expected(world)
    erasures = [
        decode_erasure(r.payload, r.envelope.origin)
        for r in world.records
        if r.envelope.kind is Kind.ERASE
    ]
    for record in world.records:
        payload = right[record.hash]
        if record.envelope.kind not in UPDATES or payload == record.payload:
            continue
        read_record(record.envelope_bytes, payload, erasures=erasures)
        _expect_refusal(record, payload, [])
        if payload == Anatomy.of(payload).blank():
            continue
        at = rng.randrange(len(payload))
        altered = payload[:at] + bytes((payload[at] ^ 1 << rng.randrange(8),)) + payload[at + 1 :]
        if altered != record.payload:
            _expect_refusal(record, altered, erasures)
        others = [i for i in range(len(Anatomy.of(payload).spans)) if i not in _gone(payload)]
        if others:
            # Somebody else's words, taken out on the occasion.
            _expect_refusal(
                record, Anatomy.of(payload).without([rng.choice(others)]), _honest(erasures, record)
            )


def _gone(payload: bytes) -> set[int]:
    anatomy = Anatomy.of(payload)
    return {index for index in range(len(anatomy.spans)) if anatomy.is_empty(index)}


def _honest(erasures: list[Erasure], record: Record) -> list[Erasure]:
    return [
        erasure
        for erasure in erasures
        if is_right(
            erasure,
            erasure.records.get(record.hash),
            Anatomy.of(record.payload),
            untouched(Anatomy.of(record.payload)),
        )
    ]


def _expect_refusal(record: Record, payload: bytes, erasures: list[Erasure]) -> None:
    try:
        read_record(record.envelope_bytes, payload, erasures=erasures)
    except MalformedRecord:
        return
    blank = Anatomy.of(record.payload).blank()
    assert erasures, "a stand-in was taken without an eraser"
    assert payload in (blank, record.payload), "an altered payload was taken"


@given(seed=st.integers(0, 2**32), steps=st.integers(3, 40))
@settings(max_examples=100, deadline=None)
def test_an_eraser_of_events_can_not_take_out_what_stands_beside_them(
    seed: int, steps: int
) -> None:
    """Its list is true but for a struct that is not its to erase: the stand-in proves nothing."""
    world = make_world(seed, steps=steps)
    for record in world.records:
        anatomy = Anatomy.of(record.payload)
        keys = [struct.key for struct in anatomy.update.structs]
        if len(set(keys)) < 2:
            continue
        named = keys[0]
        assert named is not None
        said = listed(anatomy, untouched(anatomy), range(len(keys)))
        erasure = Erasure((EventId(named),), None, "x", {record.hash: said})
        _expect_refusal(record, anatomy.without(range(len(keys))), [erasure])
        own = listed(anatomy, untouched(anatomy), erasure.shown(anatomy))
        honest = Erasure(erasure.events, None, "x", {record.hash: own})
        _expect_refusal(record, anatomy.without(range(len(keys))), [honest, erasure])

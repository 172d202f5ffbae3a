"""Any order of delivery, any split, duplicates, equivocations, overwrites and repeated imports end
in the same journal, events and reading order; the order is the one the definitions give."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds import (
    CONTEXT,
    Author,
    World,
    causal_shuffle,
    make_world,
    reference_orders,
    reference_streams,
    sign,
    standing,
)
from weft_engine.events.codec import encode_event
from weft_engine.events.event import Branch, Event, Message, Role
from weft_engine.events.fold import fold
from weft_engine.events.part import Text
from weft_engine.events.row import branch_bytes, event_id_of
from weft_engine.events.table import Journaled
from weft_engine.names import EventId, Position, event_id_hlc
from weft_engine.records.clock import HybridClock
from weft_engine.records.frontier import fingerprint
from weft_engine.records.gate import admit
from weft_engine.records.identity import WriterKey
from weft_engine.storage import reading
from weft_engine.storage.context_digest import ContextDigest
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.ledger import Ledger
from weft_engine.storage.lineage import Lineage, ReadingOrder
from weft_engine.storage.schema import connect, create
from weft_engine.storage.shelf import SqliteShelf
from weft_engine.storage.waist_check import is_waist

Orders = dict[EventId | None, list[list[str]]]
Streams = list[tuple[str, bytes]]
Everything = tuple[bytes, list[tuple[str, str]], Orders, list[tuple[str, str]], Streams]


@contextmanager
def empty_store() -> Iterator[sqlite3.Connection]:
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        path = Path(folder) / "s.db"
        create(path, store_id=bytes(16), epoch=bytes(8), created_ms=0)
        connection = connect(path, readonly=False)
        try:
            yield connection
        finally:
            connection.close()


def deliver(world: World, rng: random.Random, *, causal: bool) -> Everything:
    """Offer the world in some order and split, folding now and then: what is there at the end."""
    records = (
        causal_shuffle(rng, world.records)
        if causal
        else rng.sample(world.records, len(world.records))
    )
    records += rng.choices(world.records, k=len(world.records) // 3) if world.records else []
    items = {item.tip: item for item in world.items}
    with empty_store() as connection:
        ledger = Ledger(connection)
        while records:
            batch = [records.pop(0) for _ in range(min(len(records), rng.randint(1, 6)))]
            connection.execute("BEGIN")
            shelf = SqliteShelf(connection, ledger, session=b"s", now_ms=2_000_000)
            outcome = admit(shelf, batch, [items[record.hash] for record in batch])
            assert not outcome.refused
            ledger.sign(shelf.items)
            ledger.flush()
            connection.execute("COMMIT")
            if rng.random() < 0.4:
                project(connection, rng)
        project(connection, rng)
        return everything(connection)


def project(connection: sqlite3.Connection, rng: random.Random) -> None:
    while True:
        state = reading.context(connection, CONTEXT)
        if state is None or state.projected == state.position:
            return
        some = reading.records_after(
            connection, state.id, state.projected, records_max=rng.randint(1, 8), bytes_max=1 << 20
        )
        table = EventTable(connection, state.id)
        frontier = state.projected_frontier
        changes = fold(
            table,
            [Journaled(s.position, s.record) for s in some],
            frontier=frontier,
            count=lambda _, message: len(message.parts),
        )
        from weft_engine.records.frontier import advance

        for stored in some:
            frontier = advance(frontier, stored.record.envelope.parents, stored.record.hash)
        connection.execute("BEGIN")
        table.save(changes, upto=some[-1].position, frontier=frontier)
        connection.execute("COMMIT")


def everything(connection: sqlite3.Connection) -> Everything:
    state = reading.context(connection, CONTEXT)
    if state is None:
        return (b"", [], {None: []}, [], [])
    table = EventTable(connection, state.id)
    rows = table.by_time(after=None, before=None, limit=10_000)
    bodies = table.bodies(rows)
    orders: Orders = {None: order_of(table)}
    for (branch,) in connection.execute("SELECT branch FROM lines"):
        lineage = Lineage(table, event_id_of(branch))
        orders[event_id_of(branch)] = order_of(lineage)
        check_readers(lineage)
    for branch in orders:
        for row in table.waists(branch_bytes(branch)):
            assert is_waist(table, row), "a generation that saw all before it, and was seen by all"
    hashes = {
        Position(position): hash_
        for position, hash_ in connection.execute("SELECT position, hash FROM records")
    }
    problems = sorted((hashes[p].hex() + key, reason) for p, key, reason in table.problems())
    digest = ContextDigest(CONTEXT)
    while (is_done := digest.step(connection)) is False:
        pass
    return (
        fingerprint(state.frontier) + (digest.value if is_done else b"something is erased"),
        [(str(row.id), bodies[row.key].decode()) for row in rows],
        orders,
        problems,
        sorted(
            (str(event_id_of(id_)), hashes[position]) for id_, position in table.streams.listed()
        ),
    )


def order_of(order: ReadingOrder) -> list[list[str]]:
    """The ids under which each message is shown; of a class, those that are read alike anywhere."""
    return [[str(row.id)] for row in order.oldest(after=None, limit=10_000)]


def check_readers(order: Lineage) -> None:
    """Every question about an order is answered from the same order."""
    rows = order.oldest(after=None, limit=10_000)
    places = [row.place for row in rows if row.place is not None]
    assert places == sorted(set(places))
    assert len(places) == len(rows)
    assert list(order.newest(chunk=2)) == rows[::-1]
    assert order.placed() == len(rows)
    assert order.last_place() == (places[-1] if places else None)
    for at in range(0, len(rows), 3):
        assert order.oldest(after=places[at], limit=4) == rows[at + 1 : at + 5]
        assert order.placed_before(places[at], 4) == rows[max(0, at - 4) : at]
        assert order.placed_after(places[at]) == rows[at + 1 :]
        assert list(order.newest(before=places[at], chunk=1)) == rows[:at][::-1]
    found = order.by_ids([row.identity for row in rows])
    assert [found[row.identity].place for row in rows] == places


def shown(records: World) -> Orders:
    """What the definitions say: each message under the least (time, id) of its class."""
    times: dict[EventId, tuple[int, EventId]] = {}
    for one in standing(records.records):
        times[one.key] = (min(event_id_hlc(one.key), one.record.envelope.hlc), one.key)
    return {
        branch: [[str(min(ids, key=times.__getitem__))] for ids in order]
        for branch, order in reference_orders(records.records).items()
    }


@given(seed=st.integers(0, 2**32), steps=st.integers(0, 70), authors=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_every_delivery_ends_the_same(seed: int, steps: int, authors: int) -> None:
    check(make_world(seed, steps=steps, authors=authors), seed)


@given(seed=st.integers(0, 2**32), steps=st.integers(0, 60), authors=st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_every_delivery_of_branches_ends_the_same(seed: int, steps: int, authors: int) -> None:
    check(make_world(seed, steps=steps, authors=authors, branching=0.15), seed)


@given(seed=st.integers(0, 2**32), steps=st.integers(0, 70), authors=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_streams_that_broke_off_stand_the_same_in_every_delivery(
    seed: int, steps: int, authors: int
) -> None:
    check(make_world(seed, steps=steps, authors=authors, streams=0.6), seed)


@given(seed=st.integers(0, 2**32), steps=st.integers(0, 60), authors=st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_streams_on_branches_stand_the_same_in_every_delivery(
    seed: int, steps: int, authors: int
) -> None:
    check(make_world(seed, steps=steps, authors=authors, branching=0.15, streams=0.5), seed)


@given(seed=st.integers(0, 2**32), steps=st.integers(0, 60), authors=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_branches_that_are_written_on_before_they_begin(
    seed: int, steps: int, authors: int
) -> None:
    world = make_world(seed, steps=steps, authors=authors, branching=0.3, streams=0.3, early=0.5)
    check(world, seed)


def test_a_waist_had_seen_what_was_written_on_a_branch_before_it_began() -> None:
    author = Author(WriterKey(bytes(32)), HybridClock(), wall_ms=1_000_000)
    branch = author.new_id()
    events = [
        (author.new_id(), Message(Role.USER, (Text("question"),)), None),
        (author.new_id(), Message(Role.USER, (Text("early"),)), branch),
        (author.new_id(), Message(Role.ASSISTANT, (Text("answer"),)), None),
    ]
    made = [
        author.write([(id_, encode_event(Event("a", body, branch=on)))]) for id_, body, on in events
    ]
    begun = encode_event(Event("a", Branch("b", (made[-1].hash,))))
    made.append(author.write([(branch, begun)]))
    world = World(made, [sign(author.key, record) for record in made])
    orders = reference_orders(world.records)
    assert [ids[0] for ids in orders[branch]] == [id_ for id_, _, _ in events]
    check(world, 1)


@pytest.mark.parametrize(
    ("seed", "steps", "authors", "branching"),
    [(2602, 21, 1, 0.15), (338, 11, 4, 0.3), (5730, 14, 4, 0.3), (2, 11, 2, 0.15)],
)
def test_branches_that_were_wrong_once(
    seed: int, steps: int, authors: int, branching: float
) -> None:
    """An import that a branch shares and has; a base that is gone; an id that changes branches; a
    cut within the first record."""
    check(make_world(seed, steps=steps, authors=authors, branching=branching), seed)


def check(world: World, seed: int) -> None:
    first = deliver(world, random.Random(seed), causal=True)
    assert first[2] == shown(world)
    assert first[4] == sorted(reference_streams(world.records))
    for extra in (1, 2):
        assert deliver(world, random.Random(seed + extra), causal=False) == first

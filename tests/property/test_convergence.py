"""Any order of delivery, any split, duplicates, equivocations, overwrites and repeated imports end
in the same journal, events and reading order; the order is the one the definitions give."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds import CONTEXT, World, causal_shuffle, make_world, reference_order
from weft_engine.events.fold import fold
from weft_engine.events.table import Journaled
from weft_engine.names import Position
from weft_engine.records.frontier import fingerprint
from weft_engine.records.gate import admit
from weft_engine.storage import reading
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.ledger import Ledger
from weft_engine.storage.schema import connect, create
from weft_engine.storage.shelf import SqliteShelf

Everything = tuple[bytes, list[tuple[str, str]], list[list[str]], list[tuple[str, str]]]


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
        return (b"", [], [], [])
    table = EventTable(connection, state.id)
    rows = table.by_time(after=None, before=None, limit=10_000)
    bodies = table.bodies(rows)
    order = []
    for row in table.oldest(after=None, limit=10_000):
        members = table.by_classes([row.digest])[row.digest] if row.digest else [row]
        order.append(sorted(str(member.id) for member in members))
    hashes = {
        Position(position): hash_
        for position, hash_ in connection.execute("SELECT position, hash FROM records")
    }
    problems = sorted((hashes[p].hex() + key, reason) for p, key, reason in table.problems())
    return (
        fingerprint(state.frontier),
        [(str(row.id), bodies[row.key].decode()) for row in rows],
        order,
        problems,
    )


@given(seed=st.integers(0, 2**32), steps=st.integers(0, 70), authors=st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_every_delivery_ends_the_same(seed: int, steps: int, authors: int) -> None:
    world = make_world(seed, steps=steps, authors=authors)
    expected = [[str(i) for i in ids] for ids in reference_order(world.records)]
    first = deliver(world, random.Random(seed), causal=True)
    assert first[2] == expected
    for extra in (1, 2):
        assert deliver(world, random.Random(seed + extra), causal=False) == first

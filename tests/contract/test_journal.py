"""What every journal must do, whatever it is kept in. One suite for every adapter."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.stores import folder
from tests.worlds import CONTEXT, causal_shuffle, make_world
from weft_engine.errors import StoreClosed, StoreError
from weft_engine.names import ContextName, Hlc, Position, RecordHash
from weft_engine.records.digest import payload_digest
from weft_engine.records.envelope import Envelope, Kind, Record, seal
from weft_engine.records.frontier import advance
from weft_engine.records.identity import WriterKey
from weft_engine.storage import ancestry, reading
from weft_engine.storage.journal import SqliteJournal
from weft_engine.storage.ledger import SKEWED, Stored

NOW_MS = 1_700_000_000_000
ADAPTERS = ("sqlite",)


@pytest.fixture(params=ADAPTERS)
async def journal(request: pytest.FixtureRequest) -> AsyncIterator[SqliteJournal]:
    assert request.param == "sqlite"
    with folder() as place:
        opened = open_journal(place / "j.db")
        yield opened
        await opened.close()


def open_journal(path: Path) -> SqliteJournal:
    rng = random.Random(5)
    return SqliteJournal.open(path, readonly=False, now_ms=NOW_MS, random=rng.randbytes)


async def append(journal: SqliteJournal, records: Sequence[Record], key: WriterKey) -> None:
    done: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    journal.submit(records, key, done.set_result)
    error = await done
    if error is not None:
        raise error


def chain(key: WriterKey, count: int, *, context: str = "c", hlc: int = 1) -> list[Record]:
    records: list[Record] = []
    for seq in range(1, count + 1):
        envelope = Envelope(
            ContextName(context),
            key.incarnation,
            seq,
            records[-1].hash if records else None,
            (),
            Hlc(hlc + seq),
            Kind.JOIN,
            payload_digest(b""),
        )
        records.append(seal(envelope, b""))
    return records


async def stored(journal: SqliteJournal, context: str = "c") -> list[Stored]:
    state = await journal.read(lambda c: reading.context(c, context))
    if state is None:
        return []
    return await journal.read(
        lambda c: reading.records_after(
            c, state.id, Position(0), records_max=1 << 20, bytes_max=1 << 30
        )
    )


async def test_what_is_appended_is_read_back_in_order(journal: SqliteJournal) -> None:
    key = WriterKey(bytes(32))
    records = chain(key, 300)
    await asyncio.gather(*(append(journal, [record], key) for record in records))
    found = await stored(journal)
    assert [one.record for one in found] == records
    assert [one.position for one in found] == list(range(1, 301))
    state = await journal.read(lambda c: reading.context(c, "c"))
    assert state is not None
    assert (state.frontier, state.records) == ((records[-1].hash,), 300)


async def test_positions_go_on_after_reopening(journal: SqliteJournal) -> None:
    key = WriterKey(bytes(32))
    records = chain(key, 3)
    await append(journal, records[:2], key)
    await journal.close()
    again = open_journal(journal.path)
    try:
        await append(again, records[2:], key)
        assert [one.position for one in await stored(again)] == [1, 2, 3]
        assert again.identity == journal.identity
    finally:
        await again.close()


async def test_listeners_hear_of_what_is_durable_and_of_nothing_twice(
    journal: SqliteJournal,
) -> None:
    heard: list[tuple[RecordHash, bytes]] = []
    end = journal.listen(lambda some, who: heard.extend((s.record.hash, who) for s in some))
    ours, theirs = WriterKey(bytes(32)), WriterKey(bytes(31) + b"x")
    mine, other = chain(ours, 1), chain(theirs, 2)
    await append(journal, mine, ours)
    items = [theirs.sign(other[1].hash)]
    for _ in range(2):
        outcome = await journal.admit(other, items, session=b"peer", now_ms=NOW_MS)
    assert outcome.applied == []
    end()
    await append(journal, chain(ours, 1, context="d"), ours)
    assert heard == [(mine[0].hash, b""), (other[0].hash, b"peer"), (other[1].hash, b"peer")]


async def test_a_listener_hears_of_an_admission_that_nobody_waits_for(
    journal: SqliteJournal,
) -> None:
    key = WriterKey(bytes(32))
    records = chain(key, 1)
    heard = asyncio.Event()
    journal.listen(lambda some, who: heard.set())
    task = asyncio.create_task(
        journal.admit(records, [key.sign(records[0].hash)], session=b"p", now_ms=NOW_MS)
    )
    await asyncio.sleep(0)
    task.cancel()
    await heard.wait()
    assert len(await stored(journal)) == 1


async def test_records_wait_for_their_past_and_for_a_signature(journal: SqliteJournal) -> None:
    key = WriterKey(bytes(32))
    first, second, third = chain(key, 3)
    outcome = await journal.admit([second], [key.sign(second.hash)], session=b"p", now_ms=NOW_MS)
    assert (outcome.parked, outcome.missing) == ([second.hash], {first.hash})
    assert await stored(journal) == []
    # The signature of the second covers the first as well; the third is beyond it.
    outcome = await journal.admit([first, third], [], session=b"p", now_ms=NOW_MS)
    assert [record.hash for record in outcome.applied] == [first.hash, second.hash]
    assert outcome.parked == [third.hash]
    outcome = await journal.admit([], [key.sign(third.hash)], session=b"p", now_ms=NOW_MS)
    assert [record.hash for record in outcome.applied] == [third.hash]


async def test_a_signature_of_another_key_covers_nothing(journal: SqliteJournal) -> None:
    key, thief = WriterKey(bytes(32)), WriterKey(bytes(31) + b"t")
    (record,) = chain(key, 1)
    outcome = await journal.admit([record], [thief.sign(record.hash)], session=b"p", now_ms=NOW_MS)
    assert outcome.parked == [record.hash]


async def test_nobody_vouches_for_another_by_building_on_him(journal: SqliteJournal) -> None:
    victim, thief = WriterKey(bytes(32)), WriterKey(bytes(31) + b"t")
    (forged,) = chain(victim, 1)
    envelope = Envelope(
        ContextName("c"),
        thief.incarnation,
        2,
        forged.hash,
        (),
        Hlc(9),
        Kind.JOIN,
        payload_digest(b""),
    )
    behind = seal(envelope, b"")
    items = [thief.sign(behind.hash)]
    for offered in ([behind, forged], [behind], [forged], [forged, behind]):
        outcome = await journal.admit(offered, items, session=b"p", now_ms=NOW_MS)
        assert outcome.applied == []
    assert await stored(journal) == []


async def test_a_record_from_the_future_is_taken_and_moves_no_clock(
    journal: SqliteJournal,
) -> None:
    key = WriterKey(bytes(32))
    (record,) = chain(key, 1, hlc=(NOW_MS + 3_600_000) << 16)
    await journal.admit([record], [key.sign(record.hash)], session=b"p", now_ms=NOW_MS)
    assert [one.flags for one in await stored(journal)] == [SKEWED]
    state = await journal.read(lambda c: reading.context(c, "c"))
    assert state is not None
    assert state.hlc == 0


def lacked(
    state: reading.ContextState, have: Sequence[RecordHash], connection: sqlite3.Connection
) -> list[Stored]:
    positions = ancestry.lacking(connection, state, have)
    return reading.records_at(connection, positions, bytes_max=1 << 30)


async def test_what_a_peer_lacks_is_what_is_outside_its_past(journal: SqliteJournal) -> None:
    rng = random.Random(3)
    world = make_world(11, steps=60, authors=3)
    await journal.admit(world.records, world.items, session=b"p", now_ms=NOW_MS)
    state = await journal.read(lambda c: reading.context(c, CONTEXT))
    assert state is not None
    order = causal_shuffle(rng, world.records)
    for count in range(0, len(order), 7):
        held = order[:count]
        frontier: tuple[RecordHash, ...] = ()
        for record in held:
            frontier = advance(frontier, record.envelope.parents, record.hash)
        found = await journal.read(partial(lacked, state, frontier))
        expected = {record.hash for record in order} - {record.hash for record in held}
        assert {one.record.hash for one in found} == expected


def lacked_together(
    asked: Sequence[tuple[reading.ContextState, Sequence[RecordHash]]],
    connection: sqlite3.Connection,
) -> list[list[RecordHash]]:
    """As `lacked`, of many contexts: by their hashes."""
    held = []
    for state, have in asked:
        held.append((state, reading.positions_of(connection, have, context_id=state.id)))
    found = []
    for (state, _), one in zip(asked, ancestry.lacking_of_many(connection, held), strict=True):
        some = reading.records_at(connection, one.positions, bytes_max=1 << 30)
        some += reading.records_after(
            connection, state.id, one.after, records_max=1 << 30, bytes_max=1 << 30
        )
        assert len({stored.position for stored in some}) == len(some)
        found.append([stored.record.hash for stored in some])
    return found


@pytest.mark.parametrize("rows", [0, 1, 1000])
async def test_what_is_lacking_of_many_contexts_is_what_is_of_each(
    journal: SqliteJournal, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much of it is read together."""
    monkeypatch.setattr(ancestry, "_ROWS_PER_CONTEXT", rows)
    rng = random.Random(rows)
    key = WriterKey(bytes(32))
    for name in ("a", "b", "c"):
        await append(journal, chain(key, 40, context=name), key)
    world = make_world(12, steps=60, authors=3)
    await journal.admit(world.records, world.items, session=b"p", now_ms=NOW_MS)
    states = await journal.read(lambda c: reading.contexts(c))
    for _ in range(20):
        asked: list[tuple[reading.ContextState, Sequence[RecordHash]]] = []
        for state in rng.sample(states, len(states)):
            stored = await journal.read(partial(lacked, state, ()))
            order = [one.record for one in stored]
            if state.name == CONTEXT:
                order = causal_shuffle(rng, order)
            frontier: tuple[RecordHash, ...] = ()
            for record in order[: rng.randrange(len(order) + 1)]:
                frontier = advance(frontier, record.envelope.parents, record.hash)
            asked.append((state, frontier))
        together = await journal.read(partial(lacked_together, asked))
        for (state, have), found in zip(asked, together, strict=True):
            each = await journal.read(partial(lacked, state, have))
            assert sorted(found) == sorted(one.record.hash for one in each)


async def test_names_are_listed_by_prefix_in_order(journal: SqliteJournal) -> None:
    key = WriterKey(bytes(32))
    names = ["a", "a/b", "a/\U0010ffff", "ab", "b"]
    for name in names:
        await append(journal, chain(key, 1, context=name), key)

    async def listed(prefix: str) -> list[str]:
        return [s.name for s in await journal.read(lambda c: reading.contexts(c, prefix=prefix))]

    assert await listed("") == sorted(names, key=str.encode)
    assert await listed("a/") == ["a/b", "a/\U0010ffff"]
    assert await listed("c") == []


async def test_a_closed_journal_says_so(journal: SqliteJournal) -> None:
    await journal.close()
    with pytest.raises(StoreClosed):
        await append(journal, chain(WriterKey(bytes(32)), 1), WriterKey(bytes(32)))
    with pytest.raises(StoreClosed):
        await journal.read(lambda c: reading.context(c, "c"))


async def test_nobody_hears_of_an_admission_whose_commit_failed(journal: SqliteJournal) -> None:
    """The gate had said yes; then something else in the same commit failed."""
    key = WriterKey(bytes(32))
    record = chain(key, 1)[0]
    heard: list[Stored] = []
    journal.listen(lambda stored, _: heard.extend(stored))
    begun, together = threading.Event(), threading.Event()

    def hold_up(_: sqlite3.Connection) -> None:
        begun.set()
        together.wait()

    waiting = asyncio.create_task(journal.write(hold_up))
    await asyncio.to_thread(begun.wait)
    admitting = asyncio.create_task(
        journal.admit([record], [key.sign(record.hash)], session=b"s", now_ms=NOW_MS)
    )
    failing = asyncio.create_task(journal.write(lambda c: c.execute("INSERT INTO nothing")))
    await asyncio.sleep(0)
    together.set()
    await waiting
    results = await asyncio.gather(admitting, failing, return_exceptions=True)
    assert all(isinstance(result, StoreError) for result in results)
    assert not heard
    assert await journal.read(reading.last_position) == 0

"""`weft verify` is green for stores that are well, however they came about, and sees any damage."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from tests.command_line import conversation, opened
from tests.worlds import CONTEXT, Author, World, causal_shuffle, make_world
from weft_engine.errors import MalformedRecord
from weft_engine.events.codec import encode_event
from weft_engine.events.event import Event, Message, Role
from weft_engine.events.fold import fold
from weft_engine.events.part import Text
from weft_engine.events.table import Journaled
from weft_engine.names import EventId, Position
from weft_engine.records.clock import HybridClock
from weft_engine.records.envelope import Record
from weft_engine.records.frontier import EMPTY, advance
from weft_engine.records.identity import WriterKey
from weft_engine.records.sound import read_record
from weft_engine.replica.replica import Replica
from weft_engine.storage import reading
from weft_engine.storage.event_schema import INDEX_TABLES
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.verify import Report, verify
from weft_engine.views.count import count_message
from weft_engine.views.tokenizer import DEFAULT_TOKENIZER, Tokenizer
from weft_server.cli import main


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def check(store: Path) -> Report:
    return verify(store, progress=lambda what, done, total: None)


def is_sound(record: Record) -> bool:
    """Whether a replica takes it: some records of a world overwrite an event of their future."""
    try:
        read_record(record.envelope_bytes, record.payload)
    except MalformedRecord:
        return False
    return True


async def receive(replica: Replica, world: World, rng: random.Random, *, drop: int = 0) -> None:
    """Take in a world of other writers' records, all but the first `drop`, in small batches."""
    records = [record for record in causal_shuffle(rng, world.records)[drop:] if is_sound(record)]
    items = {item.tip: item for item in world.items}
    for start in range(0, len(records), 5):
        some = records[start : start + 5]
        await replica.journal.admit(
            some, [items[record.hash] for record in some], session=b"peer", now_ms=now_ms()
        )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with everything in it: own and foreign records, equivocations, problems, imports,
    a view, and a waiting room."""
    folder = tmp_path_factory.mktemp("whole")
    store, lines = folder / "s.db", folder / "c.jsonl"
    lines.write_text(
        f"{conversation('acme/one', 'a', 'b', 'c', 'd')}\n{conversation('acme/two', 'x', 'y')}\n"
    )
    assert main(["import", str(lines), "--store", str(store)]) == 0

    async def fill() -> None:
        async with Replica.open(store, now_ms=now_ms, random=os.urandom) as replica:
            chat = replica.context("acme/one")
            await chat.append(["more", "and more"])
            await chat.configure(budget=4_000)
            await chat.view(trace_id="t")
            await receive(replica, make_world(7, steps=80, branching=0.2), random.Random(1))
            state = await replica.state(chat.name)
            assert state is not None
            stored = await replica.journal.read(
                lambda connection: reading.records_after(
                    connection, state.id, Position(0), records_max=2, bytes_max=1 << 20
                )
            )
            await replica.signature_items(stored)

    asyncio.run(fill())
    return store


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "s.db"
    shutil.copy(whole, copy)
    return copy


def test_a_whole_store_is_sound(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = check(store)
    assert report.findings == ()
    assert report.is_sound
    assert report.contexts == 3
    assert report.records > 20
    assert report.signatures > 20
    assert report.unsigned > 0
    with opened(store) as connection:
        for table in (
            "records",
            "signatures",
            "events",
            "problems",
            "lines",
            "borrowed",
            "receipts",
        ):
            (rows,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            assert rows > 0, table
    assert main(["verify", "--store", str(store)]) == 0
    assert "sound" in capsys.readouterr().out


def test_verify_changes_nothing(store: Path) -> None:
    before = store.read_bytes()
    check(store)
    assert store.read_bytes() == before


def test_progress_reaches_the_end(store: Path) -> None:
    told: dict[str, tuple[int, int]] = {}

    def progress(what: str, done: int, total: int) -> None:
        told[what] = (done, total)

    records = verify(store, progress=progress).records
    assert told["checking records"] == (records, records)
    assert told["checking event indexes"] == (records, records)


# ---- damage ---------------------------------------------------------------------------------

BLOBS = [
    ("records", "envelope"),
    ("records", "payload"),
    ("records", "hash"),
    ("signatures", "signature"),
    ("origins", "public_key"),
    ("origins", "incarnation"),
    ("origins", "seed"),
    ("contexts", "frontier"),
    ("contexts", "hlc"),
    ("contexts", "projected_frontier"),
    ("events", "key"),
    ("events", "class"),
    ("events", "branch"),
    ("lines", "branch"),
    ("lines", "parent"),
    ("lines", "cut"),
    ("borrowed", "key"),
]
NUMBERS = [
    ("records", "context"),
    ("records", "origin"),
    ("records", "seq"),
    ("records", "flags"),
    ("signatures", "position"),
    ("contexts", "records"),
    ("contexts", "position"),
    ("contexts", "projected"),
    ("events", "context"),
    ("events", "position"),
    ("events", "start"),
    ("events", "size"),
    ("events", "rank"),
    ("events", "kind"),
    ("events", "role"),
    ("events", "tokens"),
    ("events", "carry"),
    ("lines", "base"),
    ("lines", "whole"),
    ("lines", "depth"),
    ("borrowed", "place"),
    ("problems", "context"),
    ("problems", "position"),
    ("problems", "clock"),
]


@pytest.mark.parametrize(("table", "column"), BLOBS)
def test_any_flipped_byte_is_found(store: Path, table: str, column: str) -> None:
    rng = random.Random(f"{table}.{column}")
    with opened(store) as connection:
        key = _key(connection, table)
        rows = connection.execute(
            f"SELECT {column}, {key} FROM {table} WHERE length({column}) > 0"
        ).fetchall()
    for old, *where in rng.sample(rows, min(5, len(rows))):
        at = rng.randrange(len(old))
        new = bytearray(old)
        new[at] ^= 1 << rng.randrange(8)
        with _changed(store, table, column, key, where, old, bytes(new)):
            report = check(store)
            assert not report.is_sound, f"{table}.{column} of {where}, byte {at}"
            assert report.findings


@pytest.mark.parametrize(("table", "column"), NUMBERS)
def test_any_changed_number_is_found(store: Path, table: str, column: str) -> None:
    rng = random.Random(f"{table}.{column}")
    with opened(store) as connection:
        key = _key(connection, table)
        rows = connection.execute(
            f"SELECT {column}, {key} FROM {table} WHERE {column} IS NOT NULL"
        ).fetchall()
    for old, *where in rng.sample(rows, min(3, len(rows))):
        with _changed(store, table, column, key, where, old, old + 1000):
            assert not check(store).is_sound, f"{table}.{column} of {where}"


class _changed:
    """One value of a store is another one inside the block."""

    def __init__(
        self,
        store: Path,
        table: str,
        column: str,
        key: str,
        where: list[object],
        old: object,
        new: object,
    ) -> None:
        self._store = store
        names = key.split(", ")
        condition = " AND ".join(f"{name} IS ?" for name in names)
        self._sql = f"UPDATE {table} SET {column} = ? WHERE {condition}"
        self._where = where
        self._moved = [new if name == column else w for name, w in zip(names, where, strict=True)]
        self._old, self._new = old, new

    def __enter__(self) -> None:
        self._run(self._new, self._where)

    def __exit__(self, *_: object) -> None:
        self._run(self._old, self._moved)

    def _run(self, value: object, where: list[object]) -> None:
        with opened(self._store) as connection:
            assert connection.execute(self._sql, (value, *where)).rowcount == 1


def _key(connection: sqlite3.Connection, table: str) -> str:
    columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
    return ", ".join(column[1] for column in columns if column[5])


DAMAGE = {
    "record_lost": (
        "DELETE FROM records WHERE position = 1",
        "not journaled before",
    ),
    "last_record_lost": (
        "DELETE FROM records WHERE position = (SELECT max(position) FROM records)",
        "frontier",
    ),
    "signature_lost": (
        "DELETE FROM signatures WHERE position = (SELECT max(position) FROM records)",
        "no signature covers it",
    ),
    "event_lost": (
        "DELETE FROM events WHERE place = (SELECT max(place) FROM events)",
        "lacks event",
    ),
    "problem_lost": (
        "DELETE FROM problems WHERE position = (SELECT max(position) FROM problems)",
        "problems",
    ),
    "context_lost": ("DELETE FROM contexts WHERE name = 'acme/two'", "belong to nothing"),
    "context_renamed": ("UPDATE contexts SET name = 'acme/2' WHERE name = 'acme/two'", "belongs"),
    "order_swapped": (
        "UPDATE events SET place = 8 - place WHERE place IN (0, 16)"
        " AND context = (SELECT id FROM contexts WHERE name = 'acme/one')",
        "reading order",
    ),
    "waist_forged": ("UPDATE events SET waist = 1 WHERE role = 3", "all later ones saw it"),
    "text_in_a_blob": ("UPDATE records SET envelope = 'x' WHERE position = 2", "no blob"),
    "foreign_seed": ("UPDATE origins SET seed = zeroblob(32) WHERE seed IS NULL", "private seed"),
    "store_id": ("UPDATE meta SET value = x'00' WHERE key = 'store'", "store id"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_and_named(
    store: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    statement, expected = DAMAGE[name]
    with opened(store) as connection:
        assert connection.execute(statement).rowcount > 0
    assert main(["verify", "--store", str(store)]) == 1
    shown = capsys.readouterr()
    assert expected in shown.out
    assert "NOT SOUND" in shown.out
    assert "hint:" in shown.err


def test_a_finding_names_context_and_record(store: Path) -> None:
    with opened(store) as connection:
        connection.execute(
            "UPDATE records SET payload = zeroblob(length(payload)) WHERE position ="
            " (SELECT position FROM contexts WHERE name = 'acme/two')"
        )
        (damaged,) = connection.execute(
            "SELECT hash FROM records WHERE payload = zeroblob(length(payload))"
        ).fetchone()
    report = check(store)
    assert {finding.context for finding in report.findings} == {"acme/two"}
    assert report.findings[0].record == damaged.hex()
    assert "payload" in report.findings[0].what


# ---- no false alarms ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_stores_of_hostile_worlds_are_sound(tmp_path: Path, seed: int) -> None:
    """However the records came and in whatever steps the index followed, it is sound."""
    store = tmp_path / "s.db"
    rng = random.Random(seed)
    tokenizer = Tokenizer(DEFAULT_TOKENIZER)

    async def fill() -> None:
        async with Replica.open(store, now_ms=now_ms, random=os.urandom) as replica:
            await receive(replica, make_world(seed, steps=120, authors=1 + seed % 4), rng)

    asyncio.run(fill())
    with opened(store) as connection:
        connection.execute("DELETE FROM events")
        connection.execute("DELETE FROM problems")
        connection.execute("UPDATE contexts SET projected = 0, projected_frontier = x''")
        # As the projector does, but in steps of other sizes, and not always to the end.
        while rng.random() < 0.97:
            state = reading.context(connection, CONTEXT)
            assert state is not None
            some = reading.records_after(
                connection,
                state.id,
                state.projected,
                records_max=rng.choice([1, 1, 2, 7, 40]),
                bytes_max=1 << 20,
            )
            if not some:
                break
            table = EventTable(connection, state.id)
            frontier = state.projected_frontier
            changes = fold(
                table,
                [Journaled(stored.position, stored.record) for stored in some],
                frontier=frontier,
                count=lambda _, message: count_message(message, tokenizer),
            )
            for stored in some:
                frontier = advance(frontier, stored.record.envelope.parents, stored.record.hash)
            table.save(changes, upto=some[-1].position, frontier=frontier)
    report = check(store)
    assert report.findings == ()
    assert report.records > 0


def test_a_waiting_room_is_checked(tmp_path: Path) -> None:
    store = tmp_path / "s.db"

    async def fill() -> None:
        async with Replica.open(store, now_ms=now_ms, random=os.urandom) as replica:
            await receive(replica, make_world(3, steps=40), random.Random(3), drop=2)

    asyncio.run(fill())
    report = check(store)
    assert report.findings == ()
    assert report.waiting > 0
    for column in ("envelope", "payload", "signature", "public_key"):
        copy = tmp_path / f"{column}.db"
        shutil.copy(store, copy)
        with opened(copy) as connection:
            hash_, old = connection.execute(
                f"SELECT hash, {column} FROM waiting WHERE length({column}) > 0"
            ).fetchone()
            new = bytes([old[0] ^ 1]) + old[1:]
            connection.execute(f"UPDATE waiting SET {column} = ? WHERE hash = ?", (new, hash_))
        (finding,) = check(copy).findings
        assert "waiting" in finding.what
        assert finding.record == hash_.hex()


def test_verify_beside_a_writer(store: Path) -> None:
    async def write_and_verify() -> Report:
        async with Replica.open(store, now_ms=now_ms, random=os.urandom) as replica:
            await replica.context("acme/two").append("not indexed yet")
            return check(store)

    report = asyncio.run(write_and_verify())
    assert report.is_sound


def test_a_flipped_byte_of_the_file_ends_in_a_finding_or_an_error(store: Path) -> None:
    """Below the tables: no byte of the file makes verify end in anything else, and what it calls
    sound still has every record."""
    whole = store.read_bytes()
    rng = random.Random(5)
    for _ in range(25):
        at = rng.randrange(100, len(whole))
        store.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        assert main(["verify", "--store", str(store)]) in (0, 1)


def test_a_forged_waist_is_found_and_a_missing_one_is_none(tmp_path: Path) -> None:
    """Two answers that did not see each other: neither is a waist, the question's answer is."""
    store = tmp_path / "s.db"
    first, second = (
        Author(WriterKey(bytes([number] * 32)), HybridClock(), wall_ms=1_000) for number in (1, 2)
    )
    records = [first.write([answer(first, "base")])]
    second.receive(records[0])
    records.append(first.write([answer(first, "mine")]))
    records.append(second.write([answer(second, "yours")]))
    items = [first.key.sign(records[1].hash), second.key.sign(records[2].hash)]

    async def fill() -> None:
        async with Replica.open(store, now_ms=now_ms, random=os.urandom) as replica:
            await replica.journal.admit(records, items, session=b"peer", now_ms=now_ms())
            await replica.context(CONTEXT).events().__anext__()

    asyncio.run(fill())
    with opened(store) as connection:
        connection.execute("UPDATE events SET waist = 0")
    assert check(store).findings == ()
    for record, expected in zip(records, (0, 1, 1), strict=True):
        with opened(store) as connection:
            connection.execute(
                "UPDATE events SET waist = position ="
                " (SELECT position FROM records WHERE hash = ?)",
                (record.hash,),
            )
        assert check(store).findings_total == expected


def answer(author: Author, text: str) -> tuple[EventId, bytes]:
    return author.new_id(), encode_event(Event("a", Message(Role.ASSISTANT, (Text(text),))))


@pytest.mark.parametrize("keep", [0, 1, 5])
def test_an_index_that_lags_is_no_fault_and_its_events_are_counted(
    whole: Path, tmp_path: Path, keep: int
) -> None:
    """As it is left when a store is closed with more to index than there is time for."""
    store = tmp_path / "s.db"
    shutil.copy(whole, store)
    expected = check(store).events
    tokenizer = Tokenizer(DEFAULT_TOKENIZER)
    with opened(store) as connection:
        for table in (*INDEX_TABLES, "summaries"):
            connection.execute(f"DELETE FROM {table}")
        connection.execute("UPDATE contexts SET projected = 0, projected_frontier = x''")
        names = connection.execute("SELECT name FROM contexts").fetchall()
        for (name,) in names if keep else ():
            state = reading.context(connection, name)
            assert state is not None
            first = reading.records_after(
                connection, state.id, Position(0), records_max=keep, bytes_max=1 << 30
            )
            frontier = EMPTY
            for one in first:
                frontier = advance(frontier, one.record.envelope.parents, one.record.hash)
            index = EventTable(connection, state.id)
            changes = fold(
                index,
                [Journaled(one.position, one.record) for one in first],
                frontier=EMPTY,
                count=lambda _, message: count_message(message, tokenizer),
            )
            index.save(changes, upto=first[-1].position, frontier=frontier)
    report = check(store)
    assert report.is_sound, report.findings
    assert report.events == expected > 0

"""A store with something of everything in it, for tests of copies, repairs and examinations."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from tests.worlds import World, causal_shuffle, make_world
from weft_engine.errors import MalformedRecord
from weft_engine.records.envelope import Record
from weft_engine.records.sound import read_record
from weft_engine.replica.replica import Replica
from weft_engine.storage.verify import Report, verify


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def quiet(what: str, done: int, total: int) -> None:
    """Progress that nobody looks at."""


def check(store: Path) -> Report:
    return verify(store, progress=quiet)


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


async def fill(store: Path) -> None:
    """Own messages, a long one, a note, a view's receipt, other writers with equivocations and
    problems, a waiting room, an own chain that is signed in part."""
    async with Replica.open(store, now_ms=now_ms, random=os.urandom) as replica:
        chat = replica.context("acme/one")
        for number in range(12):
            await chat.append(f"message {number} " + "of some length " * number)
        await chat.append(" ".join(f"{number:x}" for number in range(4_000)))
        await chat.configure(budget=40_000)
        await chat.view(trace_id="t")
        await chat.note("plan").insert(0, "first\nsecond\n")
        for number in range(6):
            await replica.context("acme/two").append([f"x {number}", "y"])
        await receive(replica, make_world(7, steps=60), random.Random(1))
    async with Replica.open(store, now_ms=now_ms, random=os.urandom) as replica:
        await replica.context("acme/one").append("under another incarnation")
        await receive(replica, make_world(3, steps=40), random.Random(3), drop=2)


def make_full_store(store: Path) -> Path:
    """Without pages that are free or hold old rows: each byte stands in it once."""
    asyncio.run(fill(store))
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute(
            "INSERT INTO quarantine VALUES (1, 1700000000000, x'aa', 'acme/one', NULL,"
            " 'its payload is no sound update', 3, x'010203')"
        )
        connection.execute(
            "INSERT INTO tickets (peer, ticket) VALUES (?, ?)", (b"P" * 16, b"secret-ticket-16")
        )
        connection.execute(
            "INSERT INTO issued_tickets (store, current, offered) VALUES (?, ?, ?)",
            (b"S" * 16, None, b"offered-ticket-1"),
        )
        connection.execute(
            "INSERT INTO own_heads VALUES ('acme/one', 3, ?, 7)",
            (b"own-head-hash" * 2 + b"123456",),
        )
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("VACUUM")
    return store


def rows(store: Path, question: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(question).fetchall()


def identity(store: Path) -> tuple[bytes, bytes]:
    """The store's id and epoch."""
    ((store_id,), (epoch,)) = rows(
        store, "SELECT value FROM meta WHERE key IN ('store', 'epoch') ORDER BY key DESC"
    )
    assert isinstance(store_id, bytes)
    assert isinstance(epoch, bytes)
    return store_id, epoch

"""A store with something of everything in it, for tests of copies, repairs and examinations."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from tests.stores import all_records, folder
from tests.streaming import abandon
from tests.worlds import World, causal_shuffle, make_world
from weft_engine.errors import MalformedRecord
from weft_engine.records.envelope import Record
from weft_engine.records.identity import WriterKey
from weft_engine.records.sound import read_record
from weft_engine.replica.replica import Replica
from weft_engine.storage import erasures
from weft_engine.storage.verify import Report, verify

GONE = "vanished-words"
"""Stands in all that the full store has erased."""


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


async def erase_some(replica: Replica) -> None:
    """A message and a note beside others, and a whole context, all of which say GONE; and once
    more from elsewhere: stand-ins that came before their erasers, one of them waits itself."""
    chat = replica.context("acme/one")
    _, gone, _ = await chat.append(["before", f"it is {GONE} now", "after"])
    await chat.note("secrets").insert(0, f"also {GONE}")
    await replica.context("acme/old").append([f"{GONE} {number}" for number in range(3)])
    await chat.erase(event=gone, reason="a test")
    await chat.erase(note="secrets", reason="a test")
    await replica.context("acme/old").erase(everything=True, reason="a test")
    with folder() as place:
        async with Replica.open(place / "o.db", now_ms=now_ms, random=os.urandom) as other:
            for name in ("acme/early", "acme/waits"):
                await _give_early(other, replica, name, is_whole=name == "acme/early")


async def _give_early(other: Replica, replica: Replica, name: str, *, is_whole: bool) -> None:
    chat = other.context(name)
    await chat.append("before")
    (gone,) = await chat.append(f"{GONE} elsewhere")
    (row,) = await chat.erase(event=gone, reason="a test")
    stored = [one.record for one in await all_records(other) if one.record.envelope.context == name]
    eraser = await other.journal.read(lambda connection: erasures.eraser(connection, row.eraser))
    ((seed,),) = rows(other.journal.path, "SELECT seed FROM origins")
    assert eraser is not None
    assert isinstance(seed, bytes)
    stand_in = stored[1]
    await replica.journal.admit(
        stored[:2] if is_whole else [stand_in],
        [WriterKey(seed).sign(stand_in.hash)],
        session=b"other",
        now_ms=now_ms(),
        proofs={stand_in.hash: [eraser]},
    )


async def fill(store: Path) -> None:
    """Own messages, a long one, a note, a view's receipt, a summary, other writers with
    equivocations, problems and erasers, what was erased, a waiting room, an own chain that is
    signed in part, a stream that a crash broke off."""
    async with Replica.open(store, now_ms=now_ms, random=os.urandom) as replica:
        chat = replica.context("acme/one")
        for number in range(12):
            await chat.append(f"message {number} " + "of some length " * number)
        await chat.append(" ".join(f"{number:x}" for number in range(4_000)))
        await chat.configure(budget=40_000)
        await chat.view(trace_id="t")
        await chat.note("plan").insert(0, "first\nsecond\n")
        await erase_some(replica)
        await chat.append([{"role": "assistant", "content": "so be it"}, "and now?"])
        await chat.compact(lambda _: "a summary", keep=0)
        await chat.page(newest=True)
        for number in range(6):
            await replica.context("acme/two").append([f"x {number}", "y"])
        await receive(replica, make_world(7, steps=80, branching=0.2), random.Random(1))
    # As after a crash: the next session writes under another name.
    store.with_name(store.name + ".lease").unlink()
    async with Replica.open(store, now_ms=now_ms, random=os.urandom) as replica:
        await replica.context("acme/one").append("under another incarnation")
        await receive(replica, make_world(3, steps=40), random.Random(3), drop=2)
        await receive(replica, make_world(5, steps=40, erasing=0.2), random.Random(5))
        await replica.erasing.done()
        await abandon(replica.context("acme/one"), "half an ans")


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

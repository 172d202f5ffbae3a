"""What a streamed answer costs on the wire and on disk, and how soon a reader sees it.

Tokens are made up in the likeness of real ones: about four characters, one every 20 ms. "Wire" are
the bytes of records and signatures that a link sends; "disk" is what the store's file grows by,
with its indexes, once its log is folded into it.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

from tests.bench.figures import Table
from tests.linked import pipe
from tests.stores import all_records
from weft_engine.limits import STREAM_GATHER_S
from weft_engine.records.envelope import Record
from weft_engine.replica.replica import Replica
from weft_engine.sync.driving.link import Link

TOKENS = 500
EVERY_S = 0.02
CONTEXT = "bench"
SIGNATURE_BYTES = 64 + 32
OVERHEAD_MOST = 60.0


def open_replica(path: Path) -> Replica:
    return Replica.open(path, now_ms=lambda: time.time_ns() // 1_000_000, random=os.urandom)


def tokens(seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" " + "etaoinshrdlu"[: rng.randint(1, 5)] for _ in range(TOKENS)]


async def streamed(folder: Path, name: str, *, gather: bool) -> tuple[list[Record], int, float]:
    """The records of one answer, what the file grew by, and the longest that a write took."""
    path = folder / f"{name}.weft"
    async with open_replica(path) as replica:
        await replica.context(CONTEXT).append("What is it?")
    before = path.stat().st_size
    slowest = 0.0
    async with open_replica(path) as replica:
        chat = replica.context(CONTEXT)
        async with chat.stream() as stream:
            due = time.perf_counter()
            for token in tokens(1):
                begun = time.perf_counter()
                await stream.write(token)
                if not gather:
                    await stream.flush()
                slowest = max(slowest, time.perf_counter() - begun)
                due += EVERY_S
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
        records = [one.record for one in await all_records(replica)][1:]
    return records, path.stat().st_size - before, slowest * 1000


async def in_one(folder: Path) -> tuple[list[Record], int]:
    """The same answer as one message."""
    path = folder / "one.weft"
    async with open_replica(path) as replica:
        await replica.context(CONTEXT).append("What is it?")
    before = path.stat().st_size
    async with open_replica(path) as replica:
        await replica.context(CONTEXT).append({"role": "assistant", "content": "".join(tokens(1))})
        records = [one.record for one in await all_records(replica)][1:]
    return records, path.stat().st_size - before


async def delays(folder: Path) -> list[float]:
    """Milliseconds from a write here to the text there, over a link."""
    left, right = pipe()
    found: list[float] = []
    written: list[float] = []
    async with open_replica(folder / "l.weft") as a, open_replica(folder / "r.weft") as b:
        links = (Link(left, a), Link(right, b))
        running = [asyncio.create_task(link.run()) for link in links]

        async def watch() -> None:
            async for change in b.context(CONTEXT).watch():
                now = time.perf_counter()
                for grown in change.streams:
                    for token in (grown.text or "").split():
                        found.append((now - written[int(token)]) * 1000)
                if change.events:
                    return

        watching = asyncio.create_task(watch())
        async with a.context(CONTEXT).stream() as stream:
            for number in range(150):
                written.append(time.perf_counter())
                await stream.write(f"{number} ")
                await asyncio.sleep(EVERY_S)
            await asyncio.sleep(2 * STREAM_GATHER_S)
        await watching
        links[0].close()
        await asyncio.gather(*running)
    return found


def wire(records: list[Record]) -> int:
    """As a link sends them one by one, each with its signature."""
    return sum(record.size + SIGNATURE_BYTES for record in records)


async def measure(table: Table) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = len("".join(tokens(1)).encode()) / TOKENS
        table.add("text of a token", text, "bytes")
        records, disk = await in_one(folder)
        table.add("one message: wire, each token", wire(records) / TOKENS, "bytes")
        table.add("one message: disk, each token", disk / TOKENS, "bytes")
        for gather, what in ((False, "each token flushed"), (True, "gathered")):
            records, disk, slowest = await streamed(folder, what, gather=gather)
            rate = len(records) / (TOKENS * EVERY_S)
            table.add(f"{what}: records a second", rate, "1/s", most=11 if gather else None)
            table.add(
                f"{what}: wire, each token",
                wire(records) / TOKENS,
                "bytes",
                most=OVERHEAD_MOST + 2 * text if gather else None,
            )
            table.add(
                f"{what}: disk, each token", disk / TOKENS, "bytes", most=150 if gather else None
            )
            table.add(f"{what}: slowest write", slowest, "ms")
        found = await delays(folder)
        table.add("seen over a link after, median", statistics.median(found), "ms")
        table.add("seen over a link after, slowest of 150", max(found), "ms")


def run() -> bool:
    table = Table()
    print(f"gathered for {STREAM_GATHER_S * 1000:.0f} ms")
    asyncio.run(measure(table))
    return table.ok

"""Opening a note in contexts of up to 100,000 records, without a checkpoint and with one."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

from tests.bench.figures import Table
from weft_engine.replica.replica import Replica

SIZES = (1_000, 10_000, 100_000)
NOTE_EVERY = 10
"""One record in so many is an edit of the note; the others are messages."""
ROUNDS = 3


def open_replica(path: Path) -> Replica:
    return Replica.open(path, now_ms=lambda: time.time_ns() // 1_000_000, random=os.urandom)


async def fill(path: Path, records: int) -> None:
    async with open_replica(path) as replica:
        context = replica.context("bench")
        for start in range(0, records, NOTE_EVERY):
            await asyncio.gather(
                *(
                    context.append(f"message {start + n} " + "x" * 200)
                    for n in range(NOTE_EVERY - 1)
                )
            )
            await context.note("plan").append(f"line {start} of the plan\n")


async def opened(path: Path, *, without: bool) -> float:
    """Milliseconds from opening the store to the note's text."""
    async with open_replica(path) as replica:
        if without:
            await replica.journal.write(lambda c: c.execute("DELETE FROM checkpoints") and None)
        context = replica.context("bench")
        begun = time.perf_counter()
        text = await context.note("plan").text()
        taken = (time.perf_counter() - begun) * 1000
        assert text
        return taken


async def checkpointed(path: Path) -> float:
    """Milliseconds that writing a checkpoint takes in the background; 0 if one is there already."""
    async with open_replica(path) as replica:
        context = replica.context("bench")
        await context.note("plan").text()
        begun = time.perf_counter()
        await context._notes.settled()
        return (time.perf_counter() - begun) * 1000


async def measure(table: Table) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            path = Path(folder) / f"{size}.weft"
            await fill(path, size)
            slow = [await opened(path, without=True) for _ in range(ROUNDS)]
            written = await checkpointed(path)
            quick = [await opened(path, without=False) for _ in range(ROUNDS)]
            table.add(f"note opened, {size} records, no checkpoint", statistics.median(slow), "ms")
            table.add(f"checkpoint of {size} records, in the background", written, "ms")
            table.add(
                f"note opened, {size} records, from a checkpoint",
                statistics.median(quick),
                "ms",
                most=statistics.median(slow) if size > SIZES[0] else None,
            )


def run() -> bool:
    table = Table()
    asyncio.run(measure(table))
    return table.ok

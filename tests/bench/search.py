"""Full-text search over 100,000 messages: making the index, its size, asking it, and what appends
feel of it while it is brought up in the background.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import tempfile
import time
from pathlib import Path

from tests.bench.figures import Table
from tests.bench.local import fill, open_replica, said
from weft_engine.replica.replica import Replica
from weft_engine.storage import search_tables
from weft_engine.storage.usage import measure

MESSAGES = 100_000
RUNS = 15
APPENDS = 400
ROUNDS = 5
QUERIES = (
    ("a common word", "flight"),
    ("two common words", "flight reservation"),
    ("a word of nearly all", "the"),
    ("a beginning", "reserv*"),
    ("a phrase", '"credit card"'),
    ("a rare word", "needle"),
    ("nothing", "zzzz"),
)


async def ask(replica: Replica, query: str, **asked: str) -> float:
    """Median seconds of a search that has nothing to index."""
    took: list[float] = []
    for _ in range(RUNS):
        start = time.perf_counter()
        await replica.searching.find(query, **asked)  # type: ignore[arg-type]
        took.append(time.perf_counter() - start)
    return statistics.median(took)


async def searches(table: Table, path: Path, text_bytes: int) -> None:
    async with open_replica(path) as replica:
        chat = replica.context("bench/long")
        (needle,) = await chat.append("one needle in all of this")
        await replica.ask(chat.name, lambda *_: None)
        start = time.perf_counter()
        (hit,) = await chat.search("needle")
        took = time.perf_counter() - start
        assert hit.id == needle
        table.add(f"first search, {MESSAGES:,} messages", took, "s")
        table.add("  indexed a second", MESSAGES / took, "messages")
        table.add("  indexed a second", text_bytes / took / 1e6, "MB JSON", least=1)
        for what, query in QUERIES:
            best, newest = [await ask(replica, query, order=o) for o in ("relevance", "newest")]
            table.add(f"search for {what}", best * 1e3, "ms", note=f"newest {newest * 1e3:.2f} ms")
        start = time.perf_counter()
        await chat.append("one more needle")
        await chat.search("needle")
        table.add("append, then search", (time.perf_counter() - start) * 1e3, "ms")
        start = time.perf_counter()
        await chat.erase(event=needle, reason="bench")
        table.add("erase one of them", time.perf_counter() - start, "s")
        start = time.perf_counter()
        await chat.search("needle")
        table.add("first search behind it", time.perf_counter() - start, "s")
    index = measure(path).uses["search index"]
    table.add("bytes of the index", index / text_bytes, "x JSON", most=1)


async def reading_only(table: Table, path: Path) -> None:
    replica = Replica.open(path, now_ms=lambda: 0, random=bytes, readonly=True)
    async with replica:
        start = time.perf_counter()
        await replica.searching.find("needle")
        took = time.perf_counter() - start
    table.add("cold search, read only, index complete", took * 1e3, "ms")


async def timed_appends(replica: Replica, name: str) -> list[float]:
    source = said()
    chat = replica.context(name)
    took: list[float] = []
    while len(took) < APPENDS:
        message = next(source)
        if message["role"] == "tool" or "tool_calls" in message:
            continue
        start = time.perf_counter()
        await chat.append(message)
        took.append(time.perf_counter() - start)
        await asyncio.sleep(0.001)
    return took


async def beside(table: Table, path: Path) -> None:
    """Appends while nothing is searched, and while the index of the long chat is made anew."""
    async with open_replica(path) as replica:
        await replica.searching.find("needle")
        quiet: list[float] = []
        busy: list[float] = []
        for _ in range(ROUNDS):
            gc.collect()
            quiet += await timed_appends(replica, "bench/beside")
            await replica.journal.write(lambda c: search_tables.clear(c, "main"))
            await replica.journal.write(lambda c: search_tables.create(c, "main"))
            replica.searching.note(replica.context("bench/long").name)
            await asyncio.sleep(0.6)
            busy += await timed_appends(replica, "bench/beside")
    for share, name in ((0.5, "median"), (0.99, "99 of 100")):
        before, during = [sorted(times)[int(share * len(times))] for times in (quiet, busy)]
        table.add(f"append, {name}", before * 1e6, "us")
        table.add("  while the index is made in the background", during * 1e6, "us")
        table.add("  against without", during / before, "x", most=1.5 if share == 0.5 else None)


def run() -> bool:
    table = Table()
    with tempfile.TemporaryDirectory(prefix="weft-bench-") as name:
        path = Path(name) / "store.db"
        size = asyncio.run(fill(path, MESSAGES))
        never = measure(path).uses["search index"]
        table.add("bytes of the index, never searched", never, "bytes", most=0)
        asyncio.run(searches(table, path, size))
        asyncio.run(reading_only(table, path))
        asyncio.run(beside(table, path))
    return table.ok

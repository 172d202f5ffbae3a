"""The local store against raw sqlite3, and views at 1,000 and at 100,000 events; with
WEFT_BENCH_MILLION=1 at 1,000,000, too, which takes some minutes.

Rounds alternate (A B A B) and medians are compared, because the machines are noisy.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Table
from weft_engine.events.event import Message
from weft_engine.formats.openai_chat import import_message
from weft_engine.replica.replica import Replica
from weft_engine.views.policies import LastN

ROUNDS = 5
ONE_BY_ONE = 1_000
IN_FLIGHT = 64
FLIGHT_APPENDS = 6_400
SIZES = (1_000, 100_000, 1_000_000) if os.environ.get("WEFT_BENCH_MILLION") else (1_000, 100_000)
COLD_RUNS = 15
AT_ONCE = 512
VIEWS = 200
FACTS = 50

TRANSCRIPTS = Path(__file__).parents[3] / "shared" / "data" / "agent-transcripts.jsonl"


def said(count: int = 0) -> Iterator[dict[str, object]]:
    """Messages for ever: the real transcripts where they are, else made up in their likeness. So
    that the message after the first `count` is always the same."""
    if TRANSCRIPTS.exists():
        lines = [json.loads(line) for line in TRANSCRIPTS.read_text().splitlines()]
        messages = [m for line in lines for m in line["messages"] if m["role"] != "system"]
    else:
        rng = random.Random(7)
        messages = [
            {"role": role, "content": " ".join(rng.choices(SAYING.split(), k=rng.randint(20, 180)))}
            for _ in range(500)
            for role in ("user", "assistant")
        ]
    yield from messages[-count % len(messages) :]
    while True:
        yield from messages


SAYING = "the flight from seat to fare is booked for two with bags and no insurance"


def open_replica(path: Path) -> Replica:
    return Replica.open(path, now_ms=lambda: time.time_ns() // 1_000_000, random=os.urandom)


def raw_one_by_one(folder: Path, bodies: list[bytes]) -> list[float]:
    """Seconds that each durable insert takes, one commit each."""
    path = folder / f"raw-{time.monotonic_ns()}.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)")
    took: list[float] = []
    for body in bodies:
        start = time.perf_counter()
        connection.execute("BEGIN")
        connection.execute("INSERT INTO t (body) VALUES (?)", (body,))
        connection.execute("COMMIT")
        took.append(time.perf_counter() - start)
    connection.close()
    return took


async def weft_one_by_one(folder: Path, messages: list[dict[str, object]]) -> list[float]:
    async with open_replica(folder / f"one-{time.monotonic_ns()}.db") as replica:
        chat = replica.context("bench/one")
        await chat.append(messages[0])
        took: list[float] = []
        for message in messages:
            start = time.perf_counter()
            await chat.append(message)
            took.append(time.perf_counter() - start)
        return took


async def weft_in_flight(folder: Path, messages: list[dict[str, object]]) -> float:
    async with open_replica(folder / f"many-{time.monotonic_ns()}.db") as replica:
        chat = replica.context("bench/many")
        await chat.append(messages[0])
        left = iter(messages)

        async def writer() -> None:
            for message in left:
                await chat.append(message)

        start = time.perf_counter()
        await asyncio.gather(*(writer() for _ in range(IN_FLIGHT)))
        return time.perf_counter() - start


def appends(table: Table, folder: Path) -> None:
    source = said()
    everything = (next(source) for _ in range(6 * FLIGHT_APPENDS))
    messages = [m for m in everything if m["role"] != "tool" and "tool_calls" not in m]
    some, many = messages[:ONE_BY_ONE], messages[:FLIGHT_APPENDS]
    bodies = [json.dumps(message).encode() for message in some]
    raw, one, flight, means = [], [], [], []
    for _ in range(ROUNDS):
        gc.collect()
        inserts = raw_one_by_one(folder, bodies)
        appended = asyncio.run(weft_one_by_one(folder, some))
        raw.append(statistics.median(inserts))
        one.append(statistics.median(appended))
        means.append(statistics.mean(inserts) / statistics.mean(appended))
        flight.append(asyncio.run(weft_in_flight(folder, many)) / FLIGHT_APPENDS)
    base = statistics.median(raw)
    alone = statistics.median(one)
    table.add("raw sqlite3 FULL, one commit each", base * 1e6, "us")
    table.add("append awaited one by one", alone * 1e6, "us")
    table.add("  against raw sqlite3", base / alone, "x", least=0.6)
    table.add("  the same by means, with checkpoints", statistics.median(means), "x")
    table.add("append, 64 in flight", statistics.median(flight) * 1e6, "us")
    table.add("  against raw sqlite3", base / statistics.median(flight), "x", least=5)


async def fill(path: Path, events: int) -> int:
    """A store with one long chat; returns the bytes of its messages as JSON. Chats of every length
    end alike, so that their views cost alike. Of a very long one, all but the end is written many
    messages at a time."""
    source = said(events)
    size = 0
    async with open_replica(path) as replica:
        chat = replica.context("bench/long")
        await chat.append({"role": "system", "content": "You are a helpful airline agent."})
        chunk: list[Message] = []
        at_once = max(0, events - SIZES[1])
        for start in range(0, at_once, AT_ONCE):
            some = [next(source) for _ in range(min(AT_ONCE, at_once - start))]
            size += sum(len(json.dumps(one, ensure_ascii=False).encode()) for one in some)
            await chat.append(some)
        for number in range(at_once, events):
            message = next(source)
            size += len(json.dumps(message, ensure_ascii=False).encode())
            if message["role"] == "tool" or len(chunk) == 64 or number == events - 1:
                # A result is written when its call is there.
                await asyncio.gather(*(chat.append(one) for one in chunk))
                chunk = []
            if message["role"] == "tool":
                await chat.append(message)
            else:
                chunk.append(import_message(message))
    return size


async def view_once(path: Path) -> float:
    """The first view by a budget ever, in seconds: where its windows begin is known then."""
    async with open_replica(path) as replica:
        start = time.perf_counter()
        await replica.context("bench/long").view(budget=8_000)
        return time.perf_counter() - start


COLD = """
import asyncio, gc, os, sys, time
from pathlib import Path
from weft_engine.replica.replica import Replica

async def timed(path):
    gc.collect()
    start = time.perf_counter()
    replica = Replica.open(path, now_ms=lambda: time.time_ns() // 1_000_000, random=os.urandom)
    await replica.context("bench/long").view(budget=8_000)
    took = time.perf_counter() - start
    await replica.close()
    assert "tiktoken" not in sys.modules and "pycrdt" not in sys.modules
    return took

print(asyncio.run(timed(Path(sys.argv[1]))))
"""


def cold(path: Path) -> float:
    """Seconds from opening to the first view in a fresh process, its imports done."""
    done = subprocess.run(
        [sys.executable, "-c", COLD, str(path)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


async def after_append(path: Path, budget: int) -> tuple[float, float, float]:
    """Median seconds of a view right after an append, of one with nothing new, and of one right
    after a fact."""
    source = said()
    policy = LastN(1_000_000)
    async with open_replica(path) as replica:
        chat = replica.context("bench/long")
        await chat.view(budget=budget, policy=policy)
        fresh, again, facts = [], [], []
        for _ in range(VIEWS):
            message = next(source)
            if message["role"] == "tool":
                continue
            await chat.append(message)
            start = time.perf_counter()
            await chat.view(budget=budget, policy=policy)
            fresh.append(time.perf_counter() - start)
            start = time.perf_counter()
            await chat.view(budget=budget, policy=policy)
            again.append(time.perf_counter() - start)
        for number in range(FACTS):
            await chat.fact(f"fact {number % 5}", number)
            start = time.perf_counter()
            await chat.view(budget=budget, policy=policy)
            facts.append(time.perf_counter() - start)
        return statistics.median(fresh), statistics.median(again), statistics.median(facts)


def views(table: Table, stores: dict[int, Path]) -> None:
    """The same at every length of history; what is cached, at every window."""
    for budget, most in ((8_000, 0.3), (32_000, 1.0), (128_000, 1.0)):
        took: dict[int, list[float]] = {events: [] for events in stores}
        again: list[float] = []
        facts: list[float] = []
        for _ in range(3):
            for events, path in stores.items():
                fresh, cached, fact = asyncio.run(after_append(path, budget))
                took[events].append(fresh)
                again.append(cached)
                facts.append(fact)
        medians = {events: statistics.median(times) * 1e3 for events, times in took.items()}
        for events, fresh in medians.items():
            what = f"view after append, {budget // 1000}k tokens, {events:,} events"
            table.add(what, fresh, "ms", most=min(most, 0.2))
        ratio = medians[max(medians)] / medians[min(medians)]
        table.add("  the largest against the smallest", ratio, "x", most=1.3)
        table.add("  again, with nothing new", statistics.median(again) * 1e3, "ms", most=0.2)
        table.add("  after a fact", statistics.median(facts) * 1e3, "ms", most=1)


def run() -> bool:
    table = Table()
    with tempfile.TemporaryDirectory(prefix="weft-bench-") as name:
        folder = Path(name)
        appends(table, folder)
        stores: dict[int, Path] = {}
        for events in SIZES:
            path = stores[events] = folder / f"long-{events}.db"
            start = time.perf_counter()
            size = asyncio.run(fill(path, events))
            took = time.perf_counter() - start
            first = asyncio.run(view_once(path))
            disk = sum(p.stat().st_size for p in folder.glob(path.name + "*"))
            table.add(
                f"bytes on disk, {events:,} events",
                disk / size,
                "x JSON",
                most=3,
                note=f"filled in {took:.1f} s",
            )
            table.add(f"first view by a budget ever, {events:,} events", first * 1e3, "ms")
        opened: dict[int, list[float]] = {events: [] for events in SIZES}
        for _ in range(COLD_RUNS):
            for events in SIZES:
                opened[events].append(cold(stores[events]))
        cold_ms = {events: statistics.median(times) * 1e3 for events, times in opened.items()}
        for events, took in cold_ms.items():
            most = 8 if events == SIZES[1] else None
            table.add(f"cold open and first view, {events:,} events", took, "ms", most=most)
        ratio = cold_ms[max(SIZES)] / cold_ms[min(SIZES)]
        table.add("  the largest against the smallest", ratio, "x", most=1.3)
        views(table, stores)
    return table.ok

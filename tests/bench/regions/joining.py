"""What it takes a region that holds nothing to get everything from its neighbour: memory of both.

One relay has a store of many contexts of one small record each, the other an empty one. Both are
up and resting before they are linked; what their memory grows by at most from then on is what
joining takes, the trees over all contexts included.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.bench.raw.client import Dialect
from tests.bench.raw.servers import ours
from tests.bench.regions.heal import Author, filled, last_position
from tests.bench.regions.lines import Line, Way, carried
from tests.bench.regions.relays import dialling
from tests.bench.run import Run
from tests.linked import NOW_MS, Store
from tests.running_relay import RunningRelay, free_port
from weft_engine.names import ContextName
from weft_engine.storage.journal import SqliteJournal

CONTEXTS = (60_000, 160_000)
PER_CONTEXT_MOST = 200.0
"""Bytes that both ends together grow by, for each context more: the trees are 80 of them. Caches
and windows are full with the smaller number."""
MOST_S = 600.0
AT_ONCE = 500


def measure(run: Run) -> None:
    run.attempt("a region joins", partial(_measure, run))


def fill(folder: Path, contexts: int) -> None:
    """The store of a relay with so many contexts of one record."""

    async def write() -> None:
        rng = random.Random(9)
        with tempfile.TemporaryDirectory(prefix="weft-bench-") as name:
            journal = SqliteJournal.open(
                Path(name) / "x", readonly=False, now_ms=NOW_MS, random=rng.randbytes
            )
            writer = Store(journal, rng)
            names = [ContextName(f"acme/chat-{number:07}") for number in range(contexts)]
            for start in range(0, contexts, 20 * AT_ONCE):
                some = names[start : start + 20 * AT_ONCE]
                written = [Author(one).write([writer], 1, 1)[0] for one in some]
                await filled(folder, [written])
            await journal.close()

    folder.mkdir()
    asyncio.run(write())


def join(folder: Path, contexts: int) -> tuple[dict[str, int], dict[str, float], float, int]:
    """What each relay's memory grew by at most, its CPU time, and seconds and bytes of all. `eu`
    has its store in `folder`."""
    ports = {name: free_port() for name in ("eu", "us")}
    line = Line(free_port(), ports["us"], Way("us"), Way("eu"), 0.0)
    with ExitStack() as stack:
        relays = {}
        listen = f"127.0.0.1:{ports['us']}"
        relays["us"] = RunningRelay(folder / "us", listen=listen, region="us")
        stack.callback(relays["us"].end)
        relays["eu"] = dialling(folder, "eu", ports, {("eu", "us"): line})
        stack.callback(relays["eu"].end)
        servers = {name: ours(relay, Dialect.NATIVE) for name, relay in relays.items()}
        time.sleep(2.0)
        before = {name: server.memory_bytes() for name, server in servers.items()}
        cpu_s = {name: server.cpu_s() for name, server in servers.items()}
        for server in servers.values():
            server.forget_peak()
        stack.enter_context(carried([line]))
        began_s = time.monotonic()
        while last_position(relays["us"].store) < contexts:
            if time.monotonic() - began_s > MOST_S:
                raise TimeoutError(f"not joined in {MOST_S} s")
            time.sleep(0.2)
        took_s = time.monotonic() - began_s
        time.sleep(2.0)
        grown = {name: server.peak_bytes() - before[name] for name, server in servers.items()}
        cpu = {name: server.cpu_s() - cpu_s[name] for name, server in servers.items()}
        wire = sum(len(one) for way in (line.there, line.back) for one in way.connections)
    return grown, cpu, took_s, wire


def _measure(run: Run) -> None:
    found: list[tuple[int, int]] = []
    for contexts in CONTEXTS:
        with tempfile.TemporaryDirectory(prefix="weft-bench-") as name:
            folder = Path(name)
            fill(folder / "eu", contexts)
            grown, cpu, took_s, wire = join(folder, contexts)
        found.append((contexts, sum(grown.values())))
        said = ", ".join(f"{name} {s:.1f} s" for name, s in cpu.items())
        note = f"CPU {said}; {contexts / took_s:.0f} contexts/s; {wire / contexts:.0f} B each"
        for name, size in grown.items():
            what = f"{contexts:,} contexts joined: {name} grew by"
            run.table.add(what, size / 1e6, "MB", note=note)
    (few, small), (many, large) = found
    run.table.add(
        "  for each context more, both",
        (large - small) / (many - few),
        "B",
        most=PER_CONTEXT_MOST,
    )

"""How fast two regions give each other what is missing after a partition, and in how many bytes.

The stores are filled before the relays start, so that nothing but the heal crosses the link: that
is counted byte by byte, both ways. "Own" bytes are the envelopes and payloads of the records that
were missing, each once, and 128 bytes for each signature that came with them (key, tip, signature).
The time goes from the first record to the last one that is durable.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

from tests.bench.raw.client import Dialect
from tests.bench.raw.servers import ours
from tests.bench.regions.lines import Line, Way, carried
from tests.bench.regions.relays import dialling
from tests.bench.run import Run
from tests.linked import NOW_MS, Store
from tests.running_relay import RunningRelay, free_port
from weft_engine.names import ContextName, RecordHash
from weft_engine.records.envelope import Record
from weft_engine.storage.journal import SqliteJournal
from weft_engine.sync.framing.messages import Records

MISSING = 50_000
BYTES_MOST = 1.05
PER_S_LEAST = 15_000
SIGNATURE_BYTES = 128
TEXT = "an answer of an agent. "
COMMON = 20
"""Records that each context had everywhere before."""
MOST_S = 60.0
RUN = 10
"""Records that a writer has in a row, as an agent in its turn."""


@dataclass(frozen=True)
class Case:
    name: str
    contexts: int
    sides: int
    """Regions that wrote."""
    writers: int
    """In each context, of each side; they take turns."""
    run: int = RUN
    rate: bool = True
    """Held against the bound of the rate."""


CASES = (
    Case("500 contexts, one side wrote", 500, 1, 2),
    Case("500 contexts, both wrote", 500, 2, 2),
    Case("one context, one side wrote", 1, 1, 4),
    Case("one context, both wrote", 1, 2, 4),
    Case("500 contexts, a signature for each record", 500, 1, 100, run=1, rate=False),
)


def measure(run: Run) -> None:
    for case in CASES:
        run.attempt(f"heal {case.name}", partial(_heal, run, case))
    run.attempt("heal from two regions", partial(_heal_from_two, run))


# ---- the stores ---------------------------------------------------------------------------------


class Author:
    """Writes in one context after what is there."""

    def __init__(self, context: ContextName) -> None:
        self.context = context
        self.frontier: tuple[RecordHash, ...] = ()

    def write(self, writers: Sequence[Store], count: int, run: int) -> list[tuple[Record, Store]]:
        found: list[tuple[Record, Store]] = []
        for number in range(count):
            writer = writers[number // run % len(writers)]
            record = writer.make(self.context, TEXT * 3, self.frontier)
            self.frontier = (record.hash,)
            found.append((record, writer))
        return found


async def filled(folder: Path, written: Sequence[Sequence[tuple[Record, Store]]]) -> None:
    """The store of a relay that holds these."""
    rng = random.Random(folder.name)
    journal = SqliteJournal.open(
        folder / "relay.db", readonly=False, now_ms=NOW_MS, random=rng.randbytes
    )
    try:
        for some in written:
            for start in range(0, len(some), 500):
                part = some[start : start + 500]
                outcome = await journal.admit(
                    [record for record, _ in part],
                    [writer.key.sign(record.hash) for record, writer in part],
                    session=b"bench",
                    now_ms=NOW_MS,
                )
                assert not outcome.refused
                assert not outcome.parked
    finally:
        await journal.close()


def _fill(folders: Sequence[Path], case: Case, writing: Sequence[Sequence[int]]) -> int:
    """What all have, and what each side wrote; `writing`: which folders hold what a side wrote.
    Returns how many records each side wrote."""

    async def fill() -> None:
        rng = random.Random(7)
        with tempfile.TemporaryDirectory(prefix="weft-bench-") as name:
            journal = SqliteJournal.open(
                Path(name) / "x", readonly=False, now_ms=NOW_MS, random=rng.randbytes
            )
            made: list[list[list[tuple[Record, Store]]]] = [[] for _ in folders]
            per_context = MISSING // case.contexts // len(writing)
            for number in range(case.contexts):
                author = Author(ContextName(f"acme/chat-{number:04}"))
                first = Store(journal, rng)
                common = author.write([first], COMMON, 1)
                frontier = author.frontier
                for some in made:
                    some.append(common)
                for holders in writing:
                    writers = [Store(journal, rng) for _ in range(case.writers)]
                    author.frontier = frontier
                    wrote = author.write(writers, per_context, case.run)
                    for index in holders:
                        made[index].append(wrote)
            await journal.close()
        for folder, some in zip(folders, made, strict=True):
            folder.mkdir()
            await filled(folder, some)

    asyncio.run(fill())
    return MISSING // case.contexts // len(writing) * case.contexts


# ---- the heal -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Healed:
    per_s: float
    ratio: float
    copies: int
    """Records that came though they were there, or had come."""
    sent: dict[tuple[str, str], int]
    """Records by who sent them to whom."""
    wire: int
    cpu: dict[str, float]


def _run(folder: Path, names: Sequence[str], lacking: dict[str, int]) -> Healed:
    """Start relays over these stores and wait until each has what it lacks."""
    ports = {name: free_port() for name in names}
    lines = {
        (a, b): Line(free_port(), ports[b], Way(b), Way(a), 0.0)
        for a, b in combinations(sorted(names), 2)
    }
    with ExitStack() as stack:
        stack.enter_context(carried(list(lines.values())))
        relays: dict[str, RunningRelay] = {}
        before = {name: last_position(folder / name / "relay.db") for name in names}
        # Who is dialled is up before who dials.
        for name in sorted(names, reverse=True):
            relays[name] = dialling(folder, name, ports, lines)
            stack.callback(relays[name].end)
        servers = {name: ours(relay, Dialect.NATIVE) for name, relay in relays.items()}
        cpu_s = {name: server.cpu_s() for name, server in servers.items()}
        began_s = _wait(folder, before, dict.fromkeys(lacking, 1), any_of=True)
        wanted = {name: before[name] + count for name, count in lacking.items()}
        ended_s = _wait(folder, before, lacking, any_of=False)
        assert {name: last_position(folder / name / "relay.db") for name in wanted} == wanted
        time.sleep(1.0)
        cpu = {name: server.cpu_s() - cpu_s[name] for name, server in servers.items()}
    return _healed(lines, lacking, ended_s - began_s, cpu)


def _healed(
    lines: dict[tuple[str, str], Line],
    lacking: dict[str, int],
    took_s: float,
    cpu: dict[str, float],
) -> Healed:
    own = wire = items = records = 0
    sent: Counter[tuple[str, str]] = Counter()
    for (a, b), line in lines.items():
        for way, source in ((line.there, a), (line.back, b)):
            wire += sum(len(one) - one.find(b"\r\n\r\n") - 4 for one in way.connections)
            for message in way.messages():
                if isinstance(message, Records):
                    records += len(message.records)
                    items += len(message.items)
                    sent[source, way.to] += len(message.records)
                    own += sum(
                        len(envelope) + len(payload) for envelope, payload in message.records
                    )
    missing = sum(lacking.values())
    own = own * missing // records + SIGNATURE_BYTES * items
    return Healed(missing / took_s, wire / own, records - missing, dict(sent), wire, cpu)


def last_position(path: Path) -> int:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT max(position) FROM records").fetchone()[0] or 0)


def _wait(folder: Path, before: dict[str, int], more: dict[str, int], *, any_of: bool) -> float:
    """When these have so many more records."""
    began_s = time.monotonic()
    while True:
        now_s = time.monotonic()
        reached = [
            last_position(folder / name / "relay.db") - before[name] >= n
            for name, n in more.items()
        ]
        if any(reached) if any_of else all(reached):
            return now_s
        if now_s - began_s > MOST_S:
            raise TimeoutError(f"not healed in {MOST_S} s")
        time.sleep(0.005)


def _heal(run: Run, case: Case) -> None:
    found: list[Healed] = []
    with tempfile.TemporaryDirectory(prefix="weft-bench-") as name:
        filled = Path(name) / "filled"
        filled.mkdir()
        writing = ((0,),) if case.sides == 1 else ((0,), (1,))
        each = _fill([filled / "eu", filled / "us"], case, writing)
        lacking = {"us": each} if case.sides == 1 else {"us": each, "eu": each}
        for number in range(run.rounds):
            folder = shutil.copytree(filled, Path(name) / str(number))
            healed = _run(folder, ("eu", "us"), lacking)
            found.append(healed)
            cpu = ", ".join(f"{name} {s:.2f} s" for name, s in healed.cpu.items())
            note = f"{healed.copies} copies, {healed.wire / 1e6:.2f} MB; CPU {cpu}"
            print(f"  {healed.per_s:.0f}/s, {healed.ratio:.4f}: {note}", flush=True)
    run.table.add(
        f"heal: {case.name}",
        statistics.median(one.per_s for one in found),
        "rec/s",
        least=PER_S_LEAST if case.rate else None,
        note=note,
    )
    run.table.add(
        f"heal: {case.name}: of own bytes",
        statistics.median(one.ratio for one in found),
        "x",
        most=BYTES_MOST,
    )


def _heal_from_two(run: Run) -> None:
    """A third region comes back to two that both have what it lacks."""
    case = CASES[0]
    copies: list[float] = []
    with tempfile.TemporaryDirectory(prefix="weft-bench-") as name:
        filled = Path(name) / "filled"
        filled.mkdir()
        each = _fill([filled / "ap", filled / "eu", filled / "us"], case, ((1, 2),))
        for number in range(run.rounds):
            folder = shutil.copytree(filled, Path(name) / str(number))
            healed = _run(folder, ("ap", "eu", "us"), {"ap": each})
            copies.append(1 + healed.copies / each)
            note = f"{healed.per_s:.0f}/s; {healed.sent}"
            print(f"  {copies[-1]:.4f} copies; {note}", flush=True)
    name = "heal: 500 contexts from two regions, copies of a record"
    run.table.add(name, statistics.median(copies), "x", most=1.02, note=note)

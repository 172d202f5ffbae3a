"""What it costs two regions to find out where they differ: bytes, messages and CPU of each end.

Two stores with real journals and the sessions of two regions, moved by hand in one process, so that
what each end takes is seen apart. Bytes are those of the comparison: trees and frontiers of both
ends. It is over when nothing moves any more but records, which are left out. The contexts that
never change have a row in their store, and no records.
"""

from __future__ import annotations

import asyncio
import gc
import math
import random
import resource
import sqlite3
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.bench.figures import Table
from tests.bench.run import Run
from tests.linked import End, Store, settle, stores
from weft_engine.sync.driving.kept_tree import KeptTree
from weft_engine.sync.end.questions import ReadFrontiers, ReadLacking
from weft_engine.sync.end.regions.tree_questions import ReadNames, ReadTree
from weft_engine.sync.end.regions.zoom_questions import ReadChains, ReadShared
from weft_engine.sync.framing.frames import decode_frame
from weft_engine.sync.framing.messages import Branches, Records, Tree
from weft_engine.sync.interest import EVERYTHING
from weft_server.heap import trim_heap

SIZES = (1_000, 10_000, 100_000, 1_000_000)
CHANGES = (1, 10, 100, 1_000)
FIXED = 10
"""So many differ where the number of contexts grows."""
EXPONENT_MOST = 0.15
ROUNDS = 5
SEED = 6
COMPARING = (ReadTree, ReadNames, ReadFrontiers, ReadShared, ReadChains, ReadLacking)
TYPES = (3, 18, 19, 20, 24, 25, 28, 29)
"""Frames of the comparison: frontiers, those of trees, and what is told of frontiers."""
PAGE_BYTES = resource.getpagesize()


@dataclass
class Agreed:
    """One comparison. CPU in seconds, of the two ends."""

    sent: list[int] = field(default_factory=lambda: [0, 0])
    cpu_s: list[float] = field(default_factory=lambda: [0.0, 0.0])
    longest_s: float = 0.0
    """What an end did at once."""
    messages: int = 0
    """Of trees; the frontiers come behind them."""
    contexts: int = 0

    @property
    def bytes(self) -> int:
        return sum(self.sent)

    @property
    def busiest_s(self) -> float:
        return max(self.cpu_s)


class Regions:
    """Two stores with equal contexts, of which some can be changed."""

    def __init__(self, a: Store, b: Store, count: int) -> None:
        self.both = (a, b)
        self.count = count
        self._names = [f"acme/chat-{i:07d}" for i in range(min(count, max(CHANGES)))]

    async def fill(self) -> None:
        """The contexts that change are written, the others are put there."""
        a, _ = self.both
        for name in self._names:
            await a.write(name, "hello")
        await self.meet()
        for store in self.both:
            await store.journal.write(self._put)
            # It was not told of these.
            store.hub.tree = KeptTree(store.journal)

    def _put(self, connection: sqlite3.Connection) -> None:
        rng = random.Random(SEED)
        first = len(self._names)
        connection.executemany(
            "INSERT INTO contexts (name, frontier, records, position, hlc)"
            " VALUES (?, ?, 1, 1, zeroblob(8))",
            ((f"acme/chat-{i:07d}", rng.randbytes(32)) for i in range(first, self.count)),
        )

    async def change(self, count: int) -> None:
        """One more record at the first, in so many contexts."""
        for name in self._names[:count]:
            await self.both[0].write(name, "more")

    async def meet(self) -> None:
        """Until both have everything."""
        ends = [End(store, region=region) for store, region in zip(self.both, "ab", strict=True)]
        await settle((ends[0], ends[1]))
        assert all(end.session.progress.is_synced for end in ends)
        for end in ends:
            end.session.lost("over")
            end.stop()

    async def agree(self, *, near: bool) -> Agreed:
        """Compare, and leave: messages of records are made, and kept back."""
        ends = [End(store, region=region) for store, region in zip(self.both, "ab", strict=True)]
        pairs = list(zip(ends, reversed(ends), strict=True))
        found = Agreed()
        for end, other in pairs:
            if near:
                end.session.is_near()
            end.flush(other)
        for end in ends:
            end.read_one()
        moves = True
        while moves:
            moves = False
            for index, (end, other) in enumerate(pairs):
                begun = time.process_time()
                is_part = await _step(end)
                moves = moves or is_part is not None
                spent = time.process_time() - begun
                if is_part:
                    found.cpu_s[index] += spent
                    found.longest_s = max(found.longest_s, spent)
                for frame in end.session.frames_to_send():
                    message = decode_frame(frame)
                    found.messages += isinstance(message, (Tree, Branches))
                    if not isinstance(message, Records):
                        other.inbox.append(frame)
        found.sent = [end.session.cost.bytes_sent for end in ends]
        found.contexts = ends[0].session.cost.contexts
        for end in ends:
            end.session.lost("over")
            end.stop()
        return found


async def _step(end: End) -> bool | None:
    """Do what comes next at an end; whether that is part of the comparison. None: nothing comes."""
    if end.inbox:
        # It is read once only, as ever: the type stands behind version and array.
        is_part = end.inbox[0][2] in TYPES
        end.read_one()
        return is_part
    question = end.next_question()
    if question is None:
        return None
    await end.ask(question)
    return isinstance(question, COMPARING)


def _exponent(points: Sequence[tuple[float, float]]) -> float:
    """Of the power law that fits these best: the slope of logarithms."""
    xs = [math.log(x) for x, _ in points]
    ys = [math.log(y) for _, y in points]
    return statistics.linear_regression(xs, ys).slope


def _resident_mb() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE_BYTES / 1e6


@dataclass
class Curve:
    """What comparisons took, by what was varied."""

    bytes: list[tuple[float, float]] = field(default_factory=list)
    cpu: list[tuple[float, float]] = field(default_factory=list)

    def add(self, x: int, rounds: Sequence[Agreed]) -> None:
        self.bytes.append((x, statistics.median(one.bytes for one in rounds)))
        self.cpu.append((x, statistics.median(sum(one.cpu_s) for one in rounds)))


async def _rounds(regions: Regions, *, near: bool) -> list[Agreed]:
    found = []
    for _ in range(ROUNDS):
        gc.collect()
        found.append(await regions.agree(near=near))
    return found


def _said(rounds: Sequence[Agreed]) -> str:
    cpu = [1e3 * statistics.median(one.cpu_s[end] for one in rounds) for end in (0, 1)]
    longest = 1e3 * statistics.median(one.longest_s for one in rounds)
    return f"CPU {cpu[0]:.2f} and {cpu[1]:.2f} ms, at once {longest:.2f} ms"


def _bytes(rounds: Sequence[Agreed]) -> float:
    return statistics.median(one.bytes for one in rounds)


def _busiest_ms(rounds: Sequence[Agreed]) -> float:
    return 1e3 * statistics.median(max(one.cpu_s) for one in rounds)


async def _measure(table: Table) -> None:
    by_size = {False: Curve(), True: Curve()}
    by_changes = Curve()
    for count in SIZES:
        async with stores(2, seed=SEED) as (a, b):
            regions = Regions(a, b, count)
            await regions.fill()
            is_largest = count == SIZES[-1]
            trim_heap()
            before = _resident_mb()
            begun = time.process_time()
            for store in (a, b):
                await store.hub.tree.read(ReadTree(EVERYTHING), store.journal.read)
            gc.collect()
            trim_heap()  # A relay does so, too.
            if is_largest:
                taken = (time.process_time() - begun) / 2
                table.add(
                    f"memory of a tree over {count:,} contexts",
                    (_resident_mb() - before) / 2,
                    "MB",
                    most=40,
                    note=f"made in {taken:.1f} s of CPU",
                )
                before = _resident_mb()
                equal = await _rounds(regions, near=False)
                _report_equal(table, equal)
            for changes in CHANGES if is_largest else (FIXED,):
                await regions.change(changes)
                for near in (False, True):
                    rounds = await _rounds(regions, near=near)
                    assert all(one.contexts == changes for one in rounds)
                    if changes == FIXED:
                        by_size[near].add(count, rounds)
                    if is_largest:
                        if near:
                            by_changes.add(changes, rounds)
                        _report(table, changes, rounds, near=near)
                await regions.meet()
            if is_largest:
                grown = _resident_mb() - before
                table.add("  memory grown after all that", grown, "MB", note="both ends")
    for near in (False, True):
        where = "near" if near else "far"
        for what, points in (("bytes", by_size[near].bytes), ("CPU", by_size[near].cpu)):
            exponent = _exponent(points)
            note = ", ".join(f"{x:,}: {_shown(what, y)}" for x, y in points)
            name = f"{what} by contexts, {FIXED} changed, {where}: exponent"
            table.add(name, exponent, "", least=-EXPONENT_MOST, most=EXPONENT_MOST, note=note)
    for what, points in (("bytes", by_changes.bytes), ("CPU", by_changes.cpu)):
        note = ", ".join(f"{x:,}: {_shown(what, y)}" for x, y in points)
        name = f"{what} by changed contexts, {SIZES[-1]:,}: exponent"
        table.add(name, _exponent(points), "", most=1.1, note=note)


def _shown(what: str, value: float) -> str:
    return f"{value:,.0f}" if what == "bytes" else f"{1e3 * value:.2f} ms"


def _report_equal(table: Table, rounds: Sequence[Agreed]) -> None:
    said = _said(rounds)
    table.add(f"equal stores of {SIZES[-1]:,} contexts: bytes", _bytes(rounds), "B", most=64)
    table.add("  messages", max(one.messages for one in rounds), "", most=2)
    table.add("  CPU of the busier end", _busiest_ms(rounds), "ms", most=1, note=said)


def _report(table: Table, changes: int, rounds: Sequence[Agreed], *, near: bool) -> None:
    messages = max(one.messages for one in rounds)
    where = "near" if near else "far"
    most = {1: 1024 if near else 2048, 1_000: 400 * 1024}.get(changes)
    note = f"{messages} messages of trees, {_said(rounds)}"
    table.add(f"{changes:,} changed, {where}: bytes", _bytes(rounds), "B", most=most, note=note)
    if changes == 1 and not near:
        table.add("  messages of trees", messages, "", most=6)
    if changes == max(CHANGES):
        table.add("  CPU of the busier end", _busiest_ms(rounds), "ms", most=150)


def measure(run: Run) -> None:
    run.attempt("regions agree", lambda: asyncio.run(_measure(run.table)))

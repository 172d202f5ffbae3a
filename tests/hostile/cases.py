"""All attacks, and how much of each: `python -m tests.hostile.cases NAME URL SECONDS` repeats one
for so long, and prints how much it did. Must never know: who looks on.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from dataclasses import dataclass
from typing import Final

from tests.hostile import (
    frame_attacks,
    record_attacks,
    region_attacks,
    socket_attacks,
    yjs_attacks,
)
from tests.hostile.target import Attack, Target


@dataclass(frozen=True)
class Case:
    attack: Attack
    few: int
    many: int
    """In the default suite, and in the deep one."""

    @property
    def name(self) -> str:
        return self.attack.__name__


CASES: Final = (
    Case(frame_attacks.mutated_frames, 1500, 100_000),
    Case(frame_attacks.promising_frames, 24, 400),
    Case(frame_attacks.heartbeats, 40_000, 2_000_000),
    Case(frame_attacks.pings, 20_000, 2_000_000),
    Case(frame_attacks.wants, 40, 5_000),
    Case(frame_attacks.repeated_records, 200, 100_000),
    Case(frame_attacks.long_lists, 4_000, 1_000_000),
    Case(frame_attacks.long_frontiers, 20_000, 3_000_000),
    Case(frame_attacks.endless_messages, 20, 1_000),
    Case(record_attacks.hostile_updates, 150, 5_000),
    Case(record_attacks.overwrites, 30, 1_000),
    Case(record_attacks.forgeries, 40, 1_000),
    Case(record_attacks.equivocations, 20, 500),
    Case(record_attacks.parked, 32, 5_000),
    Case(record_attacks.future_records, 5, 100),
    Case(socket_attacks.silent_connections, 100, 5_000),
    Case(socket_attacks.slow_requests, 100, 5_000),
    Case(socket_attacks.slow_frames, 50, 2_000),
    Case(socket_attacks.slow_fragments, 10, 200),
    Case(socket_attacks.large_requests, 8, 200),
    Case(socket_attacks.connections, 160, 20_000),
    Case(socket_attacks.resets, 50, 5_000),
    Case(region_attacks.region_frames, 120, 50_000),
    Case(region_attacks.region_frontiers, 4_000, 1_000_000),
    Case(region_attacks.region_promises, 400, 20_000),
    Case(region_attacks.regions_without_end, 80, 1_000),
    Case(yjs_attacks.yjs_mutated, 300, 20_000),
    Case(yjs_attacks.yjs_asking, 16_000, 1_000_000),
    Case(yjs_attacks.yjs_crowds, 4_000, 200_000),
    Case(yjs_attacks.yjs_unended, 40, 2_000),
    Case(yjs_attacks.yjs_waiting, 300, 20_000),
    Case(yjs_attacks.yjs_updates, 300, 20_000),
)


async def _repeat(case: Case, target: Target, seconds: float) -> int:
    """The greater amounts come in shares, so that the time is kept."""
    rng = random.Random(case.name)
    ends_s = time.monotonic() + seconds
    done = 0
    while time.monotonic() < ends_s:
        done += await case.attack(target, rng, min(case.many, 10 * case.few))
    return done


if __name__ == "__main__":
    chosen = next(case for case in CASES if case.name == sys.argv[1])
    print(asyncio.run(_repeat(chosen, Target(sys.argv[2]), float(sys.argv[3]))), flush=True)

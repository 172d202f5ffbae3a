"""Hostile clients at a relay, and honest ones in the same context, who must not notice."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hostile import frame_attacks, record_attacks, socket_attacks
from tests.hostile.honest import honest
from tests.hostile.looking import Watch
from tests.hostile.target import Attack, Target
from tests.running_relay import RunningRelay, running_relay
from tests.stores import folder
from weft_engine.storage.verify import verify

ATTACK_S = 120.0
GROWN_MIB_MAX = 256


@dataclass(frozen=True)
class Case:
    attack: Attack
    few: int
    many: int
    """In the default suite, and in the deep one."""


CASES = [
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
]


async def attacked(place: Path, relay: RunningRelay, cases: dict[str, tuple[Attack, int]]) -> None:
    async with honest(place, relay.url, None) as clients:
        async with Watch(relay.pid, relay.address) as watch:
            for name, (attack, amount) in cases.items():
                said = len(clients.said)
                async with asyncio.timeout(ATTACK_S):
                    assert await attack(Target(relay.url), random.Random(name), amount) > 0
                    while len(clients.said) < said + 4:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                assert watch.grown_mib < GROWN_MIB_MAX, f"{name}: {watch.grown_mib:.0f} MiB more"
                print(name, amount, f"{watch.grown_mib:.0f} MiB, {max(watch.answers_s):.2f} s")


@pytest.mark.parametrize("is_deep", [False, pytest.param(True, marks=pytest.mark.deep)])
def test_honest_clients_do_not_notice_hostile_ones(is_deep: bool) -> None:
    cases = {
        case.attack.__name__: (case.attack, case.many if is_deep else case.few) for case in CASES
    }
    with folder() as place:
        with running_relay(place / "relay") as relay:
            asyncio.run(attacked(place, relay, cases))
        assert not verify(relay.store, progress=lambda *_: None).findings

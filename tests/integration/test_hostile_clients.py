"""Hostile clients at a relay, and honest ones in the same context, who must not notice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
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


async def attacked(
    place: Path, relay: RunningRelay, groups: Sequence[Sequence[tuple[Attack, int]]]
) -> None:
    """One group of attacks after the other, those of a group at once."""
    target = Target(relay.url)
    async with honest(place, relay.url, None) as clients:
        async with Watch(relay.pid, relay.address) as watch:
            for group in groups:
                said = len(clients.said)
                names = ", ".join(attack.__name__ for attack, _ in group)
                async with asyncio.timeout(ATTACK_S):
                    done = await asyncio.gather(
                        *(attack(target, random.Random(names), n) for attack, n in group)
                    )
                    assert all(done), names
                    while len(clients.said) < said + 4:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                assert watch.grown_mib < GROWN_MIB_MAX, f"{names}: {watch.grown_mib:.0f} MiB more"


def run(groups: Sequence[Sequence[tuple[Attack, int]]]) -> None:
    with folder() as place:
        with running_relay(place / "relay") as relay:
            asyncio.run(attacked(place, relay, groups))
        assert not verify(relay.store, progress=lambda *_: None).findings


def test_honest_clients_do_not_notice_many_hostile_ones_at_once() -> None:
    run([[(case.attack, case.few) for case in CASES]])


@pytest.mark.deep
def test_honest_clients_do_not_notice_any_of_many_attacks() -> None:
    run([[(case.attack, case.many)] for case in CASES])

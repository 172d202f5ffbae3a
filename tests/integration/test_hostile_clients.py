"""Hostile clients at a relay, and honest ones in the same context, who must not notice."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.hostile.cases import CASES
from tests.hostile.honest import honest
from tests.hostile.looking import Watch
from tests.hostile.target import Attack, Target
from tests.running_relay import RunningRelay, running_relay
from tests.stores import folder
from weft_engine.storage.verify import verify
from weft_server.door.token_keys import make_key_file, read_keys
from weft_server.door.tokens import mint

ATTACK_S = 1800.0
"""So that nothing hangs; how long an attack takes is up to the machine."""
GROWN_MIB_MAX = 448
"""What all links may hold, 256 MiB, and what comes until somebody looks again."""


async def attacked(
    place: Path,
    relay: RunningRelay,
    groups: Sequence[Sequence[tuple[Attack, int]]],
    tokens: tuple[str | None, str | None],
) -> None:
    """One group of attacks after the other, those of a group at once. `tokens`: that of the honest
    clients, and that of the others."""
    own, theirs = tokens
    target = Target(relay.url, theirs)
    async with honest(place, relay.url, own) as clients:
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
            asyncio.run(attacked(place, relay, groups, (None, None)))
        assert not verify(relay.store, progress=lambda *_: None).findings


def test_honest_clients_do_not_notice_many_hostile_ones_at_once() -> None:
    run([[(case.attack, case.few) for case in CASES]])


@pytest.mark.deep
def test_honest_clients_do_not_notice_any_of_many_attacks() -> None:
    run([[(case.attack, case.many)] for case in CASES])


@pytest.mark.deep
@pytest.mark.parametrize("right", ["append", "write"])
def test_honest_clients_with_tokens_do_not_notice_attacks_by_other_bearers(right: str) -> None:
    """The attackers' token is for the same context, and for some more."""
    with folder() as place:
        key = place / "token.key"
        make_key_file(key)
        own, theirs = (
            mint(
                read_keys(key),
                prefixes=["one", "crowd/", "many/"],
                rights=["read", given],
                expires_s=3600,
                now_s=int(time.time()),
            )
            for given in ("write", right)
        )
        with running_relay(place / "relay", key=key) as relay:
            groups = [[(case.attack, case.few * 4)] for case in CASES]
            asyncio.run(attacked(place, relay, groups, (own, theirs)))
        assert not verify(relay.store, progress=lambda *_: None).findings

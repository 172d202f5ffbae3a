"""The same bytes everywhere: on every Python version, hash seed, replica and order of arrival."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stores import Clock, folder, give, open_replica
from tests.view_corpus import fingerprints
from weft_engine.views.policies import LastN, SkipParts

KEPT = Path(__file__).parents[1] / "data" / "view-fingerprints.json"


def test_the_fingerprints_that_are_kept() -> None:
    assert fingerprints() == json.loads(KEPT.read_text())


@pytest.mark.parametrize("seed", ["0", "4242"])
def test_any_hash_seed(seed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.view_corpus"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )
    assert json.loads(done.stdout) == json.loads(KEPT.read_text())


@pytest.mark.parametrize("seed", range(4))
def test_replicas_that_hold_the_same_give_the_same_views(seed: int) -> None:
    """Two write at once and exchange now and then; a third gets it all at the end; each is asked
    for views all along, so that they know different parts and have found different hints."""

    async def story() -> None:
        rng = random.Random(seed)
        policies = (LastN(10**6), LastN(12), SkipParts())
        with folder() as place:
            clock = Clock()
            names = ("a", "b", "c")
            replicas = [open_replica(place / f"{n}.db", seed=seed, clock=clock) for n in names]
            ann, bob, late = (replica.context("acme/one") for replica in replicas)
            for number in range(120):
                chat = rng.choice((ann, bob))
                role = rng.choice(("user", "user", "assistant"))
                text = "word " * rng.choice((1, 20, 60))
                await chat.append({"role": role, "content": f"{number} {text}"})
                if rng.random() < 0.3:
                    await chat.view(budget=1_500, policy=rng.choice(policies))
                if rng.random() < 0.1:
                    await give(replicas[0], replicas[1])
                    await give(replicas[1], replicas[0])
            await give(replicas[0], replicas[1])
            await give(replicas[1], replicas[0])
            await give(replicas[0], replicas[2])
            for budget in (300, 1_500, 100_000):
                for policy in policies:
                    views = [
                        await chat.view(budget=budget, policy=policy) for chat in (ann, bob, late)
                    ]
                    assert len({view.fingerprint for view in views}) == 1
                    anew = await ann.at(views[0].cut).view(budget=budget, policy=policy)
                    assert anew == views[0]
            for replica in replicas:
                await replica.close()
            # Opened again, with whatever hints were left behind.
            for name in names:
                async with open_replica(place / f"{name}.db", seed=seed + 9) as replica:
                    again = await replica.context("acme/one").view(budget=1_500, policy=LastN(12))
                    wanted = (
                        await replica.context("acme/one")
                        .at(again.cut)
                        .view(budget=1_500, policy=LastN(12))
                    )
                    assert again == wanted

    asyncio.run(story())

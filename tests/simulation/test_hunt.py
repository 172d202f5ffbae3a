"""A short hunt with hostile bytes; `make fuzz` is the long one."""

from __future__ import annotations

import pytest

from tests.simulation.hunt_bytes import HUNTS, Job, run_job

SEEDS = (1, 2, 3)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", HUNTS)
def test_hostile_bytes_harm_nothing(kind: str, seed: int) -> None:
    """If this fails: `python -m tests.simulation.hunt_bytes --updates 600 --seed 1 --only 0`, or
    `--frames`, with the seed of the test."""
    assert run_job(seed, Job(kind, 0, 600)) > 0

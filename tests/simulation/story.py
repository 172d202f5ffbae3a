"""A story: what happens in a history, step by step. Data, so that it can be drawn and shrunk."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Step:
    """After `wait_ms` of virtual time `action` happens to machine number `who` (modulo how many
    there are); `n` decides its details."""

    wait_ms: int
    action: str
    who: int
    n: int


WORK: Final = {
    "say": 26,
    "answer": 12,
    "burst": 4,
    "tool": 4,
    "talk": 6,
    "note": 10,
    "look": 6,
    "import": 4,
    "configure": 2,
    "sync": 8,
    "fact": 4,
    "mark": 4,
    "revoke": 3,
    "compact": 4,
    "branch": 4,
    "siblings": 2,
    "close_branch": 1,
    "stream": 7,
    "interrupt": 1,
}
TABS: Final = {
    "tab_comes": 8,
    "tab_types": 30,
    "tab_loses_connection": 8,
    "tab_goes": 2,
}
"""In some stories only: relays that Yjs clients meet at."""
FAULTS: Final = {
    "kill": 4,
    "kill_soon": 4,
    "lose_power": 4,
    "lose_power_soon": 4,
    "stop": 3,
    "start": 6,
    "snapshot": 2,
    "restore": 2,
    "rewind": 2,
    "clone": 1,
    "clone_disk": 1,
    "reopen": 3,
    "suspend": 2,
    "cut": 6,
    "partition": 3,
    "heal": 4,
    "half_open": 2,
    "slow": 2,
    "roam": 4,
    "go_offline": 3,
    "second_link": 2,
    "subscribe": 6,
    "step_clock": 3,
    "disk_full": 2,
    "disk_free": 3,
    "lying_disk": 1,
    "overwrite": 2,
    "forge": 2,
    "equivocate": 2,
    "skew": 1,
    "park": 1,
    "garbage": 2,
    "stand_in": 1,
    "impersonate": 1,
    "erase": 8,
    "spoil_checkpoint": 2,
}
REACH: Final = {"reach": 10}
REGIONS: Final = {
    "one_way": 4,
    "silence": 4,
    "swallow": 3,
    "cut_regions": 4,
    "split": 6,
    "slow_link": 2,
    "far": 1,
    "add_peer": 3,
    "drop_peer": 3,
    "region_joins": 2,
    "region_copied": 1,
    "region_away": 3,
    "fail_over": 5,
}
"""In stories of meshes only."""
ACTIONS: Final = tuple({**WORK, **TABS, **FAULTS})
MESH_ACTIONS: Final = (*ACTIONS, *REGIONS, *REACH)
ALL_FAULTS: Final = (*FAULTS, *REGIONS)
STEPS_MIN: Final = 15
STEPS_MAX: Final = 50
_MESH_STEPS_MIN: Final = 12
_MESH_STEPS_MAX: Final = 36
_MACHINE_STEPS: Final = 250
"""Machines times steps of a mesh: with many machines less happens."""
_TABS_SHARE: Final = 0.4
_MESH_TABS_SHARE: Final = 0.15


def make_story(rng: random.Random) -> list[Step]:
    """A story in which work prevails; each one has a few kinds of faults, so that some of them
    come together often."""
    kinds = [kind for kind in FAULTS if rng.random() < rng.choice((0.1, 0.3, 0.6))]
    weights = dict(WORK) | {kind: 2 * FAULTS[kind] for kind in kinds}
    if any(kind in kinds for kind in ("kill", "kill_soon", "lose_power", "stop", "disk_full")):
        weights |= {"start": FAULTS["start"], "disk_free": FAULTS["disk_free"]}
    if rng.random() < _TABS_SHARE:
        times = rng.choice((1, 1, 4))
        weights |= {kind: times * share for kind, share in TABS.items()}
    return _draw(rng, weights, rng.choice((20, 200, 1000)), range(STEPS_MIN, STEPS_MAX + 1))


def make_mesh_story(rng: random.Random, burden: int) -> list[Step]:
    """A story of a mesh of so many machines, or of fewer that have more to do: what happens to
    regions and links between them, and a few of the faults that happen to any machine."""
    weights = {**WORK, **REACH}
    for faults, times in ((FAULTS, 1), (REGIONS, 4)):
        kinds = [kind for kind in faults if rng.random() < rng.choice((0.1, 0.3, 0.6))]
        weights |= {kind: times * faults[kind] for kind in kinds}
    weights |= {kind: FAULTS[kind] for kind in ("start", "roam")}
    if "disk_full" in weights:
        weights["disk_free"] = FAULTS["disk_free"]
    if rng.random() < _MESH_TABS_SHARE:
        weights |= TABS
    most = max(_MESH_STEPS_MIN, min(_MESH_STEPS_MAX, _MACHINE_STEPS // burden))
    return _draw(rng, weights, rng.choice((50, 500, 2000)), range(_MESH_STEPS_MIN, most + 1))


def _draw(rng: random.Random, weights: dict[str, int], pace: int, steps: range) -> list[Step]:
    names, shares = list(weights), list(weights.values())
    return [
        Step(
            int(rng.expovariate(1 / pace)) if rng.random() < 0.8 else 0,
            rng.choices(names, shares)[0],
            rng.randrange(64),
            rng.randrange(1 << 16),
        )
        for _ in range(rng.choice(steps))
    ]

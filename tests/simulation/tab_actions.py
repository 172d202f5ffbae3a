"""What steps of a story do to tabs: they come, type, lose their connection, and go."""

from __future__ import annotations

import random

from tests.simulation.machine import Machine
from tests.simulation.tabs import TABS_MAX, Tab
from tests.simulation.world import CONTEXTS, World


def _any(world: World, rng: random.Random) -> Tab | None:
    return rng.choice(list(world.tabs.values())) if world.tabs else None


def come(world: World, machine: Machine, rng: random.Random) -> None:
    """Often next to one that is there."""
    if len(world.tabs) >= TABS_MAX:
        return
    beside = _any(world, rng)
    relay, name = rng.choice(world.relays).name, rng.choice(CONTEXTS)
    if beside is not None and rng.random() < 0.7:
        relay, name = beside.relay, beside.context
    world.counts["tabs"] += 1
    label = f"tab{world.counts['tabs']}"
    tab = world.tabs[label] = Tab(world, label, relay, name, rng)
    tab.join()


def type_(world: World, machine: Machine, rng: random.Random) -> None:
    if not world.tabs:
        come(world, machine, rng)
    for _ in range(rng.choice((1, 2, 4))):
        tab = _any(world, rng)
        assert tab is not None
        tab.edit(rng)
    world.counts["edits of tabs"] += 1


def lose_connection(world: World, machine: Machine, rng: random.Random) -> None:
    """It is reset, and its user types on; or the tab is offline from now on, or it comes back,
    maybe to another relay."""
    tab = _any(world, rng)
    if tab is None:
        return
    if not tab.is_online:
        tab.is_online = True
        if rng.random() < 0.3:
            tab.relay = rng.choice(world.relays).name
    elif rng.random() < 0.5:
        if tab.wire is not None:
            tab.wire.reset()
            tab.edit(rng)
    else:
        tab.go_offline()


def go(world: World, machine: Machine, rng: random.Random) -> None:
    tab = _any(world, rng)
    if tab is not None:
        tab.close()
        del world.tabs[tab.name]

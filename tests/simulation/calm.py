"""What must come to rest: names are taken when something happens, and not one after another."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.simulation.machine import Machine
from tests.simulation.oracles import settle
from tests.simulation.world import World
from weft_engine.limits import CLOCK_SKEW_MS_MAX
from weft_engine.names import event_id_hlc
from weft_engine.records.clock import hlc_ms

_PLAUSIBLE_MS: Final = 1_672_531_200_000
"""A clock that shows less corrects nobody."""
_ROUNDS: Final = 3
"""In the first one copies may find out that they are, in the second one that others were."""


async def check_calm(world: World) -> None:
    """Everybody writes, again and again: in the end nobody takes another name for it."""
    names = 0
    for _ in range(_ROUNDS):
        names = world.counts["incarnations"]
        for machine in world.machines.values():
            _say(world, machine)
        await asyncio.sleep(0.2)
        await settle(world)
    if world.counts["incarnations"] != names:
        world.fail(f"{world.counts['incarnations'] - names} took another name though all was calm")
    world.counts["rounds of calm"] += _ROUNDS


def _say(world: World, machine: Machine) -> None:
    replica = machine.replica
    assert replica is not None

    async def say() -> None:
        ids = await replica.context("sim/a").append(f"calm {world.marks.new()}")
        world.acknowledged(machine, ids)
        relays = [world.find(machine.leads_to(kept)) for kept in machine.kept]
        if machine.region is None and all(relay.clock.now_ms() > _PLAUSIBLE_MS for relay in relays):
            # They have told the time.
            ahead_ms = hlc_ms(event_id_hlc(ids[0])) - replica.now_ms()
            if ahead_ms > CLOCK_SKEW_MS_MAX + 1000:
                world.fail(f"{machine.name} still stamps {ahead_ms} ms ahead of the clock it has")

    world.work(machine, "say", say)


def check_stores(world: World) -> None:
    """Of two copies of a store that talk to the same relay, one has another id by now."""
    seen: dict[tuple[str, bytes], str] = {}
    for machine in world.machines.values():
        assert machine.replica is not None
        for to in dict.fromkeys(machine.leads_to(kept) for kept in machine.kept):
            key = to, machine.replica.identity.store
            other = seen.setdefault(key, machine.name)
            if other != machine.name:
                world.fail(f"{machine.name} and {other} are the same store for {to}")

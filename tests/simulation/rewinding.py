"""A relay that comes back as it was, and gives its positions anew while its clients are away.

One client leaves something with it that nobody else has, and keeps a cursor behind what another
one has sent; after that the relay is set back, writes something of its own, and gets the other
one's record again, often at the very position that it had. Who believes the cursor now lacks what
was written meanwhile, and the relay what was left with it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from tests.simulation.beside import PASSING
from tests.simulation.machine import Machine, Snapshot
from tests.simulation.world import World
from weft_engine.names import ContextName
from weft_engine.sync.faults import LinkLost
from weft_engine.sync.interest import EVERYTHING, Interest

_FEW: Final = Interest.of(contexts=[ContextName("sim/a")])
_STEP_S: Final = 6.0
_CURSOR_S: Final = 2.5
"""Until a cursor is told and kept."""


def set_back(world: World, machine: Machine, snapshot: Snapshot, way: str) -> None:
    """An older state comes back: its `files`, `without the lease`, the whole `disk`, or all that
    there is of the `machine`, to which nothing shows it."""
    before = machine.hashes()
    if machine.is_up:
        world.kill(machine, power=False)
    if way == "without the lease":
        files = {n: d for n, d in snapshot.files.items() if not n.endswith(".lease")}
        snapshot = replace(snapshot, files=files)
    machine.restore(snapshot, is_image=way in ("disk", "machine"))
    if way == "machine":
        machine.boots = snapshot.boots
        world.copied(snapshot)
    else:
        machine.boots = max(machine.boots, snapshot.boots) + (way == "disk")
    world.lost(machine, before)
    world.bring_up(machine)


def rewind(world: World, machine: Machine, rng: random.Random) -> None:
    relay = rng.choice(world.relays)
    clients = [one for one in world.clients if one.is_up and one.interest == EVERYTHING]
    if len(clients) < 2 or any(not task.done() for task in world.rewinding):
        return
    first, second = rng.sample(clients, 2)
    story = _Rewinding(world, relay, first, second, rng)
    world.rewinding.append(asyncio.get_running_loop().create_task(story.run()))


class _Rewinding:
    def __init__(
        self, world: World, relay: Machine, first: Machine, second: Machine, rng: random.Random
    ) -> None:
        self._world = world
        self._relay = relay
        self._first = first
        self._second = second
        self._rng = rng

    async def run(self) -> None:
        world, relay, first, second = self._world, self._relay, self._first, self._second
        left = self._rng.choice((1, 1, 2, 3))
        if not (await self._away() and await self._do(relay, relay.stop, until_down=True)):
            return
        if relay.is_up:
            return  # Somebody else was faster.
        snapshot = relay.snapshot()
        if not (world.bring_up(relay) and await self._meet(first, EVERYTHING)):
            return
        if not (await self._say(first, "own/c", left) and await self._synced(first)):
            return
        if not (await self._meet(second, _FEW) and await self._say(second, "sim/a", 1)):
            return
        if not await self._synced(second):
            return
        await asyncio.sleep(_CURSOR_S)
        if not await self._away() or world.is_healing:
            return
        way = self._rng.choice(("files", "machine"))
        set_back(world, relay, snapshot, way)
        more = left + self._rng.choice((0, 0, 1, 2))
        if not (relay.is_up and await self._say(relay, "own/c", more)):
            return
        if self._rng.random() < 0.7 and await self._meet(second, _FEW):
            await self._synced(second)
        await self._meet(first, EVERYTHING)
        world.counts[f"positions used again, {way}"] += 1

    # ---- steps --------------------------------------------------------------------------------

    async def _do(
        self, machine: Machine, job: Callable[[], Awaitable[None]], *, until_down: bool = False
    ) -> bool:
        """Run a job as the machine's process; whether it came to its end."""
        world, is_done = self._world, asyncio.Event()

        async def run() -> None:
            try:
                await job()
            except (*PASSING, LinkLost, TimeoutError):
                return
            is_done.set()

        if not machine.is_up:
            return False
        world.work(machine, "rewind", run)
        until = world.loop.time() + _STEP_S
        while not is_done.is_set() and machine.is_up:
            if world.is_healing or world.loop.time() > until:
                return False
            await asyncio.sleep(0.05)
        return not machine.is_up if until_down else is_done.is_set()

    async def _away(self) -> bool:
        """Both clients end their links, in good order."""
        for machine in (self._first, self._second):

            async def close(of: Machine = machine) -> None:
                kept = list(of.kept)
                of.kept.clear()
                for one in kept:
                    await one.aclose()

            if not await self._do(machine, close):
                return False
        return True

    async def _meet(self, machine: Machine, interest: Interest) -> bool:
        if self._world.is_healing or not (machine.is_up and self._relay.is_up):
            return False
        machine.link(self._relay.name)
        if interest != machine.interest or not machine.asks_for_all:
            machine.ask(interest)
        return True

    async def _synced(self, machine: Machine) -> bool:
        async def wait() -> None:
            for kept in list(machine.kept):
                await kept.synced(timeout=_STEP_S)

        return await self._do(machine, wait)

    async def _say(self, machine: Machine, name: str, times: int) -> bool:
        world = self._world

        async def say() -> None:
            for _ in range(times):
                assert machine.replica is not None
                context = machine.replica.context(ContextName(name))
                world.acknowledged(machine, await context.append(f"again {world.marks.new()}"))

        return await self._do(machine, say)

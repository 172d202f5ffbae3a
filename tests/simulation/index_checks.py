"""Regions that compare what their event indexes say (`replica.checks`), in some of the meshes.

Nobody is blamed as long as nothing is spoilt, whatever else happens; and an index that is changed
behind its region's back is noticed by comparing alone, and made anew (or dropped, if it
can't even be read: then whoever reads next makes it anew), and nobody else is blamed.
"""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import TYPE_CHECKING, Final

from tests.simulation.machine import Machine
from weft_engine.names import ContextName
from weft_engine.replica.checking import Difference
from weft_engine.storage import reading
from weft_engine.storage.context_digest import ContextDigest, checkable
from weft_engine.sync.driving.link import Link

if TYPE_CHECKING:
    from tests.simulation.world import World

_EVERY_S: Final = (None, None, None, None, None, None, 0.5, 3.0)
_EVERY_S_OF_MANY: Final = 5.0
"""With many contexts it takes more time than it tells."""
_ROUNDS: Final = 10
"""Of telling, until what is spoilt is mended everywhere."""
_UNDER_WAY_S: Final = 10.0
_SPOILS: Final = (
    "UPDATE events SET place = 1000000 - place"
    " WHERE context = ? AND branch = x'' AND place IS NOT NULL",
    "UPDATE events SET size = size - 1 WHERE context = ? AND kind = 1",
    "UPDATE events SET role = 4 WHERE context = ? AND kind = 1",
    "UPDATE events SET size = 'x', role = 1.5 WHERE context = ? AND kind = 1",
    "DELETE FROM events WHERE context = ?1"
    " AND key = (SELECT max(key) FROM events WHERE context = ?1)",
)


class IndexChecks:
    """`every_s`: how often each region tells, None if none does; in no world but a mesh."""

    def __init__(self, world: World, seed: int | str) -> None:
        self._world = world
        drawn = random.Random(f"checks-{seed}").choice(_EVERY_S)
        if drawn is not None and world.small:
            drawn = _EVERY_S_OF_MANY
        self.every_s = drawn if world.is_mesh else None
        self._spoilt: tuple[Machine, ContextName] | None = None

    def keep(self, machine: Machine) -> None:
        """From now on a region that has just come up compares."""
        replica, every_s = machine.replica, self.every_s
        if machine.region is None or replica is None or every_s is None:
            return
        say = partial(self._differs, machine)

        async def compare() -> None:
            await replica.checks.keep(partial(_links, machine), say=say, every_s=every_s)

        machine.beside = self._world.work(machine, "compare indexes", compare)

    def _differs(self, machine: Machine, found: Difference) -> None:
        if (None if self._spoilt is None else self._spoilt[1]) != found.context:
            self._world.fail(f"{machine.name} says of {found.context}: {found.text}")

    async def check_spoilt(self, rng: random.Random) -> None:
        """One region's index of one context is changed behind its back."""
        world, every_s = self._world, self.every_s
        names = [name for name in world.names if self._can_be_compared(name)]
        if every_s is None or len(world.relays) < 2 or not names:
            return
        machine, name = rng.choice(world.relays), rng.choice(names)
        right = _digest(machine, name)
        self._spoilt = machine, name
        state = reading.context(machine.connection, name)
        assert state is not None, "it can be compared"
        machine.connection.execute(rng.choice(_SPOILS), (state.id,))
        if _digest(machine, name) == right:
            return  # There was nothing to spoil.
        end = world.loop.time() + _ROUNDS * every_s + _UNDER_WAY_S
        while (why := self._why_not_mended(machine, name, right)) is not None:
            if world.loop.time() > end:
                world.fail(f"the index of {name}, spoilt at {machine.name}: {why}")
                world.check()
            await asyncio.sleep(0.5)
        world.counts["indexes spoilt and mended"] += 1

    def _can_be_compared(self, name: ContextName) -> bool:
        """Everywhere: what a region does not index is passed over."""
        for relay in self._world.relays:
            state = reading.context(relay.connection, name)
            if state is None or not state.projected or checkable(relay.connection, name) is None:
                return False
        return True

    def _why_not_mended(self, machine: Machine, name: ContextName, right: bytes) -> str | None:
        state = reading.context(machine.connection, name)
        is_dropped = state is not None and state.projected == 0
        if _digest(machine, name) != right and not is_dropped:
            return "it is not right again"
        for relay in self._world.relays:
            assert relay.replica is not None
            blamed = {one.is_here for one in relay.replica.checks.differences}
            if blamed != ({True} if relay is machine else set()):
                return f"{relay.name} says {relay.replica.checks.differences}"
        return None


def _links(machine: Machine) -> list[Link]:
    """With other regions: those that they have dialled, and its own."""
    assert machine.relay is not None
    dialled = [kept.link for kept in machine.kept if kept.link is not None]
    return dialled + [one.link for one in machine.relay.mesh.links]


def _digest(machine: Machine, name: ContextName) -> bytes:
    """Of its index as it is; b"" if that can't be read."""
    digest = ContextDigest(name)
    try:
        while (is_done := digest.step(machine.connection)) is False:
            pass
    except Exception:  # noqa: BLE001 - what is spoilt may bring about anything
        return b""
    return digest.value if is_done else b""

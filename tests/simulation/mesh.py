"""Which regions of a world are linked, and who dials whom: what their operators have configured.

It stays as it is when a region is down: what was configured holds when it comes back. Regions and
links come and go in mid-history; in the end the operators see that the mesh is in one piece.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from tests.simulation.topology import Edge, Shape, edge, edges, parts
from weft_engine.names import ContextName
from weft_engine.sync.interest import EVERYTHING, Interest

if TYPE_CHECKING:
    from tests.simulation.machine import Machine
    from tests.simulation.world import World

REGIONS_MAX: Final = 7
_FAR_S: Final = (0.08, 0.11, 0.15)
"""One way between continents."""
_BOTH_DIAL_SHARE: Final = 0.15
_MANY_SHARE: Final = 0.1
_MANY_CLIENTS_MAX: Final = 3
"""Where there are many contexts: each machine has them all."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How many begin, and how they are linked. `is_far`: regions are on different continents.
    `contexts`: how many small ones there are beside the others."""

    regions: int
    clients: int
    shape: Shape
    is_far: bool
    contexts: int

    @property
    def machines(self) -> int:
        return self.regions + self.clients

    @property
    def burden(self) -> int:
        """What a step costs, in machines with few contexts."""
        return self.machines + self.contexts // 8


def make_plan(rng: random.Random) -> Plan:
    """Small ones prevail; now and then there are as many as there may be."""
    plan = Plan(
        rng.choice((2, 3, 3, 3, 4, 4, 5, 5, 6, 7)),
        rng.choice((1, 2, 2, 3, 3, 4, 4, 5, 6, 8, 12, 20)),
        rng.choice(list(Shape)),
        rng.random() < 0.5,
        0,
    )
    if rng.random() >= _MANY_SHARE:
        return plan
    clients = min(plan.clients, _MANY_CLIENTS_MAX)
    return replace(plan, clients=clients, contexts=rng.randint(40, 100))


class Mesh:
    """`dialers`: each link between regions, and who of the two dials: one of them, or both."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.dialers: dict[Edge, tuple[str, ...]] = {}

    def dialled_by(self, name: str) -> list[str]:
        return [b if a == name else a for (a, b), who in self.dialers.items() if name in who]

    def neighbours(self, name: str) -> list[str]:
        return [b if a == name else a for a, b in self.dialers if name in (a, b)]

    def is_full(self) -> bool:
        count = len(self._world.relays)
        return len(self.dialers) == count * (count - 1) // 2

    def is_single(self) -> bool:
        """There is one connection for each link: no two regions dial each other."""
        return all(len(who) == 1 for who in self.dialers.values())

    def join(self, a: str, b: str, *, dialers: tuple[str, ...] | None = None) -> None:
        """Operators have two regions linked from now on; nothing if they are."""
        world, pair = self._world, edge(a, b)
        if pair in self.dialers:
            return
        if dialers is None:
            one = world.rng.choice(pair)
            dialers = pair if world.rng.random() < _BOTH_DIAL_SHARE else (one,)
        self.dialers[pair] = dialers
        for name in dialers:
            machine = world.find(name)
            if machine.is_up and not machine.is_stopping:
                machine.link(b if name == a else a)

    def part(self, a: str, b: str) -> None:
        """Operators have taken a link away."""
        world, pair = self._world, edge(a, b)
        for name in self.dialers.pop(pair, ()):
            machine = world.find(name)
            other = b if name == a else a
            for kept in [one for one, to in machine.kept.items() if to == (other,)]:
                del machine.kept[kept]
                world.work(machine, "take a link away", kept.aclose)

    def mend(self) -> None:
        """Every region can reach every other one again, over some others maybe."""
        names = [relay.name for relay in self._world.relays]
        for one, other in pairwise(parts(names, self.dialers)):
            self.join(one[0], other[0])
            self._world.counts["meshes mended"] += 1


def settle_in(world: World, plan: Plan) -> None:
    """The regions and clients of a plan come up; a few clients take part in less than all."""
    rng = world.rng
    names = [f"relay{index}" for index in range(plan.regions)]
    for index, name in enumerate(names):
        world.add(name, region=f"r{index}")
    if plan.is_far:
        for a in names:
            for b in names:
                world.network.set_far(a, b, rng.choice(_FAR_S))
    for index in range(plan.clients):
        narrow = index > 0 and rng.random() < 0.2
        world.add(
            f"client{index}", interest=Interest.of(prefixes=["sim/"]) if narrow else EVERYTHING
        )
    for machine in list(world.machines.values()):
        world.bring_up(machine)
    for a, b in edges(plan.shape, names, rng):
        world.mesh.join(a, b)
    for name in world.small:
        machine = world.find(rng.choice(names[:2]))
        world.work(machine, "begin a context", partial(_begin, world, machine, name))


async def _begin(world: World, machine: Machine, name: ContextName) -> None:
    assert machine.replica is not None
    said = await machine.replica.context(name).append(f"begins {world.marks.new()}")
    world.acknowledged(machine, said)


def add_region(world: World, rng: random.Random) -> Machine:
    """One more region, that is linked with one to three of those that there are."""
    others = [relay.name for relay in world.relays]
    machine = world.add(f"relay{len(others)}", region=f"r{len(others)}")
    for other in rng.sample(others, min(len(others), rng.choice((1, 1, 2, 3)))):
        world.mesh.join(machine.name, other)
    return machine


def pass_time(world: World, seconds: float) -> None:
    """Weeks go by in which nobody does anything: all clocks show it."""
    for machine in world.machines.values():
        machine.clock.offset_ms += int(seconds * 1000 * machine.clock.rate)
    world.counts["weeks passed"] += round(seconds / (7 * 86_400))

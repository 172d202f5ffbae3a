"""What steps of a story do to a mesh: links between regions that fail in every way, regions that
come and go, operators who change who is linked with whom, clients that know several addresses."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from functools import partial
from typing import Final

from tests.simulation import mesh
from tests.simulation.machine import Machine
from tests.simulation.network import Wire
from tests.simulation.topology import Edge
from tests.simulation.world import World
from weft_engine.errors import CallerError, LinkRefused
from weft_engine.sync.driving.held import until_held
from weft_engine.sync.faults import LinkLost

_SHORT_S: Final = (1.0, 4.0, 12.0)
"""Connections outlive it."""
_LONG_S: Final = (30.0, 60.0)
"""A connection that nothing comes over is given up after 25 s."""
_WEEK_S: Final = 7 * 86_400


def _edge(world: World, rng: random.Random) -> Edge | None:
    found = list(world.mesh.dialers)
    return rng.choice(found) if found else None


def _wire(world: World, rng: random.Random) -> Wire | None:
    """A connection between two regions."""
    regions = {relay.name for relay in world.relays}
    found = [wire for wire in world.network.wires if regions.issuperset(wire.machines)]
    return rng.choice(found) if found else None


def _block(world: World, pairs: Iterable[tuple[str, str]], rng: random.Random) -> None:
    """Nothing comes through in these directions for a while."""
    blocked = list(pairs)
    for pair in blocked:
        world.network.block(*pair)

    def unblock() -> None:
        for pair in blocked:
            world.network.unblock(*pair)

    world.loop.call_later(rng.choice((*_SHORT_S, *_LONG_S)), unblock)


# ---- links between regions ------------------------------------------------------------------


def one_way(world: World, machine: Machine, rng: random.Random) -> None:
    """What one region sends another one is lost, and the other way nothing is."""
    pair = _edge(world, rng)
    if pair is not None:
        _block(world, [pair if rng.random() < 0.5 else pair[::-1]], rng)


def silence(world: World, machine: Machine, rng: random.Random) -> None:
    """Nothing passes between two regions, and neither is told."""
    pair = _edge(world, rng)
    if pair is not None:
        _block(world, [pair, pair[::-1]], rng)


def swallow(world: World, machine: Machine, rng: random.Random) -> None:
    """One connection is half open for ever: it has to be given up."""
    wire = _wire(world, rng)
    if wire is not None:
        wire.swallows.add(rng.choice(wire.machines))


def cut_regions(world: World, machine: Machine, rng: random.Random) -> None:
    wire = _wire(world, rng)
    if wire is not None:
        wire.reset()


def split(world: World, machine: Machine, rng: random.Random) -> None:
    """The whole mesh falls into two or three parts, clients with it."""
    groups = rng.choice((2, 2, 3))
    side = {name: rng.randrange(groups) for name in world.machines}
    _block(world, [(a, b) for a in side for b in side if side[a] != side[b]], rng)


def slow_link(world: World, machine: Machine, rng: random.Random) -> None:
    """One region reads slowly what another one sends."""
    pair = _edge(world, rng)
    if pair is not None:
        one, other = pair if rng.random() < 0.5 else pair[::-1]
        world.network.slow_links[one, other] = rng.choice((0.05, 0.3, 1.0))


def far(world: World, machine: Machine, rng: random.Random) -> None:
    pair = _edge(world, rng)
    if pair is not None:
        world.network.set_far(*pair, rng.choice((0.02, 0.08, 0.15, 0.15)))


# ---- operators ------------------------------------------------------------------------------


def add_peer(world: World, machine: Machine, rng: random.Random) -> None:
    if len(world.relays) > 1:
        world.mesh.join(*(relay.name for relay in rng.sample(world.relays, 2)))


def drop_peer(world: World, machine: Machine, rng: random.Random) -> None:
    pair = _edge(world, rng)
    if pair is not None:
        world.mesh.part(*pair)


def region_joins(world: World, machine: Machine, rng: random.Random) -> None:
    """Late, with an empty store."""
    if len(world.relays) < mesh.REGIONS_MAX:
        world.bring_up(mesh.add_region(world, rng))
        world.counts["regions that joined late"] += 1


def region_copied(world: World, machine: Machine, rng: random.Random) -> None:
    """A region begins with a copy of another one's store: of its files, or, when that one is down,
    of its disk and all that would tell it from the original."""
    original = rng.choice(world.relays)
    if len(world.relays) >= mesh.REGIONS_MAX or not original.path.exists():
        return
    is_image = not original.is_up and rng.random() < 0.5
    twin = mesh.add_region(world, rng)
    world.copy(original, twin, is_image=is_image)
    world.bring_up(twin)
    world.counts["regions that began with a copy"] += 1


def region_away(world: World, machine: Machine, rng: random.Random) -> None:
    """A region is down for weeks: before and after them the others go on for a while."""
    relay = rng.choice(world.relays)
    weeks, before_s, after_s = rng.randint(1, 4), rng.choice((1.0, 20.0)), rng.choice((1.0, 20.0))
    if not relay.is_up or sum(one.is_up for one in world.relays) < 2:
        return

    async def be_away() -> None:
        if rng.random() < 0.5:
            await world.stopped(relay)
        else:
            world.kill(relay, power=rng.random() < 0.5)
        await _wait(world, before_s)
        mesh.pass_time(world, weeks * _WEEK_S)
        await _wait(world, after_s)
        world.bring_up(relay)

    world.errands.append(asyncio.get_running_loop().create_task(be_away()))


async def _wait(world: World, seconds: float) -> None:
    end = world.loop.time() + seconds
    while world.loop.time() < end and not world.is_healing:  # noqa: ASYNC110 - two may end it
        await asyncio.sleep(min(1.0, end - world.loop.time()))


# ---- clients --------------------------------------------------------------------------------


def reach(world: World, machine: Machine, rng: random.Random) -> None:
    """A client waits until so many regions hold all it has; then they do, unless they were set
    back meanwhile."""
    if machine.region is None and machine.is_up and machine.kept and machine.asks_for_all:
        regions = rng.randint(1, len(world.relays))
        world.work(machine, "reach", partial(_reach, world, machine, regions))


async def _reach(world: World, machine: Machine, regions: int) -> None:
    assert machine.replica is not None
    mine = {hash_ for _, hash_ in machine.positions(machine.interest)}
    asked = machine.asked
    try:
        await until_held(list(machine.kept), machine.replica, regions=regions, timeout=40)
    except (CallerError, LinkLost, LinkRefused, TimeoutError):
        world.counts["waits for regions in vain"] += 1
        return
    if machine.asked != asked or not machine.asks_for_all:
        return
    found = [relay.hashes() | relay.lost for relay in world.relays]
    few = [hash_ for hash_ in mine - world.given_up if sum(hash_ in one for one in found) < regions]
    if few:
        world.fail(f"{len(few)} records of {machine.name} are said to be in {regions} regions")
    world.counts["records said to be in so many regions"] += len(mine)


def fail_over(world: World, machine: Machine, rng: random.Random) -> None:
    """A client goes to the first of several regions that answers, and to the next when it fails."""
    if machine.region is not None or not machine.is_up or machine.is_stopping:
        return
    world.leave(machine)
    names = [relay.name for relay in world.relays]
    machine.link(*rng.sample(names, min(len(names), rng.choice((2, 2, 3)))))

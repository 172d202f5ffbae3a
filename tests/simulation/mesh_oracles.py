"""What must hold in a mesh that is calm: nobody is sent what it has, and a partition costs what is
missing."""

from __future__ import annotations

import asyncio
import random
from typing import Any, Final

from tests.simulation.machine import Machine
from tests.simulation.oracles import SETTLED_S, settle
from tests.simulation.world import World
from weft_engine.errors import WeftError
from weft_engine.names import RecordHash
from weft_engine.sync.driving.held import until_held

_COPIES_MAX: Final = 2.0
"""Of a new record at each region of a full mesh, when nothing fails."""
_FEW: Final = 4
"""Records that may come once more all the same: what is new just when links become live."""
_HEALED_COPIES_MAX: Final = 3.0
"""Of what a region lacks after a partition."""
_AGREE_BYTES: Final = 4_000
"""What one link costs that is made again, beside records."""
_RECORD_BYTES: Final = 800
"""What one record costs beside its own bytes: a frame, its signature, an acknowledgement, its place
in a frontier."""
_SHORT_S: Final = 5.0
_LONG_S: Final = 40.0
"""Every link across is given up meanwhile."""


def check_reach(world: World) -> None:
    """What a machine knows of regions is so: up to the position that it knows of one, this holds
    everything of its journal, on its disk, unless it was set back since."""
    held = {relay.region: (relay, relay.hashes() | relay.lost) for relay in world.relays}
    for machine in world.machines.values():
        if machine.replica is None:
            continue
        rows = machine.positions(machine.interest)
        for region, upto in machine.replica.reach.holders(machine.interest).items():
            known = {hash_ for position, hash_ in rows if position <= upto}
            relay, has = held[region]
            missing = known - has
            world.counts["records said to be in a region"] += len(known)
            if missing:
                world.fail(
                    f"{len(missing)} records of {machine.name} are said to be in"
                    f" {relay.name}, up to {upto}, and are not"
                )


async def check_reach_arrives(world: World) -> None:
    """Everybody hears that every region holds everything: regions by themselves, clients when
    they want to know."""
    waits = [client.task(_until_everywhere(world, client)) for client in world.clients]
    await asyncio.wait(waits) if waits else None
    world.check()
    end = world.loop.time() + SETTLED_S
    while late := _unreached(world):
        if world.loop.time() > end:
            world.fail(f"regions don't hear in {SETTLED_S:.0f} s that others hold all: {late}")
            world.check()
        await asyncio.sleep(0.5)
    check_reach(world)


async def _until_everywhere(world: World, client: Machine) -> None:
    assert client.replica is not None
    kept = list(client.kept)
    try:
        await until_held(kept, client.replica, regions=len(world.relays), timeout=SETTLED_S)
    except (WeftError, TimeoutError) as error:
        world.fail(f"{client.name} is not told that every region holds all it has: {error}")


def _unreached(world: World) -> list[str]:
    regions = [relay.region for relay in world.relays]
    found: list[str] = []
    for machine in world.relays:
        assert machine.replica is not None
        last = max((position for position, _ in machine.positions(machine.interest)), default=0)
        holders = machine.replica.reach.holders(machine.interest)
        for region in regions:
            if region is not None and region != machine.region and holders.get(region, 0) < last:
                found.append(f"{machine.name} of {region} {holders.get(region)} of {last}")
    return found


async def check_roaming(world: World, rng: random.Random) -> None:
    """Who moves to another region that has all it has goes on there, and nothing is sent again but
    what was behind the cursor when it was there before."""
    await _until_calm(world)
    before = world.wiretap.needless
    moved = 0
    for client in world.clients:
        others = [relay for relay in world.relays if relay.name not in _homes(client)]
        if others:
            world.leave(client)
            client.link(rng.choice(others).name)
            moved += 1
    await asyncio.sleep(0.5)
    await settle(world)
    if world.wiretap.needless != before:
        world.fail(
            f"{world.wiretap.needless - before} records were sent to clients that moved between"
            " equal regions"
        )
    world.counts["clients moved in calm"] += moved


async def _until_calm(world: World) -> None:
    """All hold the same a while before the last link has said so: what one region got from another
    in the middle of a comparison with a third goes there, too."""
    end = world.loop.time() + SETTLED_S
    before = -1
    while before != world.wiretap.records:
        if world.loop.time() > end:
            world.fail(f"records are sent for {SETTLED_S:.0f} s though all hold the same")
            world.check()
        before = world.wiretap.records
        await asyncio.sleep(1.0)


async def check_partition(world: World, rng: random.Random) -> None:
    """The mesh falls into two parts, for seconds or until no link across is left, and both go on;
    then everybody gets what it lacks, at a cost that is bounded by that."""
    names = [relay.name for relay in world.relays]
    here = set(rng.sample(names, rng.randint(1, len(names) - 1)))
    across = [(a, b) for a in names for b in names if (a in here) != (b in here)]
    began = {relay.name: relay.hashes() for relay in world.relays}
    for pair in across:
        world.network.block(*pair)
    for machine in world.machines.values():
        for _ in range(rng.choice((0, 1, 1, 3))):
            say(world, machine)
    await asyncio.sleep(rng.choice((_SHORT_S, _LONG_S)))
    world.check()
    held = {relay.name: relay.hashes() for relay in world.relays}
    everything: set[RecordHash] = set().union(*held.values())
    if any(len(_homes(client)) > 1 for client in world.clients):
        # It carries everything across meanwhile, and links may have it under way all the same.
        held = began
    missing = [hash_ for one in held.values() for hash_ in everything - one]
    sizes = _sizes(world, set(missing))
    bytes_missing, lacked = sum(sizes[hash_] for hash_ in missing), len(missing)
    tap = world.wiretap.regions
    before = tap.bytes
    world.network.heal()
    healed = world.loop.time()
    await settle(world)
    links = sum(len(dialers) for dialers in world.mesh.dialers.values())
    took_s = world.loop.time() - healed
    cost = tap.bytes - before
    allowed = links * _AGREE_BYTES * (1 + took_s / 10) + _HEALED_COPIES_MAX * (
        bytes_missing + lacked * _RECORD_BYTES
    )
    if cost > allowed:
        world.fail(
            f"a partition cost {cost} bytes between regions, which lacked {lacked} records of"
            f" {bytes_missing} bytes ({links} links, {took_s:.0f} s)"
        )
    world.counts["partitions in calm"] += 1
    world.counts["records that a partition kept away"] += lacked


async def check_copies(world: World) -> None:
    """Everybody writes, one after another, and nothing fails: a region is sent each record about
    once."""
    tap = world.wiretap.regions
    records, new = tap.records, tap.new
    said = []
    for machine in world.machines.values():
        said.append(say(world, machine))
        await asyncio.sleep(0.05)
    await asyncio.wait(said)
    await settle(world)
    records, new = tap.records - records, tap.new - new
    if world.mesh.is_full() and world.mesh.is_single():
        world.counts["records sent between regions of a full mesh in calm"] += records
        world.counts["records new to regions of a full mesh in calm"] += new
        if records > _COPIES_MAX * new + _FEW:
            world.fail(f"{new} records new to regions were sent {records} times between them")


def say(world: World, machine: Machine) -> asyncio.Task[Any]:
    replica = machine.replica
    assert replica is not None
    name = "sim/a"
    if world.small:
        name = world.rng.choice(world.names_of(machine))
    context = replica.context(name)

    async def append() -> None:
        world.acknowledged(machine, await context.append(f"calm {world.marks.new()}"))

    return world.work(machine, "say", append)


def _homes(client: Machine) -> set[str]:
    return {client.leads_to(kept) for kept in client.kept}


def _sizes(world: World, hashes: set[RecordHash]) -> dict[RecordHash, int]:
    """Of these records, the bytes of envelope and payload."""
    found: dict[RecordHash, int] = {}
    for relay in world.relays:
        found |= relay.sizes()
    return {hash_: found[hash_] for hash_ in hashes}

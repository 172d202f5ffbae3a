"""Five real regions under load, while the network between them breaks and processes die.

Appends come in at all regions, from embedded clients that fail over. Three times a part of the
network is cut, three times a region is killed with signal 9 and started again. With the last heal
the load ends; what counts is how long it takes until all regions hold the same, and that they hold
everything that was acknowledged. `make bench ONLY=mesh:chaos`; by itself, and shorter:
``python -m tests.bench.regions.chaos --seconds 30 --topology full``.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.figures import Table
from tests.bench.run import Run
from tests.command_line import record_set
from tests.hostile.looking import cpu_s
from tests.stores import folder
from weft_engine.storage.verify import verify
from weft_server.local_mesh.agreement import holding
from weft_server.local_mesh.mesh import LocalMesh, running_mesh
from weft_server.local_mesh.plan import MeshFolder, MeshPlan
from weft_server.local_mesh.process import Child, started
from weft_server.local_mesh.topology import Topology, names_of
from weft_server.local_mesh.wire import Conditions

REGIONS = 5
APPENDS_PER_S = 500
SECONDS = 120.0
DELAY_S = 0.02
LOSS = 0.001
AGREED_MOST_S = 10.0
PATIENCE_S = 120.0
LOOK_EVERY_S = 0.1

Step = tuple[float, str, Callable[[LocalMesh], Coroutine[object, object, object]]]


@dataclass(frozen=True)
class Chaos:
    """What came out of one run. Times in seconds."""

    appended: int
    acknowledged: int
    lost: int
    """Acknowledged records that a region does not hold, over all regions."""
    agreed_s: float
    """From the last heal until all regions held the same, everything acknowledged among it."""
    flushed_s: float
    """From the last heal until the devices had everything acknowledged."""
    records: int
    sound: bool
    """Whether the stores of the regions that were killed verify."""
    cpu_s: dict[str, float]
    """Of each region's last process, until they agreed."""
    network_cpu_s: float
    link_bytes: int


async def _cut(mesh: LocalMesh, one: str, other: str | None = None) -> None:
    mesh.cut(one, other)


async def _cut_one_way(mesh: LocalMesh, one: str, other: str) -> None:
    mesh.cut(one, other, one_way=True)


async def _cut_reset(mesh: LocalMesh, one: str) -> None:
    mesh.cut(one, reset=True)


async def _heal(mesh: LocalMesh) -> None:
    mesh.heal()


STEPS: tuple[Step, ...] = (
    (0.05, "cut r1,r2 from the others", lambda mesh: _cut(mesh, "r1,r2", "r3,r4,r5")),
    (0.12, "kill r4", lambda mesh: mesh.kill("r4")),
    (0.17, "start r4", lambda mesh: mesh.start("r4")),
    (0.30, "heal", _heal),
    (0.38, "cut r3 one way", lambda mesh: _cut_one_way(mesh, "r3", "r1,r2,r4,r5")),
    (0.43, "kill r2", lambda mesh: mesh.kill("r2")),
    (0.48, "start r2", lambda mesh: mesh.start("r2")),
    (0.58, "heal", _heal),
    (0.70, "cut r1 off, with resets", lambda mesh: _cut_reset(mesh, "r1")),
    (0.80, "kill r5", lambda mesh: mesh.kill("r5")),
    (0.85, "start r5", lambda mesh: mesh.start("r5")),
    (1.00, "heal", _heal),
)
"""When, as a share of the time, and what."""
KILLED = ("r2", "r4", "r5")


async def chaos(
    place: Path,
    *,
    seconds: float = SECONDS,
    appends_per_s: float = APPENDS_PER_S,
    topology: Topology = Topology.RING,
    tell: Callable[[str], None] = lambda line: None,
) -> Chaos:
    """One run in the empty folder `place`. TimeoutError if the regions never agree."""
    plan = MeshPlan(names_of(REGIONS, None), topology, {})
    devices = place / "devices"
    devices.mkdir()
    async with AsyncExitStack() as ends:
        mesh = await ends.enter_async_context(
            running_mesh(MeshFolder(place / "mesh"), plan, Conditions(DELAY_S, LOSS))
        )
        urls = [region.url for region in mesh.regions.values()]
        writers = [
            await ends.enter_async_context(
                started(
                    f"writer-{name}",
                    "tests.bench.regions.appending",
                    [
                        str(devices),
                        name,
                        str(appends_per_s / REGIONS),
                        *urls[place:],
                        *urls[:place],
                    ],
                    devices,
                )
            )
            for place, name in enumerate(mesh.regions)
        ]
        network_cpu_s = -time.process_time()
        began_s = time.monotonic()
        # A machine that is busy takes seconds to start a process; the next step does not wait.
        steps: list[asyncio.Task[object]] = []
        for share, what, do in STEPS:
            await asyncio.sleep(began_s + share * seconds - time.monotonic())
            tell(f"{time.monotonic() - began_s:6.1f} s  {what}")
            steps.append(asyncio.create_task(do(mesh)))
        healed_s = time.monotonic()
        flushing = asyncio.gather(*map(_flushed, writers))
        await asyncio.gather(*steps)
        agreed_s = await _agreed(mesh, flushing, healed_s)
        said = flushing.result()
        flushed_s = max(one[1] for one in said) - healed_s
        network_cpu_s += time.process_time()
        spent = {name: cpu_s(region.pid) for name, region in mesh.regions.items() if region.pid}
        link_bytes = sum(sum(link.bytes_arrived.values()) for link in mesh.links())
    held = {name: record_set(region.store) for name, region in mesh.regions.items()}
    acknowledged = _acknowledged(devices)
    appended = sum(one[0] for one in said)
    assert len(acknowledged) >= appended, "a device ends when all it wrote is acknowledged"
    killed = [region.store for name, region in mesh.regions.items() if name in KILLED]
    return Chaos(
        appended=appended,
        acknowledged=len(acknowledged),
        lost=sum(len(acknowledged - one) for one in held.values()),
        agreed_s=agreed_s,
        flushed_s=flushed_s,
        records=len(set().union(*held.values())),
        sound=all(verify(store, progress=lambda *_: None).is_sound for store in killed),
        cpu_s=spent,
        network_cpu_s=network_cpu_s,
        link_bytes=link_bytes,
    )


async def _flushed(writer: Child) -> tuple[int, float]:
    """End the writer's load: how much it appended, and when all was acknowledged."""
    writer.say_no_more()
    said = await writer.hear()
    return said["appended"], time.monotonic()


async def _agreed(
    mesh: LocalMesh, flushing: asyncio.Future[list[tuple[int, float]]], since_s: float
) -> float:
    """How long it took until all regions held the same, with everything the devices had."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            # Asked before looking: what is acknowledged later may still be on its way.
            was_flushed = flushing.done()
            held = [await holding(region.store) for region in mesh.regions.values()]
            if was_flushed and len(set(held)) == 1:
                return time.monotonic() - since_s
            await asyncio.sleep(LOOK_EVERY_S)


def _acknowledged(devices: Path) -> set[bytes]:
    """Hashes of all records that relays have acknowledged to devices, or sent them."""
    return {
        bytes.fromhex(line)
        for file in devices.glob("*.acknowledged")
        for line in file.read_text().split()
    }


def measure(run: Run) -> None:
    run.attempt("chaos", lambda: _report(run.table, SECONDS, Topology.RING))


def _report(table: Table, seconds: float, topology: Topology) -> None:
    # So that the processes are ended, too, when this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with folder() as place:
        one = asyncio.run(
            chaos(place, seconds=seconds, topology=topology, tell=partial(print, flush=True))
        )
    rate = one.appended / seconds
    table.add("appends of all devices", rate, "/s", note=f"{one.appended:,} of {one.records:,}")
    table.add("after the last heal: the devices' last acknowledged", one.flushed_s, "s")
    table.add(
        "after the last heal: all regions hold the same", one.agreed_s, "s", most=AGREED_MOST_S
    )
    table.add("acknowledged and not in every region", one.lost, "records", most=0)
    table.add("stores of killed regions that do not verify", int(not one.sound), "", most=0)
    cpu = ", ".join(f"{name} {spent:.1f}" for name, spent in one.cpu_s.items())
    table.add("CPU of the regions since their last start", sum(one.cpu_s.values()), "s", note=cpu)
    table.add("CPU of the network between them", one.network_cpu_s, "s")
    table.add("on all links", one.link_bytes / 1e6, "MB")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.regions.chaos")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--topology", type=Topology, choices=Topology, default=Topology.RING)
    given = parser.parse_args()
    _report(Table(), given.seconds, given.topology)


if __name__ == "__main__":
    main()

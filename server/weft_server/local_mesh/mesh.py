"""A mesh of real relays on this machine: their processes, and a proxy for each link between them.

Must never know: who asks for it, and over what.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from weft_engine.errors import MachineError, PortInUse
from weft_server.local_mesh.plan import MeshFolder, MeshPlan, region_config
from weft_server.local_mesh.proxy import HOST, LinkProxy
from weft_server.local_mesh.region import Region
from weft_server.local_mesh.topology import (
    Pair,
    Way,
    known_region,
    pairs_between,
    ways_between,
)
from weft_server.local_mesh.wire import Conditions

_STARTING_AT_ONCE: Final = 4
"""Processes that are starting at the same time: each is busy with imports for a second."""


@dataclass(frozen=True, slots=True)
class LinkState:
    """`cut`: its directions over which nothing passes; `is_refusing` if connections are reset.
    `bytes_arrived` over each since the start, `bytes_waiting` in the proxy now."""

    pair: Pair
    cut: tuple[Way, ...]
    is_refusing: bool
    connections: int
    bytes_arrived: Mapping[Way, int]
    bytes_waiting: int


class LocalMesh:
    """Made and ended by `running_mesh`."""

    def __init__(self, folder: MeshFolder, plan: MeshPlan, conditions: Conditions) -> None:
        """`plan` has a port for each region."""
        self.folder = folder
        self.plan = plan
        self.conditions = conditions
        self.regions = {
            name: Region(
                name,
                folder.region(name),
                config=folder.config(name),
                store=folder.store(name),
                port=plan.ports[name],
            )
            for name in plan.names
        }
        self._proxies = {
            pair: LinkProxy(pair, conditions, ports=plan.ports, random=random.random)
            for pair in plan.pairs
        }

    def region(self, name: str) -> Region:
        """NotFound if there is none of this name."""
        return self.regions[known_region(self.regions, name)]

    def links(self) -> list[LinkState]:
        return [
            LinkState(
                pair=pair,
                cut=tuple(way for way, state in proxy.ways.items() if state.is_cut),
                is_refusing=proxy.is_refusing,
                connections=proxy.connections,
                bytes_arrived={way: state.bytes_arrived for way, state in proxy.ways.items()},
                bytes_waiting=proxy.bytes_waiting,
            )
            for pair, proxy in self._proxies.items()
        ]

    def cut(
        self, one: str, other: str | None = None, *, one_way: bool = False, reset: bool = False
    ) -> tuple[Way, ...]:
        """Cut the links between two sides, as `topology.pairs_between` reads them; with `one_way`
        only what `one` sends. The directions that are cut by it."""
        ways = ways_between(self.plan.names, self.plan.pairs, one, other, one_way=one_way)
        for way in ways:
            self._proxies[self._pair(way)].cut(way, reset=reset)
        return ways

    def heal(self, one: str | None = None, other: str | None = None) -> tuple[Pair, ...]:
        """Heal all links, or those between two sides; those that were cut."""
        pairs = (
            self.plan.pairs
            if one is None
            else pairs_between(self.plan.names, self.plan.pairs, one, other)
        )
        healed = []
        for pair in pairs:
            proxy = self._proxies[pair]
            if any(state.is_cut for state in proxy.ways.values()):
                healed.append(pair)
            proxy.heal()
        return tuple(healed)

    async def kill(self, name: str) -> None:
        """kill -9. NotFound, Conflict."""
        await self.region(name).kill()

    async def start(self, name: str) -> None:
        """Bring a region back that was killed. NotFound, Conflict, MachineError."""
        await self.region(name).start()

    # ---- beginning and end ------------------------------------------------------------------

    async def up(self) -> None:
        """Write the configurations, open the network, start the regions. PortInUse, MachineError;
        `down` is for whatever has been started by then."""
        for proxy in self._proxies.values():
            await proxy.open()
        for region in self.regions.values():
            _check_free(region)
        for name, region in self.regions.items():
            try:
                region.folder.mkdir(parents=True, exist_ok=True)
                self.folder.config(name).write_text(
                    region_config(name, region.port, self._peers(name))
                )
            except OSError as error:
                raise MachineError(
                    f"the folder {region.folder} can't be written: {error.strerror}",
                    hint="give another --folder",
                ) from error
        self.folder.write_plan(self.plan)
        turns = asyncio.Semaphore(_STARTING_AT_ONCE)

        async def start(region: Region) -> None:
            async with turns:
                await region.start()

        starting = [asyncio.create_task(start(region)) for region in self.regions.values()]
        try:
            await asyncio.gather(*starting)
        finally:
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)

    async def down(self) -> list[int | None]:
        """End the regions, all at once, then the network; the regions' exit codes, None of one that
        never began. The stores stay."""
        await asyncio.gather(*(region.end() for region in self.regions.values()))
        for proxy in self._proxies.values():
            await proxy.close()
        return [region.exit_code for region in self.regions.values()]

    def _peers(self, name: str) -> dict[str, str]:
        """Whom a region dials, and at which address: that of the proxy between."""
        found = {}
        for other in self.plan.neighbours(name):
            way = Way(name, other)
            found[other] = f"ws://{HOST}:{self._proxies[self._pair(way)].listens[way]}"
        return found

    def _pair(self, way: Way) -> Pair:
        return next(pair for pair in self._proxies if way in pair.ways)


@asynccontextmanager
async def running_mesh(
    folder: MeshFolder, plan: MeshPlan, conditions: Conditions
) -> AsyncIterator[LocalMesh]:
    """The mesh, up; and down at the end."""
    mesh = LocalMesh(folder, with_ports(plan), conditions)
    try:
        await mesh.up()
        yield mesh
    finally:
        await mesh.down()


def with_ports(plan: MeshPlan) -> MeshPlan:
    """`plan` with a port for each region: those that it names, and free ones for the others."""
    ports = {name: plan.ports[name] for name in plan.names if name in plan.ports}
    listeners: list[socket.socket] = []
    try:
        for name in plan.names:
            while name not in ports:
                # Open until all are chosen, so that none is chosen twice.
                listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                listeners.append(listener)
                listener.bind((HOST, 0))
                port = listener.getsockname()[1]
                if port not in ports.values():
                    ports[name] = port
    finally:
        for listener in listeners:
            listener.close()
    return replace(plan, ports=ports)


def _check_free(region: Region) -> None:
    """PortInUse if another program listens where the region is to."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, region.port))
        except OSError as error:
            raise PortInUse(
                f"the port {region.port} of the region {region.name} can't be used:"
                f" {error.strerror}",
                hint="end the program that listens there, or give --port 0 for free ones",
            ) from error

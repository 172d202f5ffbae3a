"""The process that a local mesh runs in: obeys commands until it is told to end.

Must never know: command lines, how what it says is shown.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from weft_engine.background import begin
from weft_engine.errors import CallerError
from weft_server.local_mesh.control import Answer, Command, listening
from weft_server.local_mesh.lock import locked
from weft_server.local_mesh.mesh import LocalMesh, running_mesh
from weft_server.local_mesh.plan import MeshFolder, MeshPlan
from weft_server.local_mesh.region import Region, RegionState
from weft_server.local_mesh.wire import Conditions


class Supervisor:
    """Of a mesh that is up."""

    def __init__(self, mesh: LocalMesh, *, tell: Callable[[str], None]) -> None:
        """`tell` is told in one line what happens, for people."""
        self.mesh = mesh
        self.is_to_end = asyncio.Event()
        self._tell = tell
        self._has_ended = asyncio.Event()
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._obey: Mapping[str, Callable[[Command], Awaitable[Answer]]] = {
            "cut": self._cut,
            "heal": self._heal,
            "kill": self._kill,
            "start": self._start,
            "status": self._status,
            "down": self._down,
        }
        for region in mesh.regions.values():
            self._watch(region)

    async def obey(self, command: Command) -> Answer:
        """Do what is asked. CallerError and others if that can't be."""
        do = self._obey.get(str(command.get("do")))
        if do is None:
            raise CallerError(
                f"this mesh knows no command {command.get('do')!r:.40}",
                hint="it runs another version of weft: end it, and start it again",
            )
        return await do(command)

    def ended(self) -> None:
        """All is down: whoever asked for it is told."""
        for watch in self._watches.values():
            watch.cancel()
        self._has_ended.set()

    async def _cut(self, command: Command) -> Answer:
        ways = self.mesh.cut(
            command["one"], command["other"], one_way=command["one_way"], reset=command["reset"]
        )
        names = [str(way) for way in ways]
        self._tell(f"cut {', '.join(names)}")
        return {"cut": names}

    async def _heal(self, command: Command) -> Answer:
        names = [str(pair) for pair in self.mesh.heal(command["one"], command["other"])]
        self._tell(f"healed {', '.join(names) or 'nothing: no link was cut'}")
        return {"healed": names}

    async def _kill(self, command: Command) -> Answer:
        region = self.mesh.region(command["region"])
        pid = region.pid
        await self.mesh.kill(region.name)
        self._tell(f"killed {region.name}, process {pid}")
        return {"region": region.name, "pid": pid}

    async def _start(self, command: Command) -> Answer:
        region = self.mesh.region(command["region"])
        await self.mesh.start(region.name)
        self._watch(region)
        self._tell(f"started {region.name}, process {region.pid}")
        return {"region": region.name, "pid": region.pid, "url": region.url}

    async def _status(self, command: Command) -> Answer:
        return mesh_status(self.mesh)

    async def _down(self, command: Command) -> Answer:
        self.is_to_end.set()
        await self._has_ended.wait()
        return {"regions": list(self.mesh.regions)}

    def _watch(self, region: Region) -> None:
        self._watches[region.name] = begin(
            self._until_ended(region), name=f"weft-mesh-watch-{region.name}"
        )

    async def _until_ended(self, region: Region) -> None:
        """Say it when a region ends that nobody ended."""
        code = await region.ended()
        if region.state is RegionState.ENDED and not self.is_to_end.is_set():
            self._tell(f"{region.name} ended by itself, exit code {code}: {region.last_words()}")


def mesh_status(mesh: LocalMesh) -> dict[str, Any]:
    """What is known without asking the regions, as JSON."""
    conditions = mesh.conditions
    return {
        "pid": os.getpid(),
        "folder": str(mesh.folder.path.absolute()),
        "topology": mesh.plan.topology.value,
        "delay_ms": conditions.delay_s * 1000,
        "loss": conditions.loss,
        "bytes_per_s": conditions.bytes_per_s,
        "regions": [
            {
                "name": region.name,
                "state": region.state.value,
                "pid": region.pid,
                "exit_code": region.exit_code,
                "url": region.url,
                "store": str(region.store.absolute()),
                "log": str((region.folder / f"{region.name}.log").absolute()),
                "peers": mesh.plan.neighbours(region.name),
            }
            for region in mesh.regions.values()
        ],
        "links": [
            {
                "link": str(link.pair),
                "between": [link.pair.first, link.pair.second],
                "cut": [str(way) for way in link.cut],
                "refusing": link.is_refusing,
                "connections": link.connections,
                "bytes": {str(way): count for way, count in link.bytes_arrived.items()},
                "bytes_waiting": link.bytes_waiting,
            }
            for link in mesh.links()
        ],
    }


async def supervise(
    folder: MeshFolder,
    plan: MeshPlan,
    conditions: Conditions,
    *,
    announce: Callable[[LocalMesh], None],
    tell: Callable[[str], None],
) -> None:
    """Run the mesh in `folder` until SIGTERM, SIGINT or ``weft mesh down``; `announce` is called
    once all of it is up. Conflict if one is up there, PortInUse, MachineError."""
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    supervisor: Supervisor | None = None

    def end() -> None:
        if supervisor is None:
            task.cancel()
        else:
            supervisor.is_to_end.set()

    loop = asyncio.get_running_loop()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(wanted, end)
    with locked(folder):
        async with AsyncExitStack() as ends:
            mesh = await ends.enter_async_context(running_mesh(folder, plan, conditions))
            supervisor = Supervisor(mesh, tell=tell)
            # The last who ended it is told so when all else has ended.
            await ends.enter_async_context(listening(folder.control, supervisor.obey))
            announce(mesh)
            await supervisor.is_to_end.wait()
            await mesh.down()
            supervisor.ended()

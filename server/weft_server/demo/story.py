"""The demo, act by act: a mesh, a partition while both sides write, a death, healing, comparing.

Every step is done by real processes over real sockets and files; what is shown was looked up.
Must never know: how a device or a relay works inside.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from weft_engine.errors import MachineError
from weft_engine.events.event import Message
from weft_engine.events.part import Call, Result, Text
from weft_server.demo.comparison import BUDGET, StoreReading, differences, read_store
from weft_server.demo.device import Device, device
from weft_server.demo.script import turns
from weft_server.demo.stage import Stage
from weft_server.local_mesh.agreement import Holding, holding, open_to_read
from weft_server.local_mesh.mesh import LocalMesh, running_mesh
from weft_server.local_mesh.plan import MeshFolder, MeshPlan
from weft_server.local_mesh.topology import Topology
from weft_server.local_mesh.wire import Conditions

REGIONS: Final = ("eu", "us", "ap")
DELAY_S: Final = 0.04
_STEP_S: Final = 40.0
"""The most that waiting for one thing may take."""
_LOOK_EVERY_S: Final = 0.05
_QUOTED: Final = 9


@dataclass(frozen=True, slots=True)
class Ending:
    """What came out. `at_kill` of `expected` records were in the region when it was killed;
    `healed_s`: from the heal until the regions agreed."""

    readings: list[StoreReading]
    differences: list[str]
    at_kill: int
    expected: int
    healed_s: float


class Story:
    """Told once, in `folder`, from the conversations in the file `source`."""

    def __init__(self, stage: Stage, source: Path, folder: Path) -> None:
        self._stage = stage
        self._source = source
        self._folder = folder

    async def tell(self) -> Ending:
        async with AsyncExitStack() as processes:
            mesh, laptop, phone = await self._set_up(processes)
            contexts = await self._import_and_sync(mesh, laptop, phone)
            at_kill, expected = await self._partition(mesh, laptop, phone, contexts)
            healed_s = await self._heal(mesh, (laptop, phone), expected)
            stores = {one.name: one.store for one in (laptop, phone)}
            stores |= {name: region.store for name, region in mesh.regions.items()}
            of_devices = await asyncio.gather(laptop.close(), phone.close())
            codes = [*of_devices, *await mesh.down()]
            if any(codes):
                raise MachineError(f"a process of the demo ended badly, exit codes {codes}")
            self._stage.tell("all", "closed their files and ended with exit code 0")
        self._stage.act("The five files, read one by one")
        readings = []
        for name, store in stores.items():
            reading = await read_store(name, store)
            readings.append(reading)
            self._stage.tell(
                name,
                f"{len(reading.contexts):,} contexts, {reading.events:,} events,"
                f" view fingerprint {reading.view_fingerprint[:16]}…",
            )
        apart = {laptop.name, phone.name}
        merged = sum(apart <= context.authors for context in readings[0].contexts.values())
        self._stage.tell("all", f"{merged:,} conversations hold what both wrote while apart")
        await self._quote(laptop.store, contexts[0])
        return Ending(readings, differences(readings), at_kill, expected, healed_s)

    # ---- acts ---------------------------------------------------------------------------------

    async def _set_up(self, processes: AsyncExitStack) -> tuple[LocalMesh, Device, Device]:
        self._stage.act("Three regions and two devices: five processes, five files")
        plan = MeshPlan(REGIONS, Topology.FULL, {})
        started = await asyncio.gather(
            processes.enter_async_context(
                running_mesh(MeshFolder(self._folder), plan, Conditions(DELAY_S))
            ),
            processes.enter_async_context(device("laptop", self._folder)),
            processes.enter_async_context(device("phone", self._folder)),
        )
        for name, region in started[0].regions.items():
            self._stage.tell(name, f"listens on {region.url}, process {region.pid}")
        self._stage.tell("all", f"linked with each other, {DELAY_S * 1000:g} ms apart")
        return started

    async def _import_and_sync(self, mesh: LocalMesh, laptop: Device, phone: Device) -> list[str]:
        conversations, messages = await laptop.import_file(self._source)
        self._stage.tell(
            "laptop",
            f"imported {conversations:,} conversations, {messages:,} messages, with no network",
        )
        if not conversations:
            raise MachineError("there is nothing to show: the input holds no conversations")
        for one, (nearest, *others) in ((laptop, ("eu",)), (phone, ("ap", "us"))):
            await one.connect([mesh.regions[name].url for name in (nearest, *others)])
            await one.synced(_STEP_S)
            await self._until_equal(mesh, REGIONS)
            await one.synced(_STEP_S)
            state = await one.state()
            self._stage.tell(
                one.name, f"synced with {nearest}: {len(state.fingerprints):,} contexts here"
            )
        held = await _held(mesh, "us")
        self._stage.tell("all", f"the regions hold the same: {_shown(held)}")
        return sorted(state.fingerprints)

    async def _partition(
        self, mesh: LocalMesh, laptop: Device, phone: Device, contexts: list[str]
    ) -> tuple[int, int]:
        """Both sides write, and a region dies; how many records it had then, and how many there
        will be in the end."""
        self._stage.act("The network breaks: eu on one side, us and ap on the other; all go on")
        before = (await _held(mesh, "ap")).records
        mesh.cut("eu", "us,ap")
        writing = [asyncio.create_task(self._write(one, contexts)) for one in (laptop, phone)]
        try:
            await self._until(mesh, "ap", lambda held: held.records > before)
            pid = mesh.regions["ap"].pid
            await mesh.kill("ap")
            at_kill = (await _held(mesh, "ap")).records
            self._stage.tell(
                "ap", f"killed with SIGKILL, process {pid}, {at_kill:,} records in its journal"
            )
            await asyncio.gather(*writing)
        finally:
            for task in writing:
                task.cancel()
            await asyncio.gather(*writing, return_exceptions=True)
        for one in (laptop, phone):
            await one.synced(_STEP_S)
            region = (await one.state()).region
            self._stage.tell(one.name, f"all it wrote is safe at {region}")
        await mesh.start("ap")
        self._stage.tell("ap", f"is up again, process {mesh.regions['ap'].pid}, same address")
        other_side = await self._until_equal(mesh, ("us", "ap"))
        this_side = await _held(mesh, "eu")
        self._stage.tell("eu", f"has {_shown(this_side)}")
        self._stage.tell("us, ap", f"have {_shown(other_side)}")
        if this_side.fingerprint == other_side.fingerprint:
            raise MachineError("the network was cut, and records passed all the same")
        return at_kill, this_side.records + other_side.records - before

    async def _heal(self, mesh: LocalMesh, devices: Sequence[Device], expected: int) -> float:
        self._stage.act("The network is healed")
        began_s = time.monotonic()
        mesh.heal()
        held = await self._until_equal(mesh, REGIONS)
        healed_s = time.monotonic() - began_s
        self._stage.tell("all", f"the regions hold the same after {healed_s:.1f} s: {_shown(held)}")
        if held.records != expected:
            raise MachineError(f"the regions hold {held.records} records, and not {expected}")
        async with asyncio.timeout(_STEP_S):
            while True:
                states = [await one.state() for one in devices]
                if all(state.records == expected for state in states):
                    break
                await asyncio.sleep(_LOOK_EVERY_S)
        self._stage.tell("all", f"so do laptop and phone: {states[0].records:,} records")
        return healed_s

    # ---- steps ------------------------------------------------------------------------------

    async def _write(self, one: Device, contexts: list[str]) -> None:
        began_s = time.monotonic()
        events, calls = await one.write(turns(one.name, contexts, round_number=0))
        took_s = time.monotonic() - began_s
        self._stage.tell(
            one.name,
            f"wrote {events:,} messages, {calls:,} tool calls among them, in"
            f" {len(contexts):,} contexts ({took_s:.1f} s, each one durable)",
        )

    async def _until(self, mesh: LocalMesh, name: str, is_so: Callable[[Holding], bool]) -> None:
        """Look at the file of a region until it is so."""
        async with asyncio.timeout(_STEP_S):
            # Another process writes there, so there is nothing to be woken by.
            while True:
                if is_so(await _held(mesh, name)):
                    return
                await asyncio.sleep(_LOOK_EVERY_S)

    async def _until_equal(self, mesh: LocalMesh, names: Sequence[str]) -> Holding:
        """Look at the files of these regions until they hold the same, and something."""
        try:
            async with asyncio.timeout(_STEP_S):
                while True:
                    held = [await _held(mesh, name) for name in names]
                    if len(set(held)) == 1 and held[0].records:
                        return held[0]
                    await asyncio.sleep(_LOOK_EVERY_S)
        except TimeoutError:
            each = "; ".join(
                f"{name} has {_shown(one)}" for name, one in zip(names, held, strict=True)
            )
            raise MachineError(
                f"the regions did not agree within {_STEP_S:g} s: {each}",
                hint="run it again with --keep DIR and look at the logs in there",
            ) from None

    async def _quote(self, store: Path, name: str) -> None:
        """One merged conversation, its end and its view."""
        async with open_to_read(store) as replica:
            context = replica.context(name)
            said = [one async for one in context.history(newest_first=True)]
            view = await context.view(budget=BUDGET)
        self._stage.act(f"One merged conversation, {name}: {len(said):,} messages, the last ones")
        for one in reversed(said[:_QUOTED]):
            assert isinstance(one.event.body, Message), "history gives messages"
            self._stage.quote(one.event.author, one.event.body.role, _text(one.event.body))
        self._stage.quote(
            "",
            "its view",
            f"{len(view.messages)} messages, {view.used_tokens:,} of {BUDGET:,} tokens,"
            f" {view.left_out} left out, {view.fingerprint[:16]}…",
        )


async def _held(mesh: LocalMesh, name: str) -> Holding:
    return await holding(mesh.regions[name].store)


def _shown(held: Holding) -> str:
    return f"{held.records:,} records, fingerprint {held.fingerprint[:16]}…"


def _text(message: Message) -> str:
    said = []
    for part in message.parts:
        match part:
            case Text():
                said.append(part.text)
            case Call():
                said.append(f"→ {part.name} {part.args}")
            case Result():
                said.append(f"← {part.out}")
            case _:
                said.append(f"[{type(part).__name__.lower()}]")
    return " ".join(said)

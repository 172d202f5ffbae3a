"""The demo, act by act: import and sync, work apart, meet again while the relay dies, compare.

Every step is done by real processes over real sockets and files; what is shown was looked up.
Must never know: how a device or a relay works inside.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from weft_engine.errors import MachineError
from weft_engine.events.event import Message
from weft_engine.events.part import Call, Result, Text
from weft_engine.storage.reading import last_position
from weft_server.demo.comparison import BUDGET, StoreReading, differences, read_store
from weft_server.demo.device import Device, device
from weft_server.demo.relay import RelayProcess, open_to_read, relay
from weft_server.demo.script import turns
from weft_server.demo.stage import Stage

_SYNC_S: Final = 60.0
_LOOK_EVERY_S: Final = 0.001
_SETTLED_EVERY_S: Final = 0.02
_ROUNDS_MAX: Final = 8
_QUOTED: Final = 9


@dataclass(frozen=True, slots=True)
class Ending:
    """What came out. `at_kill` of `expected` records were in the relay when it was killed."""

    readings: list[StoreReading]
    differences: list[str]
    at_kill: int
    expected: int


class Story:
    """Told once, in `folder`, from the conversations in the file `source`."""

    def __init__(self, stage: Stage, source: Path, folder: Path) -> None:
        self._stage = stage
        self._source = source
        self._folder = folder

    async def tell(self) -> Ending:
        async with AsyncExitStack() as processes:
            first, laptop, phone = await self._set_up(processes)
            contexts = await self._import_and_sync(first, laptop, phone)
            at_kill, expected, second = await self._apart_and_back(
                processes, first, (laptop, phone), contexts
            )
            await self._settle(second, (laptop, phone), expected)
            stores = [laptop.store, phone.store, second.store]
            codes = await asyncio.gather(laptop.close(), phone.close(), second.end())
            if any(codes):
                raise MachineError(f"a process of the demo ended badly, exit codes {codes}")
            self._stage.tell("all", "closed their files and ended with exit code 0")
        self._stage.act("The three files, read one by one")
        readings = []
        for name, store in zip(("laptop", "phone", "relay"), stores, strict=True):
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
        return Ending(readings, differences(readings), at_kill, expected)

    # ---- acts ---------------------------------------------------------------------------------

    async def _set_up(self, processes: AsyncExitStack) -> tuple[RelayProcess, Device, Device]:
        self._stage.act("Two devices and a relay, three processes, three files")
        started = await asyncio.gather(
            processes.enter_async_context(relay(self._folder)),
            processes.enter_async_context(device("laptop", self._folder)),
            processes.enter_async_context(device("phone", self._folder)),
        )
        self._stage.tell("relay", f"listens on {started[0].url}, process {started[0].pid}")
        return started

    async def _import_and_sync(
        self, relay_process: RelayProcess, laptop: Device, phone: Device
    ) -> list[str]:
        conversations, messages = await laptop.import_file(self._source)
        self._stage.tell(
            "laptop",
            f"imported {conversations:,} conversations, {messages:,} messages, with no network",
        )
        for one in (laptop, phone):
            await one.connect(relay_process.url)
            await one.synced(_SYNC_S)
            state = await one.state()
            self._stage.tell(one.name, f"synced: {len(state.fingerprints):,} contexts here")
        contexts = sorted(state.fingerprints)
        if not contexts:
            raise MachineError("there is nothing to show: the input holds no conversations")
        return contexts

    async def _apart_and_back(
        self,
        processes: AsyncExitStack,
        first: RelayProcess,
        devices: tuple[Device, Device],
        contexts: list[str],
    ) -> tuple[int, int, RelayProcess]:
        """Rounds of work apart and coming back, until the relay dies in the middle of one: once,
        as a rule, but a fast relay may be done before it is killed."""
        present = first
        for number in range(_ROUNDS_MAX):
            self._stage.act("Both go offline, and both go on in the same conversations")
            before = await self._work_apart(present, devices, contexts, number)
            states = [await one.state() for one in devices]
            expected = before + sum(state.records - before for state in states)
            self._stage.act("Both come back, and the relay dies on the way")
            for one in devices:
                await one.connect(present.url)
            waiting = [asyncio.create_task(one.synced(_SYNC_S)) for one in devices]
            try:
                at_kill = await self._kill_in_the_middle(present, before)
                present = await processes.enter_async_context(
                    relay(self._folder, listen=present.url.removeprefix("ws://"))
                )
                self._stage.tell("relay", f"is up again, process {present.pid}, same address")
                await asyncio.gather(*waiting)
            finally:
                for task in waiting:
                    task.cancel()
                await asyncio.gather(*waiting, return_exceptions=True)
            if before < at_kill < expected:
                self._stage.tell(
                    "relay", f"had {at_kill - before:,} of {expected - before:,} when it was killed"
                )
                return at_kill, expected, present
            self._stage.tell("relay", "had everything already when it was killed: once more")
            await self._settle(present, devices, expected)
        raise MachineError(f"the relay could not be killed in mid-sync in {_ROUNDS_MAX} rounds")

    async def _work_apart(
        self,
        present: RelayProcess,
        devices: tuple[Device, Device],
        contexts: list[str],
        number: int,
    ) -> int:
        """Both write at the same time; how many records the relay had before."""

        async def write(one: Device) -> None:
            await one.go_offline()
            self._stage.tell(one.name, "is offline")
            began_s = time.monotonic()
            events, calls = await one.write(turns(one.name, contexts, round_number=number))
            took_s = time.monotonic() - began_s
            self._stage.tell(
                one.name,
                f"wrote {events:,} messages, {calls:,} tool calls among them, in"
                f" {len(contexts):,} contexts ({took_s:.1f} s, each one durable)",
            )

        before = await _records(present.store)
        await asyncio.gather(*(write(one) for one in devices))
        return before

    async def _kill_in_the_middle(self, present: RelayProcess, before: int) -> int:
        """Kill the relay as soon as something new is in its journal; how much is in it then."""
        async with open_to_read(present.store) as outside, asyncio.timeout(_SYNC_S):
            # Another process writes there, so there is nothing to be woken by.
            while True:
                if await outside.journal.read(last_position) > before:
                    break
                await asyncio.sleep(_LOOK_EVERY_S)
        await present.kill()
        at_kill = await _records(present.store)
        self._stage.tell("relay", f"killed with SIGKILL, {at_kill:,} records in its journal")
        return at_kill

    async def _settle(
        self, present: RelayProcess, devices: tuple[Device, Device], expected: int
    ) -> None:
        """Wait until what each device sent has reached the other one."""
        async with asyncio.timeout(_SYNC_S):
            while True:
                states = [await one.state() for one in devices]
                if states[0] == states[1] and states[0].records == expected:
                    break
                await asyncio.sleep(_SETTLED_EVERY_S)
        self._stage.tell(
            "all", f"in step: {await _records(present.store):,} records in each of the three"
        )

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


async def _records(store: Path) -> int:
    """How many records the file at `store` holds now."""
    async with open_to_read(store) as replica:
        return await replica.journal.read(last_position)

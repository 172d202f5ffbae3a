"""Yjs clients at a relay on virtual time: minutes pass at once, and nothing depends on how fast the
machine is.

The relay is the real one, from its transports on; sockets are the simulated network's. Must never
know: what is tested.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.simulation.loop import Life, VirtualLane, VirtualLoop
from tests.simulation.machine import START_MS
from tests.simulation.network import DirectEnd, Network
from tests.simulation.websocket import PONG, Unframer, accepted
from weft_engine.names import context_name
from weft_engine.replica.replica import Replica
from weft_engine.sync.faults import LinkLost
from weft_engine.sync.framing.messages import PresenceState
from weft_server.door.permission import ANYTHING
from weft_server.relay import Relay
from weft_server.yjs import wire
from weft_server.yjs.awareness import read_awareness, write_awareness

RELAY, BROWSER = Life("relay"), Life("browser")


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a story on a loop of its own. AssertionError if a task failed that nobody waits for."""
    loop = VirtualLoop(1)
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(story())
        assert not loop.faults
    finally:
        asyncio.set_event_loop(None)
        loop.close()


@dataclass(frozen=True, slots=True)
class Heard:
    """A data message, and when it came; a browser's code never sees pings."""

    at_s: float
    message: bytes


class VirtualClient:
    """A client that says what it is told to say. It answers pings, as all browsers do by
    themselves, while `is_alive`."""

    def __init__(self, network: Network, relay: Relay, context: str) -> None:
        websocket = network.open_websocket(("browser", BROWSER), ("relay", RELAY))
        assert isinstance(websocket.b, DirectEnd)
        self._wire = websocket
        self._end = websocket.a
        self._relay = relay
        self._context = context_name(context)
        self._tasks: list[asyncio.Task[None]] = []
        self.is_alive = True
        self.heard: list[Heard] = []
        self.opened_s = asyncio.get_running_loop().time()
        self.ended_s: float | None = None

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(work) for work in (self._serve(), self._listen())]
        await self.say(wire.step1(wire.EMPTY_STATE))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._end.finish()
        await asyncio.gather(*self._tasks)

    @property
    def closing_code(self) -> int | None:
        return self._wire.closing_code

    async def say(self, message: bytes) -> None:
        await self._end.send(message)

    async def show(self, client: int, clock: int, state: str | None) -> None:
        await self.say(wire.aware(write_awareness([PresenceState(client, clock, state)])))

    def states(self) -> list[tuple[float, PresenceState]]:
        """What it has heard of who is there, in order, and when."""
        return [
            (one.at_s, state)
            for one in self.heard
            if one.message[0] == 1
            for said in wire.messages(one.message)
            if isinstance(said, wire.Aware)
            for state in read_awareness(said.data)
        ]

    async def _serve(self) -> None:
        relay = self._relay
        guest = relay.guests.enter(None, None)
        assert isinstance(self._end.other, DirectEnd)
        try:
            transport = accepted(self._end.other, lambda _: None)
            await relay.serve_yjs(transport, guest, self._context)
        finally:
            relay.guests.leave(guest)

    async def _listen(self) -> None:
        loop, unframer = asyncio.get_running_loop(), Unframer()
        while (frame := await self._end.receive()) is not None:
            for message in unframer.messages(frame):
                self.heard.append(Heard(loop.time(), message))
            if unframer.take_pinged() and self.is_alive:
                try:
                    await self._end.send(PONG)
                except LinkLost:
                    break
        self.ended_s = loop.time()


class VirtualPlace:
    """A relay, and a network to it."""

    def __init__(self, relay: Relay, network: Network) -> None:
        self.relay = relay
        self._network = network

    def client(self, context: str) -> VirtualClient:
        return VirtualClient(self._network, self.relay, context)


@asynccontextmanager
async def virtual_relay(folder: Path) -> AsyncIterator[VirtualPlace]:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    replica = Replica.open(
        folder / "relay.db",
        now_ms=lambda: START_MS + int(loop.time() * 1000),
        random=random.Random("relay").randbytes,
        lane=VirtualLane,
    )
    async with replica:
        relay = Relay(replica, region="eu", doorkeeper=lambda *_: ANYTHING)
        try:
            yield VirtualPlace(relay, Network(loop, "clients"))
        finally:
            await relay.close()

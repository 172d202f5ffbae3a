"""Yjs clients that say nothing: those that are there stay, those that have gone are ended."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pycrdt
import pytest
import uvicorn
from websockets.asyncio.client import connect

from tests.hostile.target import Target
from tests.integration.test_yjs_provider import Line, note, until
from tests.running_relay import running_relay
from tests.stores import open_replica
from tests.yjs_client import yjs_client
from tests.yjs_clients.browser import FAMILIES, Family, browser
from weft_engine.limits import LINK_DEAD_MS, YJS_LISTEN_S
from weft_engine.replica.replica import Replica
from weft_server.app import relay_app
from weft_server.door.permission import ANYTHING
from weft_server.relay import Relay
from weft_server.websocket_protocol import WeftProtocol
from weft_server.yjs import rooms
from weft_server.yjs.framing import PING

TIMEOUT_S = 20.0
LOOKS_S = 0.2


@asynccontextmanager
async def relay_here(place: Path) -> AsyncIterator[tuple[Relay, str]]:
    """A relay in this process, which listens for the silent more often."""
    async with open_replica(place / "relay.db") as replica, relay_of(replica) as found:
        yield found


@asynccontextmanager
async def relay_of(replica: Replica) -> AsyncIterator[tuple[Relay, str]]:
    relay = Relay(replica, region="eu", doorkeeper=lambda *_: ANYTHING)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        relay_app(relay),
        ws=WeftProtocol,
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield relay, f"ws://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await relay.close()
        server.should_exit = True
        await serving


@pytest.fixture
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "_TICK_S", LOOKS_S)
    monkeypatch.setattr(rooms, "YJS_LISTEN_S", LOOKS_S)


async def read_until(reader: asyncio.StreamReader, wanted: bytes) -> bytes:
    """What came up to and with these bytes, or the end."""
    found = b""
    async with asyncio.timeout(TIMEOUT_S):
        while wanted not in found:
            some = await reader.read(1024)
            if not some:
                break
            found += some
    return found


async def test_who_does_not_answer_is_ended_and_who_does_stays(
    tmp_path: Path, in_a_hurry: None
) -> None:
    async with (
        relay_here(tmp_path) as (relay, url),
        yjs_client(url, "a") as other,
        connect(f"{url}/yjs/a") as idle,
    ):
        target = Target(url)
        reader, dead = await target.stream()
        await dead.write(target.upgrade("/yjs/a"))
        await reader.readuntil(b"\r\n\r\n")
        # awareness of client 9, clock 1, `{}`; and then nothing any more
        await dead.message(bytes.fromhex("010601090102" + b"{}".hex()))
        await other.until(lambda: 9 in other.states, "it is seen")
        assert relay.links == 3
        assert PING in await read_until(reader, PING)
        said = await read_until(reader, b"not heard")
        assert b"it was not heard for 25 s" in said
        assert await reader.read() == b""
        dead.abort()
        await other.until(lambda: other.states[9].state is None, "it has left for others")
        # The others were pinged as often, and have answered.
        for _ in range(3 * int(LINK_DEAD_MS / 1000 / YJS_LISTEN_S)):
            await asyncio.sleep(LOOKS_S)
        assert relay.links == 2
        assert (other.close, idle.close_code) == (None, None)
        update = await other.edit("n", 0, "still here")
        await other.until(lambda: update in other.updates, "the echo")


async def test_who_sends_something_large_slowly_is_heard(tmp_path: Path, in_a_hurry: None) -> None:
    """It can't answer before its message has ended."""
    async with relay_here(tmp_path) as (relay, url):
        target = Target(url)
        reader, slow = await target.stream()
        await slow.write(target.upgrade("/yjs/a"))
        await reader.readuntil(b"\r\n\r\n")
        await slow.write(b"\x82\xfe\x10\x00" + bytes(4))
        for _ in range(2 * int(LINK_DEAD_MS / 1000 / YJS_LISTEN_S)):
            await asyncio.sleep(LOOKS_S)
            await slow.write(b"\x00")
        assert relay.links == 1
        slow.abort()
        await asyncio.sleep(0)


@pytest.mark.deep
@pytest.mark.parametrize("family", FAMILIES)
async def test_idle_clients_of_all_families_stay_and_a_dead_one_goes(
    tmp_path: Path, family: Family
) -> None:
    """With the times as they are. A tab that shows nothing of itself says nothing, either."""
    idle_s = 2 * LINK_DEAD_MS / 1000
    with running_relay(tmp_path) as relay:
        async with AsyncExitStack() as stack:
            node = await stack.enter_async_context(browser(family))
            tab = await node.open(relay.url, "idle")
            await tab.synced()
            await tab.do("show", state=None)
            document: pycrdt.Doc[Any] = pycrdt.Doc()
            websocket = await stack.enter_async_context(connect(f"{relay.url}/yjs/idle"))
            line = Line(websocket, "idle")
            await stack.enter_async_context(pycrdt.Provider(document, line))
            target = Target(relay.url)
            reader, dead = await target.stream()
            await dead.write(target.upgrade("/yjs/idle"))
            async with asyncio.timeout(idle_s):
                while await reader.read(1024):
                    pass
            dead.abort()
            await asyncio.sleep(idle_s)
            assert line.sent < 4, "it has not said anything"
            found = await tab.look()
            assert (found["status"], found["closed"]) == (["connected"], None)
            sent = line.sent
            await tab.insert("n", 0, "still here")
            await until(document, lambda: str(note(document)) == "still here")
            while line.sent == sent:  # noqa: ASYNC110 - it sends back what it hears, without a signal
                await asyncio.sleep(0.01)
            await websocket.close()

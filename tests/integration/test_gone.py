"""What a Yjs client leaves behind when it goes: a room for a while, and nothing else."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.stores import open_replica
from tests.yjs_client import yjs_client
from weft_engine.document.document import Document
from weft_server.door.doorstep import Doorstep
from weft_server.door.guests import Guest
from weft_server.door.permission import ANYTHING
from weft_server.relay import Relay
from weft_server.serving import listen, serve
from weft_server.transport import AcceptedTransport
from weft_server.websocket_protocol import WeftProtocol
from weft_server.yjs import rooms
from weft_server.yjs.connection import Connection
from weft_server.yjs.room import Room

KEPT = 4
DEADLINE_S = 20
WATCHED = (Room, Document, Connection, Guest, AcceptedTransport, WeftProtocol, Doorstep)


@pytest.fixture(autouse=True)
def uncollected() -> Iterator[None]:
    """Without the collector, so that what is in a circle stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[str]:
    """A relay in this process; its address."""
    listener, address = listen("127.0.0.1", 0)
    up = asyncio.Event()
    async with open_replica(folder / "relay.db") as replica:
        relay = Relay(replica, region="eu", doorkeeper=lambda *_: ANYTHING)
        serving = asyncio.create_task(serve(relay, listener, announce=up.set))
        try:
            await up.wait()
            yield address.url
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


def alive() -> Counter[str]:
    # By their types: to ask an object itself raises if it stands for one that is gone.
    kinds = [type(one) for one in gc.get_objects()]
    return Counter(of.__name__ for kind in kinds for of in WATCHED if issubclass(kind, of))


async def until_left(most: Counter[str]) -> None:
    """Wait until no more of each is alive."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not alive() <= most:  # noqa: ASYNC110 - nobody tells when an object is gone
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{alive()} are there, and at most {most} may be") from None


async def test_rooms_above_the_number_that_is_kept_go_at_once_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "YJS_ROOMS_MAX", KEPT)
    monkeypatch.setattr(rooms, "_TICK_S", 10 * DEADLINE_S)
    before = alive()
    async with served(tmp_path) as url:
        for number in range(3 * KEPT):
            async with yjs_client(url, f"gone/{number}") as client:
                await client.synced()
                await client.edit("note", 0, "some words")
                updates = client.updates
                await client.until(partial(bool, updates), "the echo")
        await until_left(before + Counter({"Room": KEPT, "Document": KEPT}))


async def test_rooms_with_somebody_inside_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "YJS_ROOMS_MAX", 1)
    async with served(tmp_path) as url, yjs_client(url, "stays") as inside:
        await inside.synced()
        for number in range(5):
            async with yjs_client(url, f"gone/{number}") as client:
                await client.synced()
        async with yjs_client(url, "stays") as other:
            await other.synced()
            await other.edit("note", 0, "hello")
            await inside.until(lambda: inside.text("note") == "hello", "the words of the other")

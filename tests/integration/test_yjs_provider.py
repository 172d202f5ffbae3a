"""pycrdt's own `Provider` at a relay: it sends back all that it hears, and must not be answered for
ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pycrdt
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.running_relay import RunningRelay, running_relay
from tests.yjs_client import yjs_client


class Line:
    """A websocket as a channel of pycrdt. `sent` and `received` count messages."""

    def __init__(self, websocket: ClientConnection, path: str) -> None:
        self._websocket = websocket
        self.path = path
        self.sent = self.received = 0

    def __aiter__(self) -> Line:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self.recv()
        except ConnectionClosed:
            raise StopAsyncIteration from None

    async def send(self, message: bytes) -> None:
        self.sent += 1
        await self._websocket.send(message)

    async def recv(self) -> bytes:
        message = await self._websocket.recv()
        assert isinstance(message, bytes)
        self.received += 1
        return message


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRelay]:
    with running_relay(tmp_path_factory.mktemp("relay")) as found:
        yield found


@asynccontextmanager
async def provided(url: str, context: str) -> AsyncIterator[tuple[pycrdt.Doc[Any], Line]]:
    """A document that a provider keeps in step."""
    document: pycrdt.Doc[Any] = pycrdt.Doc()
    async with connect(f"{url}/yjs/{context}", max_size=None) as websocket:
        line = Line(websocket, context)
        async with pycrdt.Provider(document, line) as provider, asyncio.timeout(30):
            await provider.synced.wait()
            yield document, line
            await websocket.close()


def note(document: pycrdt.Doc[Any]) -> pycrdt.Text:
    found: pycrdt.Text = document.get("note:n", type=pycrdt.Text)
    return found


async def until(document: pycrdt.Doc[Any], holds: Callable[[], bool]) -> None:
    """Until something is so after a change of a document."""
    changed = asyncio.Event()
    subscription = document.observe(lambda _: changed.set())
    try:
        while not holds():
            changed.clear()
            await changed.wait()
    finally:
        document.unobserve(subscription)


async def test_providers_edit_together_and_fall_silent(relay: RunningRelay) -> None:
    async with (
        provided(relay.url, "py") as (a, to_a),
        provided(relay.url, "py") as (b, to_b),
        yjs_client(relay.url, "py") as other,
    ):
        await other.synced()
        note(a).insert(0, "one 👍 ")
        await until(b, lambda: str(note(b)) == "one 👍 ")
        note(b).insert(len(note(b)), "two")
        await until(a, lambda: str(note(a)) == "one 👍 two")
        a.get("events", type=pycrdt.Map)["k"] = "v"
        await until(b, lambda: "k" in b.get("events", type=pycrdt.Map))
        await other.until(lambda: other.text("n") == "one 👍 two", "a plain client has it")
        # What each was told comes back to the relay, which has it and says so once: an answer to
        # each answer would be more messages than these questions are.
        for _ in range(40):
            other.frames.clear()
            await other.websocket.send(b"\x00\x00\x01\x00")
            await other.until(lambda: any(f[:2] == b"\x00\x01" for f in other.frames), "an answer")
        assert max(to_a.received, to_b.received) < 20
    async with provided(relay.url, "py") as (late, _):
        assert str(note(late)) == "one 👍 two"

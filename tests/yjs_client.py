"""A plain Yjs client for tests: a document of pycrdt behind a raw websocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote

import pycrdt
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from weft_engine.sync.framing.messages import PresenceState
from weft_server.yjs import wire
from weft_server.yjs.awareness import read_awareness, write_awareness

TIMEOUT_S = 20.0


class YjsClient:
    """What a tab does with its document. `frames` has everything that came, in order."""

    def __init__(self, websocket: ClientConnection, document: pycrdt.Doc[Any]) -> None:
        self.websocket = websocket
        self.document = document
        self.frames: list[bytes] = []
        self.is_synced = False
        self.updates: list[bytes] = []
        """What came in messages of the kind update."""
        self.states: dict[int, PresenceState] = {}
        self.denied: str | None = None
        self.close: tuple[int, str] | None = None
        self.answers_step1 = True
        self.reads = asyncio.Event()
        """Cleared, it reads nothing more."""
        self.reads.set()
        self._changed = asyncio.Event()

    def text(self, note: str) -> str:
        return str(self.document.get(f"note:{note}", type=pycrdt.Text))

    async def edit(self, note: str, at: int, insert: str) -> bytes:
        """Type into a note and send it; the update."""
        before = self.document.get_state()
        self.document.get(f"note:{note}", type=pycrdt.Text).insert(at, insert)
        update = self.document.get_update(before)
        await self.websocket.send(wire.edited(update))
        return update

    async def set(self, key: str, value: str) -> bytes:
        """Set a key of the root `events` and send it; the update."""
        before = self.document.get_state()
        self.document.get("events", type=pycrdt.Map)[key] = value
        update = self.document.get_update(before)
        await self.websocket.send(wire.edited(update))
        return update

    async def show(self, client: int, clock: int, state: str | None) -> None:
        said = write_awareness([PresenceState(client, clock, state)])
        await self.websocket.send(wire.aware(said))

    def heard_awareness(self) -> bool:
        return any(frame[0] == 1 for frame in self.frames)

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"not in {TIMEOUT_S} s: {what}; closed: {self.close}") from None

    async def wait(self, seconds: float) -> None:
        """For so long, unless it is closed before."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.close is None:
                    self._changed.clear()
                    await self._changed.wait()

    async def synced(self) -> None:
        await self.until(lambda: self.is_synced, "synced")

    async def closed(self) -> tuple[int, str]:
        await self.until(lambda: self.close is not None, "closed")
        assert self.close is not None
        return self.close

    async def listen(self) -> None:
        try:
            async for frame in self.websocket:
                assert isinstance(frame, bytes)
                await self.reads.wait()
                await self._hear(frame)
                self._changed.set()
        except ConnectionClosed:
            pass
        code, reason = self.websocket.close_code, self.websocket.close_reason
        self.close = (code or 1006, reason or "")
        self._changed.set()

    async def _hear(self, frame: bytes) -> None:
        self.frames.append(frame)
        if frame[:2] == b"\x02\x00":
            self.denied = frame[3:].decode(errors="replace")
            return
        (message,) = wire.messages(frame)
        match message:
            case wire.Step1():
                if self.answers_step1:
                    answer = self.document.get_update(message.state_vector)
                    await self.websocket.send(wire.step2(answer))
            case wire.Step2():
                self.document.apply_update(message.update)
                self.is_synced = True
            case wire.Edited():
                self.updates.append(message.update)
                self.document.apply_update(message.update)
            case wire.Aware():
                for state in read_awareness(message.data):
                    self.states[state.client] = state
            case wire.QueryAwareness():
                raise AssertionError("the server asks for awareness")


@asynccontextmanager
async def yjs_client(
    url: str,
    context: str,
    *,
    document: pycrdt.Doc[Any] | None = None,
    query: str = "",
    greets: bool = True,
    answers: bool = True,
    **options: Any,
) -> AsyncIterator[YjsClient]:
    """Connected to a relay; has sent its step 1, if it `greets`."""
    address = f"{url}/yjs/{quote(context, safe='/:')}{query}"
    document = pycrdt.Doc() if document is None else document
    async with connect(address, max_size=None, compression=None, **options) as websocket:
        client = YjsClient(websocket, document)
        client.answers_step1 = answers
        if greets:
            await websocket.send(wire.step1(document.get_state()))
        listening = asyncio.create_task(client.listen())
        try:
            yield client
        finally:
            client.reads.set()
            await websocket.close()
            await listening

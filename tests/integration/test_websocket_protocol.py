"""The server's websockets, spoken to byte by byte: whatever way frames are cut, nothing changes."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar

import pytest
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from weft_engine.limits import FRAMES_PER_TURN, INBOX_BYTES, KIB, MIB
from weft_server.transport import AcceptedTransport
from weft_server.websocket_frames import PIECES_MAX, binary_header
from weft_server.websocket_protocol import CONNECTION, WeftProtocol

LIMIT = 4 * INBOX_BYTES
DEADLINE_S = 20
_UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_FLOOD_BYTES = 48 * MIB


async def _echo(websocket: WebSocket) -> None:
    await websocket.accept()
    transport = AcceptedTransport(websocket, message_bytes_max=LIMIT)
    while (message := await transport.receive()) is not None:
        messages = [message, *transport.receive_more()]
        transport.send_prebuilt(*[binary_header(len(one)) + one for one in messages])
        await transport.drained()
    await transport.close("closed", "")


async def _late(websocket: WebSocket) -> None:
    """Answers, and takes over, when something has come already."""
    protocol = websocket.scope["extensions"][CONNECTION]
    while not protocol.unread_bytes:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await _echo(websocket)


@asynccontextmanager
async def _server() -> AsyncIterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    app = Starlette(routes=[WebSocketRoute("/", _echo), WebSocketRoute("/late", _late)])
    server = uvicorn.Server(
        uvicorn.Config(app, ws=WeftProtocol, ws_max_size=1024, lifespan="off", log_config=None)
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await serving


class _Raw:
    """A client that sends the bytes it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def connect(cls, port: int) -> AsyncIterator[_Raw]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_UPGRADE)
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
        assert answer.startswith(b"HTTP/1.1 101 ")
        try:
            yield cls(reader, writer)
        finally:
            writer.close()
            await writer.wait_closed()

    async def read(self) -> tuple[int, bytes]:
        """First byte and payload of the next frame."""
        first, size = await asyncio.wait_for(self._reader.readexactly(2), DEADLINE_S)
        if size == 126:
            (size,) = struct.unpack("!H", await self._reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self._reader.readexactly(8))
        return first, await asyncio.wait_for(self._reader.readexactly(size), DEADLINE_S)

    async def closed_with(self) -> int:
        first, payload = await self.read()
        assert first == 0x88
        return int(struct.unpack("!H", payload[:2])[0])


def _frame(payload: bytes, *, first: int = 0x82, is_masked: bool = True) -> bytes:
    header = binary_header(len(payload))
    if not is_masked:
        return bytes((first,)) + header[1:] + payload
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return bytes((first, header[1] | 0x80)) + header[2:] + mask + masked


async def test_frames_cut_anywhere_come_whole() -> None:
    messages = [b"a", b"", b"b" * 125, b"c" * 126, b"d" * 700]
    data = b"".join(map(_frame, messages))
    async with _server() as port, _Raw.connect(port) as raw:
        for byte in data:
            raw.writer.write(bytes((byte,)))
            await raw.writer.drain()
        assert [await raw.read() for _ in messages] == [(0x82, one) for one in messages]


async def test_a_flood_of_small_messages_comes_in_order() -> None:
    messages = [b"%d" % number for number in range(20 * FRAMES_PER_TURN)]
    async with _server() as port, _Raw.connect(port) as raw:
        raw.writer.write(b"".join(map(_frame, messages)))
        assert [(await raw.read())[1] for _ in messages] == messages


async def test_a_message_in_fragments_with_a_ping_between() -> None:
    async with _server() as port, _Raw.connect(port) as raw:
        raw.writer.write(
            _frame(b"one ", first=0x02)
            + _frame(b"there?", first=0x89)
            + _frame(b"and two", first=0x80)
            + _frame(b"three")
        )
        assert await raw.read() == (0x8A, b"there?")
        assert await raw.read() == (0x82, b"one and two")
        assert await raw.read() == (0x82, b"three")


async def test_more_than_a_connection_may_have_waiting_still_comes() -> None:
    # The first is larger than a frame of the server elsewhere, and all than what is held.
    messages = [bytes((65 + number,)) * (INBOX_BYTES // 2) for number in range(5)]
    async with _server() as port, _Raw.connect(port) as raw:
        for one in messages:
            raw.writer.write(_frame(one))
        assert [(await raw.read())[1] for _ in messages] == messages


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (_frame(b"text", first=0x81), 1003),
        (_frame(b"unmasked", is_masked=False), 1002),
        (_frame(b"one", first=0x02) + _frame(b"no continuation"), 1002),
        (_frame(b"reserved", first=0xC2), 1002),
        (b"\x82\xff" + struct.pack("!Q", LIMIT + 1) + b"mask", 1009),
        (_frame(b"\x03\xe8bye", first=0x88), 1000),
        (_frame(b"", first=0x02) + 1100 * _frame(b"", first=0x00), 1009),
    ],
    ids=["text", "unmasked", "interrupted", "reserved", "too large", "bye", "in pieces"],
)
async def test_what_ends_a_connection(data: bytes, code: int) -> None:
    async with _server() as port, _Raw.connect(port) as raw:
        raw.writer.write(_frame(b"before"))
        assert await raw.read() == (0x82, b"before")
        raw.writer.write(data)
        assert await raw.closed_with() == code


async def test_what_comes_before_the_answer_is_read_in_turns_as_all_is() -> None:
    whole = [b"%d" % number for number in range(3 * FRAMES_PER_TURN)]
    pieces = _frame(b"", first=0x02) + (PIECES_MAX + 1) * _frame(b"", first=0x00)
    for data, messages, code in ((b"".join(map(_frame, whole)), whole, 1000), (pieces, [], 1009)):
        async with _server() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"GET /late HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            for _ in range(10):  # The request is read by itself: it would be looked at as one.
                await asyncio.sleep(0.01)
            writer.write(data)
            assert b" 101 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
            raw = _Raw(reader, writer)
            assert [(await raw.read())[1] for _ in messages] == messages
            if code == 1000:
                writer.write(_frame(b"\x03\xe8bye", first=0x88))
            assert await raw.closed_with() == code
            writer.close()


async def test_large_messages_of_many_connections_come_whole_and_in_order() -> None:
    messages = [bytes((number,)) * (40_000 + number) for number in range(6)]
    async with _server() as port, AsyncExitStack() as stack:
        raws = [await stack.enter_async_context(_Raw.connect(port)) for _ in range(8)]
        data = b"".join([_frame(one) + _frame(b"and %d" % one[0]) for one in messages])
        for raw in raws:
            raw.writer.write(data)
        wanted = [(0x82, one) for large in messages for one in (large, b"and %d" % large[0])]
        for raw in raws:
            assert [await raw.read() for _ in wanted] == wanted


class _Counting(WeftProtocol):
    """Counts what comes of it in one turn of the event loop."""

    most_bytes: ClassVar[int] = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._turn_bytes = 0

    def data_received(self, data: bytes) -> None:
        if not self._turn_bytes:
            self.loop.call_soon(self._turn_over)
        self._turn_bytes += len(data)
        _Counting.most_bytes = max(_Counting.most_bytes, self._turn_bytes)
        super().data_received(data)

    def _turn_over(self) -> None:
        self._turn_bytes = 0


def test_of_a_connection_no_more_comes_in_a_turn_than_one_read_brings() -> None:
    """uvloop reads 32 times before others have their turn, if there is as much."""
    with ThreadPoolExecutor(1) as threads:
        listener = socket.create_server(("127.0.0.1", 0))
        threads.submit(_flood, listener.getsockname()[1])
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_take_flood(listener))
    assert 0 < _Counting.most_bytes <= 256 * KIB


def _flood(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as client:
        client.sendall(_UPGRADE)
        assert client.recv(4096).startswith(b"HTTP/1.1 101 ")
        client.sendall(b"\x82\xff" + _FLOOD_BYTES.to_bytes(8, "big") + bytes(4))
        piece = bytes(MIB)
        for _ in range(_FLOOD_BYTES // MIB):
            client.sendall(piece)
        assert client.recv(4096) == b"\x82\x00"


async def _take_flood(listener: socket.socket) -> None:
    server: uvicorn.Server

    async def take(websocket: WebSocket) -> None:
        await websocket.accept()
        transport = AcceptedTransport(websocket, message_bytes_max=_FLOOD_BYTES)
        message = await transport.receive()
        assert message is not None
        assert len(message) == _FLOOD_BYTES
        await transport.send(b"")
        await transport.close("closed", "")
        server.should_exit = True

    app = Starlette(routes=[WebSocketRoute("/", take)])
    server = uvicorn.Server(uvicorn.Config(app, ws=_Counting, lifespan="off", log_config=None))
    async with asyncio.timeout(DEADLINE_S):
        await server.serve(sockets=[listener])

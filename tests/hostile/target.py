"""What is attacked, and sockets to do it with: the client library is too well-behaved for some of
it. Must never know: what is sent.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.hostile.raw_client import dial
from weft_engine.sync.binding import SYNC_PATH

CONTEXT = "one"
"""The context of everybody, and of the frames that `frame_hunt` changes."""
REFUSALS = (OSError, EOFError, InvalidHandshake, ConnectionClosed, TimeoutError)
"""How a relay, or the system, gets rid of an attacker."""

BINARY, PING = 0x82, 0x89
_DIALS_MAX = 10


@dataclass(frozen=True)
class Target:
    """The relay at `url` (ws://host:port). Attacks bear `token`."""

    url: str
    token: str | None = None

    @property
    def place(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("ws://").rpartition(":")
        return host, int(port)

    @asynccontextmanager
    async def socket(self) -> AsyncIterator[ClientConnection]:
        """A websocket that is dropped without a goodbye; a refusal just ends the block. Who is not
        let in, on a machine that is busy, tries again a few times."""
        for again in range(_DIALS_MAX):
            try:
                found = await dial(self.url, self.token)
                break
            except REFUSALS:
                if again + 1 == _DIALS_MAX:
                    raise
                await asyncio.sleep(0.1 * again)
        with suppress(*REFUSALS):
            try:
                yield found
            finally:
                found.transport.abort()

    async def stream(self, *, deaf: bool = False) -> tuple[asyncio.StreamReader, Stream]:
        """A connection, with a receive buffer of a few kilobytes if it is `deaf`."""
        found = socket.socket()
        found.setblocking(False)
        if deaf:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.get_running_loop().sock_connect(found, self.place)
        reader, writer = await asyncio.open_connection(sock=found, limit=4096)
        return reader, Stream(writer)

    @asynccontextmanager
    async def upgraded(self, path: str = SYNC_PATH) -> AsyncIterator[Stream]:
        """A websocket whose frames are written by hand, and of which nothing is read."""
        with suppress(*REFUSALS):
            reader, stream = await self.stream(deaf=True)
            try:
                await stream.write(self.upgrade(path))
                await reader.readuntil(b"\r\n\r\n")
                yield stream
            finally:
                stream.abort()

    def upgrade(self, path: str = SYNC_PATH) -> bytes:
        """The request that makes a websocket of a connection."""
        bearer = "" if self.token is None else f"Authorization: Bearer {self.token}\r\n"
        return (
            f"GET {path} HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{bearer}\r\n"
        ).encode()


class Stream:
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def write(self, data: bytes) -> None:
        """Returns when the system has taken most of it."""
        self._writer.write(data)
        await self._writer.drain()

    async def message(self, data: bytes) -> None:
        await self.write(masked(data))

    def abort(self) -> None:
        self._writer.transport.abort()


def masked(data: bytes, *, head: int = BINARY) -> bytes:
    """A client's frame around `data`, under the mask 0."""
    size = len(data)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 1 << 16:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    return bytes((head,)) + length + bytes(4) + data


Attack = Callable[[Target, random.Random, int], Awaitable[int]]
"""Does about so many bad things (frames, records, connections: its docstring says which), tells how
many, and ends by itself when the relay has enough of it."""

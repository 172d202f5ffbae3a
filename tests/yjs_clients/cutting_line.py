"""A line on loopback that is cut where a test says: after so many bytes one way, in the middle of a
message or of its header. Must never know: what it carries, but for where a handshake ends.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, Literal, TypeAlias

_PIECE_BYTES: Final = 16 * 1024
_HANDSHAKE_END: Final = b"\r\n\r\n"

Way: TypeAlias = Literal["up", "down"]
"""From the client to the server, and back."""


class _Connection:
    """`left`: after how many bytes more of each way it is cut."""

    def __init__(self) -> None:
        self.left: dict[Way, int] = {}
        self.writers: list[asyncio.StreamWriter] = []

    def cut(self) -> None:
        """What was passed on arrives; then both ends see that nothing more comes."""
        for writer in self.writers:
            writer.close()


class CuttingLine:
    """`url` leads to the server. `cuts` are those of the connections that come next, one each;
    `made` is how many were made by its word."""

    def __init__(self) -> None:
        self.url = ""
        self.cuts: deque[tuple[Way, int]] = deque()
        self.made = 0
        self._open: set[_Connection] = set()

    def cut_soon(self, way: Way, after_bytes: int) -> None:
        """Cut what is connected now, after so many bytes more."""
        for one in self._open:
            one.left[way] = after_bytes

    def cut_all(self) -> None:
        for one in tuple(self._open):
            one.cut()

    async def carry(
        self,
        connection: _Connection,
        way: Way,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        try:
            with suppress(ConnectionError):
                writer.write(await _handshake(reader))
                while data := await reader.read(_PIECE_BYTES):
                    left = connection.left.get(way)
                    if left is not None:
                        connection.left[way] = left - len(data)
                        if left <= len(data):
                            writer.write(data[:left])
                            self.made += 1
                            break
                    writer.write(data)
                    await writer.drain()
        finally:
            self._open.discard(connection)
            connection.cut()

    def opened(self) -> _Connection:
        connection = _Connection()
        if self.cuts:
            way, after_bytes = self.cuts.popleft()
            connection.left[way] = after_bytes
        self._open.add(connection)
        return connection


async def _handshake(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(_HANDSHAKE_END)
    except asyncio.IncompleteReadError as error:
        return error.partial


@asynccontextmanager
async def cutting_line(url: str) -> AsyncIterator[CuttingLine]:
    host, _, port = url.removeprefix("ws://").partition(":")
    line = CuttingLine()
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        tasks.add(task)
        connection = line.opened()
        connection.writers.append(writer)
        try:
            from_server, to_server = await asyncio.open_connection(host, int(port))
            connection.writers.append(to_server)
            await asyncio.gather(
                line.carry(connection, "up", reader, to_server),
                line.carry(connection, "down", from_server, writer),
            )
        except ConnectionError:
            pass  # The server is not there: the client finds nobody, either.
        finally:
            connection.cut()
            tasks.discard(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    line.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield line
    finally:
        server.close()
        line.cut_all()
        await asyncio.gather(*tasks)
        await server.wait_closed()

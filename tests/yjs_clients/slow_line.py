"""A line on loopback that carries only so many bytes a second each way, between a client and a
server. Must never know: what it carries.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from typing import Final

_PIECE_BYTES: Final = 16 * 1024


@asynccontextmanager
async def slow_line(url: str, *, bytes_per_s: int) -> AsyncIterator[str]:
    """The address `ws://...` at which the server at `url` is reached slowly."""
    host, _, port = url.removeprefix("ws://").partition(":")
    tasks: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        free_s = loop.time()
        with closing(writer), suppress(ConnectionError):
            while data := await reader.read(_PIECE_BYTES):
                free_s = max(free_s, loop.time()) + len(data) / bytes_per_s
                await asyncio.sleep(free_s - loop.time())
                writer.write(data)
                await writer.drain()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Little may lie in buffers, or what is written would seem to have been read.
        to_reader, to_writer = await asyncio.open_connection(host, int(port), limit=_PIECE_BYTES)
        for one, other in ((reader, to_writer), (to_reader, writer)):
            task = asyncio.create_task(carry(one, other))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=_PIECE_BYTES)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()

"""A connection with a delay: passes bytes on between a client and a relay, and notes when how many
went which way.

Must never know: what the bytes mean, but where the websocket's upgrade ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Passed:
    """Bytes after the upgrade, with when they were taken from their sender."""

    to_relay: list[tuple[float, int]] = field(default_factory=list)
    to_client: list[tuple[float, int]] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.to_relay + self.to_client)


@asynccontextmanager
async def delayed(port: int, *, delay_s: float) -> AsyncIterator[tuple[int, Passed]]:
    """A port that leads to `port`, each way `delay_s` long."""
    passed = Passed()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        for one in (
            _pass(reader, far_writer, passed.to_relay, delay_s),
            _pass(far_reader, writer, passed.to_client, delay_s),
        ):
            task = asyncio.create_task(one)
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], passed
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()


async def _pass(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    noted: list[tuple[float, int]],
    delay_s: float,
) -> None:
    loop, head = asyncio.get_running_loop(), b""
    is_upgraded = False
    while data := await reader.read(1 << 16):
        size = len(data)
        if not is_upgraded:
            head += data
            is_upgraded = b"\r\n\r\n" in head
            size = len(head.partition(b"\r\n\r\n")[2])
        if size and is_upgraded:
            noted.append((time.monotonic(), size))
        loop.call_later(delay_s, writer.write, data)
    loop.call_later(delay_s, writer.close)

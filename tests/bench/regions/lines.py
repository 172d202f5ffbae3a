"""Connections between regions that take time, and all that crossed them, to be looked at when it is
over. They run in a thread of their own.

Must never know: relays.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from weft_engine.records.digest import record_digest
from weft_engine.sync.framing.fragments import Reassembly
from weft_engine.sync.framing.frames import decode_frame
from weft_engine.sync.framing.messages import Fragment, Message, Records
from weft_server.websocket_frames import HEAD_MIN, MASKED, apply_mask, read_head

_READ_BYTES = 1 << 16


@dataclass
class Way:
    """What went in one direction, `to` a region, connection by connection."""

    to: str
    connections: list[bytearray] = field(default_factory=list)

    def messages(self) -> Iterator[Message]:
        for one in self.connections:
            yield from _messages(bytes(one))

    def records(self) -> list[bytes]:
        """Hashes of all records that came, as often as they came."""
        return [
            record_digest(envelope)
            for message in self.messages()
            if isinstance(message, Records)
            for envelope, _ in message.records
        ]


@dataclass
class Line:
    """A port of this machine that leads to `target`, each way `delay_s` long."""

    port: int
    target: int
    there: Way
    back: Way
    delay_s: float
    late_s: list[float] = field(default_factory=list)
    """How much later than that bytes went on: this machine was busy."""


@contextmanager
def carried(lines: Sequence[Line]) -> Iterator[None]:
    """The lines work meanwhile."""
    loop = asyncio.new_event_loop()
    is_up = threading.Event()

    async def begin() -> list[asyncio.Server]:
        return [await asyncio.start_server(_server(line), "127.0.0.1", line.port) for line in lines]

    def work() -> None:
        servers = loop.run_until_complete(begin())
        is_up.set()
        loop.run_forever()
        for server in servers:
            server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=work, name="weft-bench-lines")
    thread.start()
    is_up.wait()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _server(line: Line):  # type: ignore[no-untyped-def]  # what asyncio takes
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", line.target)
        except ConnectionError:
            writer.close()  # It is tried again.
            return
        await asyncio.gather(
            _pass(reader, far_writer, line.there, line),
            _pass(far_reader, writer, line.back, line),
        )

    return serve


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way, line: Line
) -> None:
    loop, noted, delay_s = asyncio.get_running_loop(), bytearray(), line.delay_s

    def go_on(data: bytes, due_s: float) -> None:
        line.late_s.append(loop.time() - due_s)
        writer.write(data)

    way.connections.append(noted)
    try:
        while data := await reader.read(_READ_BYTES):
            noted += data
            if delay_s:
                due_s = loop.time() + delay_s
                loop.call_at(due_s, go_on, data, due_s)
            else:
                writer.write(data)
    except ConnectionError:
        pass  # It ends here as any other does.
    loop.call_later(delay_s, writer.close)


def _messages(data: bytes) -> Iterator[Message]:
    """Of a websocket connection, behind its upgrade."""
    at = data.find(b"\r\n\r\n") + 4
    reassembly = Reassembly()
    while at + HEAD_MIN <= len(data):
        kind, is_masked = data[at] & 0x0F, data[at + 1] & MASKED
        size, head = read_head(data, at)
        at += head
        mask = b""
        if is_masked:
            mask, at = data[at : at + 4], at + 4
        payload, at = data[at : at + size], at + size
        if kind != 2 or len(payload) < size:
            continue
        message = decode_frame(apply_mask(payload, mask) if mask else payload)
        if isinstance(message, Fragment):
            message = reassembly.message(message)
        if message is not None:
            yield message

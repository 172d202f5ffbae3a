"""Opening raw links and rooms, in whatever dialect a server speaks.

Must never know: what is measured on them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from tests.bench.raw.client import Dialect, Messages, Pool
from tests.bench.raw.framing import STEP_1_OF_NOTHING, UPDATE, framed, var_bytes
from tests.bench.raw.servers import Server
from tests.bench.raw.traffic import Courier, NativeWriter, greeting


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def opening(server: Server, room: str) -> bytes:
    """What a client of this server says first, about one room or context."""
    match server.dialect:
        case Dialect.NATIVE:
            return greeting([room], now_ms=now_ms(), store=os.urandom(16))
        case Dialect.YJS:
            return framed(STEP_1_OF_NOTHING)
        case Dialect.HOCUSPOCUS:
            name = var_bytes(room.encode())
            token = framed(name + b"\x02\x00" + var_bytes(b"any"))
            return token + framed(name + STEP_1_OF_NOTHING)


def join(
    pool: Pool, server: Server, room: str, indices: Sequence[int], *, at_once: int = 50
) -> None:
    """Open these connections to one room, some at a time, and wait until all are in it. The first
    one alone: pycrdt-websocket never answers two that open a room at the same moment."""
    path = server.room_path(room)
    for start in range(0, len(indices) - 1 + at_once, at_once):
        some = indices[max(0, start - at_once + 1) : start + 1]
        before = pool.ready
        for index in some:
            pool.open(index, server.port, server.dialect, path, opening(server, room))
        pool.until_ready(before + len(some))


def updates_framed(server: Server, room: str, payloads: Sequence[bytes]) -> list[bytes]:
    """Each update as its own message: what plain Yjs clients send."""
    head = b"" if server.dialect is Dialect.YJS else var_bytes(room.encode())
    return [framed(head + UPDATE + var_bytes(payload)) for payload in payloads]


def native_messages(
    writer: NativeWriter, event: bytes, count: int, *, per_message: int
) -> tuple[Messages, list[bytes]]:
    """`count` new records, several to a message and signature; and their payloads."""
    framed_, sizes, payloads = [], [], []
    courier = Courier()
    for start in range(0, count, per_message):
        some = [writer.record(event) for _ in range(min(per_message, count - start))]
        framed_.append(courier.message(some, [writer.sign()]))
        sizes.append(len(some))
        payloads += [one.payload for one in some]
    return Messages(framed_, sizes), payloads


def load(
    server: Server, room: str, event: bytes, count: int, *, per_message: int
) -> tuple[Messages, list[bytes]]:
    """Messages that say `count` updates of one writer in this room, and the updates."""
    writer = NativeWriter(room, now_ms=now_ms())
    if server.dialect is Dialect.NATIVE:
        return native_messages(writer, event, count, per_message=per_message)
    payloads = [writer.record(event).payload for _ in range(count)]
    return Messages(updates_framed(server, room, payloads), [1] * count), payloads

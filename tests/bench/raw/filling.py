"""Filling our relay with contexts, over native links. Must never know: what they are for."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tests.bench.raw.client import Messages, Pool, Sender
from tests.bench.raw.joining import native_messages, now_ms
from tests.bench.raw.servers import Server
from tests.bench.raw.traffic import Courier, NativeWriter, event_bytes, greeting
from weft_engine.records.identity import WriterKey

CONTEXTS_PER_MESSAGE = 64
UNACKED_MAX = 8
MOST_S = 120.0


def fill_context(server: Server, context: str, *, size: int, event_size: int) -> list[bytes]:
    """Write one context of about `size` bytes of records; returns the updates in them."""
    author = NativeWriter(context, now_ms=now_ms())
    count = -(-size // NativeWriter(context, now_ms=0).record(event_bytes(event_size)).size)
    said, payloads = native_messages(author, event_bytes(event_size), count, per_message=64)
    _say(server, said, greeting([context], now_ms=now_ms(), store=os.urandom(16)))
    return payloads


def writers(prefix: str, count: int) -> list[NativeWriter]:
    """Of as many contexts, all by one incarnation."""
    key = WriterKey(os.urandom(32))
    return [NativeWriter(f"{prefix}{i}", now_ms=now_ms(), key=key) for i in range(count)]


def write_each(
    server: Server, prefix: str, authors: Sequence[NativeWriter], *, records: int, event_size: int
) -> int:
    """Write so many records in the context of each, which are below `prefix`; returns their bytes,
    envelopes and payloads."""
    courier, event, framed, sizes, size = Courier(), event_bytes(event_size), [], [], 0
    for start in range(0, len(authors), CONTEXTS_PER_MESSAGE):
        some = authors[start : start + CONTEXTS_PER_MESSAGE]
        made = [author.record(event) for author in some for _ in range(records)]
        framed.append(courier.message(made, [author.sign() for author in some]))
        sizes.append(len(made))
        size += sum(one.size for one in made)
    opening = greeting(prefixes=[prefix], now_ms=now_ms(), store=os.urandom(16))
    _say(server, Messages(framed, sizes), opening)
    return size


def _say(server: Server, said: Messages, opening: bytes) -> None:
    with Pool(1) as pool:
        pool.open(0, server.port, server.dialect, server.path, opening)
        pool.until_ready(1)
        pool.run([Sender(0, said, unacked_max=UNACKED_MAX)], seconds=MOST_S, most_s=MOST_S)

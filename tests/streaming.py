"""For tests of streams: writers that are never heard of again."""

from __future__ import annotations

from weft_engine.names import EventId
from weft_engine.replica.context import Context


async def abandon(chat: Context, *deltas: str) -> EventId:
    """Stream `deltas` and go away as in a crash, without an end; the stream's id."""
    stream = chat.stream()
    await stream.__aenter__()
    for delta in deltas:
        await stream.write(delta)
    await stream.flush()
    forget(chat, stream.id)
    return stream.id


def forget(chat: Context, id_: EventId) -> None:
    """As if the process had died that writes a stream."""
    stream = chat._replica.streams._open.pop(id_)
    assert stream._pump is not None
    stream._pump.cancel()

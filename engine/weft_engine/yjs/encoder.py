"""Write the updates that Weft makes without a document: new events into the root map `events`, and
what is streamed into the root map `streams`.

Format: Yjs update v1 as in `weft_engine.yjs.reader`; byte for byte what pycrdt 0.14.13 writes for
the transaction that sets each key, in order, for the first time. One struct per entry:

    28       has a key, holds `any` values
    01 06 events  31 <event id>        root name, key: 49 characters
    01 77 varUint <JSON>               one value, a string

Must never know: what is in the JSON, records, documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from weft_engine.names import ClientId, EventId
from weft_engine.yjs.lib0 import ANY_STRING, var_uint

EVENTS_ROOT: Final = "events"
STREAMS_ROOT: Final = "streams"
"""Holds what is being generated, until it is sealed as an event (`weft_engine.events.streams`)."""

EVENT_STRUCT: Final = b"\x28\x01" + var_uint(len(EVENTS_ROOT)) + EVENTS_ROOT.encode()
"""How a first set of a key of `events` begins; the key follows."""
_STREAM_STRUCT: Final = b"\x28\x01" + var_uint(len(STREAMS_ROOT)) + STREAMS_ROOT.encode()
ONE_STRING: Final = bytes((1, ANY_STRING))
"""What stands between the key and the string with its length."""
_NO_DELETES: Final = b"\x00"
_CLIENTS_CACHED_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class EncodedAppend:
    payload: bytes
    offsets: tuple[int, ...]
    """Where in the payload each entry's JSON begins."""


def encode_event_append(
    client: ClientId, clock: int, entries: Sequence[tuple[EventId, bytes]]
) -> EncodedAppend:
    """The update by which `client`, at `clock`, sets each event id to its JSON (UTF-8).

    The ids are new to the document and differ from each other; the caller knows.
    """
    assert entries, "an update without structs says nothing"
    if len(entries) == 1:
        event, text = entries[0]
        head = (
            b"\x01\x01" + client_bytes(client) + var_uint(clock) + EVENT_STRUCT
            + var_uint(len(key := event.encode())) + key + ONE_STRING + var_uint(len(text))
        )  # fmt: skip
        return EncodedAppend(head + text + _NO_DELETES, (len(head),))
    pieces = [b"\x01", var_uint(len(entries)), client_bytes(client), var_uint(clock)]
    size = sum(map(len, pieces))
    offsets: list[int] = []
    for event, text in entries:
        key = event.encode()
        head = EVENT_STRUCT + var_uint(len(key)) + key + ONE_STRING + var_uint(len(text))
        offsets.append(size + len(head))
        size += len(head) + len(text)
        pieces += (head, text)
    pieces.append(_NO_DELETES)
    return EncodedAppend(b"".join(pieces), tuple(offsets))


def encode_stream_append(
    client: ClientId, clock: int, entries: Sequence[tuple[str, bytes]]
) -> bytes:
    """The update by which `client`, at `clock`, sets each key of the root `streams` to its text
    (UTF-8), for the first time."""
    assert entries, "an update without structs says nothing"
    structs = [
        _STREAM_STRUCT + var_uint(len(name := key.encode())) + name
        + ONE_STRING + var_uint(len(text)) + text
        for key, text in entries
    ]  # fmt: skip
    return (
        b"\x01" + var_uint(len(structs)) + client_bytes(client) + var_uint(clock)
        + b"".join(structs) + _NO_DELETES
    )  # fmt: skip


def encode_stream_seal(
    client: ClientId,
    clock: int,
    entry: tuple[EventId, bytes],
    *,
    streamed: tuple[ClientId, Sequence[tuple[int, int]]],
) -> bytes:
    """The update by which `client`, at `clock`, sets an event and deletes what was streamed of it
    by a client: ranges of its clocks as (first, length), ascending and apart."""
    append = encode_event_append(client, clock, [entry]).payload
    writer, ranges = streamed
    if not ranges:
        return append
    return b"".join(
        (
            append[: -len(_NO_DELETES)],
            b"\x01" + client_bytes(writer) + var_uint(len(ranges)),
            *(var_uint(first) + var_uint(length) for first, length in ranges),
        )
    )


@lru_cache(maxsize=_CLIENTS_CACHED_MAX)
def client_bytes(client: ClientId) -> bytes:
    """A Yjs client id as it stands in an update."""
    return var_uint(client)

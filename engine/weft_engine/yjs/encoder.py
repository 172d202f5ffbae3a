"""Write the one update that Weft makes without a document: new events into the root map `events`.

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

_STRUCT: Final = b"\x28\x01" + var_uint(len(EVENTS_ROOT)) + EVENTS_ROOT.encode()
_ONE_STRING: Final = bytes((1, ANY_STRING))
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
            b"\x01\x01" + _client_bytes(client) + var_uint(clock) + _STRUCT
            + var_uint(len(key := event.encode())) + key + _ONE_STRING + var_uint(len(text))
        )  # fmt: skip
        return EncodedAppend(head + text + _NO_DELETES, (len(head),))
    pieces = [b"\x01", var_uint(len(entries)), _client_bytes(client), var_uint(clock)]
    size = sum(map(len, pieces))
    offsets: list[int] = []
    for event, text in entries:
        key = event.encode()
        head = _STRUCT + var_uint(len(key)) + key + _ONE_STRING + var_uint(len(text))
        offsets.append(size + len(head))
        size += len(head) + len(text)
        pieces += (head, text)
    pieces.append(_NO_DELETES)
    return EncodedAppend(b"".join(pieces), tuple(offsets))


@lru_cache(maxsize=_CLIENTS_CACHED_MAX)
def _client_bytes(client: ClientId) -> bytes:
    return var_uint(client)

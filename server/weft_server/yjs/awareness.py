"""Awareness as Yjs clients write it: which clients are there and what they show of themselves.

Format: yjs/y-protocols, `awareness.js`: varUint(n), then n times varUint(client), varUint(clock),
varString(JSON), where the JSON `null` says that the client has left. Every client parses what any
other one says, so nothing passes that one of them could fail at. The JSON is passed on as it came.
Must never know: who says it, who hears it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from weft_engine.errors import InvalidMessage, MalformedFrame, MalformedUpdate
from weft_engine.json_depth import check_depth
from weft_engine.limits import (
    PRESENCE_BYTES_MAX,
    YJS_AWARENESS_BYTES_MAX,
    YJS_AWARENESS_CLIENTS_MAX,
)
from weft_engine.sync.framing.messages import PresenceState
from weft_engine.sync.presence import read_state
from weft_engine.yjs.lib0 import check_count, read_string, read_var_uint, var_uint

NOBODY: Final = b"\x00"
"""An awareness of no client: a sign of life."""
_LEFT: Final = b"null"
_HEAD_BYTES: Final = 24
"""Client, clock and length before a state, at most."""


def read_awareness(data: bytes) -> list[PresenceState]:
    """The states in `data`, or MalformedFrame."""
    if len(data) > YJS_AWARENESS_BYTES_MAX:
        raise MalformedFrame(f"an awareness of {len(data)} bytes")
    try:
        count, position = read_var_uint(data, 0)
        check_count(data, position, count, bytes_each=3, what="clients")
        if count > YJS_AWARENESS_CLIENTS_MAX:
            raise MalformedFrame(f"an awareness of {count} clients")
        states: dict[int, PresenceState] = {}
        for _ in range(count):
            client, position = read_var_uint(data, position)
            clock, position = read_var_uint(data, position)
            text, position = read_string(data, position)
            states[client] = PresenceState(client, clock, _state(text))
    except MalformedUpdate as error:
        raise MalformedFrame(f"an awareness can't be read: {error.message}") from None
    if position != len(data):
        raise MalformedFrame(f"{len(data) - position} bytes after an awareness")
    return list(states.values())


def own_client(first: Sequence[PresenceState]) -> int | None:
    """The client that a page is, by the first states that it tells of, None if they do not say: it
    shows itself before all others, and repeats from then on what it hears."""
    return first[0].client if len(first) == 1 else None


def write_awareness(states: Iterable[PresenceState]) -> bytes:
    pieces: list[bytes] = []
    for one in states:
        text = _LEFT if one.state is None else one.state.encode()
        pieces += (var_uint(one.client), var_uint(one.clock), var_uint(len(text)), text)
    return b"".join((var_uint(len(pieces) // 4), *pieces))


def awareness_messages(states: Sequence[PresenceState]) -> Iterator[bytes]:
    """All of these in messages that a client may send back as they came; at least one."""
    some: list[PresenceState] = []
    size = 0
    for one in states:
        state_bytes = _HEAD_BYTES + len((one.state or "").encode())
        is_full = size + state_bytes > YJS_AWARENESS_BYTES_MAX // 2
        if some and (is_full or len(some) >= YJS_AWARENESS_CLIENTS_MAX // 2):
            yield write_awareness(some)
            some, size = [], 0
        some.append(one)
        size += state_bytes
    yield write_awareness(some)


def _state(text: str) -> str | None:
    """The JSON of a client that is there, None of one that has left."""
    if len(text.encode()) > PRESENCE_BYTES_MAX:
        raise MalformedFrame(f"an awareness state of more than {PRESENCE_BYTES_MAX} bytes")
    try:
        check_depth(text)
    except InvalidMessage as error:
        raise MalformedFrame(f"an awareness state is refused: {error.message}") from None
    value = read_state(text)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise MalformedFrame("an awareness state is neither an object nor null")
    return text

"""Messages of the y-websocket protocol, as bytes and as values.

Format: yjs/y-protocols, `sync.js` and `auth.js`, and yjs/y-websocket, `src/y-websocket.js`:

    00 00 varBytes(state vector)    sync step 1
    00 01 varBytes(update)          sync step 2
    00 02 varBytes(update)          update
    01 varBytes(awareness)          awareness
    02 00 varString(reason)         permission denied, to a client only
    03                              query awareness

Must never know: documents, connections.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from weft_engine.errors import MalformedFrame, MalformedUpdate
from weft_engine.limits import REASON_BYTES_MAX, YJS_MESSAGES_MAX, YJS_STATE_CLIENTS_MAX
from weft_engine.yjs.lib0 import check_count, read_span, read_var_uint, var_uint

EMPTY_UPDATE: Final = b"\x00\x00"
EMPTY_STATE: Final = b"\x00"
_SYNC: Final = 0
_AWARENESS: Final = 1
_QUERY: Final = 3
_STEP_1: Final = 0
_STEP_2: Final = 1
_UPDATE: Final = 2


@dataclass(frozen=True, slots=True)
class Step1:
    """What the sender has, as a state vector; it asks for the rest."""

    state_vector: bytes


@dataclass(frozen=True, slots=True)
class Step2:
    """The answer to a step 1."""

    update: bytes


@dataclass(frozen=True, slots=True)
class Edited:
    """An update that was just made."""

    update: bytes


@dataclass(frozen=True, slots=True)
class Aware:
    """States of clients; `weft_server.yjs.awareness` reads them."""

    data: bytes


@dataclass(frozen=True, slots=True)
class QueryAwareness:
    """Asks for the states of all clients."""


Message: TypeAlias = Step1 | Step2 | Edited | Aware | QueryAwareness


def messages(data: bytes) -> Iterator[Message]:
    """What a client says in one websocket message, one after the other.

    MalformedFrame where it can't be read. A message of a type that is not known ends it without an
    error: clients may have types of their own, and how long one is nobody else knows.
    """
    if not data:
        raise MalformedFrame("a message of no bytes")
    position = 0
    try:
        for _ in range(YJS_MESSAGES_MAX):
            if position == len(data):
                return
            kind, position = read_var_uint(data, position)
            if kind == _SYNC:
                step, position = read_var_uint(data, position)
                begin, position = read_span(data, position)
                content = data[begin:position]
                if step == _STEP_1:
                    _check_state_vector(content)
                    yield Step1(content)
                elif step == _STEP_2:
                    yield Step2(content)
                elif step == _UPDATE:
                    yield Edited(content)
                else:
                    raise MalformedFrame(f"a sync message of the unknown kind {step}")
            elif kind == _AWARENESS:
                begin, position = read_span(data, position)
                yield Aware(data[begin:position])
            elif kind == _QUERY:
                yield QueryAwareness()
            else:
                return
    except MalformedUpdate as error:
        raise MalformedFrame(f"a message can't be read: {error.message}") from None
    if position < len(data):
        raise MalformedFrame(f"more than {YJS_MESSAGES_MAX} messages in one")


def step1(state_vector: bytes) -> bytes:
    return b"\x00\x00" + var_uint(len(state_vector)) + state_vector


def step2(update: bytes) -> bytes:
    return b"\x00\x01" + var_uint(len(update)) + update


def edited(update: bytes) -> bytes:
    return b"\x00\x02" + var_uint(len(update)) + update


def aware(data: bytes) -> bytes:
    return b"\x01" + var_uint(len(data)) + data


def denied(reason: str) -> bytes:
    """Permission denied."""
    said = reason.encode(errors="replace")[:REASON_BYTES_MAX].decode(errors="ignore").encode()
    return b"\x02\x00" + var_uint(len(said)) + said


def _check_state_vector(data: bytes) -> None:
    """pycrdt believes what it is told of a state vector; MalformedUpdate if it is not sound."""
    count, position = read_var_uint(data, 0)
    check_count(data, position, count, bytes_each=2, what="clients")
    if count > YJS_STATE_CLIENTS_MAX:
        raise MalformedFrame(f"a state vector of {count} clients")
    for _ in range(count):
        _, position = read_var_uint(data, position)
        clock, position = read_var_uint(data, position)
        if clock >= 1 << 32:
            raise MalformedFrame(f"a state vector with the clock {clock}")
    if position != len(data):
        raise MalformedFrame(f"{len(data) - position} bytes after a state vector")

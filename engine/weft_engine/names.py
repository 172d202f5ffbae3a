"""Names and ids as distinct types, and the rules that names given by people must keep."""

from __future__ import annotations

import re
from typing import Final, NewType

from weft_engine.errors import InvalidName
from weft_engine.limits import CONTEXT_NAME_BYTES_MAX, NOTE_NAME_BYTES_MAX, REGION_NAME_BYTES_MAX

ContextName = NewType("ContextName", str)
"""A path such as ``acme/chat-42``."""
NoteName = NewType("NoteName", str)
EventId = NewType("EventId", str)
"""``<hlc: 16 lower hex digits>-<incarnation: 32 lower hex digits>``, 49 characters."""
Incarnation = NewType("Incarnation", bytes)
"""16 bytes: BLAKE2b-128 of a writer's public key."""
RecordHash = NewType("RecordHash", bytes)
"""32 bytes: BLAKE2b-256 of a record's envelope; names the record."""
ClientId = NewType("ClientId", int)
"""Yjs client id, 53 bits."""
Hlc = NewType("Hlc", int)
"""Hybrid logical clock, 64 bits: 48 of milliseconds since 1970, 16 of counter."""
Position = NewType("Position", int)
"""Where a record stands in one store's journal, from 1; never re-used."""

_EVENT_ID: Final = re.compile(r"[0-9a-f]{16}-[0-9a-f]{32}", re.ASCII)
_REGION: Final = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{REGION_NAME_BYTES_MAX - 1}}}", re.ASCII)
# C0, DEL, C1 controls and the two separators that break lines in logs and terminals.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def context_name(text: str) -> ContextName:
    """`text` as a context name, or InvalidName: 1-256 bytes of UTF-8, no control characters,
    no empty segment between ``/``."""
    _check(text, what="context name", bytes_max=CONTEXT_NAME_BYTES_MAX)
    if "" in text.split("/"):
        raise InvalidName(
            f"context name {text!r} has an empty segment",
            hint="write segments separated by single slashes, such as acme/chat-42",
        )
    return ContextName(text)


def note_name(text: str) -> NoteName:
    """`text` as a note name, or InvalidName: 1-128 bytes of UTF-8, no controls, no ``/``."""
    _check(text, what="note name", bytes_max=NOTE_NAME_BYTES_MAX)
    if "/" in text:
        raise InvalidName(f"note name {text!r} contains a slash", hint="leave the slash out")
    return NoteName(text)


def _check(text: str, *, what: str, bytes_max: int) -> None:
    if not isinstance(text, str):
        raise InvalidName(f"{text!r} is no {what}", hint="give a text")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidName(
            f"{what} {text!r} holds a lone surrogate", hint="use well-formed Unicode"
        ) from None
    if not 1 <= size <= bytes_max:
        shown = text if len(text) <= 40 else text[:40] + "…"
        raise InvalidName(
            f"{what} {shown!r} has {size} bytes", hint=f"use 1 to {bytes_max} bytes of UTF-8"
        )
    if _CONTROL.search(text):
        raise InvalidName(
            f"{what} {text!r} contains a control character", hint="use printable characters only"
        )


def branch_name(text: str) -> str:
    """`text` as the name of a new branch, or InvalidName: 1-256 bytes of UTF-8, no controls."""
    _check(text, what="branch name", bytes_max=CONTEXT_NAME_BYTES_MAX)
    return text


def region_name(text: str) -> str:
    """`text` as a region's name, or InvalidName: lower case, digits, ``.``, ``_``, ``-``."""
    if _REGION.fullmatch(text) is None:
        raise InvalidName(
            f"{text[:80]!r} is no region name",
            hint=f"use 1 to {REGION_NAME_BYTES_MAX} of a-z, 0-9, '.', '_', '-'",
        )
    return text


def is_event_id(text: object) -> bool:
    return isinstance(text, str) and _EVENT_ID.fullmatch(text) is not None


def event_id(hlc: Hlc, incarnation: Incarnation) -> EventId:
    return EventId(f"{hlc:016x}-{incarnation.hex()}")


def event_id_hlc(event: EventId) -> Hlc:
    return Hlc(int(event[:16], 16))


def event_id_incarnation(event: EventId) -> Incarnation:
    return Incarnation(bytes.fromhex(event[17:]))

"""The parts of a message: what was said, called, returned or attached.

Foreign JSON (tool arguments, sources, data) is held as its text, byte for byte, never as values.
Shapes only; `weft_engine.events.codec` reads and writes them.
"""

from __future__ import annotations

from dataclasses import dataclass

from weft_engine.names import EventId


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Refusal:
    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A model's thinking, meant for one `provider` only (the field ``for`` in JSON)."""

    provider: str
    text: str | None = None
    sig: str | None = None
    data: str | None = None
    item_id: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call. `args` is the provider's argument string, verbatim, even if it is not JSON."""

    id: str
    name: str
    args: str
    item_id: str | None = None


@dataclass(frozen=True, slots=True)
class CallRef:
    """Which call a result answers: the event that holds it and the index among its parts.
    Provider ids are re-used within one conversation, so they can't tell."""

    event: EventId
    part: int


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool returned for the call with provider id `id`."""

    id: str
    out: str | tuple[Part, ...]
    call: CallRef | None = None
    error: bool = False
    name: str | None = None


@dataclass(frozen=True, slots=True)
class File:
    """An attachment, by `url` or by the SHA-256 `blob` (64 lower hex digits) of its content."""

    media_type: str
    size: int | None = None
    url: str | None = None
    blob: str | None = None
    name: str | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Source:
    json: str


@dataclass(frozen=True, slots=True)
class Data:
    name: str
    json: str


@dataclass(frozen=True, slots=True)
class Opaque:
    """A part of a foreign format that has no counterpart here, as its JSON text."""

    format: str
    json: str


Part = Text | Refusal | Reasoning | Call | Result | File | Source | Data | Opaque

"""Events: one immutable thing that happened in a context. Shapes only.

`weft_engine.events.codec` reads them from and writes them to canonical JSON and checks them.
Here they are values that are known to be valid.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from weft_engine.events.part import Part
from weft_engine.names import EventId, RecordHash


class Role(StrEnum):
    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Criticality(StrEnum):
    CRITICAL = "critical"
    IMPORTANT = "important"
    ENHANCING = "enhancing"
    OPTIONAL = "optional"


class Lifetime(StrEnum):
    IMMEDIATE = "immediate"
    SESSION = "session"
    PERSISTENT = "persistent"


@dataclass(frozen=True, slots=True)
class Via:
    """Which provider and model made a message."""

    provider: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class ImportedFrom:
    """The field ``ext``: `source` = format + the conversation's id in the file (not a path),
    `index` = the message's place in it. Equal imports on two devices are one message."""

    source: str
    index: int


@dataclass(frozen=True, slots=True)
class Original:
    """The field ``src``: the message as it came, kept only if its parts would not give it back."""

    format: str
    json: str


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    parts: tuple[Part, ...]
    name: str | None = None
    tokens: int | None = None
    via: Via | None = None
    crit: Criticality | None = None
    life: Lifetime | None = None
    expires: int | None = None
    """Milliseconds since 1970."""
    meta: str | None = None
    """JSON text."""
    ext: ImportedFrom | None = None
    src: Original | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    key: str
    value: str
    """JSON text."""
    rule: str
    replaces: tuple[EventId, ...] = ()
    crit: Criticality | None = None
    expires: int | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """Stands in for the `count` messages of its branch in the causal past of `covers`, whose ids
    have this `digest` (`events/summaries.py`). `upto`: an event in one of those records; of
    that record only events whose ids are not above it are covered."""

    covers: tuple[RecordHash, ...]
    count: int
    digest: str
    text: str
    by: str | None = None
    upto: EventId | None = None


@dataclass(frozen=True, slots=True)
class Branch:
    """The field ``from`` is `frontier`: where the line of conversation leaves its parent. If it is
    one record and `upto` is given, of that record's events only those whose id is not above `upto`
    belong to the branch."""

    name: str
    frontier: tuple[RecordHash, ...]
    upto: EventId | None = None


@dataclass(frozen=True, slots=True)
class Pin:
    target: EventId


@dataclass(frozen=True, slots=True)
class Hide:
    target: EventId


@dataclass(frozen=True, slots=True)
class Revoke:
    target: EventId
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Close:
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyChoice:
    """A view policy by name and version; `config` is JSON text."""

    name: str
    version: int
    config: str


@dataclass(frozen=True, slots=True)
class Config:
    """What a context's views use unless a call says otherwise. `trigger` in thousandths of the
    budget (events hold no floats); budget, reserved and clear_at_least in tokens."""

    replaces: tuple[EventId, ...] = ()
    budget: int | None = None
    reserved: int | None = None
    trigger: int | None = None
    clear_at_least: int | None = None
    policy: PolicyChoice | None = None
    tokenizer: str | None = None
    format: str | None = None
    metadata: str | None = None


@dataclass(frozen=True, slots=True)
class Interrupted:
    """What there was of a stream that broke off: a message of `role` and `name`, as far as it
    came. It stands for its target until the message itself turns up."""

    target: EventId
    parts: tuple[Part, ...]
    role: Role = Role.ASSISTANT
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """A kind of a later version: kept, without effect, and no problem."""

    kind: str


Body = (
    Message | Fact | Summary | Branch | Pin | Hide | Revoke | Close | Config | Interrupted | Unknown
)


@dataclass(frozen=True, slots=True)
class Event:
    """`author` is text the application chooses; `branch` is the id of a branch event, None for
    main; `seen` is the frontier the author had before it, None for its record's whole past."""

    author: str
    body: Body
    branch: EventId | None = None
    seen: tuple[RecordHash, ...] | None = None


def is_generation(event: Event) -> bool:
    """Whether a model made this: an assistant message of the conversation."""
    return isinstance(event.body, Message) and event.body.role is Role.ASSISTANT

"""Rows of the event index: where an event stands in the journal, and where in the reading order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from weft_engine.events.event import (
    Body,
    Branch,
    Close,
    Config,
    Criticality,
    Fact,
    Hide,
    Interrupted,
    Lifetime,
    Message,
    Pin,
    Revoke,
    Role,
    Summary,
    Unknown,
)
from weft_engine.names import EventId, Hlc, Position

INVALID: Final = 0
"""The kind of an id whose winning candidate is no valid event."""
MESSAGE: Final = 1
KINDS: Final[dict[type[Body], int]] = {
    Message: MESSAGE,
    Fact: 2,
    Summary: 3,
    Branch: 4,
    Pin: 5,
    Hide: 6,
    Revoke: 7,
    Close: 8,
    Config: 9,
    Interrupted: 10,
    Unknown: 11,
}
"""Stored numbers; they only ever grow."""
INTERRUPTED: Final = KINDS[Interrupted]
TOLD: Final = 3
"""The rank of a row for a stream that broke off: nobody has written a message under its id, and it
stands as far as an `interrupted` event tells, to which the row points."""
ROLES: Final = {role: number for number, role in enumerate(Role, start=1)}
ASSISTANT: Final = ROLES[Role.ASSISTANT]
PREAMBLE_ROLES: Final = frozenset({ROLES[Role.SYSTEM], ROLES[Role.DEVELOPER]})
BRANCH: Final = KINDS[Branch]
MAIN: Final = b""
"""Stands for the main branch, where others are named by the 24 bytes of their id."""
CRITICAL: Final = 1
PERSISTENT: Final = 2
SESSION: Final = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One event of a context. `key` is time (8 bytes), the id's hlc (8) and incarnation (16)."""

    key: bytes
    position: Position
    start: int
    """Where the event's JSON begins in the record's payload."""
    size: int
    rank: int
    """0: written by its id's own incarnation, 1: by a relay for a plain client, 2: by another,
    3: by nobody (TOLD)."""
    kind: int
    role: int
    tokens: int | None
    place: int | None
    """Ascending in the reading order of its branch; None for what does not stand in it. Places of
    a branch lie above those it shares with its parent, so they can be compared with these."""
    waist: int
    """1: a generation that saw all before it and that every later generation has seen: what stands
    before it can't move any more unless somebody turns up who had not seen it."""
    digest: bytes | None
    """The class of an imported message."""
    branch: bytes = MAIN
    """The branch it was written on."""
    carry: int = 0
    """CRITICAL, PERSISTENT or SESSION: a message that views may carry along; 0: any other."""

    @property
    def identity(self) -> bytes:
        """The 24 bytes of its id."""
        return self.key[8:]

    @property
    def id(self) -> EventId:
        return EventId(f"{self.key[8:16].hex()}-{self.key[16:].hex()}")

    @property
    def time(self) -> Hlc:
        return Hlc(int.from_bytes(self.key[:8], "big"))


@dataclass(frozen=True, slots=True)
class Problem:
    """A candidate that is no event of the context, and why."""

    position: Position
    client: int
    clock: int
    key: str
    reason: str


def carry_of(message: Message) -> int:
    if message.crit is Criticality.CRITICAL:
        return CRITICAL
    if message.life is Lifetime.PERSISTENT:
        return PERSISTENT
    return SESSION if message.life is Lifetime.SESSION else 0


def branch_bytes(branch: EventId | None) -> bytes:
    """What rows have for a branch."""
    return MAIN if branch is None else id_bytes(branch)


def branch_id(branch: bytes) -> EventId | None:
    """The branch that rows have this for; None for main."""
    return None if branch == MAIN else event_id_of(branch)


def event_id_of(identity: bytes) -> EventId:
    """The event id that `id_bytes` was made of."""
    return EventId(f"{identity[:8].hex()}-{identity[8:].hex()}")


def id_bytes(event: EventId) -> bytes:
    """The 24 bytes of an event id: hlc and incarnation."""
    return bytes.fromhex(event[:16] + event[17:])

"""What the two ends of a link say to each other, as values. docs/PROTOCOL.md says what each means.

Must never know: bytes (the module `frames` has these), whether a message may come now.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from weft_engine.limits import REASON_BYTES_MAX
from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.records.identity import SignatureItem
from weft_engine.sync.interest import Interest


class ByeCode(StrEnum):
    """Why a link ends. A code that is not known here counts as one that may be tried again."""

    CLOSED = "closed"
    """An orderly end."""
    SECOND = "second"
    """Of two links between the same regions this is the one that is not kept."""
    DENIED = "denied"
    """The token or its rights do not allow this link. Final."""
    FORMAT = "format"
    """The two ends speak different versions. Final."""
    MALFORMED = "malformed"
    """A frame that is none, or that has no place where it came."""
    RECORD = "record"
    """A record or signature that is not sound, or a record outside the interest."""
    LIMIT = "limit"
    """More was sent than the limits allow: the window, the waiting room, the lists."""
    FAULT = "fault"
    """The sender of the goodbye can't go on: its disk, its end."""
    SILENT = "silent"
    """Nothing was heard for too long."""


FINAL_CODES: Final = frozenset({ByeCode.DENIED, ByeCode.FORMAT})
"""Refusals: trying again changes nothing."""


@dataclass(frozen=True, slots=True)
class Window:
    """Unacknowledged Records messages that an end takes, and the bytes of the records in them."""

    frames: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Hello:
    """The first frame of each end."""

    format_version: int
    store: bytes
    epoch: bytes
    region: str | None
    now_ms: int
    interest: Interest
    window: Window


@dataclass(frozen=True, slots=True)
class Bye:
    """The last frame of an end."""

    code: str
    reason: str
    hint: str


@dataclass(frozen=True, slots=True)
class Contexts:
    """Part of the list of an end's contexts within the interest, with their fingerprints."""

    entries: tuple[tuple[ContextName, bytes], ...]
    last: bool


@dataclass(frozen=True, slots=True)
class Frontier:
    """What an end holds of a context: maximal records, and a thinning sample of what is before."""

    context: ContextName
    frontier: tuple[RecordHash, ...]
    sample: tuple[RecordHash, ...]


@dataclass(frozen=True, slots=True)
class Records:
    """Records in the sender's journal order. `upto`: with this message everything within the
    interest up to that position of the sender's journal was sent or is known to the receiver."""

    serial: int
    upto: Position | None
    records: tuple[tuple[bytes, bytes], ...]
    """Envelopes and payloads."""
    items: tuple[SignatureItem, ...]
    erasers: tuple[tuple[bytes, bytes, SignatureItem], ...] = ()
    """Envelopes, payloads and signatures of the erasing records that prove the stand-ins here."""


@dataclass(frozen=True, slots=True)
class Ack:
    """Every record of the messages `first` to `last` is durable here. `regions`: up to which
    position of *your* journal a region holds everything within the interest."""

    first: int
    last: int
    regions: tuple[tuple[str, Position], ...]


@dataclass(frozen=True, slots=True)
class Want:
    """Please send these records, on which parked ones wait."""

    hashes: tuple[RecordHash, ...]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    pass


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of a message that is larger than a frame."""

    id: int
    index: int
    count: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Ticket:
    """The ticket that the peer's store gave to ours last, if there is one."""

    shown: bytes | None


@dataclass(frozen=True, slots=True)
class Issue:
    """What was shown is the last one given, and this is the next; None: it is not the last one."""

    fresh: bytes | None


@dataclass(frozen=True, slots=True)
class Kept:
    """The ticket that was issued is durable here."""


@dataclass(frozen=True, slots=True)
class Erased:
    """These stores have erased what these records name."""

    entries: tuple[tuple[RecordHash, tuple[bytes, ...]], ...]


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything within the interest up to `position` of the sender's journal was sent before this,
    or is known to the receiver. `row`: 8 bytes of the hash of the record at that position."""

    position: Position
    row: bytes


@dataclass(frozen=True, slots=True)
class Resume:
    """From an end without a region: `cursor` is one that this peer gave on an earlier link with the
    same interest, and everything before it is durable here. None: both ends list their contexts."""

    cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class Resumed:
    """Whether the cursor stands: then nothing is listed, and each end sends what is behind its
    own."""

    is_resumed: bool


@dataclass(frozen=True, slots=True)
class Subscribe:
    """From now on the sender asks for this interest instead. Rounds are counted from 1."""

    round: int
    interest: Interest


@dataclass(frozen=True, slots=True)
class PresenceState:
    """What one client shows of itself in a context. `state`: JSON, None once it has left."""

    client: int
    clock: int
    state: str | None


@dataclass(frozen=True, slots=True)
class PresenceTold:
    """Who is there in a context now, beside the journal."""

    context: ContextName
    states: tuple[PresenceState, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """The root of the sender's tree over what the link is about: of so many contexts. `digest`: 8
    bytes of it under `salt`, 8 random bytes of the sender."""

    count: int
    salt: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Branches:
    """Nodes of the sender's tree, by their paths; of each node or leaf TREE_DIGEST_BYTES under both
    salts, joined. A path is a 1 followed by the first bits of the keys below it."""

    opened: tuple[tuple[int, int, bytes], ...]
    """Path, levels, the digests of all nodes so many bits below it, in order; zeros where there
    is no context."""
    leaves: tuple[tuple[int, bytes], ...]
    """Path, the digests of all leaves below it, ascending."""
    lacking: tuple[tuple[int, bytes], ...]
    """Path, those digests of leaves of the receiver below it that the sender does not have."""
    more: bool = False
    """The sender has not looked at all yet that it was told."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The sender has announced the frontiers of all contexts in which the trees differ: so many."""

    count: int


@dataclass(frozen=True, slots=True)
class Tips:
    """Records that the sender holds and somebody else sends to the receiver: the maximal ones of
    what is new. `serial` and `upto` as in Records, and acknowledged likewise."""

    serial: int
    upto: Position | None
    hashes: tuple[RecordHash, ...]


@dataclass(frozen=True, slots=True)
class Live:
    """The regions with which the sender has a live link now, the receiver's aside."""

    regions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reach:
    """Up to which position of the *receiver's* journal these regions hold everything within the
    interest, durably, as far as the sender knows; 0 of a region of which nothing is known but that
    it is one of the mesh."""

    regions: tuple[tuple[str, Position], ...]


@dataclass(frozen=True, slots=True)
class Zoom:
    """Which hashes of the receiver's `round`-th list of a context (its Frontier is the first) the
    sender holds: one bit each, from the lowest; nothing at all if it has nothing of the context.
    `asks`: for what it lacks; not if somebody else is asked for it now."""

    context: ContextName
    round: int
    held: bytes
    asks: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """The next list of a context, newest first: the ends of the chains that the sender's journal
    has between the list before and some place further back, and records whose causal past is just
    what stands before that place."""

    context: ContextName
    ends: tuple[RecordHash, ...]
    floor: tuple[RecordHash, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """What these contexts amount to here: fingerprint, and a digest of their events and order."""

    entries: tuple[tuple[ContextName, bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Clock:
    """A question for the peer's time, if `now_ms` is None; else the answer to the one with this
    `mark`."""

    mark: int
    now_ms: int | None


@dataclass(frozen=True, slots=True)
class Frontiers:
    """Frontiers of several contexts, without samples."""

    entries: tuple[Frontier, ...]


@dataclass(frozen=True, slots=True)
class Zooms:
    entries: tuple[Zoom, ...]


Message = (
    Hello
    | Bye
    | Contexts
    | Frontier
    | Records
    | Ack
    | Want
    | Heartbeat
    | Fragment
    | Ticket
    | Issue
    | Kept
    | Erased
    | Cursor
    | Resume
    | Resumed
    | Subscribe
    | PresenceTold
    | Tree
    | Branches
    | Compared
    | Tips
    | Live
    | Reach
    | Zoom
    | Sample
    | Check
    | Clock
    | Frontiers
    | Zooms
)


def bye(code: ByeCode, reason: str, hint: str = "") -> Bye:
    """A goodbye whose texts are cut to what the frame allows."""
    return Bye(code, _shortened(reason), _shortened(hint))


def _shortened(text: str) -> str:
    return text.encode(errors="replace")[:REASON_BYTES_MAX].decode(errors="ignore")

"""What a session asks of its own store, and the answers, as values.

The session never reads by itself: it puts a question, whoever drives it runs `answer` on a
connection of the journal's readers and hands the result back. Must never know: the session.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from weft_engine.limits import (
    CONTEXTS_PER_FRAME,
    ERASED_PER_FRAME_MAX,
    ERASERS_BYTES,
    FRONTIER_HASHES_MAX,
    MESSAGE_BYTES_MAX,
    RECORDS_PER_FRAME,
    SAMPLE_HASHES_MAX,
    WITHHELD_RECORDS_MAX,
)
from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.records.erasure import Eraser
from weft_engine.records.identity import SignatureItem
from weft_engine.storage import ancestry, erasures, reading, tickets
from weft_engine.storage.erasures import Confirmation
from weft_engine.storage.ledger import ERASED, Stored
from weft_engine.sync.end.cursor_questions import (
    CursorAnswer,
    CursorQuestion,
    KeepCursor,
    ReadBehind,
    ReadCursor,
    ReadRow,
    answer_cursor,
)
from weft_engine.sync.end.held_questions import HeldRead, ReadHeld, read_held
from weft_engine.sync.end.live import Whole
from weft_engine.sync.end.tree_questions import (
    NamesRead,
    ReadNames,
    ReadTree,
    TreeRead,
    answer_tree,
)
from weft_engine.sync.end.zoom_questions import (
    ChainsRead,
    ReadChains,
    ReadShared,
    SharedRead,
    read_chains,
    read_shared,
)
from weft_engine.sync.interest import NOTHING, Interest


@dataclass(frozen=True, slots=True)
class ListContexts:
    """The next page of the contexts within `interest` that `without` does not cover: of its prefix
    number `part`, or, after the last of these, of the contexts that it names."""

    interest: Interest
    part: int
    after: str
    without: Interest = NOTHING


@dataclass(frozen=True, slots=True)
class Listed:
    entries: tuple[tuple[ContextName, bytes, Position], ...]
    """Name, fingerprint, position of the newest record."""
    next: ListContexts | None
    position: Position
    """Of the journal's newest record, read before the page."""


@dataclass(frozen=True, slots=True)
class ReadFrontiers:
    contexts: tuple[ContextName, ...]
    samples: bool = True
    """Whether samples are wanted, too."""


@dataclass(frozen=True, slots=True)
class FrontiersRead:
    frontiers: tuple[tuple[ContextName, tuple[RecordHash, ...], tuple[RecordHash, ...]], ...]
    """Name, frontier, sample."""


@dataclass(frozen=True, slots=True)
class ReadLacking:
    """What a peer lacks that announced these: name, frontier, sample."""

    announced: tuple[tuple[ContextName, tuple[RecordHash, ...], tuple[RecordHash, ...]], ...]


@dataclass(frozen=True, slots=True)
class Lacking:
    context: ContextName
    positions: list[Position]
    """Ascending."""
    after: Position
    """All behind this are lacking, too."""
    upto: Position
    """The context's newest record when this was computed."""
    held: frozenset[RecordHash]
    """What of the announced frontier is journaled here."""
    is_all: bool = True
    """All of it."""
    frontier: tuple[RecordHash, ...] = ()
    """Ours, then."""


@dataclass(frozen=True, slots=True)
class LackingRead:
    contexts: tuple[Lacking, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Of a context: the records at these ascending positions, then those after `after` up to and
    including `upto`. `again` is read whole and beside the limits."""

    context: ContextName
    again: tuple[Position, ...]
    positions: tuple[Position, ...]
    after: Position
    upto: Position


@dataclass(frozen=True, slots=True)
class ReadRecords:
    """Records of several contexts, one after the other, within limits over all of them."""

    parts: tuple[Part, ...]
    records_max: int
    bytes_max: int


@dataclass(frozen=True, slots=True)
class ReadWanted:
    """The records of these hashes, as far as they are held."""

    hashes: tuple[RecordHash, ...]
    bytes_max: int


@dataclass(frozen=True, slots=True)
class RecordsRead:
    question: ReadRecords | ReadWanted
    stored: tuple[tuple[Stored, ...], ...]
    """For ReadRecords one tuple for each part that was reached, for ReadWanted one."""
    left: tuple[RecordHash, ...] = ()
    """Held, but beyond the limit."""
    items: tuple[SignatureItem, ...] = ()
    """Signatures of tips among the records: not part of `answer`, added by who can sign."""

    erasers: Mapping[RecordHash, tuple[Eraser, ...]] = field(default_factory=dict)
    """Those that prove stand-ins among the records, by the records that need them."""
    whole: Whole | None = None
    """All of this in one message, if it is closed as it is (`sync.end.pages`)."""

    @property
    def all(self) -> list[Stored]:
        return [stored for part in self.stored for stored in part]


@dataclass(frozen=True, slots=True)
class ReadTicket:
    """The ticket that the store `peer` gave us last."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class TicketRead:
    """`is_shown` False: another link of ours to that store shows it."""

    ticket: bytes | None
    is_shown: bool = True


@dataclass(frozen=True, slots=True)
class KeepTicket:
    peer: bytes
    ticket: bytes


@dataclass(frozen=True, slots=True)
class TicketKept:
    pass


@dataclass(frozen=True, slots=True)
class IssueTicket:
    """Whether `store` shows the last ticket it was given; then it is offered `fresh`."""

    store: bytes
    shown: bytes | None
    fresh: bytes


@dataclass(frozen=True, slots=True)
class TicketIssued:
    """`is_known`: it shows nothing that we know nothing of."""

    is_current: bool
    is_known: bool


@dataclass(frozen=True, slots=True)
class ConfirmTicket:
    """`store` keeps the ticket that it was offered."""

    store: bytes
    ticket: bytes


@dataclass(frozen=True, slots=True)
class TicketConfirmed:
    pass


@dataclass(frozen=True, slots=True)
class RenewIdentity:
    """What we showed is old: go by another store id. Who drives the link
    has its replica do that; a store that has no identity to change has nothing to do."""


@dataclass(frozen=True, slots=True)
class IdentityRenewed:
    pass


@dataclass(frozen=True, slots=True)
class ReadConfirmations:
    """Confirmations of erasures within `interest`, behind the one with id `after`."""

    interest: Interest
    after: int


@dataclass(frozen=True, slots=True)
class ConfirmationsRead:
    confirmations: tuple[Confirmation, ...]
    """Within the interest."""
    upto: int
    """The id of the last one that was looked at."""
    is_last: bool


TicketQuestion = ReadTicket | KeepTicket | IssueTicket | ConfirmTicket | RenewIdentity
TicketAnswer = TicketRead | TicketKept | TicketIssued | TicketConfirmed | IdentityRenewed
Question = (
    ListContexts
    | ReadTree
    | ReadNames
    | ReadFrontiers
    | ReadLacking
    | ReadShared
    | ReadChains
    | ReadRecords
    | ReadWanted
    | ReadConfirmations
    | ReadHeld
    | TicketQuestion
    | CursorQuestion
)
Answer = (
    Listed
    | TreeRead
    | NamesRead
    | FrontiersRead
    | LackingRead
    | SharedRead
    | ChainsRead
    | RecordsRead
    | ConfirmationsRead
    | HeldRead
    | TicketAnswer
    | CursorAnswer
)
Writing = KeepTicket | IssueTicket | ConfirmTicket | KeepCursor
"""Questions that write: `answer` them on the writer's connection, and supply what it returns once
it is durable."""


def answer(connection: sqlite3.Connection, question: Question) -> Answer:
    match question:
        case ListContexts():
            return _list(connection, question)
        case ReadTree() | ReadNames():
            return answer_tree(connection, question)
        case ReadFrontiers():
            return _frontiers(connection, question)
        case ReadLacking():
            return _all_lacking(connection, question)
        case ReadShared():
            return read_shared(connection, question)
        case ReadChains():
            return read_chains(connection, question)
        case ReadRecords():
            return _records(connection, question)
        case ReadWanted():
            return _wanted(connection, question)
        case ReadConfirmations():
            return _confirmations(connection, question)
        case ReadHeld():
            return read_held(connection, question)
        case ReadTicket():
            return TicketRead(tickets.held(connection, question.peer))
        case KeepTicket():
            tickets.keep(connection, question.peer, question.ticket)
            return TicketKept()
        case IssueTicket():
            store, shown = question.store, question.shown
            is_known = shown is None or tickets.is_known(connection, store)
            return TicketIssued(tickets.issue(connection, store, shown, question.fresh), is_known)
        case ConfirmTicket():
            tickets.confirm(connection, question.store, question.ticket)
            return TicketConfirmed()
        case RenewIdentity():
            return IdentityRenewed()
        case ReadCursor() | ReadBehind() | ReadRow() | KeepCursor():
            return answer_cursor(connection, question)


def _list(connection: sqlite3.Connection, question: ListContexts) -> Listed:
    position = reading.last_position(connection)
    interest, part, after = question.interest, question.part, question.after
    limit = CONTEXTS_PER_FRAME
    if part < len(interest.prefixes):
        states = reading.contexts(
            connection, prefix=interest.prefixes[part], after=after, limit=limit
        )
        if len(states) == limit:
            following = replace(question, after=states[-1].name)
        else:
            following = replace(question, part=part + 1, after="")
    else:
        names = sorted(name for name in interest.contexts if name > after)
        found = [reading.context(connection, name) for name in names[:limit]]
        states = [state for state in found if state is not None]
        following = replace(question, after=names[limit - 1] if len(names) > limit else "")
    entries = tuple(
        (s.name, s.fingerprint, s.position)
        for s in states
        if s.records and not question.without.covers(s.name)
    )
    is_last = following.part >= len(interest.prefixes) and not (
        following.after or (following.part > part and interest.contexts)
    )
    return Listed(entries, None if is_last else following, position)


def _frontiers(connection: sqlite3.Connection, question: ReadFrontiers) -> FrontiersRead:
    states = reading.contexts_named(connection, question.contexts)
    found = []
    for name in question.contexts:
        state = states[name]  # A listed context stays.
        # Part of a frontier is sound too: the peer only sends more than it had to.
        sample = reading.sample(connection, state)[:SAMPLE_HASHES_MAX] if question.samples else ()
        found.append((name, state.frontier[:FRONTIER_HASHES_MAX], tuple(sample)))
    return FrontiersRead(tuple(found))


def _all_lacking(connection: sqlite3.Connection, question: ReadLacking) -> LackingRead:
    states = reading.contexts_named(connection, [name for name, _, _ in question.announced])
    announced = [one for _, frontier, _ in question.announced for one in frontier]
    here = reading.context_ids_of(connection, announced).keys()
    found: list[Lacking] = []
    for name, frontier, sample in question.announced:
        state, held = states.get(name), frozenset(here & set(frontier))
        if state is None:
            found.append(Lacking(name, [], Position(0), Position(0), held))
            continue
        positions: list[Position] = []
        after = state.position
        if not held.union(sample).issuperset(state.frontier):
            positions = ancestry.lacking(connection, state, (*held, *sample))
        if positions and reading.count_from(connection, state.id, positions[0]) == len(positions):
            # Read one after the other, and shared with whoever lacks the same.
            positions, after = [], Position(positions[0] - 1)
        is_all = len(held) == len(frontier)
        found.append(Lacking(name, positions, after, state.position, held, is_all, state.frontier))
    return LackingRead(tuple(found))


def _records(connection: sqlite3.Connection, question: ReadRecords) -> RecordsRead:
    parts: list[tuple[Stored, ...]] = []
    records_left, bytes_left = question.records_max, question.bytes_max
    erasers = _Erasers(connection)
    for part in question.parts:
        # A read gives one record at least, so it is not begun where there is no room.
        if records_left <= 0 or bytes_left <= 0:
            break
        again = reading.records_at(connection, part.again, bytes_max=MESSAGE_BYTES_MAX)
        stored = reading.records_at(connection, part.positions[:records_left], bytes_max=bytes_left)
        bytes_left -= sum(one.record.size for one in stored)
        records_left -= len(stored)
        if len(stored) == len(part.positions) and records_left > 0 and bytes_left > 0:
            later = _after(connection, part, records_left, bytes_left)
            bytes_left -= sum(one.record.size for one in later)
            records_left -= len(later)
            stored += later
        # What was withheld is read again as a whole.
        erasers.whole(again, bytes_max=MESSAGE_BYTES_MAX)
        whole = erasers.whole(stored, bytes_max=ERASERS_BYTES)
        parts.append((*again, *stored[:whole]))
        if whole < len(stored):
            break
    return RecordsRead(question, tuple(parts), erasers=erasers.beside)


Beside = dict[RecordHash, tuple[Eraser, ...]]


class _Erasers:
    """The erasers that go beside the records of one message, each read once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[RecordHash, Eraser] = {}
        self.size = 0
        self.beside: Beside = {}

    def whole(self, stored: Sequence[Stored], *, bytes_max: int) -> int:
        """How many of the records, one at least, go with so many bytes of erasers in all."""
        for index, one in enumerate(stored):
            if one.flags & ERASED:
                if index and self.size > bytes_max:
                    return index
                self.beside[one.record.hash] = self._of(one.record.hash)
        return len(stored)

    def _of(self, record: RecordHash) -> tuple[Eraser, ...]:
        found: list[Eraser] = []
        for hash_ in erasures.eraser_hashes(self._connection, record):
            eraser = self._known.get(hash_) or erasures.eraser(self._connection, hash_)
            if eraser is not None:
                if hash_ not in self._known:
                    self._known[hash_] = eraser
                    self.size += eraser.record.size
                found.append(eraser)
        return tuple(found)


def _after(
    connection: sqlite3.Connection, part: Part, records_max: int, bytes_max: int
) -> list[Stored]:
    state = reading.context(connection, part.context)
    assert state is not None, "a context with records stays"
    if state.position <= part.after:
        return []
    found = reading.records_after(
        connection, state.id, part.after, records_max=records_max, bytes_max=bytes_max
    )
    return [one for one in found if one.position <= part.upto]


def _wanted(connection: sqlite3.Connection, question: ReadWanted) -> RecordsRead:
    where = reading.positions_of(connection, question.hashes)
    chosen: dict[Position, Stored] = {}
    size = 0
    asked = reading.records_at(connection, sorted(where.values()), bytes_max=question.bytes_max)
    for one in asked:
        if size > question.bytes_max or len(chosen) >= RECORDS_PER_FRAME:
            break
        # Without the tip that covers it, it would wait there again.
        ahead = reading.up_to_tip(connection, one, records_max=WITHHELD_RECORDS_MAX)
        for stored in (one, *ahead):
            if stored.position not in chosen:
                chosen[stored.position] = stored
                size += stored.record.size
    erasers = _Erasers(connection)
    wanted = [chosen[at] for at in sorted(chosen)]
    wanted = wanted[: erasers.whole(wanted, bytes_max=ERASERS_BYTES)]
    read = {one.record.hash for one in wanted}
    left = tuple(hash_ for hash_ in where if hash_ not in read)
    return RecordsRead(question, (tuple(wanted),), left, erasers=erasers.beside)


def _confirmations(
    connection: sqlite3.Connection, question: ReadConfirmations
) -> ConfirmationsRead:
    limit = ERASED_PER_FRAME_MAX
    found = erasures.confirmations(connection, after=question.after, limit=limit)
    inside = tuple(one for one in found if question.interest.covers(one.context))
    upto = found[-1].id if found else question.after
    return ConfirmationsRead(inside, upto, len(found) < limit)

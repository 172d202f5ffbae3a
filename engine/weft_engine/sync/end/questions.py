"""What a session asks of its own store, and the answers, as values.

The session never reads by itself: it puts a question, whoever drives it runs `answer` on a
connection of the journal's readers and hands the result back. Must never know: the session.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace

from weft_engine.limits import (
    CONTEXTS_PER_FRAME,
    ERASED_PER_FRAME_MAX,
    FRONTIER_HASHES_MAX,
    SAMPLE_HASHES_MAX,
)
from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.storage import ancestry, context_rows, erasures, reading
from weft_engine.storage.ancestry import Outside
from weft_engine.storage.erasures import Confirmation
from weft_engine.storage.reading import ContextState
from weft_engine.sync.end.cursor_questions import (
    CursorAnswer,
    CursorQuestion,
    KeepCursor,
    ReadBehind,
    ReadCursor,
    ReadRow,
    answer_cursor,
)
from weft_engine.sync.end.record_questions import (
    ReadRecords,
    ReadWanted,
    RecordsRead,
    read_records,
    read_wanted,
)
from weft_engine.sync.end.regions.held_questions import HeldRead, ReadHeld, read_held
from weft_engine.sync.end.regions.tree_questions import (
    NamesRead,
    ReadNames,
    ReadTree,
    TreeRead,
    answer_tree,
)
from weft_engine.sync.end.regions.zoom_questions import (
    ChainsRead,
    ReadChains,
    ReadShared,
    SharedRead,
    read_chains,
    read_shared,
)
from weft_engine.sync.end.ticket_questions import (
    ConfirmTicket,
    IssueTicket,
    KeepTicket,
    ReadTicket,
    RenewIdentity,
    TicketAnswer,
    TicketQuestion,
    answer_ticket,
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


ZoomQuestion = ReadShared | ReadChains | ReadFrontiers
ZoomAnswer = SharedRead | ChainsRead | FrontiersRead
"""Those of `end.regions.zooming`."""
Question = (
    ListContexts
    | ReadTree
    | ReadNames
    | ReadLacking
    | ZoomQuestion
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
    | LackingRead
    | ZoomAnswer
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
            return read_records(connection, question)
        case ReadWanted():
            return read_wanted(connection, question)
        case ReadConfirmations():
            return _confirmations(connection, question)
        case ReadHeld():
            return read_held(connection, question)
        case ReadTicket() | KeepTicket() | IssueTicket() | ConfirmTicket() | RenewIdentity():
            return answer_ticket(connection, question)
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
    if not question.samples:
        frontiers = context_rows.frontiers_of(connection, question.contexts)
        return FrontiersRead(
            tuple((name, frontiers[name][:FRONTIER_HASHES_MAX], ()) for name in question.contexts)
        )
    states = reading.contexts_named(connection, question.contexts)
    found = []
    for name in question.contexts:
        state = states[name]  # A listed context stays.
        # Part of a frontier is sound too: the peer only sends more than it had to.
        sample = reading.sample(connection, state)[:SAMPLE_HASHES_MAX]
        found.append((name, state.frontier[:FRONTIER_HASHES_MAX], tuple(sample)))
    return FrontiersRead(tuple(found))


def _all_lacking(connection: sqlite3.Connection, question: ReadLacking) -> LackingRead:
    states = reading.contexts_named(connection, [name for name, _, _ in question.announced])
    named = [one for _, *both in question.announced for some in both for one in some]
    places = reading.places_of(connection, named)
    asked: list[tuple[ContextState, dict[RecordHash, Position]]] = []
    for name, frontier, sample in question.announced:
        state = states.get(name)
        if state is None:
            continue
        have = {}
        for one in (*frontier, *sample):
            place = places.get(one)
            if place is not None and place[0] == state.id:
                have[one] = place[1]
        if not have.keys() >= set(state.frontier):
            asked.append((state, have))
    lacking = zip(asked, ancestry.lacking_of_many(connection, asked), strict=True)
    outside = {state.name: one for (state, _), one in lacking}
    found: list[Lacking] = []
    for name, frontier, _ in question.announced:
        state = states.get(name)
        held = frozenset(one for one in frontier if one in places)
        if state is None:
            found.append(Lacking(name, [], Position(0), Position(0), held))
            continue
        is_all = len(held) == len(frontier)
        lacks = outside.get(name, Outside([], state.position))
        found.append(
            Lacking(
                name, lacks.positions, lacks.after, state.position, held, is_all, state.frontier
            )
        )
    return LackingRead(tuple(found))


def _confirmations(
    connection: sqlite3.Connection, question: ReadConfirmations
) -> ConfirmationsRead:
    limit = ERASED_PER_FRAME_MAX
    found = erasures.confirmations(connection, after=question.after, limit=limit)
    inside = tuple(one for one in found if question.interest.covers(one.context))
    upto = found[-1].id if found else question.after
    return ConfirmationsRead(inside, upto, len(found) < limit)

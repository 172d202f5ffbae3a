"""What a session asks of its own store about cursors, and the answers, as values.

Must never know: the session, links.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace

from weft_engine.limits import BEHIND_RECORDS_MAX, LISTED_CONTEXTS_MAX
from weft_engine.names import ContextName, Position
from weft_engine.storage import cursors, reading
from weft_engine.storage.cursors import Between, Place, Unsent
from weft_engine.sync.framing.messages import Cursor
from weft_engine.sync.interest import Interest


@dataclass(frozen=True, slots=True)
class ReadCursor:
    """How far we came with a peer, and what of ours it may lack."""

    between: Between
    interest: Interest


@dataclass(frozen=True, slots=True)
class CursorRead:
    """Both None: nothing is known, or it is not worth resuming."""

    place: Place | None
    unsent: Unsent | None


@dataclass(frozen=True, slots=True)
class ReadBehind:
    """What lies behind a cursor that we told a peer, within an interest."""

    interest: Interest
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class BehindRead:
    contexts: tuple[tuple[ContextName, Position], ...] | None
    """Name and position of the newest record, of contexts that have any behind the cursor; None if
    the cursor is none of this journal."""
    position: Position
    """Of the journal's newest record."""


@dataclass(frozen=True, slots=True)
class ReadRow:
    """The beginning of the hash of the record at `position`."""

    position: Position


@dataclass(frozen=True, slots=True)
class RowRead:
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class KeepCursor:
    """Keep a place; of what is behind its `met`, the peer sent what stands at `theirs`."""

    between: Between
    interest: Interest
    place: Place
    theirs: frozenset[Position]


@dataclass(frozen=True, slots=True)
class CursorKept:
    met: Position
    """Up to where the peer holds all but what was written here."""


CursorQuestion = ReadCursor | ReadBehind | ReadRow | KeepCursor
CursorAnswer = CursorRead | BehindRead | RowRead | CursorKept


def answer_cursor(connection: sqlite3.Connection, question: CursorQuestion) -> CursorAnswer:
    match question:
        case ReadCursor(between, interest):
            place = cursors.held(connection, between)
            if place is None:
                return CursorRead(None, None)
            elsewhere = cursors.sent_elsewhere(connection, between)
            found = cursors.unsent(connection, place, interest.covers, elsewhere=elsewhere)
            return CursorRead(None if found is None else place, found)
        case ReadBehind(interest, cursor):
            return _behind(connection, interest, cursor)
        case ReadRow(position):
            row = cursors.row_at(connection, position)
            assert row is not None, "no position of the journal is left out"
            return RowRead(Cursor(position, row))
        case KeepCursor(between, interest, place, theirs):
            met = cursors.met(connection, place, theirs, interest.covers)
            cursors.keep(connection, between, replace(place, met=met))
            return CursorKept(met)


def _behind(connection: sqlite3.Connection, interest: Interest, cursor: Cursor) -> BehindRead:
    head = reading.last_position(connection)
    after = cursor.position
    if after > head or cursors.row_at(connection, after) != cursor.row:
        return BehindRead(None, head)
    if head - after <= BEHIND_RECORDS_MAX:
        found = reading.contexts_since(connection, after)
    else:
        found = []
        for prefix in interest.prefixes:
            found += reading.contexts_behind(connection, after, prefix=prefix)
        for name in sorted(interest.contexts):
            state = reading.context(connection, name)
            if state is not None and state.position > after:
                found.append((state.name, state.position))
    inside = tuple(one for one in found if interest.covers(one[0]))
    # Beyond the limit of lists a list says so.
    return BehindRead(inside if len(inside) <= LISTED_CONTEXTS_MAX else None, head)

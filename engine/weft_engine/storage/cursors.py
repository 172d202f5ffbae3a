"""Cursors: how far a store and a peer have come with each other, so that their next link need not
compare everything.

One row for each peer and interest, true of this file from the transaction that wrote it: what the
peer's journal holds up to `position` is here, and what is here up to `sent` is there. It is
believed only while both stores are in the epoch in which it was written.

The table is made when the first one is kept. Functions over a connection of the store. Must never
know: links, frames.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Container
from dataclasses import dataclass
from typing import Final

from weft_engine.limits import CURSOR_BYTES, CURSOR_TAIL_RECORDS_MAX, CURSORS_MAX
from weft_engine.names import ContextName, Position

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS cursors (
    id INTEGER PRIMARY KEY,     -- rises with every keeping
    peer BLOB NOT NULL,         -- store id of the peer,
    peer_epoch BLOB NOT NULL,   -- and its epoch
    interest BLOB NOT NULL,     -- digest of what both ends had agreed on
    store BLOB NOT NULL,        -- who this store was,
    epoch BLOB NOT NULL,        -- and its epoch
    position INTEGER NOT NULL,  -- in the peer's journal: up to here all is here
    row BLOB NOT NULL,          -- the beginning of the hash of the record there
    sent INTEGER NOT NULL,      -- in our journal: up to here all is there
    met INTEGER NOT NULL,       -- and up to here all but what was written here
    UNIQUE (peer, interest)
)
"""


@dataclass(frozen=True, slots=True)
class Between:
    """Between which two stores, in which epochs, and for which interest a cursor holds."""

    peer: bytes
    peer_epoch: bytes
    interest: bytes
    store: bytes
    epoch: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """How far two stores have come. The peer's journal is here up to `position`, where the record
    stands whose hash begins with `row`. Ours is there up to `sent`, and up to `met` but for what
    was written here."""

    position: Position
    row: bytes
    sent: Position
    met: Position


@dataclass(frozen=True, slots=True)
class Unsent:
    """What was written here and the peer may lack: positions by context, all at or before
    `upto`."""

    positions: dict[ContextName, list[Position]]
    upto: Position


def keep(connection: sqlite3.Connection, between: Between, place: Place) -> None:
    """Keep a place, instead of the one before between the same two for the same interest."""
    connection.execute(_TABLE)
    connection.execute(
        "INSERT OR REPLACE INTO cursors"
        " (peer, peer_epoch, interest, store, epoch, position, row, sent, met)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            between.peer,
            between.peer_epoch,
            between.interest,
            between.store,
            between.epoch,
            place.position,
            place.row,
            place.sent,
            place.met,
        ),
    )
    # Who has none compares everything, which is never wrong.
    connection.execute(
        "DELETE FROM cursors WHERE id <= (SELECT max(id) FROM cursors) - ?", (CURSORS_MAX,)
    )


def held(connection: sqlite3.Connection, between: Between) -> Place | None:
    """The place that was kept; None if there is none, or it is of another epoch or store."""
    if not _is_made(connection):
        return None
    row = connection.execute(
        "SELECT position, row, sent, met FROM cursors WHERE peer = ? AND interest = ?"
        " AND peer_epoch = ? AND store = ? AND epoch = ?",
        (between.peer, between.interest, between.peer_epoch, between.store, between.epoch),
    ).fetchone()
    if row is None:
        return None
    return Place(Position(row[0]), bytes(row[1]), Position(row[2]), Position(row[3]))


def met(
    connection: sqlite3.Connection,
    place: Place,
    theirs: Container[Position],
    covers: Callable[[str], bool],
) -> Position:
    """Up to where the peer holds all that was not written here, if it sent what stands at `theirs`
    and all before the place's own `met` is so."""
    rows = connection.execute(
        "SELECT r.position, c.name, o.seed IS NOT NULL FROM records AS r"
        " JOIN contexts AS c ON c.id = r.context JOIN origins AS o ON o.id = r.origin"
        " WHERE r.position > ? ORDER BY r.position LIMIT ?",
        (place.met, CURSOR_TAIL_RECORDS_MAX),
    )
    found = place.met
    for position, name, is_own in rows:
        if not is_own and position not in theirs and covers(name):
            break
        found = Position(position)
    return found


def sent(connection: sqlite3.Connection, interests: Collection[bytes]) -> Position | None:
    """Up to where some peer was known to hold what is here, within one of these interests; None if
    that is not known. It holds in any epoch: no row of the journal before it has changed since."""
    if not _is_made(connection):
        return None
    rows = connection.execute("SELECT interest, sent FROM cursors")
    found = [Position(upto) for interest, upto in rows if interest in interests]
    return max(found, default=None)


def forget(connection: sqlite3.Connection) -> None:
    """Forget all: this store is another one from now on."""
    if _is_made(connection):
        connection.execute("DELETE FROM cursors")


def sent_elsewhere(connection: sqlite3.Connection, between: Between) -> Position:
    """Up to where of our journal some other peer was known to hold everything, for the same
    interest."""
    (found,) = connection.execute(
        "SELECT max(sent) FROM cursors WHERE interest = ? AND peer <> ?",
        (between.interest, between.peer),
    ).fetchone()
    return Position(found or 0)


def unsent(
    connection: sqlite3.Connection,
    place: Place,
    covers: Callable[[str], bool],
    *,
    elsewhere: Position,
) -> Unsent | None:
    """What is behind a place in our own journal. None if something came from elsewhere since, or
    was sent there, up to `elsewhere`: the peer may have it too, and a comparison tells; or if it is
    too much to look at."""
    (head,) = connection.execute("SELECT max(position) FROM records").fetchone()
    head = head or 0
    if not place.sent <= place.met <= head or head - place.sent > CURSOR_TAIL_RECORDS_MAX:
        return None
    found: dict[ContextName, list[Position]] = {}
    rows = connection.execute(
        "SELECT r.position, c.name, o.seed IS NOT NULL FROM records AS r"
        " JOIN contexts AS c ON c.id = r.context JOIN origins AS o ON o.id = r.origin"
        " WHERE r.position > ? AND r.position <= ? ORDER BY r.position",
        (place.sent, head),
    )
    for position, name, is_own in rows:
        if not covers(name):
            continue
        if is_own and position <= elsewhere:
            return None
        if is_own:
            found.setdefault(ContextName(name), []).append(Position(position))
        elif position > place.met:
            return None
    return Unsent(found, Position(head))


def row_at(connection: sqlite3.Connection, position: Position) -> bytes | None:
    """The beginning of the hash of the record at a position; None if there is no such record."""
    row = connection.execute("SELECT hash FROM records WHERE position = ?", (position,)).fetchone()
    return None if row is None else bytes(row[0][:CURSOR_BYTES])


def _is_made(connection: sqlite3.Connection) -> bool:
    found = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'cursors'").fetchone()
    return found is not None

"""Questions to the journal. Plain functions over a connection, run on a reader's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from weft_engine.limits import CONTEXT_NAME_BYTES_MAX
from weft_engine.names import ContextName, Hlc, Incarnation, Position, RecordHash
from weft_engine.records.certificate import Certificate
from weft_engine.records.envelope import Record, decode_envelope
from weft_engine.records.frontier import Frontier, fingerprint, unpack
from weft_engine.records.identity import SignatureItem
from weft_engine.storage.ledger import Stored

_CHUNK: Final = 256
_BACKWARDS_FIRST: Final = 32
_BACKWARDS_LAST: Final = 4096
_AFTER_ALL: Final = "\U0010ffff" * CONTEXT_NAME_BYTES_MAX
"""Sorts behind whatever can follow a prefix in a name."""
_ROW: Final = "position, hash, envelope, payload, flags"


@dataclass(frozen=True, slots=True)
class ContextState:
    """What the journal knows of one context. `position` is its newest record's; `hlc` the highest
    that is not flagged skewed; `projected` the position up to which its events are indexed."""

    id: int
    name: ContextName
    frontier: Frontier
    records: int
    position: Position
    hlc: Hlc
    projected: Position
    projected_frontier: Frontier

    @property
    def fingerprint(self) -> bytes:
        return fingerprint(self.frontier)


_STATE: Final = (
    "id, name, frontier, records, position, hlc, projected, projected_frontier FROM contexts"
)


def _state(row: tuple[int, str, bytes, int, int, bytes, int, bytes]) -> ContextState:
    return ContextState(
        row[0],
        ContextName(row[1]),
        unpack(row[2]),
        row[3],
        Position(row[4]),
        Hlc(int.from_bytes(row[5], "big")),
        Position(row[6]),
        unpack(row[7]),
    )


def _stored(row: tuple[int, bytes, bytes, bytes, int]) -> Stored:
    record = Record(RecordHash(row[1]), decode_envelope(row[2]), row[2], row[3])
    return Stored(Position(row[0]), record, row[4])


def contexts(
    connection: sqlite3.Connection, *, prefix: str = "", after: str = "", limit: int = 1000
) -> list[ContextState]:
    """Contexts whose names start with `prefix` and come after `after`, in order of names."""
    # One lower bound: of two SQLite looks only one up, and walks from there to the other.
    lower, bound = (">", after) if after >= prefix else (">=", prefix)
    rows = connection.execute(
        f"SELECT {_STATE} WHERE name {lower} ? AND name < ? ORDER BY name LIMIT ?",
        (bound, prefix + _AFTER_ALL, limit),
    )
    return [_state(row) for row in rows]


def context(connection: sqlite3.Connection, name: str) -> ContextState | None:
    row = connection.execute(f"SELECT {_STATE} WHERE name = ?", (name,)).fetchone()
    return None if row is None else _state(row)


def indexed_contexts(
    connection: sqlite3.Connection, after: int, count: int
) -> list[tuple[int, ContextName]]:
    """Those of the `count` contexts behind the one with id `after` that are indexed, as far as they
    are, by id."""
    rows = connection.execute(
        "SELECT id, name FROM contexts WHERE id > ? AND id <= ? AND projected > 0 ORDER BY id",
        (after, after + count),
    )
    return [(row[0], ContextName(row[1])) for row in rows]


def last_context(connection: sqlite3.Connection) -> int:
    """The highest id of a context, 0 if there is none."""
    row = connection.execute("SELECT max(id) FROM contexts").fetchone()
    return row[0] or 0


def contexts_named(
    connection: sqlite3.Connection, names: Iterable[str]
) -> dict[ContextName, ContextState]:
    """Those of the names that are here, asked for together."""
    wanted = list(names)
    found: dict[ContextName, ContextState] = {}
    for start in range(0, len(wanted), _CHUNK):
        some = wanted[start : start + _CHUNK]
        rows = connection.execute(f"SELECT {_STATE} WHERE name IN ({_marks(some)})", some)
        found.update((state.name, state) for state in map(_state, rows))
    return found


def places_of(
    connection: sqlite3.Connection, hashes: Iterable[RecordHash]
) -> dict[RecordHash, tuple[int, Position]]:
    """In which contexts those of the records are that are journaled, and where they stand."""
    wanted = list(set(hashes))
    found: dict[RecordHash, tuple[int, Position]] = {}
    for start in range(0, len(wanted), _CHUNK):
        some = wanted[start : start + _CHUNK]
        rows = connection.execute(
            f"SELECT hash, context, position FROM records WHERE hash IN ({_marks(some)})", some
        )
        found.update((hash_, (context, position)) for hash_, context, position in rows)
    return found


def contexts_since(
    connection: sqlite3.Connection, position: Position
) -> list[tuple[ContextName, Position]]:
    """Name and newest position of the contexts of all records behind `position`: for few."""
    rows = connection.execute(
        "SELECT name, position FROM contexts"
        " WHERE id IN (SELECT context FROM records WHERE position > ?)",
        (position,),
    )
    return [(ContextName(row[0]), Position(row[1])) for row in rows]


def contexts_behind(
    connection: sqlite3.Connection, position: Position, *, prefix: str
) -> list[tuple[ContextName, Position]]:
    """As `contexts_since`, of the contexts whose names start with `prefix`: looks at each of these,
    and at no record."""
    question = "SELECT name, position FROM contexts WHERE position > ?"
    if not prefix:
        rows = connection.execute(question, (position,))
    else:
        rows = connection.execute(
            f"{question} AND name >= ? AND name < ?", (position, prefix, prefix + _AFTER_ALL)
        )
    return [(ContextName(row[0]), Position(row[1])) for row in rows]


def last_position(connection: sqlite3.Connection) -> Position:
    row = connection.execute("SELECT max(position) FROM records").fetchone()
    return Position(row[0] or 0)


def records_after(
    connection: sqlite3.Connection,
    context_id: int,
    after: Position,
    *,
    records_max: int,
    bytes_max: int,
) -> list[Stored]:
    """A context's records in journal order, at least one if there is any, up to the limits."""
    found: list[Stored] = []
    size = 0
    rows = connection.execute(
        f"SELECT {_ROW} FROM records WHERE context = ? AND position > ? ORDER BY position LIMIT ?",
        (context_id, after, records_max),
    )
    for row in rows:
        stored = _stored(row)
        size += stored.record.size
        if found and size > bytes_max:
            break
        found.append(stored)
    return found


def records_at(
    connection: sqlite3.Connection, positions: Sequence[Position], *, bytes_max: int
) -> list[Stored]:
    """The records at ascending `positions`, at least one, up to the limit."""
    found: list[Stored] = []
    size = 0
    for start in range(0, len(positions), _CHUNK):
        some = positions[start : start + _CHUNK]
        rows = connection.execute(
            f"SELECT {_ROW} FROM records WHERE position IN ({_marks(some)}) ORDER BY position",
            some,
        )
        for row in rows:
            stored = _stored(row)
            size += stored.record.size
            if found and size > bytes_max:
                return found
            found.append(stored)
    return found


def up_to_tip(connection: sqlite3.Connection, stored: Stored, *, records_max: int) -> list[Stored]:
    """What follows a record in its chain up to the first one whose signature is kept; nothing if
    its own is, or if there is none within the limit: our own chains are signed when sent."""
    rows = connection.execute(
        "SELECT r.position, r.hash, r.envelope, r.payload, r.flags, s.position"
        " FROM records AS t JOIN records AS r ON r.context = t.context AND r.position >= t.position"
        " AND r.origin = t.origin LEFT JOIN signatures AS s ON s.position = r.position"
        " WHERE t.position = ? ORDER BY r.position LIMIT ?",
        (stored.position, records_max),
    )
    found: list[Stored] = []
    last = stored.record.hash
    for *row, signed in rows:
        one = _stored((row[0], row[1], row[2], row[3], row[4]))
        if one.position != stored.position:
            if one.record.envelope.prev != last:
                continue  # The other side of an equivocation.
            found.append(one)
            last = one.record.hash
        if signed is not None:
            return found
    return []


def positions_of(
    connection: sqlite3.Connection,
    hashes: Iterable[RecordHash],
    *,
    context_id: int | None = None,
) -> dict[RecordHash, Position]:
    """Where those of the records stand that are journaled, in any context or in one."""
    wanted = list(set(hashes))
    found: dict[RecordHash, Position] = {}
    for start in range(0, len(wanted), _CHUNK):
        some = wanted[start : start + _CHUNK]
        rows = connection.execute(
            f"SELECT hash, position FROM records WHERE hash IN ({_marks(some)})"
            " AND coalesce(context = ?, 1)",
            (*some, context_id),
        )
        found.update((RecordHash(row[0]), Position(row[1])) for row in rows)
    return found


def sample(connection: sqlite3.Connection, state: ContextState) -> list[RecordHash]:
    """Hashes of a context's records at distances 0, 1, 2, 4, 8 ... from the newest: enough for a
    peer that knows none of the frontier to find a common past at most twice as far back."""
    found: list[RecordHash] = []
    position, distance, step = state.position, 0, 0
    while True:
        # The index is walked, no record but the one that is taken is looked at.
        row = connection.execute(
            "SELECT position, hash FROM records WHERE context = ? AND position <= ?"
            " ORDER BY position DESC LIMIT 1 OFFSET ?",
            (state.id, position, step),
        ).fetchone()
        if row is None:
            return found
        position = Position(row[0])
        found.append(RecordHash(row[1]))
        distance += step
        step = max(1, distance)


def newest_of(
    connection: sqlite3.Connection, after: Mapping[int, Position], *, rows_max: int
) -> dict[int, list[tuple[Position, RecordHash, bytes]]]:
    """Of each of these contexts what stands behind a position, as `backwards` has it; only those of
    which all fits in so many rows."""
    found: dict[int, list[tuple[Position, RecordHash, bytes]]] = {}
    wanted = list(after.items())
    for start in range(0, len(wanted), _CHUNK):
        some = wanted[start : start + _CHUNK]
        found.update((context, []) for context, _ in some)
        # The contexts in this order, and the records of each as its index has them.
        rows = connection.execute(
            f"WITH asked (context, after) AS (VALUES {','.join(['(?, ?)'] * len(some))})"
            " SELECT r.context, r.position, r.hash, r.envelope FROM asked"
            " CROSS JOIN records AS r ON r.context = asked.context AND r.position > asked.after"
            " LIMIT ?",
            (*chain.from_iterable(some), rows_max + 1),
        ).fetchall()
        for context, *row in rows[:rows_max]:
            found[context].append((row[0], row[1], row[2]))
        if len(rows) > rows_max:
            # It breaks off in the last of them.
            last = next(at for at, (context, _) in enumerate(some) if context == rows[-1][0])
            for context, _ in some[last:]:
                del found[context]
    for newest in found.values():
        newest.reverse()
    return found


def backwards(
    connection: sqlite3.Connection, context_id: int, last: Position
) -> Iterator[tuple[Position, RecordHash, bytes]]:
    """Position, hash and envelope of a context's records, from the one at `last` back."""
    before, limit = last + 1, _BACKWARDS_FIRST
    while True:
        rows = connection.execute(
            "SELECT position, hash, envelope FROM records"
            " WHERE context = ? AND position < ? ORDER BY position DESC LIMIT ?",
            (context_id, before, limit),
        ).fetchall()
        for row in rows:
            yield Position(row[0]), RecordHash(row[1]), row[2]
        if len(rows) < limit:
            return
        before = rows[-1][0]
        limit = min(2 * limit, _BACKWARDS_LAST)


def signature_items(
    connection: sqlite3.Connection, records: Sequence[Stored]
) -> list[SignatureItem]:
    """The kept signatures whose tips are among `records`."""
    found: list[SignatureItem] = []
    hashes = {stored.position: stored.record.hash for stored in records}
    positions = list(hashes)
    for start in range(0, len(positions), _CHUNK):
        some = positions[start : start + _CHUNK]
        rows = connection.execute(
            "SELECT position, public_key, signature, certificate FROM signatures"
            " JOIN records USING (position) JOIN origins ON origins.id = records.origin"
            f" WHERE position IN ({_marks(some)})",
            some,
        )
        for position, key, signature, certificate in rows:
            by_region = None if certificate is None else Certificate.unpack(certificate)
            found.append(SignatureItem(key, hashes[Position(position)], signature, by_region))
    return found


def has_sides(connection: sqlite3.Connection, state: ContextState) -> bool:
    """Whether two of a context's records stand under one (origin, seq): an equivocation."""
    row = connection.execute(
        "SELECT 1 FROM records WHERE context = ? GROUP BY origin, seq HAVING count(*) > 1 LIMIT 1",
        (state.id,),
    ).fetchone()
    return row is not None


def seeds(connection: sqlite3.Connection) -> dict[Incarnation, bytes]:
    """The private seeds of this store's own incarnations."""
    rows = connection.execute("SELECT incarnation, seed FROM origins WHERE seed IS NOT NULL")
    return {Incarnation(row[0]): row[1] for row in rows}


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))

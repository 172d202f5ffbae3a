"""Which records a cut of a context stands for: from a time to a cut, and from any cut to its
maximal records. Questions to the journal, run on a reader's thread; payloads are not read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

from weft_engine.errors import MissingRecords
from weft_engine.names import ContextName, Hlc, Position, RecordHash
from weft_engine.records.clock import hlc_ms
from weft_engine.records.envelope import Record, decode_envelope
from weft_engine.records.frontier import EMPTY, Frontier
from weft_engine.storage import ancestry, reading
from weft_engine.storage.reading import ContextState

_CHUNK: Final = 1024
_READ_RECORDS: Final = 4096
_READ_BYTES: Final = 8 * 1024 * 1024


def nothing(name: ContextName) -> ContextState:
    """A context before its first record, whether there ever was one or not."""
    return ContextState(0, name, EMPTY, 0, Position(0), Hlc(0), Position(0), EMPTY)


def cut_at(connection: sqlite3.Connection, state: ContextState, time_ms: int) -> Frontier:
    """The maximal records among those stamped not after `time_ms` whose whole causal past is.

    That set is closed downwards, and it depends on the records alone: not on this replica, nor on
    the order in which they came. In the journal every record stands behind its parents, so when
    one is reached it is known which of them are left out.
    """
    left_out: set[RecordHash] = set()
    maximal: set[RecordHash] = set()
    for hash_, envelope in _forwards(connection, state):
        decoded = decode_envelope(envelope)
        parents = decoded.parents
        if hlc_ms(decoded.hlc) > time_ms or not left_out.isdisjoint(parents):
            left_out.add(hash_)
        else:
            maximal.difference_update(parents)
            maximal.add(hash_)
    return tuple(sorted(maximal))


def maximal_of(
    connection: sqlite3.Connection, state: ContextState, cut: Iterable[RecordHash]
) -> Frontier:
    """Those of `cut` that are not in the causal past of others of it: the same past, named in the
    one way. MissingRecords if this context does not hold them all."""
    positions = check_held(connection, state, cut)
    if len(positions) < 2:
        return tuple(positions)
    first = min(positions.values())
    below: set[RecordHash] = set()
    """Parents of records in the causal past of `cut` that the walk back has not reached."""
    for position, hash_, envelope in reading.backwards(
        connection, state.id, max(positions.values())
    ):
        if position < first:
            break
        if hash_ in below:
            below.discard(hash_)
            positions.pop(hash_, None)
        elif hash_ not in positions:
            continue
        below.update(decode_envelope(envelope).parents)
    return tuple(sorted(positions))


def check_held(
    connection: sqlite3.Connection, state: ContextState, cut: Iterable[RecordHash]
) -> dict[RecordHash, Position]:
    """Where the records of a cut stand. MissingRecords if this context does not hold them all."""
    wanted = frozenset(cut)
    held = reading.positions_of(connection, wanted, context_id=state.id)
    missing = sorted(wanted.difference(held))
    if missing:
        raise MissingRecords(
            f"{len(missing)} of the {len(wanted)} records of a cut of context {state.name!r}"
            " are not held here",
            missing=missing,
        )
    return held


def records_of(
    connection: sqlite3.Connection, state: ContextState, cut: Frontier
) -> Iterator[Record]:
    """The records in the causal past of `cut`, in journal order, payloads and all. MissingRecords
    if this context does not hold them."""
    held = check_held(connection, state, cut)
    last = max(held.values(), default=Position(0))
    without = frozenset(ancestry.lacking(connection, state, cut))
    after = Position(0)
    while after < last:
        some = reading.records_after(
            connection, state.id, after, records_max=_READ_RECORDS, bytes_max=_READ_BYTES
        )
        after = some[-1].position
        yield from (stored.record for stored in some if stored.position not in without)


def _forwards(
    connection: sqlite3.Connection, state: ContextState
) -> Iterator[tuple[RecordHash, bytes]]:
    after = 0
    while True:
        rows = connection.execute(
            "SELECT position, hash, envelope FROM records"
            " WHERE context = ? AND position > ? ORDER BY position LIMIT ?",
            (state.id, after, _CHUNK),
        ).fetchall()
        for row in rows:
            yield RecordHash(row[1]), row[2]
        if len(rows) < _CHUNK:
            return
        after = rows[-1][0]

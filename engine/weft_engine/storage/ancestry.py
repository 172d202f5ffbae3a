"""Which records of a context lie in the causal past of others: walks back through the journal.

Every record stands behind its parents there, so a walk from the newest back settles each record
when it is reached, and costs what it walks through, not the history. Payloads are not read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from weft_engine.limits import SAMPLE_ENDS_MAX, SAMPLE_FLOOR_MAX
from weft_engine.names import Position, RecordHash
from weft_engine.records.envelope import decode_envelope
from weft_engine.records.frontier import Frontier
from weft_engine.storage import reading
from weft_engine.storage.reading import ContextState


def lacking(
    connection: sqlite3.Connection, state: ContextState, have: Iterable[RecordHash]
) -> list[Position]:
    """Positions, ascending, of the context's records outside the causal past of `have`. Hashes
    that are not held say nothing."""
    named = set(have)
    where = reading.positions_of(connection, (*named, *state.frontier), context_id=state.id)
    held = named.intersection(where)
    last = max(where.values(), default=Position(0))
    return sorted(_outside(connection, state.id, state.frontier, held, last))


def outside(
    connection: sqlite3.Connection, context_id: int, frontier: Frontier, have: Iterable[RecordHash]
) -> frozenset[Position]:
    """The records in the causal past of `frontier` that are not in that of `have`, which lies in
    it and is held.

    Every child stands behind its parents, so when a record is reached it is settled whether
    something in `have` leads to it; once nothing open is outside, all that is left lies in that
    past. Costs what is found plus what stands among it.
    """
    named = tuple(have)
    tips = reading.positions_of(connection, (*frontier, *named), context_id=context_id)
    last = max(tips.values(), default=Position(0))
    return frozenset(_outside(connection, context_id, frontier, named, last))


def _outside(
    connection: sqlite3.Connection,
    context_id: int,
    frontier: Frontier,
    have: Iterable[RecordHash],
    last: Position,
) -> list[Position]:
    """As `outside`, newest first; nothing of what is named stands behind `last`."""
    inside: dict[RecordHash, bool] = dict.fromkeys(frontier, False)
    inside.update(dict.fromkeys(have, True))
    open_outside = sum(not known for known in inside.values())
    found: list[Position] = []
    for position, hash_, envelope in reading.backwards(connection, context_id, last):
        if open_outside == 0:
            break
        is_inside = inside.pop(hash_, None)
        if is_inside is None:
            continue  # not in the past of the frontier
        if not is_inside:
            open_outside -= 1
            found.append(position)
        for parent in decode_envelope(envelope).parents:
            known = inside.get(parent)
            if known is None:
                inside[parent] = is_inside
                open_outside += not is_inside
            elif is_inside and not known:
                inside[parent] = True
                open_outside -= 1
    return found


@dataclass(frozen=True, slots=True)
class Chains:
    """`ends`: of the chains among some of a context's records, newest first. `floor`: records whose
    causal past, they included, is just what stands before these in the journal."""

    ends: tuple[RecordHash, ...]
    floor: tuple[RecordHash, ...]
    reached: Position
    """The oldest of the records that were looked at."""


def chains(
    connection: sqlite3.Connection,
    context_id: int,
    frontier: Frontier,
    *,
    records_max: int,
    told: Position | None,
) -> Chains:
    """The chains among the last `records_max` records that led to `frontier`, without those whose
    ends stand at `told` or behind it.

    A record is the end of its chain unless one behind it names it as `prev`. What the records
    behind a place depend on before it, with what of the frontier stands there, has all that
    stands before it in its past: whatever is no parent of another record is maximal.
    """
    last = max(reading.positions_of(connection, frontier, context_id=context_id).values())
    floor = set(frontier)
    continued: set[RecordHash] = set()
    ends: list[RecordHash] = []
    reached = last
    for count, (position, hash_, data) in enumerate(
        reading.backwards(connection, context_id, last)
    ):
        if count >= records_max or len(ends) >= SAMPLE_ENDS_MAX:
            break
        reached = position
        floor.discard(hash_)
        if hash_ in continued:
            continued.discard(hash_)
        elif told is None or position < told:
            ends.append(hash_)
        envelope = decode_envelope(data)
        floor.update(envelope.parents)
        if envelope.prev is not None:
            continued.add(envelope.prev)
    return Chains(tuple(ends), tuple(sorted(floor)[:SAMPLE_FLOOR_MAX]), reached)


def is_before(
    connection: sqlite3.Connection,
    context_id: int,
    hashes: Collection[RecordHash],
    position: Position,
) -> bool:
    """Whether all of `hashes` are records in the strict causal past of the one at `position`."""
    held = reading.positions_of(connection, hashes, context_id=context_id)
    if len(held) < len(hashes):
        return False
    missing = set(held)
    first = min(held.values(), default=position)
    below: set[RecordHash] = set()
    for at, hash_, envelope in reading.backwards(connection, context_id, position):
        if not missing or at < first:
            break
        if at == position:
            below.update(decode_envelope(envelope).parents)
        elif hash_ in below:
            below.discard(hash_)
            missing.discard(hash_)
            below.update(decode_envelope(envelope).parents)
    return not missing

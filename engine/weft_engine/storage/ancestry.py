"""Which records of a context lie in the causal past of others: walks back through the journal.

Every record stands behind its parents there, so a walk from the newest back settles each record
when it is reached, and costs what it walks through, not the history. Payloads are not read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from weft_engine.limits import SAMPLE_ENDS_MAX, SAMPLE_FLOOR_MAX
from weft_engine.names import Position, RecordHash
from weft_engine.records.envelope import decode_envelope, parents_of
from weft_engine.records.frontier import Frontier
from weft_engine.storage import reading
from weft_engine.storage.reading import ContextState

_ROWS_PER_CONTEXT = 32
"""Of many contexts so many records are read at once, on average."""


def lacking(
    connection: sqlite3.Connection, state: ContextState, have: Iterable[RecordHash]
) -> list[Position]:
    """Positions, ascending, of the context's records outside the causal past of `have`. Hashes
    that are not held say nothing."""
    named = set(have)
    where = reading.positions_of(connection, (*named, *state.frontier), context_id=state.id)
    held = named.intersection(where)
    last = max(where.values(), default=Position(0))
    walk = _outside(reading.backwards(connection, state.id, last), state.frontier, held)
    return walk.found[::-1]


@dataclass(frozen=True, slots=True)
class Outside:
    """Records of a context: those at `positions`, ascending, and all behind `after`."""

    positions: list[Position]
    after: Position


def lacking_of_many(
    connection: sqlite3.Connection,
    asked: Sequence[tuple[ContextState, Mapping[RecordHash, Position]]],
) -> list[Outside]:
    """As `lacking`, of each of these contexts, by records in it that are held and where they stand.

    Who lacks something lacks mostly the newest: what stands behind the oldest of `have`, which is
    read of all contexts together. Where that does not settle it, or is long, the context is walked.
    """
    after = {state.id: min(have.values()) for state, have in asked if have}
    newest = reading.newest_of(connection, after, rows_max=_ROWS_PER_CONTEXT * len(asked))
    found: list[Outside] = []
    for state, have in asked:
        if not have:
            found.append(Outside([], Position(0)))
            continue
        walk = _outside(newest.get(state.id, ()), state.frontier, have)
        if not walk.is_settled:
            last = max(state.position, *have.values())
            walk = _outside(reading.backwards(connection, state.id, last), state.frontier, have)
        if walk.found and walk.is_run:
            # Read one after the other, and shared with whoever lacks the same.
            found.append(Outside([], Position(walk.found[-1] - 1)))
        else:
            found.append(Outside(walk.found[::-1], state.position))
    return found


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
    return frozenset(
        _outside(reading.backwards(connection, context_id, last), frontier, named).found
    )


@dataclass(frozen=True, slots=True)
class _Walk:
    """`found`: positions of what is outside, newest first. `is_run`: nothing else stands among
    these and behind them. `is_settled`: all that is outside was reached."""

    found: list[Position]
    is_run: bool
    is_settled: bool


def _outside(
    rows: Iterable[tuple[Position, RecordHash, bytes]],
    frontier: Frontier,
    have: Iterable[RecordHash],
) -> _Walk:
    """As `outside`, in `rows` of the context, newest first; all of them from some place on."""
    inside: dict[RecordHash, bool] = dict.fromkeys(frontier, False)
    inside.update(dict.fromkeys(have, True))
    open_outside = sum(not known for known in inside.values())
    found: list[Position] = []
    last = 0
    for count, (position, hash_, envelope) in enumerate(rows, 1):
        if open_outside == 0:
            break
        is_inside = inside.pop(hash_, None)
        if is_inside is None:
            continue  # not in the past of the frontier
        if not is_inside:
            open_outside -= 1
            found.append(position)
            last = count
        for parent in parents_of(envelope):
            known = inside.get(parent)
            if known is None:
                inside[parent] = is_inside
                open_outside += not is_inside
            elif is_inside and not known:
                inside[parent] = True
                open_outside -= 1
    return _Walk(found, last == len(found), open_outside == 0)


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

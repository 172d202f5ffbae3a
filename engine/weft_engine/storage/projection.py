"""Keeping the event index up with the journal, and building one in memory for another cut.

The index follows the journal in steps, off the path of an acknowledgement; each context knows how
far its index is. A read-only store completes it in memory, and so does a look at a past cut.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from weft_engine.events.event import Message
from weft_engine.events.fold import fold
from weft_engine.events.row import MAIN, branch_id, id_bytes
from weft_engine.events.table import Changes, Journaled
from weft_engine.names import EventId, Position
from weft_engine.records.frontier import EMPTY, Frontier, advance
from weft_engine.storage import ancestry, reading, summary_memory
from weft_engine.storage.cut import check_held
from weft_engine.storage.event_schema import INDEX_TABLES, create_event_tables
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.ledger import Stored
from weft_engine.storage.lineage import Lineage
from weft_engine.storage.reading import ContextState
from weft_engine.storage.summaries import Summaries
from weft_engine.storage.windows import Windows

STEP_RECORDS: Final = 512
STEP_BYTES: Final = 2 * 1024 * 1024

Count = Callable[[EventId, Message], int]
"""Tokens of a message in the default tokenizer."""


@dataclass(frozen=True, slots=True)
class Step:
    """The next part of the journal, folded but not saved. `moved`: rows that were there before
    have changed."""

    context_id: int
    changes: Changes
    upto: Position
    frontier: Frontier
    moved: bool


def next_step(
    connection: sqlite3.Connection,
    name: str,
    count: Count,
    *,
    records_max: int = STEP_RECORDS,
    bytes_max: int = STEP_BYTES,
) -> Step | None:
    """Fold what comes next in a context, one record at least; None if its index is complete."""
    state = reading.context(connection, name)
    if state is None or state.projected >= state.position:
        return None
    some = reading.records_after(
        connection, state.id, state.projected, records_max=records_max, bytes_max=bytes_max
    )
    table = EventTable(connection, state.id)
    changes, frontier = _fold(table, some, state.projected_frontier, count)
    moved = bool(changes.removed) or any(
        row.position <= state.projected for row in changes.rows.values()
    )
    return Step(state.id, changes, some[-1].position, frontier, moved)


def save_step(connection: sqlite3.Connection, step: Step) -> None:
    table = EventTable(connection, step.context_id)
    if summary_memory.recall_all(connection, step.context_id):
        known = table.by_ids(row.key[8:] for row in step.changes.rows.values())
        same = [row for row in known.values() if row.key in step.changes.rows]
        summary_memory.follow(connection, step, same, lambda branch: _lineage(table, branch))
    table.save(step.changes, upto=step.upto, frontier=step.frontier)


def drop_index(connection: sqlite3.Connection, context_id: int) -> None:
    """The event index of a context is gone, with what was worked out from it: who reads it next
    has it made anew from the journal."""
    for table in (*INDEX_TABLES, "summaries"):
        connection.execute(f"DELETE FROM {table} WHERE context = ?", (context_id,))
    Windows(connection, context_id).clear()
    connection.execute(
        "UPDATE contexts SET projected = 0, projected_frontier = x'' WHERE id = ?", (context_id,)
    )


@dataclass(frozen=True, slots=True)
class Found:
    """Which summary stands in a branch, worked out when the index reached `upto`."""

    context_id: int
    branch: bytes
    memory: summary_memory.Memory
    upto: Position


def find_summary(
    connection: sqlite3.Connection, name: str, branches: Iterable[EventId]
) -> Found | None:
    """Work out which summary stands in main or one of `branches` of a context whose index is
    complete; None if that is known of all of them or there is no summary at all."""
    state = reading.context(connection, name)
    if state is None or not summary_memory.has_summaries(connection, state.id):
        return None
    table = current(connection, state)
    known = summary_memory.recall_all(connection, state.id)
    for branch in (MAIN, *map(id_bytes, branches)):
        if branch not in known and (branch == MAIN or table.line(branch) is not None):
            best = next(Summaries(_lineage(table, branch)).coverings(), None)
            memory = summary_memory.NONE_APPLIES
            if best is not None:
                memory = summary_memory.Memory(best.candidate.row.key, best.place, best.late)
            return Found(state.id, branch, memory, state.projected)
    return None


def keep_summary(connection: sqlite3.Connection, found: Found) -> None:
    summary_memory.keep(
        connection, found.context_id, found.memory, upto=found.upto, branch=found.branch
    )


def _lineage(table: EventTable, branch: bytes) -> Lineage:
    return Lineage(table, branch_id(branch))


def current(connection: sqlite3.Connection, state: ContextState) -> EventTable:
    """The index of a context as far as it is."""
    return EventTable(
        connection, state.id, position=state.projected, frontier=state.projected_frontier
    )


def completed(connection: sqlite3.Connection, state: ContextState, count: Count) -> EventTable:
    """The whole index of a context, with what it lacks folded in memory. `connection` is used for
    nothing else."""
    if state.projected >= state.position:
        return current(connection, state)
    table = _copied(connection, state)
    _fold_on(
        connection,
        table,
        state,
        state.projected,
        state.projected_frontier,
        frozenset(),
        count,
        last=state.position,
    )
    return table


def at_cut(
    connection: sqlite3.Connection, state: ContextState, cut: Frontier, count: Count
) -> EventTable:
    """The index as it is for the causal past of `cut`, made in memory. `connection` is used for
    nothing else, and is in a transaction, so that all it reads is of one moment. MissingRecords if
    a record of the cut is not held."""
    held = check_held(connection, state, cut)
    later = frozenset(ancestry.lacking(connection, state, cut))
    stored = EventTable(connection, state.id)

    last = max(held.values(), default=Position(0))
    if not later and state.projected == state.position:
        # It is all that is indexed: the index follows from the records alone.
        return _copied(connection, state)

    def known(event: EventId, message: Message) -> int:
        row = stored.by_ids([id_bytes(event)]).get(id_bytes(event))
        # One that came later may have beaten what holds the id at this cut; one that is in it
        # holds the id there, too, if the index has all of the cut.
        if row is None or row.tokens is None or row.position in later or state.projected < last:
            return count(event, message)
        return row.tokens

    table = _in_memory(connection, state, later)
    _fold_on(connection, table, state, Position(0), EMPTY, later, known, last=last)
    return table


def _in_memory(
    connection: sqlite3.Connection,
    state: ContextState,
    without: frozenset[Position] = frozenset(),
) -> EventTable:
    create_event_tables(connection, "temp")
    return EventTable(connection, state.id, schema="temp", without=without)


def _copied(connection: sqlite3.Connection, state: ContextState) -> EventTable:
    """The index as far as it is stored, in memory."""
    table = _in_memory(connection, state)
    for name in INDEX_TABLES:
        connection.execute(
            f"INSERT INTO temp.{name} SELECT * FROM main.{name} WHERE context = ?", (state.id,)
        )
    table.position, table.frontier = state.projected, state.projected_frontier
    return table


def _fold_on(
    connection: sqlite3.Connection,
    table: EventTable,
    state: ContextState,
    after: Position,
    frontier: Frontier,
    without: frozenset[Position],
    count: Count,
    *,
    last: Position,
) -> None:
    """Fold what stands behind `after`, up to `last`."""
    while after < last and (
        some := reading.records_after(
            connection, state.id, after, records_max=STEP_RECORDS, bytes_max=STEP_BYTES
        )
    ):
        after = some[-1].position
        inside = [
            stored for stored in some if stored.position not in without and stored.position <= last
        ]
        changes, frontier = _fold(table, inside, frontier, count)
        table.save(changes, upto=after, frontier=frontier)


def _fold(
    table: EventTable, records: Sequence[Stored], frontier: Frontier, count: Count
) -> tuple[Changes, Frontier]:
    journaled = [Journaled(stored.position, stored.record) for stored in records]
    changes = fold(table, journaled, frontier=frontier, count=count)
    for stored in records:
        frontier = advance(frontier, stored.record.envelope.parents, stored.record.hash)
    return changes, frontier

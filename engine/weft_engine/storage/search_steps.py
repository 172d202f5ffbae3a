"""Reading the journal for the full-text index: what comes next of a context, in small steps.

It follows the records, not the event index, which has no order of arrival; what an event says is
taken from the record in which the event index has it. Must never know: queries, who asks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from weft_engine.events.candidate import candidates
from weft_engine.events.codec import decode_event
from weft_engine.events.event import Interrupted
from weft_engine.events.row import INTERRUPTED, INVALID, TOLD, Row, id_bytes
from weft_engine.limits import SEARCH_STEP_BYTES, SEARCH_STEP_RECORDS
from weft_engine.names import EventId, Position, is_event_id
from weft_engine.records.clock import hlc_ms
from weft_engine.records.envelope import Kind as RecordKind
from weft_engine.storage import reading, search_tables
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.reading import ContextState
from weft_engine.storage.search_tables import Batch, Entry
from weft_engine.storage.search_text import searchable
from weft_engine.yjs.encoder import EVENTS_ROOT, STREAMS_ROOT
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.update import Kind, Update

NOTE: Final = 0
"""The kind of a note in labels; those of events are in `events.row`."""
_SILENT: Final = frozenset({INVALID, INTERRUPTED})
"""What tells of a stream says nothing itself: the stream stands for it as a message."""
_AUTHOR_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Step:
    """What to write down, and the rows that the event index has of it (all of them: those that say
    nothing, too)."""

    batch: Batch
    rows: tuple[Row, ...]


def label_of_kind(kind: int) -> str:
    return f"k{kind}"


def label_of_role(role: int) -> str:
    return f"r{role}"


def label_of_author(author: str) -> str:
    """Its hash: any text can be an author."""
    name = author.encode("utf-8", "surrogatepass")
    return f"a{blake2b(name, digest_size=_AUTHOR_BYTES).hexdigest()}"


def next_step(
    connection: sqlite3.Connection,
    schema: str,
    table: EventTable,
    state: ContextState,
    *,
    generation: int,
) -> Step | None:
    """What the index in `schema` of `connection` lacks next of a context whose event index is
    `table`; None if nothing. `generation` is that of the index before `table` was read: what is
    erased meanwhile makes the step out of date."""
    after = Position(search_tables.reached(connection, schema, state.id)[0])
    some = [
        stored
        for stored in reading.records_after(
            connection,
            state.id,
            after,
            records_max=SEARCH_STEP_RECORDS,
            bytes_max=SEARCH_STEP_BYTES,
        )
        # What is journaled already and not in the event index yet comes with the next step.
        if stored.position <= table.position
    ]
    if not some:
        return None
    notes_changed = Position(0)
    wanted: dict[bytes, Position] = {}
    for stored in some:
        if stored.record.envelope.kind not in (RecordKind.NATIVE, RecordKind.FOREIGN):
            continue
        update = read_update(stored.record.payload)
        if _may_change_notes(update):
            notes_changed = stored.position
        for candidate in candidates(update):
            if is_event_id(candidate.key):
                wanted[id_bytes(EventId(candidate.key))] = stored.position
    positions = {stored.position for stored in some}
    rows = tuple(row for row in _rows(table, wanted) if row.position in positions)
    known = search_tables.held(connection, schema, state.id, sorted(positions))
    new = [row for row in rows if row.kind not in _SILENT and row.key not in known]
    batch = Batch(
        state.id,
        generation,
        after,
        some[-1].position,
        notes_changed,
        tuple(_entries(table, new)),
    )
    return Step(batch, rows)


def _rows(table: EventTable, wanted: Iterable[bytes]) -> list[Row]:
    """Those of these ids, and of streams that broke off if some of them tell of one."""
    rows = list(table.by_ids(wanted).values())
    tell = [row for row in rows if row.kind == INTERRUPTED and row.rank != TOLD]
    told = [decode_event(json).body for json in table.bodies(tell).values()]
    targets = {id_bytes(body.target) for body in told if isinstance(body, Interrupted)}
    return rows + [row for row in table.by_ids(targets).values() if row.rank == TOLD]


def _entries(table: EventTable, rows: Sequence[Row]) -> Iterator[Entry]:
    # Asked of the table: the record may look otherwise by now.
    bodies = table.bodies(rows)
    for row in rows:
        event = decode_event(bodies[row.key])
        text = searchable(event.body)
        if text:
            labels = (label_of_kind(row.kind), label_of_role(row.role))
            yield Entry(
                row.key,
                row.position,
                f"{' '.join(labels)} {label_of_author(event.author)}",
                text,
            )


def _may_change_notes(update: Update) -> bool:
    """Whether it holds more than first sets of events, parts of streams, and what is gone."""
    if update.deletes:
        return True
    return any(
        struct.parent not in (EVENTS_ROOT, STREAMS_ROOT)
        for struct in update.structs
        if struct.kind not in (Kind.GC, Kind.SKIP)
    )


def time_of(connection: sqlite3.Connection, position: Position) -> int:
    """When the record at `position` was written, in milliseconds since 1970."""
    (stored,) = reading.records_at(connection, [position], bytes_max=0)
    return hlc_ms(stored.record.envelope.hlc)

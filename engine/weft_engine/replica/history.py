"""Paging through everything that was ever said in a context, forwards and backwards."""

from __future__ import annotations

from dataclasses import dataclass

from weft_engine.errors import NotFound
from weft_engine.events.codec import decode_event
from weft_engine.events.event import Event
from weft_engine.events.row import TOLD, Row, id_bytes
from weft_engine.names import EventId, Position, is_event_id
from weft_engine.records.clock import hlc_ms
from weft_engine.storage.lineage import ReadingOrder

PAGE_MAX = 1000
_BEHIND_ALL = b"\xff" * 33
"""Comes after every key of 32 bytes."""


@dataclass(frozen=True, slots=True)
class Said:
    """An event of the history. `time_ms`: milliseconds since 1970, by its writer's clock;
    `position`: of its record in this store; `tokens`: of a message, in the default tokenizer."""

    id: EventId
    event: Event
    time_ms: int
    position: Position
    tokens: int | None
    is_interrupted: bool = False
    """A stream that broke off, as far as it came; it stands under the stream's id."""


def messages(
    table: ReadingOrder, *, after: EventId | None, before: EventId | None, limit: int
) -> list[Said]:
    """Messages of a branch in reading order: the next ones behind `after`, or the last ones
    in front of `before`, always oldest first. NotFound if there is no such message."""
    limit = min(limit, PAGE_MAX)
    if before is not None:
        rows = table.placed_before(_place(table, before), limit)
    else:
        rows = table.oldest(after=None if after is None else _place(table, after), limit=limit)
    return _read(table, rows)


def newest(table: ReadingOrder, *, limit: int) -> list[Said]:
    """The last messages of the reading order, oldest first."""
    return _read(table, table.placed_before(None, min(limit, PAGE_MAX)))


def events(
    table: ReadingOrder,
    *,
    after: EventId | None,
    before: EventId | None,
    newest: bool = False,
    limit: int,
) -> list[Said]:
    """Events of every kind and branch by (time, id), oldest first; paged as `messages`."""
    last = _BEHIND_ALL if newest else None
    rows = table.by_time(
        after=None if after is None else _row(table, after).key,
        before=last if before is None else _row(table, before).key,
        limit=min(limit, PAGE_MAX),
    )
    return _read(table, rows)


def _read(table: ReadingOrder, rows: list[Row]) -> list[Said]:
    bodies = table.bodies(rows)
    return [
        Said(
            row.id,
            decode_event(bodies[row.key]),
            hlc_ms(row.time),
            row.position,
            row.tokens,
            row.rank == TOLD,
        )
        for row in rows
    ]


def find_row(table: ReadingOrder, event: EventId) -> Row:
    """The row of a message. NotFound if it does not stand in this order."""
    row = _row(table, event)
    _place(table, event)
    return row


def _row(table: ReadingOrder, event: EventId) -> Row:
    row = None
    if is_event_id(event):
        row = table.by_ids([id_bytes(event)]).get(id_bytes(event))
    if row is None:
        raise NotFound(f"the context has no event {event}", hint="use an id that history gave")
    return row


def _place(table: ReadingOrder, event: EventId) -> int:
    row = _row(table, event)
    if row.place is None and row.digest is not None:
        # An import known under several ids stands at the least of them.
        row = next(
            (r for r in table.by_classes([row.digest])[row.digest] if r.place is not None), row
        )
    if row.place is None:
        raise NotFound(f"event {event} is no message of this branch", hint="use events()")
    return row.place

"""Reading the newest messages of a context from its index, for views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from weft_engine.events.codec import decode_event
from weft_engine.events.event import Config, Message
from weft_engine.events.row import KINDS, PREAMBLE_ROLES, Row
from weft_engine.names import EventId
from weft_engine.storage.lineage import ReadingOrder
from weft_engine.views.entry import Entry

_CONFIG: Final = KINDS[Config]
_MARGIN: Final = 12
_CHUNK: Final = 128


def head_rows(table: ReadingOrder) -> list[Row]:
    """The system and developer messages that lead the reading order."""
    found: list[Row] = []
    limit = 4
    while True:
        last = found[-1].place if found else None
        rows = table.oldest(after=last, limit=limit)
        for row in rows:
            if row.role not in PREAMBLE_ROLES:
                return found
            found.append(row)
        if len(rows) < limit:
            return found
        limit *= 4


def tail_rows(
    table: ReadingOrder, *, after: int | None, tokens: int, rows: int
) -> tuple[list[Row], bool]:
    """The newest messages behind the place `after`, oldest first: as many as it takes for more
    than `tokens` and for `rows` of them, and a few more; and whether these are all."""
    found: list[Row] = []
    spare = _MARGIN
    for row in table.newest(chunk=_CHUNK):
        if after is not None and row.place is not None and row.place <= after:
            break
        if tokens < 0 and len(found) >= rows:
            spare -= 1
            if spare < 0:
                return found[::-1], False
        tokens -= row.tokens or 0
        found.append(row)
    return found[::-1], True


def entries(table: ReadingOrder, rows: Sequence[Row]) -> list[Entry]:
    """The messages of these rows, read from the journal."""
    bodies = table.bodies(rows)
    found: list[Entry] = []
    for row in rows:
        event = decode_event(bodies[row.key])
        assert isinstance(event.body, Message)
        found.append(Entry(row.id, event.body, event.author, row.time, row.tokens or 0))
    return found


def configs(table: ReadingOrder) -> list[tuple[EventId, Config]]:
    """The config events that hold for a branch, by (time, id)."""
    rows = table.of_kind(_CONFIG)
    bodies = table.bodies(rows)
    found: list[tuple[EventId, Config]] = []
    for row in rows:
        body = decode_event(bodies[row.key]).body
        assert isinstance(body, Config)
        found.append((row.id, body))
    return found

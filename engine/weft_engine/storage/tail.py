"""Reading the newest messages of a context from its index, for views."""

from __future__ import annotations

from collections.abc import Sequence

from weft_engine.events.codec import decode_event
from weft_engine.events.event import Config, Message
from weft_engine.events.row import PREAMBLE_ROLES, Row
from weft_engine.names import EventId
from weft_engine.storage.lineage import ReadingOrder
from weft_engine.storage.stated import load_standing, stated
from weft_engine.views.entry import Entry


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
    found: list[tuple[EventId, Config]] = []
    for one in stated(table, Config, load_standing(table)):
        assert isinstance(one.event.body, Config)
        found.append((one.id, one.event.body))
    return found

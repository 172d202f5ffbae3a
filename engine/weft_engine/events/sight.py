"""Whether a generation had seen everything before it, so that it comes last and is a waist.

What it had not seen need not matter: pieces of streams, its own above all, edits of notes and what
is said on other branches say nothing in the order of its branch.
Must never know: SQL, how an order is made.
"""

from __future__ import annotations

from collections.abc import Sequence

from weft_engine.events.event import Event
from weft_engine.events.line_order import NOTHING, LineOrder
from weft_engine.events.row import ASSISTANT, Row
from weft_engine.events.table import Journaled, Table
from weft_engine.names import Position, RecordHash
from weft_engine.records.frontier import Frontier


def has_seen_all(
    table: Table,
    order: LineOrder | None,
    row: Row,
    event: Event,
    journaled: Journaled,
    frontier: Frontier,
) -> bool:
    """Of a generation, whose branch has that order: whether its record has all in its past that was
    folded before (`frontier`), and itself all of it that says something there. Earlier events of
    its own record count as seen anyway. For other messages, and where an order is being made anew,
    nobody needs to know: False."""
    if row.role != ASSISTANT or order is None or not order.is_settled_now:
        return False
    if not set(frontier).issubset(journaled.record.envelope.parents):
        return False
    return (
        event.seen is None
        or set(frontier).issubset(event.seen)
        or _says_all(table, order, event.seen, row.position)
    )


def _says_all(table: Table, order: LineOrder, seen: Sequence[RecordHash], before: Position) -> bool:
    """Whether all that stands in the order is in these records or their past. Up to the last waist
    it is enough that they have that one: its record has all before it in its past. (What a waist
    of the same record had seen says nothing about those that follow it there.)"""
    waist = next((row for row in order.waists_back(to=None) if row.position < before), None)
    place = NOTHING if waist is None or waist.place is None else waist.place
    wanted = {row.position for row in order.placed_behind(place)}
    if waist is not None:
        wanted.add(waist.position)
    wanted.discard(before)
    if not wanted:
        return True
    past = set(seen)
    for link in reversed(table.links(min(wanted), Position(before - 1))):
        if link.hash in past:
            past.update(link.parents)
        elif link.position in wanted:
            return False
    return True

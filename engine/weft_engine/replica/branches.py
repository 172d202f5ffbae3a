"""Branches for people: where one leaves its parent, and which there are.

Must never know: how branches are ordered and stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from weft_engine.errors import NotFound
from weft_engine.events.candidate import candidates
from weft_engine.events.codec import decode_event
from weft_engine.events.event import Branch, Close, Event, Message, Revoke
from weft_engine.events.row import KINDS, Row, branch_id
from weft_engine.events.standing import Standing
from weft_engine.names import EventId, RecordHash, is_event_id
from weft_engine.records.clock import hlc_ms
from weft_engine.records.frontier import Frontier
from weft_engine.replica.history import find_row
from weft_engine.replica.targets import find_closes
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.lineage import Lineage, ReadingOrder
from weft_engine.storage.stated import load_standing
from weft_engine.yjs.reader import read_update

_CLOSE: Final = KINDS[Close]
_REVOKE: Final = KINDS[Revoke]


@dataclass(frozen=True, slots=True)
class BranchInfo:
    """A branch of a context. Two may bear one name; the id counts. `parent` None is main;
    `time_ms`: milliseconds since 1970, by its writer's clock; `messages`: those written on it;
    `closed`: the reason it was closed for, empty if none was given, None if it is open; `revoked`:
    whether its beginning was taken back: then it is set aside. What was said on it stays readable,
    nothing more can be written on it, and revoking the revoke brings it back."""

    id: EventId
    name: str
    parent: EventId | None
    time_ms: int
    author: str
    messages: int
    closed: str | None
    revoked: bool


@dataclass(frozen=True, slots=True)
class Cut:
    """What a branch shares with its parent: the fields ``from`` and ``upto`` of its event."""

    frontier: Frontier
    upto: EventId | None = None


def branches(table: EventTable) -> list[BranchInfo]:
    """The branches of a context that stand, by (time, id)."""
    rows = [row for row in table.of_kind_anywhere(KINDS[Branch]) if table.line(row.identity)]
    bodies = table.bodies(rows)
    ends = _Ends(table)
    found: list[BranchInfo] = []
    for row in rows:
        event = decode_event(bodies[row.key])
        assert isinstance(event.body, Branch)
        found.append(
            BranchInfo(
                row.id,
                event.body.name,
                event.branch,
                hlc_ms(row.time),
                event.author,
                table.written_on(row.identity),
                ends.closed(row),
                ends.revoked(row),
            )
        )
    return found


def up_to(table: EventTable, order: ReadingOrder, event: EventId) -> Cut:
    """All that `event` had in its past, and itself. NotFound if it is no message of `order`."""
    row = find_row(order, event)
    held_by = table.journaled(row.position).record
    behind = any(key > event for key in _ids(held_by.payload))
    return Cut((held_by.hash,), event if behind else None)


def before_event(table: EventTable, order: ReadingOrder, event: EventId) -> Cut:
    """What the author of `event` had seen. NotFound if it is no message of `order`."""
    row = find_row(order, event)
    held_by = table.journaled(row.position).record
    earlier = [key for key in _ids(held_by.payload) if key < event]
    if earlier:
        return Cut((held_by.hash,), max(earlier))
    seen = table.event(row).seen
    return Cut(_ascending(held_by.envelope.parents) if seen is None else seen)


def message_of(order: ReadingOrder, event: EventId) -> Message:
    """NotFound if it is no message of `order`."""
    body = order.event(find_row(order, event)).body
    if not isinstance(body, Message):
        raise NotFound(f"event {event} is no message", hint="use an id that history() gave")
    return body


class _Ends:
    """What closes and revokes make of branches. Of those that nothing names nothing is read."""

    def __init__(self, table: EventTable) -> None:
        self._table = table
        self._closed = {row.branch for row in table.of_kind_anywhere(_CLOSE)}
        self._revoked_on = {row.branch for row in table.of_kind_anywhere(_REVOKE)}
        self._standing: dict[bytes, Standing] = {}

    def closed(self, row: Row) -> str | None:
        if row.identity not in self._closed:
            return None
        closes = find_closes(Lineage(self._table, row.id), row.id)
        return (closes[-1][1] or "") if closes else None

    def revoked(self, row: Row) -> bool:
        """On the branch that it is from, or a branch that this is from."""
        if not self._revoked_on:
            return False
        standing = self._standing.get(row.branch)
        if standing is None:
            order = Lineage(self._table, branch_id(row.branch))
            standing = self._standing[row.branch] = load_standing(order)
        return not standing.stands(row.key, row.id)


def _ids(payload: bytes) -> list[EventId]:
    """The ids of the events in a record."""
    return [
        EventId(candidate.key)
        for candidate in candidates(read_update(payload))
        if is_event_id(candidate.key)
    ]


def _ascending(hashes: Iterable[RecordHash]) -> Frontier:
    return tuple(sorted(hashes))


def begin(name: str, cut: Cut, *, author: str, parent: EventId | None) -> Event:
    """The event of a new branch."""
    return Event(author, Branch(name, cut.frontier, cut.upto), branch=parent)

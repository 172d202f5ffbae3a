"""What pins, hides and revokes are about: found in the event index before one is written.

Only what is written here is checked. What arrives has effect or none, whatever it names. Must
never know: views.
"""

from __future__ import annotations

from typing import Final

from weft_engine.errors import Conflict, NotFound
from weft_engine.events.event import Body, Close, Hide, Pin
from weft_engine.events.row import KINDS, MESSAGE, Row, branch_id, event_id_of, id_bytes
from weft_engine.limits import CLOCK_SKEW_MS_MAX
from weft_engine.names import EventId, is_event_id
from weft_engine.records.clock import hlc_ms
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.lineage import Lineage, ReadingOrder
from weft_engine.storage.marks import shown_ids
from weft_engine.storage.stated import EventMemo, load_standing, stated

_REVOCABLE: Final = (
    "revoke takes back pins, hides, facts, summaries, closes, branches, configs, revokes"
)


def find_message(order: ReadingOrder | None, event: EventId) -> EventId:
    """The id that the message is shown under. NotFound if the branch has no such message."""
    row = _find(order, event)
    assert order is not None
    if row.kind != MESSAGE:
        raise NotFound(f"event {event} is no message", hint="give the id of a message")
    shown = shown_ids(order, [event]).get(event)
    if shown is None:
        raise _not_here(event)
    return shown


def find_revocable(order: ReadingOrder | None, event: EventId, now_ms: int) -> EventId:
    """`event`, if a revoke that is written now on this branch takes it back there. NotFound for
    what is not there or has no effect on the branch, or is a message; Conflict for what is dated in
    the future, because a revoke must be the later one."""
    row = _find(order, event)
    assert order is not None
    if row.kind == MESSAGE:
        raise NotFound(f"event {event} is a message: hide it", hint=_REVOCABLE)
    if not order.includes(row):
        raise _not_here(event)
    # Our clock goes on behind all that we have seen, unless that is too far off.
    if hlc_ms(row.time) > now_ms + CLOCK_SKEW_MS_MAX:
        raise Conflict(
            f"event {event} is dated in the future: a revoke counts if it is the later of the two",
            hint="a fact can be replaced at once; anything else waits until that time has come",
        )
    return event


def find_marks(
    order: ReadingOrder, kind: type[Pin] | type[Hide], target: EventId, memo: EventMemo
) -> list[EventId]:
    """The standing pins or hides of a message, under whichever of its ids."""
    marks = list(stated(order, kind, load_standing(order), memo))
    shown = shown_ids(order, {_target(one.event.body) for one in marks})
    return [one.id for one in marks if shown.get(_target(one.event.body)) == target]


def find_closes(order: ReadingOrder, branch: EventId | None) -> list[tuple[EventId, str | None]]:
    """The standing close events of a branch itself, oldest first, with their reasons. Those of the
    branches it came from don't close it: so one goes on from what is closed by branching off."""
    found = []
    for one in stated(order, Close, load_standing(order)):
        if one.event.branch == branch and isinstance(one.event.body, Close):
            found.append((one.id, one.event.body.reason))
    return found


def find_ends(
    table: EventTable, branch: EventId | None
) -> tuple[list[tuple[EventId, str | None]], EventId | None]:
    """What ends a branch: the standing closes, and the revoke that took its beginning back."""
    closes = find_closes(Lineage(table, branch), branch)
    if branch is None:
        return closes, None
    row = table.by_ids([id_bytes(branch)])[id_bytes(branch)]
    standing = load_standing(Lineage(table, branch_id(row.branch)))
    revoked_by = standing.revoked_by(row.key, row.id)
    return closes, None if revoked_by is None else event_id_of(revoked_by[8:])


def _find(order: ReadingOrder | None, event: EventId) -> Row:
    row = None
    if order is not None and is_event_id(event):
        row = order.by_ids([id_bytes(event)]).get(id_bytes(event))
    if row is None or row.kind not in KINDS.values():
        raise NotFound(f"the context has no event {event}", hint="use an id that history gave")
    return row


def _not_here(event: EventId) -> NotFound:
    return NotFound(
        f"event {event} is on another branch", hint="ask the context of that: on(branch id)"
    )


def _target(body: Body) -> EventId:
    assert isinstance(body, (Pin, Hide))
    return body.target

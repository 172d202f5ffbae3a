"""What pins, hides and revokes are about: found in the event index before one is written.

Only what is written here is checked. What arrives has effect or none, whatever it names. Must
never know: views.
"""

from __future__ import annotations

from typing import Final

from weft_engine.errors import Conflict, NotFound
from weft_engine.events.event import Body, Close, Hide, Pin
from weft_engine.events.row import KINDS, MESSAGE, Row, id_bytes
from weft_engine.limits import CLOCK_SKEW_MS_MAX
from weft_engine.names import EventId, is_event_id
from weft_engine.records.clock import hlc_ms
from weft_engine.storage.marks import (
    Includes,
    MarkTable,
    load_standing,
    on_main,
    shown_ids,
    stated,
)

_REVOCABLE: Final = (
    "revoke takes back pins, hides, facts, summaries, closes, branches, configs, revokes"
)


def find_message(table: MarkTable | None, event: EventId) -> EventId:
    """The id that the message is shown under. NotFound if there is no such message."""
    row = _find(table, event)
    assert table is not None
    if row.kind != MESSAGE:
        raise NotFound(f"event {event} is no message", hint="give the id of a message")
    return shown_ids(table, [event])[event]


def find_revocable(table: MarkTable | None, event: EventId, now_ms: int) -> EventId:
    """`event`, if a revoke that is written now takes it back. NotFound for what is not there or is
    a message; Conflict for what is dated in the future, because a revoke must be the later one."""
    row = _find(table, event)
    if row.kind == MESSAGE:
        raise NotFound(f"event {event} is a message: hide it", hint=_REVOCABLE)
    # Our clock goes on behind all that we have seen, unless that is too far off.
    if hlc_ms(row.time) > now_ms + CLOCK_SKEW_MS_MAX:
        raise Conflict(
            f"event {event} is dated in the future: a revoke counts if it is the later of the two",
            hint="a fact can be replaced at once; anything else waits until that time has come",
        )
    return event


def find_marks(
    table: MarkTable, kind: type[Pin] | type[Hide], target: EventId, includes: Includes = on_main
) -> list[EventId]:
    """The standing pins or hides of a message, under whichever of its ids."""
    found = []
    standing = load_standing(table, includes)
    marks = list(stated(table, kind, standing, includes))
    shown = shown_ids(table, {_target(one.event.body) for one in marks})
    for one in marks:
        if shown.get(_target(one.event.body)) == target:
            found.append(one.id)
    return found


def find_closes(
    table: MarkTable, branch: EventId | None, includes: Includes = on_main
) -> list[tuple[EventId, str | None]]:
    """The standing close events of a branch itself, oldest first, with their reasons. Those of the
    branches it came from don't close it: so one goes on from what is closed by branching off."""
    found = []
    for one in stated(table, Close, load_standing(table, includes), includes):
        if one.event.branch == branch and isinstance(one.event.body, Close):
            found.append((one.id, one.event.body.reason))
    return found


def _find(table: MarkTable | None, event: EventId) -> Row:
    row = None
    if table is not None and is_event_id(event):
        row = table.by_ids([id_bytes(event)]).get(id_bytes(event))
    if row is None or row.kind not in KINDS.values():
        raise NotFound(f"the context has no event {event}", hint="use an id that events() gave")
    return row


def _target(body: Body) -> EventId:
    assert isinstance(body, (Pin, Hide))
    return body.target

"""What two views of a context need to know to be compared, read at their cuts.

Must never know: how a difference is worded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from weft_engine.errors import CallerError
from weft_engine.events.codec import decode_event
from weft_engine.events.event import Message
from weft_engine.events.row import id_bytes
from weft_engine.names import EventId
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.lineage import Lineage
from weft_engine.storage.reading import ContextState
from weft_engine.views.comparison import Difference, Known, Side, compare, look_up
from weft_engine.views.receipt import Receipt
from weft_engine.views.shown import Shown
from weft_engine.views.view import View

if TYPE_CHECKING:
    from weft_engine.replica.replica import Replica


@dataclass(frozen=True, slots=True)
class Explained:
    """Two views, what is different between them, and the messages that this is about."""

    a: Side
    b: Side
    differences: tuple[Difference, ...]
    said: Mapping[EventId, Message]

    def same(self) -> int:
        """How many messages are shown the same in both."""
        both = _ids(self.a.shown) & _ids(self.b.shown)
        return len(both - {difference.id for difference in self.differences})


async def explain(
    replica: Replica, a: Receipt, b: Receipt, *, event: EventId | None = None
) -> Explained:
    """Replay both receipts and compare the views; only `event`, if one is asked about.

    CallerError if they are of different contexts, or if `event` is no message of theirs; and what
    `Context.replay` raises.
    """
    if a.context != b.context:
        raise CallerError(
            f"one receipt is of context {a.context!r}, the other of {b.context!r}",
            hint="compare two views of one context",
        )
    context = replica.context(a.context)
    views = [await context.replay(receipt) for receipt in (a, b)]
    wanted = {*views[0].ids, *views[1].ids, *([event] if event else [])}
    erased = frozenset(
        id_ for row in await replica.erasing.all() if row.context == a.context for id_ in row.events
    )
    sides: list[Side] = []
    said: dict[EventId, Message] = {}
    for view in views:
        side, found = await replica.ask_at(
            view.context, view.cut, partial(_look, view=view, wanted=wanted, erased=erased)
        )
        sides.append(side)
        said |= found
    if event is None:
        return Explained(sides[0], sides[1], tuple(compare(*sides)), said)
    if event not in said and event not in erased:
        raise CallerError(
            f"{event} is no message of {a.context!r} at either view",
            hint="weft history shows the messages with their ids",
        )
    return Explained(sides[0], sides[1], (look_up(event, *sides),), said)


def _look(
    table: EventTable,
    _: ContextState,
    *,
    view: View,
    wanted: Collection[EventId],
    erased: frozenset[EventId],
) -> tuple[Side, dict[EventId, Message]]:
    order = Lineage(table, view.spec.branch)
    marks = view.shape.marks
    if marks.summary is not None:
        wanted = {*wanted, marks.summary.last}
    placed = [row for row in order.by_ids(map(id_bytes, wanted)).values() if row.place is not None]
    rows = {row.id: row for row in placed}
    side = Side(
        spec=view.spec,
        cut=view.cut,
        used_tokens=view.used_tokens,
        shown=view.shown,
        known={
            row.id: Known(row.place, row.tokens or 0) for row in placed if row.place is not None
        },
        total=order.placed(),
        hidden=marks.hidden,
        summary=marks.summary,
        erased=erased,
    )
    bodies = order.bodies(placed)
    said: dict[EventId, Message] = {}
    for id_, row in rows.items():
        body = decode_event(bodies[row.key]).body
        assert isinstance(body, Message)
        said[id_] = body
    return side, said


def _ids(shown: Sequence[Shown]) -> set[EventId]:
    return {id_ for one in shown for id_ in one.ids}

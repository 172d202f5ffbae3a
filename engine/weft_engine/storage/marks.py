"""Reading from the order of a branch what events beside the messages amount to there: pins, hides,
facts, the summary that stands.

Who makes views keeps the answer until one more of them comes. Must never know: budgets, windows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from weft_engine.events.event import Close, Fact, Hide, Message, Pin, Role
from weft_engine.events.facts import FactBook, SaidFact
from weft_engine.events.part import Result
from weft_engine.events.row import MESSAGE, ROLES, id_bytes
from weft_engine.events.standing import Standing
from weft_engine.names import EventId
from weft_engine.storage.lineage import ReadingOrder
from weft_engine.storage.stated import (
    EventMemo,
    MarkTable,
    Stated,
    decoded,
    load_standing,
    stated,
)
from weft_engine.storage.summaries import standing_summary
from weft_engine.views.marks import Marks, StandingPin

_TOOL: Final = ROLES[Role.TOOL]


def load_marks(order: ReadingOrder, *, memo: EventMemo | None = None) -> Marks:
    """All that stands in a branch, at the cut that its order is of. Pins and hides of imported
    messages name the id that they are shown under; those of a tool result, beside it, the message
    with the call, for both go together. What is no message of the branch is left out."""
    standing = load_standing(order)
    pins = list(stated(order, Pin, standing))
    hides = list(stated(order, Hide, standing))
    shown = shown_ids(order, {_target(one) for one in (*pins, *hides)})
    callers = _callers(order, set(shown.values()))
    first_pins: dict[EventId, StandingPin] = {}
    for one in pins:
        for target in _meant(_target(one), shown, callers):
            first_pins.setdefault(target, StandingPin(one.key, target))
    hidden: dict[EventId, EventId] = {}
    for one in hides:
        for target in _meant(_target(one), shown, callers):
            hidden.setdefault(target, one.id)
    return Marks(
        pins=tuple(first_pins.values()),
        hidden=hidden,
        book=FactBook(load_facts(order, standing, memo)),
        summary=standing_summary(order, standing),
        closes=tuple(one.key for one in stated(order, Close, standing)),
        standing=standing,
    )


def load_facts(
    table: MarkTable, standing: Standing, memo: EventMemo | None = None
) -> list[SaidFact]:
    """The facts that are not revoked, by (time, id)."""
    said = []
    for one in stated(table, Fact, standing, memo):
        assert isinstance(one.event.body, Fact)
        said.append(SaidFact(one.key, one.id, one.event.body))
    return said


def hidden_ids(order: ReadingOrder) -> frozenset[EventId]:
    """The messages that hides of a branch name, under the ids they are shown by."""
    targets = {_target(one) for one in stated(order, Hide, load_standing(order))}
    return frozenset(shown_ids(order, targets).values())


def shown_ids(table: MarkTable, targets: Collection[EventId]) -> dict[EventId, EventId]:
    """The ids under which messages are shown: of an import known under several ids, the least.
    What is no message of the branch is left out."""
    rows = table.by_ids([id_bytes(target) for target in sorted(targets)])
    shown: dict[EventId, EventId] = {}
    for row in rows.values():
        if row.kind != MESSAGE:
            continue
        if row.place is not None:
            shown[row.id] = row.id
        elif row.digest is not None:
            members = table.by_classes([row.digest]).get(row.digest, ())
            for member in members:
                if member.place is not None:
                    shown[row.id] = member.id
    return shown


def _callers(table: MarkTable, messages: Collection[EventId]) -> dict[EventId, EventId]:
    """Of those that are tool results, the messages whose calls they name first."""
    rows = [
        row
        for row in table.by_ids([id_bytes(message) for message in sorted(messages)]).values()
        if row.role == _TOOL
    ]
    called: dict[EventId, EventId] = {}
    for row, event in decoded(table, rows):
        assert isinstance(event.body, Message)
        named = [part.call for part in event.body.parts if isinstance(part, Result) and part.call]
        if named:
            called[row.id] = named[0].event
    shown = shown_ids(table, set(called.values()))
    return {id_: shown[caller] for id_, caller in called.items() if caller in shown}


def _meant(
    target: EventId, shown: Mapping[EventId, EventId], callers: Mapping[EventId, EventId]
) -> list[EventId]:
    id_ = shown.get(target)
    if id_ is None:
        return []
    return [id_, callers[id_]] if id_ in callers else [id_]


def _target(one: Stated) -> EventId:
    body = one.event.body
    assert isinstance(body, (Pin, Hide))
    return body.target

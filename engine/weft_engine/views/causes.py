"""Why a view does not begin as the one before it did.

Must never know: how views are built, which view was before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from weft_engine.names import EventId
from weft_engine.views.marks import Marks
from weft_engine.views.shown import Rule
from weft_engine.views.spec import ViewSpec
from weft_engine.views.unit import Unit


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a view tells why it changed: `units`, of which the window's begin at `window`;
    `start`: the first entry of the window."""

    spec: ViewSpec
    marks: Marks
    units: tuple[Unit, ...]
    window: int
    start: EventId | None


def causes(before: Shape, after: Shape) -> tuple[str, ...]:
    """Empty if what `before` sends is the beginning of what `after` sends; else at least one of:
    spec, tools, summary, hide, pin, facts, close, revoke, step, result, skipped, late message,
    erased, order. Tools that take more than is reserved are told in any case."""
    found: list[str] = []
    if before.spec.surplus != after.spec.surplus:
        found.append("tools")
    if begins(before.units, after.units):
        return tuple(found)
    if _lasting(before.spec) != _lasting(after.spec):
        found.append("spec")
    found.extend(_marks(before.marks, after.marks))
    if before.start == after.start or (not found and _is_back(before, after)):
        found.extend(_window(before, after))
    else:
        found.append("step")
    return tuple(dict.fromkeys(found)) or ("order",)


def begins(before: tuple[Unit, ...], after: tuple[Unit, ...]) -> bool:
    """Whether what `before` sends is the beginning of what `after` sends."""
    if before == after[: len(before)]:
        return True
    said = _says(before)
    return said == _says(after)[: len(said)]


def _says(units: Iterable[Unit]) -> list[bytes]:
    return [said for unit in units for piece in unit.pieces if (said := piece.sent())]


def _lasting(spec: ViewSpec) -> ViewSpec:
    return replace(spec, surplus=0, tools=None)


def _marks(before: Marks, after: Marks) -> Iterable[str]:
    if before.summary != after.summary:
        yield "revoke" if after.summary is None else "summary"
    if not after.hidden.keys() <= before.hidden.keys():
        yield "hide"
    if not set(after.pins) <= set(before.pins):
        yield "pin"
    if before.facts != after.facts:
        yield "facts"
    if before.closes != after.closes:
        yield "close"
    if not (before.hidden.keys() <= after.hidden.keys() and set(before.pins) <= set(after.pins)):
        yield "revoke"


def _window(before: Shape, after: Shape) -> Iterable[str]:
    old, new = _by_id(before), _by_id(after)
    known = {id_ for unit in old.values() for id_ in unit.ids}
    still = {id_ for unit in new.values() for id_ in unit.ids}
    last = max((place for place, id_ in enumerate(new) if id_ in known), default=-1)
    for place, (id_, unit) in enumerate(new.items()):
        was = old.get(id_)
        if was is None:
            if place < last and id_ not in known and id_ not in before.marks.hidden:
                yield "late message"
        elif _says([was]) != _says([unit]):
            if Rule.SKIPPED in unit.rules and Rule.SKIPPED not in was.rules:
                yield "skipped"
            elif Rule.INTERRUPTED in was.rules and len(unit.ids) > len(was.ids):
                yield "result"
            else:
                yield "order"
    hidden = after.marks.hidden
    shown = {id_ for first, unit in old.items() if first not in hidden for id_ in unit.ids}
    if any(id_ not in still and id_ not in hidden for id_ in shown):
        yield "erased"


def _is_back(before: Shape, after: Shape) -> bool:
    """Whether the window begins earlier than it did."""
    units = after.units[after.window :]
    return any(before.start in unit.ids for unit in units)


def _by_id(shape: Shape) -> Mapping[EventId, Unit]:
    return {unit.ids[0]: unit for unit in shape.units[shape.window :] if unit.ids}

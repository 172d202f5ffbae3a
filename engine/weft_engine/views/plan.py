"""The plan of a view: its head, and how the rest of the budget is divided.

Must never know: what stands behind the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weft_engine.errors import BudgetTooSmall
from weft_engine.views.all_policies import find_policy
from weft_engine.views.cache import Shelf
from weft_engine.views.count import VIEW_TOKENS
from weft_engine.views.entry import Entry
from weft_engine.views.policy import UNEDITED, Policy
from weft_engine.views.remark import notices
from weft_engine.views.room import Grid, Room
from weft_engine.views.source import Source
from weft_engine.views.spec import ViewSpec
from weft_engine.views.unit import Unit
from weft_engine.views.walk import Walk
from weft_engine.views.window import Terms


@dataclass(frozen=True, slots=True)
class Plan:
    """`top`: the units of the head, of `top_tokens` with the 3 for the view."""

    spec: ViewSpec
    shelf: Shelf
    policy: Policy
    top: tuple[Unit, ...]
    top_tokens: int
    room: Room
    grid: Grid
    terms: Terms

    @staticmethod
    def of(source: Source, spec: ViewSpec, shelf: Shelf) -> Plan:
        policy = find_policy(spec.policy)
        top = units_of(source.head, shelf)
        top_tokens = VIEW_TOKENS + sum(unit.tokens for unit in top)
        # By what is configured to be reserved: tools that need more shift no milestone.
        left = spec.budget - spec.reserved - top_tokens
        if left - spec.surplus < 0:
            raise _no_room(spec, top, top_tokens)
        room = Room.of(left, policy.allowance_divisor)
        marks, window = source.marks, room.window - spec.surplus
        if window < 0:
            raise _no_room(spec, (), spec.surplus)
        told, untold = notices(marks.book, window, shelf)
        terms = Terms(
            shelf=shelf,
            policy=policy,
            room=window,
            limit=policy.limit,
            hidden=marks.hidden,
            spare=room.allowance,
            late=frozenset() if marks.summary is None else marks.summary.late,
            notices=told,
            untold=untold,
        )
        grid = Grid(room.window, policy.limit)
        return Plan(spec, shelf, policy, top, top_tokens, room, grid, terms)


def grid_of(head: Sequence[Entry], spec: ViewSpec, shelf: Shelf) -> Grid:
    """What the milestones of views by `spec` are laid by behind this head. Raises as `build`."""
    return Plan.of(Source(list(head), []), spec, shelf).grid


def units_of(entries: Sequence[Entry], shelf: Shelf) -> tuple[Unit, ...]:
    """Entries on their own, as units."""
    walk = Walk(shelf)
    for entry in entries:
        walk.add(entry)
    return tuple(slot.unit(UNEDITED) for slot in walk.slots)


def _no_room(spec: ViewSpec, top: Sequence[Unit], needed: int) -> BudgetTooSmall:
    reserved = spec.reserved + spec.surplus
    if not top:
        return BudgetTooSmall(
            needed=spec.reserved + needed, budget=spec.budget, culprit="what is reserved"
        )
    culprit = max(top, key=lambda unit: unit.tokens).label
    return BudgetTooSmall(needed=needed, budget=spec.budget - reserved, culprit=culprit)

"""Comparing two views: each reason and each change, and laws of all of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_engine.names import EventId
from weft_engine.views.comparison import (
    Absent,
    Change,
    Difference,
    Known,
    Reason,
    Side,
    SpecChange,
    compare,
    look_up,
    spec_changes,
)
from weft_engine.views.marks import StandingSummary
from weft_engine.views.shown import Area, Rule, Shown
from weft_engine.views.spec import view_spec

SPEC = view_spec(budget=1_000)


def event(number: int) -> EventId:
    return EventId(f"{number:016x}-{'ab' * 16}")


def shown(
    *numbers: int, area: Area = Area.WINDOW, tokens: int = 10, rule: Rule | None = None
) -> Shown:
    rules = frozenset([] if rule is None else [rule])
    return Shown(ids=tuple(map(event, numbers)), area=area, tokens=tokens, rules=rules)


def side(*of: Shown, known: range | list[int] = range(10), **more: Any) -> Side:
    """A view of a history of messages 0 to 9, unless `known` says otherwise."""
    plain = Side(
        spec=SPEC,
        cut=(),
        used_tokens=3 + sum(one.tokens for one in of),
        shown=of,
        known={event(number): Known(place, 10) for place, number in enumerate(known)},
        total=len(known),
    )
    return replace(plain, **more)


def changes(differences: list[Difference]) -> list[tuple[EventId, Change]]:
    return [(difference.id, difference.change) for difference in differences]


def window(*numbers: int) -> list[Shown]:
    return [shown(number) for number in numbers]


# ---- why a message is not shown -----------------------------------------------------------------

SUMMARY = StandingSummary(
    key=bytes(32), id=event(99), text="", count=4, last=event(4), late=frozenset({event(3)})
)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (side(*window(5, 6)), Absent(Reason.BEFORE_WINDOW, event(5))),
        (side(), Absent(Reason.BEFORE_WINDOW, None)),
        (side(shown(0, area=Area.HEAD)), Absent(Reason.BEFORE_WINDOW, None)),
        (side(shown(0, area=Area.PREAMBLE), *window(5)), Absent(Reason.BEFORE_WINDOW, event(5))),
        (side(*window(2, 6)), Absent(Reason.POLICY)),
        (side(*window(5), hidden={event(4): event(50)}), Absent(Reason.HIDDEN, event(50))),
        (side(*window(5), summary=SUMMARY), Absent(Reason.SUMMARISED, event(99))),
        (
            side(*window(5), summary=SUMMARY, hidden={event(4): event(50)}),
            Absent(Reason.HIDDEN, event(50)),
        ),
        (
            side(*window(5), summary=replace(SUMMARY, last=event(3))),
            Absent(Reason.BEFORE_WINDOW, event(5)),
        ),
        (
            side(*window(5), summary=replace(SUMMARY, late=frozenset({event(4)}))),
            Absent(Reason.BEFORE_WINDOW, event(5)),
        ),
        (side(*window(5), known=[5, 6]), Absent(Reason.NOT_YET)),
        (side(*window(5), known=[5, 6], erased=frozenset({event(4)})), Absent(Reason.ERASED)),
    ],
)
def test_the_reason_why_one_is_missing(other: Side, expected: Absent) -> None:
    full = side(*window(4))
    by_id = {one.id: one for one in compare(full, other)}
    assert by_id[event(4)].change is Change.DROPPED
    assert by_id[event(4)].b == expected
    back = {one.id: one for one in compare(other, full)}
    assert back[event(4)].change is Change.ADDED
    assert back[event(4)].a == expected


def test_the_window_begins_at_its_oldest_message_wherever_it_stands() -> None:
    # A result stands with its call, in front of what was said before it.
    late_result = side(shown(2, 8), *window(5, 6))
    assert late_result.window_start() == event(2)
    assert side(shown(9, area=Area.PREAMBLE)).window_start() is None


# ---- what became of a message -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (window(4, 5), window(4, 5), []),
        (window(4, 5), window(5), [(event(4), Change.DROPPED)]),
        (window(5), window(4, 5), [(event(4), Change.ADDED)]),
        (window(4), [shown(4, tokens=5, rule=Rule.SHORTENED)], [(event(4), Change.CHANGED)]),
        (window(4), [shown(4, rule=Rule.SKIPPED)], [(event(4), Change.CHANGED)]),
        (window(4), [shown(4, tokens=11)], [(event(4), Change.CHANGED)]),
        (window(4), [shown(4, area=Area.PREAMBLE, rule=Rule.PINNED)], [(event(4), Change.CHANGED)]),
        (window(4, 5, 6), window(6, 4, 5), [(event(6), Change.MOVED)]),
        (window(4, 5, 6), window(5, 6, 4), [(event(4), Change.MOVED)]),
        (
            [shown(4)],
            [shown(4, 5, tokens=20)],
            [(event(4), Change.CHANGED), (event(5), Change.ADDED)],
        ),
        # Pinned and in the window as well: it is as it was said.
        (window(4), [shown(4, area=Area.PREAMBLE, rule=Rule.PINNED), shown(4)], []),
        (
            window(3, 4),
            [shown(4, area=Area.PREAMBLE, rule=Rule.PINNED), shown(3), shown(4)],
            [],
        ),
        # Our own remarks are no messages.
        (window(4), [shown(area=Area.PREAMBLE, rule=Rule.FACTS), shown(4)], []),
    ],
)
def test_the_changes(
    a: list[Shown], b: list[Shown], expected: list[tuple[EventId, Change]]
) -> None:
    assert changes(compare(side(*a), side(*b))) == expected


def test_they_come_in_the_order_of_the_later_reading() -> None:
    a = side(*window(7, 4), known=[4, 7])
    b = side(*window(5, 6), known=[6, 5, 4, 7])
    assert [one.id for one in compare(a, b)] == [event(6), event(5), event(4), event(7)]


def test_one_message_is_looked_up_whether_shown_or_not() -> None:
    a, b = side(*window(4, 5)), side(*window(5))
    assert look_up(event(4), a, b) == compare(a, b)[0]
    assert look_up(event(5), a, b).change is Change.SAME
    nowhere = look_up(event(1), a, b)
    assert nowhere.change is Change.ABSENT
    assert nowhere.a == Absent(Reason.BEFORE_WINDOW, event(4))
    assert nowhere.b == Absent(Reason.BEFORE_WINDOW, event(5))
    assert nowhere.tokens == 10
    assert look_up(event(77), a, b).tokens is None


def test_what_was_asked_otherwise() -> None:
    assert spec_changes(SPEC, SPEC) == []
    other = replace(SPEC, budget=2_000, as_of=5, branch=event(3))
    assert spec_changes(SPEC, other) == [
        SpecChange("as_of", None, 5),
        SpecChange("branch", None, event(3)),
        SpecChange("budget", 1_000, 2_000),
    ]


# ---- laws ---------------------------------------------------------------------------------------

MIRROR = {Change.DROPPED: Change.ADDED, Change.ADDED: Change.DROPPED}
one_shown = st.builds(
    shown,
    st.integers(0, 7),
    area=st.sampled_from(Area),
    tokens=st.sampled_from([5, 10]),
    rule=st.sampled_from([None, Rule.SHORTENED]),
)
views = st.lists(one_shown, max_size=7, unique_by=lambda one: one.ids).map(lambda some: side(*some))


@settings(max_examples=300, deadline=None)
@given(views, views)
def test_laws(a: Side, b: Side) -> None:
    assert compare(a, a) == []
    there, back = compare(a, b), compare(b, a)
    assert {one.id: MIRROR.get(one.change, one.change) for one in there}.keys() == {
        one.id for one in back if one.change is not Change.MOVED
    } | {one.id for one in there if one.change is Change.MOVED}
    for one in there:
        assert look_up(one.id, a, b) == one
        assert one.change not in (Change.SAME, Change.ABSENT)
    # What is not told apart is the same, in the same order; and no fewer could have moved.
    told = {one.id for one in there}
    kept_a, kept_b = ([one for one in s.shown if one.ids[0] not in told] for s in (a, b))
    assert kept_a == kept_b
    moved = [one.id for one in there if one.change is Change.MOVED]
    orders = [[one.ids[0] for one in s.shown] for s in (a, b)]
    both = set(orders[0]) & set(orders[1])
    orders = [[id_ for id_ in order if id_ in both] for order in orders]
    if moved:
        for fewer in combinations(sorted(both), len(moved) - 1):
            left = [[id_ for id_ in order if id_ not in fewer] for order in orders]
            assert left[0] != left[1] or any(one.change is Change.CHANGED for one in there)

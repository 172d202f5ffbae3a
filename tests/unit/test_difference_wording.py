"""Every reason, rule and change reads as a sentence."""

from __future__ import annotations

import pytest

from weft_engine.events.event import Message, Role
from weft_engine.events.part import Text
from weft_engine.names import EventId
from weft_engine.replica.explaining import Explained
from weft_engine.views.comparison import (
    Absent,
    Change,
    Difference,
    Known,
    Reason,
    Side,
    SpecChange,
    compare,
)
from weft_engine.views.shown import Area, Rule, Shown
from weft_engine.views.spec import view_spec
from weft_server.cli.difference_wording import (
    fate_text,
    group_title,
    grouped,
    mark,
    said_text,
    spec_text,
)

IDS = [EventId(f"{number:016x}-{'ab' * 16}") for number in range(5)]
BY = IDS[4]


def in_window(place: int, *rules: Rule, tokens: int = 1_500, area: Area = Area.WINDOW) -> Shown:
    return Shown(ids=(IDS[place],), area=area, tokens=tokens, rules=frozenset(rules))


def side(*shown: Shown) -> Side:
    return Side(
        spec=view_spec(budget=8_000),
        cut=(),
        used_tokens=0,
        shown=shown,
        known={id_: Known(place, 5_000) for place, id_ in enumerate(IDS)},
        total=len(IDS),
    )


SIDE = side(in_window(2))


def why(fate: Shown | Absent) -> str:
    difference = Difference(IDS[0], Change.CHANGED, fate, fate, tokens=5_000)
    return fate_text(fate, difference, SIDE)


@pytest.mark.parametrize(
    ("absent", "text"),
    [
        (Absent(Reason.ERASED), "it was erased"),
        (Absent(Reason.NOT_YET), "not said yet, or had not arrived"),
        (Absent(Reason.HIDDEN, BY), f"hidden by {BY}"),
        (Absent(Reason.SUMMARISED, BY), f"covered by the summary {BY}"),
        (
            Absent(Reason.BEFORE_WINDOW, BY),
            f"older than the window, which begins at {BY} and holds 1,500 tokens"
            " (budget 8,000, 1,000 of it reserved)",
        ),
        (Absent(Reason.BEFORE_WINDOW), "nothing of the history fits"),
        (Absent(Reason.POLICY), 'left out by the policy last_n {"limit":400}'),
    ],
)
def test_why_a_message_is_missing(absent: Absent, text: str) -> None:
    assert why(absent).startswith("not shown: ")
    assert text in why(absent)


def test_how_a_message_is_shown() -> None:
    assert why(in_window(0)) == "shown in the window, 1,500 tokens"
    cut = why(in_window(0, Rule.SHORTENED))
    assert "shortened from 5,000 to 1,500 tokens, its middle was left out" in cut
    pinned = why(in_window(0, Rule.PINNED, Rule.SHORTENED, area=Area.PREAMBLE))
    assert pinned.startswith("shown before the window, 1,500 tokens: shortened")
    assert pinned.endswith("it is pinned")
    group = why(Shown(ids=(IDS[0], IDS[1]), area=Area.WINDOW, tokens=9))
    assert group == "shown in the window together with its results, 9 tokens"


@pytest.mark.parametrize("rule", Rule)
def test_every_rule_has_words(rule: Rule) -> None:
    assert why(in_window(0, rule)) != why(in_window(0))


def test_what_was_forgotten_comes_first_and_one_kind_stands_together() -> None:
    a = side(in_window(0), in_window(1), in_window(2))
    b = side(in_window(2, Rule.SHORTENED, tokens=700), in_window(3))
    explained = Explained(a, b, tuple(compare(a, b)), {})
    groups = grouped(explained.differences)
    assert [(group[0].change.value, len(group)) for group in groups] == [
        ("dropped", 2),
        ("added", 1),
        ("changed", 1),
    ]
    assert [mark(group[0].change) for group in groups] == ["-", "+", "~"]
    dropped, added, changed = (group_title(group, explained) for group in groups)
    assert dropped.startswith("DROPPED 2 messages, 10,000 tokens: in B not shown: older than")
    assert added.startswith("ADDED 1 message, 5,000 tokens: in A not shown: left out by")
    assert changed.startswith("CHANGED 1 message, 5,000 tokens: in A shown in the window, 1,500")
    assert "in B shown in the window, 700 tokens: shortened from 5,000 to 700" in changed
    assert explained.same() == 0


def test_several_that_changed_alike_and_those_that_moved() -> None:
    a = side(in_window(0), in_window(1), in_window(2), in_window(3))
    b = side(in_window(3), in_window(0, Rule.PINNED), in_window(1, Rule.PINNED), in_window(2))
    explained = Explained(a, b, tuple(compare(a, b)), {})
    changed, moved = (group_title(group, explained) for group in grouped(explained.differences))
    assert changed == (
        "CHANGED 2 messages, 10,000 tokens: as it was said in the window in A,"
        " pinned in the window in B"
    )
    assert moved.startswith("MOVED 1 message, 5,000 tokens: the same in both")


def test_what_is_said_is_one_safe_line() -> None:
    said = Message(Role.USER, (Text("one\ntwo \x1b[31m" + "x" * 100),))
    assert said_text(said, full=False).startswith("user: one\\ntwo \\x1b[31mxxx")
    assert said_text(said, full=False).endswith("x…")
    assert said_text(said, full=True).endswith("x" * 100)
    assert said_text(None, full=False) == "(not here any more)"


def test_what_was_asked_otherwise() -> None:
    assert spec_text(SpecChange("budget", 8_000, 400)) == "budget: 8,000 in A, 400 in B"
    assert spec_text(SpecChange("tools", None, "ab")) == 'tools: none in A, "ab" in B'
    policy = spec_text(SpecChange("policy", {"name": "last_n"}, {"name": "decay"}))
    assert policy == 'policy: {"name": "last_n"} in A, {"name": "decay"} in B'

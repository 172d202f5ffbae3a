"""Policies of the application: what they are given, what they may answer, what is refused."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.preambles import call, entry, id_at, key_at, new_shelf, result, texts, units
from weft_engine.errors import CallerError, Conflict, InvalidMessage, PolicyBroken, PolicyMissing
from weft_engine.events.event import Criticality, Role
from weft_engine.views.custom_policy import Chosen, Custom, Selection, register_policy
from weft_engine.views.entry import Entry
from weft_engine.views.marks import Marks, StandingPin
from weft_engine.views.preamble import preamble
from weft_engine.views.recall import Moment
from weft_engine.views.shown import Rule
from weft_engine.views.unit import Unit

SHELF = new_shelf()
HISTORY = [
    entry(10, "one", crit=Criticality.IMPORTANT),
    entry(20, "two", role=Role.ASSISTANT),
    call(30),
    result(40, 30, "found"),
    entry(50, "three"),
]


def recall(policy: Custom, entries: Sequence[Entry] = HISTORY) -> list[Unit]:
    """What it keeps, oldest first."""
    moment = Moment(99, 1_000, SHELF, {id_at(40)}, {one.id: one.author for one in entries})
    return list(policy.recall(units(entries, SHELF), moment))[::-1]


def keep_all(selection: Selection) -> Chosen:
    return Chosen([item.id for item in selection.items])


def test_it_sees_frozen_values() -> None:
    seen: list[Selection] = []

    def look(selection: Selection) -> Chosen:
        seen.append(selection)
        return keep_all(selection)

    register_policy("look", 1, look)
    assert recall(Custom("look", 1, '{"a":1}')) == units(HISTORY, SHELF)
    assert recall(Custom("look", 1), []) == []
    assert seen[0] == seen[1]
    assert (seen[0].room, seen[0].config) == (1_000, '{"a":1}')
    one, _, group, _ = seen[0].items
    assert (one.id, one.role, one.author, one.text) == (id_at(10), "user", "ann", "one")
    assert (one.time_ms, one.crit, one.life, one.pinned) == (10, "important", None, False)
    assert (group.ids, group.text) == ((id_at(30), id_at(40)), "find {}\nfound")
    assert group.pinned
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.text = "other"  # type: ignore[misc]


def test_it_keeps_and_replaces() -> None:
    def shout(selection: Selection) -> Chosen:
        kept = [item for item in selection.items if item.text != "two"]
        return Chosen(
            [item.id for item in reversed(kept)],
            {item.id: item.text.upper() for item in kept if item.role == "assistant"},
        )

    register_policy("shout", 1, shout)
    kept = recall(Custom("shout", 1))
    assert texts(kept) == ["one", "FIND {}\nFOUND", "three"]
    assert [set(unit.rules) for unit in kept] == [set(), {Rule.REPLACED}, set()]
    (piece,) = kept[1].pieces
    assert piece.message.role is Role.ASSISTANT
    assert kept[1].ids == (id_at(30), id_at(40))
    assert kept[1].tokens == piece.tokens < 20


def test_it_never_goes_over_the_room() -> None:
    register_policy("keep", 1, keep_all)
    register_policy(
        "grow",
        1,
        lambda selection: Chosen(
            [item.id for item in selection.items],
            {item.id: "long " * 50 for item in selection.items},
        ),
    )
    past = units(HISTORY, SHELF)
    for name in ("keep", "grow"):
        for room in (0, 5, 12, 20, 30, 100, 200):
            shown = preamble(Marks(), past, Custom(name, 1), 99, room, SHELF)
            assert sum(unit.tokens for unit in shown) <= room
    assert texts(preamble(Marks(), past, Custom("keep", 1), 99, 12, SHELF)) == ["two", "three"]
    grown = preamble(Marks(), past, Custom("grow", 1), 99, 200, SHELF)
    assert [unit.rules for unit in grown] == [{Rule.RECALLED, Rule.REPLACED}] * 3


def test_what_is_pinned_comes_along_as_it_is() -> None:
    register_policy(
        "mute",
        1,
        lambda selection: Chosen(
            [item.id for item in selection.items], {item.id: "-" for item in selection.items}
        ),
    )
    marks = Marks(pins=(StandingPin(key_at(90), id_at(40)),))
    shown = preamble(marks, units(HISTORY, SHELF), Custom("mute", 1), 99, 1_000, SHELF)
    assert texts(shown) == ["-", "-", "call find", "found", "-"]
    past = units(HISTORY, SHELF)
    assert len(Custom("mute", 1).recall([*past, *past], Moment(99, 500, SHELF))) == len(past)


def test_one_that_breaks_its_promise_is_named() -> None:
    counter = itertools.count()
    broken: dict[str, Callable[[Selection], Any]] = {
        "fails": lambda selection: 1 / 0,
        "nothing": lambda selection: None,
        "unsteady keep": lambda selection: Chosen([selection.items[next(counter) % 2].id]),
        "unsteady text": lambda selection: Chosen(
            [selection.items[0].id], {selection.items[0].id: str(next(counter))}
        ),
        "stranger": lambda selection: Chosen([id_at(7)]),
        "not kept": lambda selection: Chosen([], {selection.items[0].id: "x"}),
        "no text": lambda selection: Chosen(
            [selection.items[0].id],
            {selection.items[0].id: 5},  # type: ignore[dict-item]
        ),
        "surrogate": lambda selection: Chosen(
            [selection.items[0].id], {selection.items[0].id: "\ud800"}
        ),
    }
    for name, function in broken.items():
        register_policy(name, 3, function)
        with pytest.raises(PolicyBroken, match=f"{name} 3"):
            recall(Custom(name, 3))


def test_an_unknown_one_is_named() -> None:
    with pytest.raises(PolicyMissing, match="lost"):
        Custom("lost", 1)
    register_policy("known", 1, keep_all)
    with pytest.raises(PolicyMissing, match="known 1"):
        Custom("known", 2)
    with pytest.raises(InvalidMessage):
        Custom("known", 1, "{")


def test_registering_again() -> None:
    register_policy("again", 1, keep_all)
    register_policy("again", 1, keep_all)
    with pytest.raises(Conflict):
        register_policy("again", 1, lambda selection: Chosen([]))
    for name, version in (("", 1), ("x", -1), ("x", True)):
        with pytest.raises(CallerError):
            register_policy(name, version, keep_all)


def test_its_choice_names_it() -> None:
    register_policy("named", 4, keep_all)
    choice = Custom("named", 4, '{"b":2}').choice()
    assert (choice.name, choice.version, choice.config) == ("named", 4, '{"b":2}')

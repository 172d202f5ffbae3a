"""The oracle of views counts as is promised. Must never know: how views are made."""

from __future__ import annotations

from dataclasses import replace

from tests.simulation.views import recount, used_by, wrong_with
from tests.unit.test_view import agent, user, view_of
from weft_engine.views.spec import view_spec

LONG = "a longer sentence " * 20


def test_a_message_that_says_its_cost_counts_as_that() -> None:
    view = view_of(user(1, LONG, tokens=5), agent(2, "yes"), spec=view_spec(budget=40))
    assert recount(view.openai()) > 40
    assert used_by(view) == view.used_tokens == 3 + 5 + 4 + 1
    assert not [*wrong_with(view)]


def test_what_is_left_of_a_message_that_says_its_cost_counts_as_its_share() -> None:
    view = view_of(user(1, LONG, tokens=1_000), spec=view_spec(budget=400))
    (shown,) = view.shown
    assert shown.tokens < 1_000
    assert recount(view.openai()) < used_by(view) == view.used_tokens <= 400
    assert not [*wrong_with(view)]


def test_a_view_that_counts_too_little_is_found() -> None:
    view = view_of(user(1, LONG), agent(2, "yes"))
    over = replace(view, spec=view_spec(budget=40))
    assert [*wrong_with(over)] == ["in the format openai of 73 tokens, 5 of 40 reserved"]
    lying = replace(view, used_tokens=view.used_tokens - 1)
    assert ["and counts 72" in wrong for wrong in wrong_with(lying)] == [True]
    declared = view_of(user(1, LONG), agent(2, "yes"), user(3, LONG, tokens=5))
    lying = replace(declared, used_tokens=declared.used_tokens - 1)
    assert len([*wrong_with(lying)]) == 1

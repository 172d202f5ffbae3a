"""Decay by example: what is forgotten first, and what its settings may be."""

from __future__ import annotations

import pytest

from tests.preambles import call, entry, new_shelf, result, texts, units
from weft_engine.canonical import parse_json
from weft_engine.errors import InvalidMessage
from weft_engine.events.event import Criticality, Role
from weft_engine.views.decay import Decay
from weft_engine.views.recall import Moment

SHELF = new_shelf()
HOUR = 3_600_000


def order(policy: Decay, *entries: object, now_ms: int = 100 * HOUR) -> list[str]:
    past = units(list(entries), SHELF)  # type: ignore[arg-type]
    return texts(policy.recall(past, Moment(now_ms, 1_000, SHELF)))


def test_newer_ones_weigh_more_and_of_equal_ones_the_newest_comes_first() -> None:
    said = [entry(n * HOUR, f"h{n}") for n in (1, 50, 98, 99)]
    assert order(Decay(HOUR), *said) == ["h99", "h98"]  # of the others nothing is left
    assert order(Decay(100 * HOUR), *said) == ["h99", "h98", "h50", "h1"]


def test_weight_outlasts_age() -> None:
    said = [
        entry(90 * HOUR, "important", crit=Criticality.IMPORTANT),
        entry(91 * HOUR, "plain"),
        entry(92 * HOUR, "answer", role=Role.ASSISTANT),
        entry(93 * HOUR, "optional", crit=Criticality.OPTIONAL),
    ]
    expected = ["important", "plain", "answer", "optional"]
    assert order(Decay(100 * HOUR), *said) == expected
    assert order(Decay(HOUR // 2), *said)[0] == "optional"
    louder = Decay(100 * HOUR, weights={"optional": 1_000})
    assert order(louder, *said)[0] == "optional"
    assert "answer" not in order(Decay(100 * HOUR, weights={"assistant": 0}), *said)


def test_a_half_life_halves() -> None:
    # Twice the weight is worth exactly one half-life.
    policy = Decay(HOUR, weights={"important": 8, "plain": 4})
    old = entry(88 * HOUR + 1, "old", crit=Criticality.IMPORTANT)
    assert order(policy, old, entry(89 * HOUR + 1, "new")) == ["new", "old"]
    assert order(policy, old, entry(89 * HOUR, "new")) == ["old", "new"]


def test_what_bears_a_later_time_than_the_view_is_as_young_as_can_be() -> None:
    assert order(Decay(HOUR), entry(200 * HOUR, "ahead"), entry(100 * HOUR, "now")) == [
        "now",
        "ahead",
    ]


def test_a_tool_group_weighs_as_its_heaviest() -> None:
    group = [call(90 * HOUR), result(91 * HOUR, 90 * HOUR, "out", crit=Criticality.CRITICAL)]
    assert order(Decay(100 * HOUR), *group, entry(92 * HOUR, "plain")) == [
        "call find",
        "out",
        "plain",
    ]


def test_its_choice_gives_it_back() -> None:
    for policy in (Decay(5), Decay(HOUR, weights={"tool": 0, "critical": 9})):
        choice = policy.choice()
        assert (choice.name, choice.version) == ("decay", 1)
        config = parse_json(choice.config)
        assert isinstance(config, dict)
        assert Decay.from_config(config) == policy
        assert hash(Decay.from_config(config)) == hash(policy)
    assert Decay(HOUR, weights={"tool": 1, "user": 2}) == Decay(
        HOUR, weights={"user": 2, "tool": 1}
    )


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"half_life_ms": 0},
        {"half_life_ms": True},
        {"half_life_ms": "1"},
        {"half_life_ms": 1, "weights": []},
        {"half_life_ms": 1, "weights": {"urgent": 1}},
        {"half_life_ms": 1, "weights": {"tool": -1}},
        {"half_life_ms": 1, "weights": {"tool": True}},
        {"half_life_ms": 1, "weights": {"tool": 1_000_001}},
        {"half_life_ms": 1, "more": 1},
    ],
)
def test_settings_are_checked(config: dict[str, object]) -> None:
    with pytest.raises(InvalidMessage):
        Decay.from_config(config)

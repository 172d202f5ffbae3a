"""Facts, merge rules and revokes as laws: what holds follows from what was said, not from when it
arrived, and is what plain definitions give."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_engine.events.event import Fact
from weft_engine.events.facts import FactBook, SaidFact, StandingFact
from weft_engine.events.json_order import number_key, order_key, parse_tree, write_tree
from weft_engine.events.merge_rules import merge
from weft_engine.events.standing import Revocation, Standing
from weft_engine.names import EventId

RULES = ("last", "first", "max", "min", "union", "keep_all")

digits = st.text("0123456789", min_size=1, max_size=25)
numbers = st.builds(
    lambda sign, whole, fraction, exponent: sign + (whole.lstrip("0") or "0") + fraction + exponent,
    st.sampled_from(["", "-"]),
    digits,
    st.one_of(st.just(""), digits.map(lambda text: "." + text)),
    st.one_of(
        st.just(""),
        st.builds(
            lambda e, sign, power: f"{e}{sign}{power}",
            st.sampled_from("eE"),
            st.sampled_from(["", "+", "-"]),
            st.integers(0, 40),
        ),
    ),
)
few_numbers = st.sampled_from(["0", "-0", "0.0", "1", "1.0", "1e0", "100", "1e2", "-5", "2.50"])
values = st.recursive(
    st.one_of(
        st.sampled_from(["null", "true", "false", '""', '"a"', '"\\u0061"', '"é"', '"\U0001f600"']),
        few_numbers,
        numbers,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.sampled_from("abé"), inner, max_size=3).map(
            lambda members: (
                "{"
                + ",".join(f"{json.dumps(name)}: {value}" for name, value in members.items())
                + "}"
            )
        ),
    ),
    max_leaves=6,
)


def identity(number: int) -> EventId:
    return EventId(f"{number:016x}-{'ab' * 16}")


def key_of(event: EventId, time: int | None = None) -> bytes:
    raw = bytes.fromhex(event.replace("-", ""))
    return (raw[:8] if time is None else time.to_bytes(8, "big")) + raw


# ---- the order of JSON values -----------------------------------------------------------------


@given(numbers, numbers)
def test_numbers_compare_as_the_decimals_they_are(left: str, right: str) -> None:
    exact = (Fraction(Decimal(left)), Fraction(Decimal(right)))
    keys = (number_key(left), number_key(right))
    assert (keys[0] < keys[1]) == (exact[0] < exact[1])
    assert (keys[0] == keys[1]) == (exact[0] == exact[1])


@given(values, values, values)
def test_the_order_of_values_is_total(a: str, b: str, c: str) -> None:
    one, two, three = (order_key(parse_tree(text)) for text in (a, b, c))
    assert (one < two) + (one == two) + (one > two) == 1
    if one <= two <= three:
        assert one <= three


@given(values)
def test_writing_a_value_keeps_it(text: str) -> None:
    tree = parse_tree(text)
    assert order_key(parse_tree(write_tree(tree))) == order_key(tree)
    assert "\n" not in write_tree(tree)


# ---- merge rules ------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["last", "first", "max", "min", "union"])
@given(st.lists(values, min_size=1, max_size=4), st.lists(values, min_size=1, max_size=4))
def test_merging_in_two_steps_is_merging_in_one(
    rule: str, older: list[str], newer: list[str]
) -> None:
    halves = [merge(rule, older).value, merge(rule, newer).value]
    assert merge(rule, halves).value == merge(rule, [*older, *newer]).value


@given(st.lists(values, min_size=1, max_size=6))
def test_union_does_not_care_who_was_first(said: list[str]) -> None:
    merged = merge("union", said)
    assert merge("union", said[::-1]) == merged
    assert merge("union", [*said, *said]) == merged
    items = parse_tree(merged.value)
    assert isinstance(items, list)
    keys = [order_key(item) for item in items]
    assert keys == sorted(set(keys))


@pytest.mark.parametrize("rule", ["max", "min"])
@given(st.lists(values, min_size=1, max_size=6))
def test_the_greatest_and_the_least_are_among_them(rule: str, said: list[str]) -> None:
    merged = merge(rule, said)
    keys = [order_key(parse_tree(text)) for text in said]
    assert merged.value in said
    assert order_key(parse_tree(merged.value)) == (max if rule == "max" else min)(keys)


@pytest.mark.parametrize("rule", RULES)
@given(st.lists(values, min_size=1, max_size=6))
def test_whatever_merges_is_json_and_nothing_is_lost(rule: str, said: list[str]) -> None:
    merged = merge(rule, said)
    json.loads(merged.value)
    if rule == "keep_all":
        assert json.loads(merged.value) == [json.loads(text) for text in said]
    elif rule != "union":
        shown = {order_key(parse_tree(text)) for text in (merged.value, *merged.others)}
        assert shown == {order_key(parse_tree(text)) for text in said}
        assert len(shown) == 1 + len(merged.others)


# ---- facts ------------------------------------------------------------------------------------


@st.composite
def said_facts(draw: st.DrawFn) -> list[SaidFact]:
    """Facts of three names that replace some of those before them, or, forged, anything."""
    found: list[SaidFact] = []
    for number in range(1, draw(st.integers(0, 10)) + 1):
        id_ = identity(number)
        others = [identity(n) for n in range(1, 12)]
        replaces = tuple(draw(st.lists(st.sampled_from(others), max_size=3, unique=True)))
        fact = Fact(
            key=draw(st.sampled_from("abc")),
            value=draw(values),
            rule=draw(st.sampled_from(RULES)),
            replaces=replaces,
        )
        found.append(SaidFact(key_of(id_, draw(st.integers(0, number))), id_, fact))
    return found


def naive(said: list[SaidFact], name: str) -> tuple[str, tuple[str, ...]] | None:
    """(value, ids that had a say), straight from the definition."""
    rest = []
    for one in said:
        rivals = [other for other in said if other.fact.key == name and other.id != one.id]
        beaten = any(one.id in rival.fact.replaces for rival in rivals)
        if one.fact.key == name and not beaten and json.loads(one.fact.value) is not None:
            rest.append(one)
    rest.sort(key=lambda one: one.key)
    if not rest:
        return None
    merged = merge(rest[-1].fact.rule, [one.fact.value for one in rest])
    return merged.value, tuple(one.id for one in rest)


def short(fact: StandingFact | None) -> tuple[str, tuple[str, ...]] | None:
    return None if fact is None else (fact.value, fact.ids)


@given(said_facts(), st.randoms(use_true_random=False))
def test_facts_are_what_the_definition_says_in_any_order(
    said: list[SaidFact], random: Random
) -> None:
    shuffled = list(said)
    random.shuffle(shuffled)
    book = FactBook(shuffled)
    for name in "abc":
        assert short(book.named(name)) == naive(said, name)
    assert [fact.name for fact in book.standing] == sorted(fact.name for fact in book.standing)


@given(said_facts(), st.integers(0, 12))
def test_an_earlier_moment_is_what_it_was_then(said: list[SaidFact], number: int) -> None:
    moment = number.to_bytes(8, "big") + bytes(24)
    earlier = [one for one in said if one.key < moment]
    book = FactBook(said)
    assert book.before(moment) == FactBook(earlier).standing
    since = sorted((one for one in said if one.key >= moment), key=lambda one: one.key)
    assert [(fact.id, fact.value) for fact in book.since(moment)] == [
        (one.id, one.fact.value) for one in since
    ]


@given(said_facts(), st.randoms(use_true_random=False))
def test_a_book_that_grows_is_one_that_is_made_anew(said: list[SaidFact], random: Random) -> None:
    random.shuffle(said)
    growing = FactBook()
    for count, one in enumerate(said, 1):
        before, growing = growing, growing.with_said(one)
        anew = FactBook(said[:count])
        assert growing.standing == anew.standing
        assert list(growing.newest()) == list(anew.newest())
        for number in range(13):
            moment = number.to_bytes(8, "big") + bytes(24)
            assert growing.before(moment) == anew.before(moment)
            assert growing.since(moment) == anew.since(moment)
        is_newest = one.key == max(known.key for known in said[:count])
        new = growing.beyond(before)
        assert (new == growing.since(one.key)) if is_newest else new is None
        assert growing.with_said(one).standing == growing.standing


# ---- revokes ----------------------------------------------------------------------------------


def stands_naively(key: bytes, event: EventId, revokes: list[Revocation], depth: int = 0) -> bool:
    """An event stands unless a revoke that is later and stands names it."""
    return not any(
        revoke.target == event
        and revoke.key > key
        and stands_naively(revoke.key, revoke.id, revokes)
        for revoke in revokes
    )


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=8),
    st.randoms(use_true_random=False),
)
def test_what_stands_is_what_the_definition_says(
    drawn: list[tuple[int, int]], random: Random
) -> None:
    revokes = [
        Revocation(key_of(identity(n), time), identity(n), identity(target))
        for n, (target, time) in enumerate(drawn)
    ]
    shuffled = list(revokes)
    random.shuffle(shuffled)
    standing = Standing(shuffled)
    for number in range(10):
        for time in (0, 4, 9):
            id_ = identity(number)
            known = next((one.key for one in revokes if one.id == id_), None)
            key = known or key_of(id_, time)
            assert standing.stands(key, id_) == stands_naively(key, id_, revokes)

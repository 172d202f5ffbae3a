"""Merge rules by example, registered ones, and values that nobody should write."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from weft_engine.errors import CallerError, Conflict, PolicyBroken, PolicyMissing
from weft_engine.events.event import Criticality, Fact
from weft_engine.events.facts import FactBook, SaidFact, settled
from weft_engine.events.json_order import number_key, order_key, parse_tree
from weft_engine.events.merge_rules import Merged, known_rule, merge, register_merge_rule
from weft_engine.names import EventId


@pytest.mark.parametrize(
    ("rule", "values", "value", "others"),
    [
        ("last", ["1", "2"], "2", ("1",)),
        ("first", ["1", "2"], "1", ("2",)),
        ("last", ["1.0", "1"], "1", ()),
        ("max", ["9", "10", "1e2", "100"], "100", ("9", "10")),
        (
            "max",
            ["9007199254740992", "9007199254740993"],
            "9007199254740993",
            ("9007199254740992",),
        ),
        ("min", ["-1e1", "-9"], "-1e1", ("-9",)),
        ("max", ['"Z"', '"a"', '"é"'], '"é"', ('"Z"', '"a"')),
        ("max", ["7", '"6"', "true"], '"6"', ("7", "true")),
        ("min", ["2.0", "1", "1.0", "2"], "1.0", ("2.0",)),
        ("max", ["2", "2.0", "1"], "2.0", ("1",)),
        ("min", ["[2]", "{}", "[1,9]"], "[1,9]", ("[2]", "{}")),
        ("union", ['["b","a"]', '"c"', '["a"]'], '["a","b","c"]', ()),
        ("union", ["1e2", "[100, 5]"], "[5,100]", ()),
        ("union", ['{"b":1,"a":2}', '{"a":2.0,"b":1}'], '[{"a":2,"b":1}]', ()),
        ("union", ["[]"], "[]", ()),
        ("keep_all", ["1", "[2]", "1"], "[1,[2],1]", ()),
        ("keep_all", ["1"], "[1]", ()),
    ],
)
def test_rules(rule: str, values: list[str], value: str, others: tuple[str, ...]) -> None:
    assert merge(rule, values) == Merged(value, others)


def test_types_have_an_order() -> None:
    ascending = ["null", "false", "true", "-1", "0", "0.5", '""', '"a"', "[]", "[null]", "{}"]
    keys = [order_key(parse_tree(text)) for text in ascending]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


def test_numbers_of_any_length_are_compared() -> None:
    huge = "1" + "0" * 5000
    assert number_key(huge) == number_key("1e5000")
    assert number_key(huge) < number_key(huge[:-1] + "1")
    assert number_key("1e-5000") > number_key("0")
    assert number_key("1e-" + "9" * 100_000) > number_key("0")
    assert number_key("0e" + "9" * 100_000) == number_key("0")
    assert number_key("-12.3") < number_key("-12") < number_key("12") < number_key("12.3")
    assert number_key("-1e-" + "9" * 100_000) < number_key("-0")


def test_a_registered_rule_is_asked_only_where_there_is_something_to_merge() -> None:
    asked: list[tuple[str, ...]] = []

    def longest(values: tuple[str, ...]) -> str:
        asked.append(values)
        return max(values, key=len)

    name = register_merge_rule("longest", 1, longest)
    assert name == "longest@1"
    assert merge(name, ['"a"']) == Merged('"a"')
    assert not asked
    assert merge(name, ['"a"', '"abc"', '"b"']) == Merged('"abc"', ('"a"', '"b"'))
    assert asked == [('"a"', '"abc"', '"b"')] * 2
    assert known_rule("longest") == name
    assert register_merge_rule("longest", 1, longest) == name
    with pytest.raises(Conflict, match="longest@1"):
        register_merge_rule("longest", 1, lambda values: values[0])
    register_merge_rule("longest", 10, lambda values: values[0])
    register_merge_rule("longest", 9, lambda values: values[0])
    assert known_rule("longest") == "longest@10"


def test_a_rule_that_is_not_here_is_named() -> None:
    with pytest.raises(PolicyMissing, match="vote@3"):
        merge("vote@3", ["1", "2"])
    with pytest.raises(PolicyMissing, match="vote"):
        known_rule("vote")


def test_a_rule_that_breaks_its_promise_is_named() -> None:
    counter = itertools.count()

    def fails(values: tuple[str, ...]) -> str:
        raise KeyError("no")

    rules: dict[str, Callable[[tuple[str, ...]], Any]] = {
        "fails": fails,
        "unsteady": lambda values: str(next(counter)),
        "textless": lambda values: 5,
        "jsonless": lambda values: "{",
        "infinite": lambda values: "NaN",
    }
    for name, rule in rules.items():
        full = register_merge_rule(name, 0, rule)
        with pytest.raises(PolicyBroken, match=full):
            merge(full, ["1", "2"])


@pytest.mark.parametrize(("name", "version"), [("", 1), ("a@b", 1), ("max", 1), ("a", -1)])
def test_a_rule_needs_a_name_of_its_own(name: str, version: int) -> None:
    with pytest.raises(CallerError):
        register_merge_rule(name, version, lambda values: values[0])


# ---- facts by example -------------------------------------------------------------------------


def said(
    number: int,
    value: str,
    *,
    name: str = "city",
    rule: str = "last",
    replaces: tuple[int, ...] = (),
    crit: Criticality | None = None,
    expires: int | None = None,
) -> SaidFact:
    ids = tuple(EventId(f"{n:016x}-{'ab' * 16}") for n in (number, *replaces))
    key = bytes.fromhex(ids[0][:16] + ids[0].replace("-", ""))
    return SaidFact(key, ids[0], Fact(name, value, rule, ids[1:], crit, expires))


def test_one_that_replaces_another_beats_it_and_the_rule_decides_among_the_rest() -> None:
    book = FactBook([said(1, '"Lima"'), said(2, '"Quito"', replaces=(1,)), said(3, '"Cusco"')])
    (fact,) = book.standing
    assert (fact.value, fact.others) == ('"Cusco"', ('"Quito"',))


def test_an_older_one_may_replace_what_bears_a_later_time() -> None:
    # Its clock was wrong: nobody can wait for that time to come.
    book = FactBook([said(9, "1"), said(2, "2", replaces=(9,))])
    assert [fact.value for fact in book.standing] == ["2"]


def test_the_newest_names_the_rule() -> None:
    book = FactBook([said(1, "5", rule="last"), said(2, "3", rule="max")])
    assert book.standing[0].value == "5"


def test_a_withdrawal_beats_what_it_saw_and_nothing_else() -> None:
    gone = [said(1, '"Lima"'), said(2, "null", replaces=(1,))]
    assert FactBook(gone).standing == ()
    (fact,) = FactBook([*gone, said(3, '"Quito"')]).standing
    assert (fact.value, fact.others) == ('"Quito"', ())
    assert FactBook([*gone, said(3, " null\n")]).standing == ()


def test_facts_of_other_names_replace_nothing() -> None:
    book = FactBook([said(1, "1"), said(2, "2", name="other", replaces=(1,))])
    assert [fact.value for fact in book.standing] == ["1", "2"]


def test_what_had_a_say_weighs_as_its_heaviest_and_lasts_as_its_longest() -> None:
    (fact,) = FactBook(
        [
            said(1, "1", crit=Criticality.CRITICAL, expires=5),
            said(2, "2", crit=Criticality.OPTIONAL, expires=9),
        ]
    ).standing
    assert (fact.crit, fact.expires) == (Criticality.CRITICAL, 9)
    (fact,) = FactBook([said(1, "1", expires=5), said(2, "2")]).standing
    assert fact.expires is None


def test_a_rule_that_is_missing_bricks_nothing_but_what_needs_it() -> None:
    book = FactBook([said(1, "1", rule="mean@1"), said(2, "3", rule="mean@1")])
    (fact,) = book.standing
    assert (fact.merged, fact.value, fact.others) == (False, "3", ("1",))
    with pytest.raises(PolicyMissing, match="mean@1"):
        settled(fact)
    register_merge_rule("mean", 1, lambda values: str(sum(map(int, values)) // len(values)))
    assert (settled(fact).value, settled(fact).others) == ("2", ("1", "3"))


def test_many_facts_of_one_name_are_merged_in_reasonable_time() -> None:
    book = FactBook([said(n, json.dumps(n), rule="union") for n in range(1, 20_001)])
    assert len(json.loads(book.standing[0].value)) == 20_000

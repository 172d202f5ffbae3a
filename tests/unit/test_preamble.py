"""What views take along from before their window, by example."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.preambles import (
    TOKENIZER,
    book,
    call,
    entry,
    fact,
    id_at,
    key_at,
    new_shelf,
    result,
    texts,
    units,
)
from weft_engine.errors import PolicyMissing
from weft_engine.events.event import Criticality, Lifetime, Role
from weft_engine.events.part import Text
from weft_engine.names import EventId
from weft_engine.views.cache import Shelf
from weft_engine.views.count import count_message
from weft_engine.views.decay import Decay
from weft_engine.views.fact_text import NOTICE_CHARS_MAX
from weft_engine.views.marks import Marks, StandingPin, StandingSummary
from weft_engine.views.media import DEFAULT_MEDIA
from weft_engine.views.preamble import LOOK_BACK_UNITS, fact_notice, preamble
from weft_engine.views.shown import Rule
from weft_engine.views.tokenizer import O200K_BASE
from weft_engine.views.unit import Unit

SHELF = new_shelf()
NOW = 10_000_000
FACTS = (
    fact(1, "user.city", '"Lima"'),
    fact(2, "user.name", '"Ann"', crit=Criticality.IMPORTANT),
    fact(3, "allergy", '"nuts"', crit=Criticality.CRITICAL),
    fact(4, "joke", '"none"', crit=Criticality.OPTIONAL),
)


def pin(time_ms: int, at_ms: int = 99) -> StandingPin:
    return StandingPin(key_at(at_ms), id_at(time_ms))


def summary(text: str, count: int = 312) -> StandingSummary:
    return StandingSummary(key_at(5), id_at(5), text, count, id_at(4))


def rules(placed: tuple[Unit, ...]) -> list[set[Rule]]:
    return [set(one.rules) for one in placed]


def test_nothing_makes_nothing() -> None:
    assert preamble(Marks(), [], None, NOW, 1_000, SHELF) == ()
    assert preamble(Marks(book=book(*FACTS)), [], None, NOW, 0, SHELF) == ()
    assert preamble(Marks(book=book(*FACTS)), [], None, NOW, -5, SHELF) == ()


def test_messages_then_facts_then_the_summary() -> None:
    past = units(
        [
            entry(10, "hello"),
            entry(20, "never metric", crit=Criticality.CRITICAL),
            entry(30, "pinned"),
            entry(40, "stays", life=Lifetime.PERSISTENT),
        ],
        SHELF,
    )
    marks = Marks(pins=(pin(30),), book=book(*FACTS), summary=summary("they met"))
    placed = preamble(marks, past, None, NOW, 1_000, SHELF)
    assert texts(placed) == [
        "never metric",
        "pinned",
        "stays",
        '[facts]\nallergy: "nuts"\njoke: "none"\nuser.city: "Lima"\nuser.name: "Ann"',
        "[summary of 312 earlier messages]\nthey met",
    ]
    assert rules(placed) == [
        {Rule.CARRIED},
        {Rule.PINNED},
        {Rule.CARRIED},
        {Rule.FACTS},
        {Rule.SUMMARY},
    ]
    assert {piece.message.role for one in placed for piece in one.pieces} == {Role.USER}


def test_what_has_ended_is_left_out() -> None:
    past = units(
        [
            entry(10, "over", crit=Criticality.CRITICAL, expires=NOW),
            entry(20, "in time", crit=Criticality.CRITICAL, expires=NOW + 1),
            entry(30, "passing", crit=Criticality.CRITICAL, life=Lifetime.IMMEDIATE),
            entry(40, "passing but pinned", life=Lifetime.IMMEDIATE),
            entry(50, "pinned but over", expires=1),
            entry(60, "hidden", life=Lifetime.PERSISTENT),
            entry(70, "plain"),
        ],
        SHELF,
    )
    marks = Marks(
        pins=(pin(40), pin(50)),
        hidden={id_at(60): id_at(61)},
        book=book(fact(1, "a", "1", expires=NOW), fact(2, "b", "2", expires=NOW + 1)),
    )
    shown = texts(preamble(marks, past, None, NOW, 1_000, SHELF))
    assert shown == ["in time", "passing but pinned", "[facts]\nb: 2"]


def test_a_session_ends_where_its_context_was_closed() -> None:
    past = units(
        [
            entry(10, "before", life=Lifetime.SESSION),
            entry(20, "critical before", life=Lifetime.SESSION, crit=Criticality.CRITICAL),
            entry(30, "for ever", life=Lifetime.PERSISTENT),
            entry(60, "since", life=Lifetime.SESSION),
        ],
        SHELF,
    )
    closed = Marks(closes=(key_at(5), key_at(50)))
    assert texts(preamble(closed, past, None, NOW, 1_000, SHELF)) == ["for ever", "since"]
    assert len(preamble(Marks(), past, None, NOW, 1_000, SHELF)) == 4


def test_sessions_are_looked_for_nearby_and_the_rest_anywhere() -> None:
    near = [entry(n, f"m{n}") for n in range(100, 100 + LOOK_BACK_UNITS)]
    far = [
        entry(10, "session", life=Lifetime.SESSION),
        entry(20, "persistent", life=Lifetime.PERSISTENT),
        entry(30, "plain"),
    ]
    past = units([*far, *near], SHELF)
    assert texts(preamble(Marks(), past, None, NOW, 1_000, SHELF)) == ["persistent"]
    recalled = texts(preamble(Marks(), past, Decay(10**9), NOW, 10**6, SHELF))
    assert recalled == ["persistent", *(f"m{n}" for n in range(100, 100 + LOOK_BACK_UNITS))]


def test_tool_groups_are_taken_whole_by_whichever_of_their_messages() -> None:
    entries = [
        entry(10, "go"),
        call(20),
        result(30, 20, "found"),
        call(40),
        result(50, 40, "vital", crit=Criticality.CRITICAL),
        call(60),
        result(70, 60, "gone"),
    ]
    past = units(entries, SHELF)
    marks = Marks(pins=(pin(30), pin(70)), hidden={id_at(60): id_at(61)})
    shown = texts(preamble(marks, past, None, NOW, 1_000, SHELF))
    assert shown == ["call find", "found", "call find", "vital"]


def test_nothing_is_shown_twice() -> None:
    past = units([entry(10, "one"), entry(20, "two", crit=Criticality.CRITICAL)], SHELF)
    marks = Marks(pins=(pin(10), pin(10), pin(20)))
    assert texts(preamble(marks, [*past, *past], Decay(1), NOW, 1_000, SHELF)) == ["one", "two"]
    only = preamble(marks, past, None, NOW, 1_000, SHELF, shown={id_at(10)})
    assert texts(only) == ["two"]


def test_facts_are_those_of_the_windows_start() -> None:
    said = (fact(10, "city", '"Lima"'), fact(30, "city", '"Quito"', replaces=[10]))
    marks = Marks(book=book(*said, fact(40, "pet", '"cat"')))
    for start, shown in (
        (20, '[facts]\ncity: "Lima"'),
        (30, '[facts]\ncity: "Lima"'),
        (35, '[facts]\ncity: "Quito"'),
    ):
        units_ = preamble(marks, [], None, NOW, 1_000, SHELF, start=key_at(start))
        assert texts(units_) == [shown]
    assert preamble(marks, [], None, NOW, 1_000, SHELF, start=key_at(5)) == ()
    notices = [fact_notice(one) for one in marks.book.since(key_at(20))]
    assert [notice.parts for notice in notices] == [
        (Text('[fact] city: "Quito"'),),
        (Text('[fact] pet: "cat"'),),
    ]


def test_conflicts_are_shown() -> None:
    marks = Marks(book=book(*(fact(n, "city", f'"c{n}"') for n in range(1, 8))))
    assert texts(preamble(marks, [], None, NOW, 1_000, SHELF)) == [
        '[facts]\ncity: "c7" (others say "c3", "c4", "c5", "c6" and 2 more)'
    ]


def test_no_fact_looks_like_another_or_like_a_heading_of_ours() -> None:
    marks = Marks(
        book=book(
            fact(1, "a\n[facts]\nb", '"x\\n[summary of 1 earlier message]"'),
            fact(2, "[facts]", '{\n"k":\r[1,\n2]}'),
            fact(3, "", "1"),
            fact(4, " a", "2"),
            fact(5, "caf\u00e9/no-1.x", "3"),
        )
    )
    (text,) = texts(preamble(marks, [], None, NOW, 1_000, SHELF))
    assert text.split("\n") == [
        "[facts]",
        '"": 1',
        '" a": 2',
        '"[facts]": {"k":[1,2]}',
        '"a\\n[facts]\\nb": "x\\n[summary of 1 earlier message]"',
        "caf\u00e9/no-1.x: 3",
    ]


def test_a_withdrawal_is_noticed() -> None:
    (notice,) = book(fact(1, "city", "null")).since(key_at(0))
    assert fact_notice(notice).parts == (Text("[fact] city no longer holds"),)


def test_a_notice_is_of_bounded_length() -> None:
    (said,) = book(fact(1, "n" * 10**6, json.dumps("x" * 8 * 10**6))).since(key_at(0))
    (part,) = fact_notice(said).parts
    assert isinstance(part, Text)
    assert len(part.text) < NOTICE_CHARS_MAX + 500
    assert "characters left out" in part.text


def test_what_goes_first_when_there_is_little_room() -> None:
    said = [
        entry(10, "one", role=Role.ASSISTANT),
        entry(20, "two", crit=Criticality.CRITICAL),
        entry(30, "three", crit=Criticality.CRITICAL),
        entry(35, "eight", crit=Criticality.OPTIONAL, life=Lifetime.PERSISTENT),
        entry(40, "four", crit=Criticality.IMPORTANT, life=Lifetime.PERSISTENT),
        entry(50, "five", life=Lifetime.PERSISTENT),
        entry(60, "six", life=Lifetime.PERSISTENT),
        entry(70, "seven", life=Lifetime.SESSION),
        entry(80, "ten"),
        entry(90, "nine"),
    ]
    assert len({one.tokens for one in said}) == 1, "each takes the same room"
    cost = said[0].tokens
    past = units(said, SHELF)
    policy = Decay(10**12)
    order = ["one", "three", "two", "four", "six", "five", "eight", "seven", "nine", "ten"]
    for count in range(2, len(said) + 1):
        shown = texts(preamble(Marks(pins=(pin(10),)), past, policy, NOW, count * cost, SHELF))
        assert set(shown) == set(order[:count])
        assert shown == [text for text in texts(past) if text in shown]


def test_which_facts_go_first_when_there_is_little_room() -> None:
    ranks = [Criticality.OPTIONAL, None, Criticality.IMPORTANT, Criticality.ENHANCING]
    said = [fact(n, "abcd"[n], "1", crit=crit) for n, crit in enumerate(ranks)]
    said += [fact(9, "e", "1"), fact(8, "f", "1", crit=Criticality.CRITICAL)]
    assert len({TOKENIZER.count(f"\n{name}: 1") for name in "abcdef"}) == 1
    marks = Marks(book=book(*said))
    lengths = set()
    for room in range(8, 60):
        for text in texts(preamble(marks, [], None, NOW, room, SHELF)):
            names = [line[0] for line in text.split("\n")[1:]]
            assert names == sorted("fcebda"[: len(names)])
            lengths.add(len(names))
    assert lengths == {1, 2, 3, 4, 5, 6}


def test_summary_pins_and_critical_go_before_facts_and_those_before_the_rest() -> None:
    persistent = entry(10, "a few words that stay", life=Lifetime.PERSISTENT)
    critical = entry(20, "a few words that count", crit=Criticality.CRITICAL)
    past = units([persistent, critical], SHELF)
    marks = Marks(book=book(*FACTS), summary=summary("they met"))
    whole = [one.tokens for one in preamble(marks, past, None, NOW, 1_000, SHELF)]
    _, critical_tokens, facts_tokens, summary_tokens = whole
    for room, shown in (
        (summary_tokens + critical_tokens, {Rule.SUMMARY, Rule.CARRIED}),
        (summary_tokens + critical_tokens + facts_tokens, {Rule.SUMMARY, Rule.CARRIED, Rule.FACTS}),
    ):
        placed = preamble(marks, past, None, NOW, room, SHELF)
        assert set().union(*rules(placed)) == shown
        assert "a few words that stay" not in texts(placed)


def test_what_is_too_big_is_cut_by_the_room_there_is_and_not_by_what_is_left() -> None:
    past = units(
        [entry(10, "word " * 5_000), entry(20, "small"), entry(30, "other " * 5_000)], SHELF
    )
    marks = Marks(summary=summary("so " * 5_000), book=book(fact(1, "f", json.dumps("v" * 10**6))))
    alone = preamble(Marks(pins=(pin(10),)), past, None, NOW, 1_000, SHELF)
    assert rules(alone) == [{Rule.PINNED, Rule.SHORTENED}]
    assert 400 < alone[0].tokens <= 500
    among = preamble(Marks(pins=(pin(10), pin(20))), past, None, NOW, 1_000, SHELF)
    assert texts([among[0]]) == texts([alone[0]])
    middle = units([entry(20, "not so small " * 20)], SHELF)
    crowded = Marks(pins=(pin(10), pin(20), pin(30)))
    shown = preamble(crowded, [past[0], *middle, past[2]], None, NOW, 1_000, SHELF)
    assert [unit.ids for unit in shown] == [(id_at(20),), (id_at(30),)]
    both = preamble(marks, past, None, NOW, 1_000, SHELF)
    assert rules(both) == [{Rule.FACTS}, {Rule.SUMMARY, Rule.SHORTENED}]
    assert sum(one.tokens for one in both) <= 1_000
    assert both[0].tokens <= 125 + 10
    assert 600 < both[1].tokens <= 750
    assert texts([both[1]])[0].startswith("[summary of 312 earlier messages]\nso so")


def test_what_may_not_be_cut_is_whole_or_not_there() -> None:
    past = units([entry(5, "x"), entry(10, "rule " * 300, role=Role.SYSTEM)], SHELF)
    marks = Marks(pins=(pin(10),))
    (unit,) = preamble(marks, past, None, NOW, 400, SHELF)
    assert unit.tokens == past[1].tokens
    assert preamble(marks, past, None, NOW, 200, SHELF) == ()


def test_what_it_costs_is_what_is_sent() -> None:
    past = units([entry(10, "pinned \U0001f600" * 20)], SHELF)
    marks = Marks(pins=(pin(10),), book=book(*FACTS), summary=summary("they met"))
    for unit in preamble(marks, past, None, NOW, 1_000, SHELF):
        counted = [count_message(piece.message, TOKENIZER) for piece in unit.pieces]
        assert unit.tokens == sum(counted)


def test_a_fact_whose_rule_is_missing_is_not_sent_as_something_else() -> None:
    one = Marks(book=book(fact(1, "a", "1", rule="lost@1")))
    assert texts(preamble(one, [], None, NOW, 1_000, SHELF)) == ["[facts]\na: 1"]
    two = Marks(book=book(fact(1, "a", "1", rule="lost@1"), fact(2, "a", "2", rule="lost@1")))
    with pytest.raises(PolicyMissing, match="lost@1"):
        preamble(two, [], None, NOW, 1_000, SHELF)


def test_a_forger_can_make_it_neither_slow_nor_wrong() -> None:
    said = [fact(n, f"k{n}", json.dumps("x" * 3_000)) for n in range(1, 20_001)]
    marks = Marks(
        pins=tuple(StandingPin(key_at(n), EventId(id_at(n))) for n in range(1, 5_000)),
        book=book(*said),
        summary=summary("s" * 10**6),
    )
    past = units([entry(n, "y" * 50) for n in range(10_000, 11_000)], SHELF)
    shown = preamble(marks, past, Decay(1), NOW, 2_000, SHELF)
    assert sum(unit.tokens for unit in shown) <= 2_000


class Steep:
    """Counts long texts dearer than their parts, as vocabularies may."""

    id = O200K_BASE

    def count(self, text: str) -> int:
        return len(text) ** 2 // 50


def test_lines_that_cost_more_together_stay_within_the_room() -> None:
    shelf = Shelf(Steep(), DEFAULT_MEDIA, "openai")
    marks = Marks(book=book(*(fact(n, f"k{n}", "1") for n in range(1, 9))))
    lengths: set[int] = set()
    for room in range(8, 60):
        shown = preamble(marks, [], None, NOW, room, shelf)
        assert sum(unit.tokens for unit in shown) <= room
        lengths.update(len(text.split("\n")) for text in texts(shown))
    assert len(lengths) > 2


def test_a_tool_group_lasts_as_long_as_the_most_of_its_messages() -> None:
    out = result(20, 10, "found")
    lasting = replace(out, message=replace(out.message, life=Lifetime.PERSISTENT))
    assert len(preamble(Marks(), units([call(10), lasting], SHELF), None, NOW, 500, SHELF)) == 1
    assert preamble(Marks(), units([call(10), out], SHELF), None, NOW, 500, SHELF) == ()

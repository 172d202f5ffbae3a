"""Views by example: what is sent, what it costs, what is left out, what is refused."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import pytest

from weft_engine.canonical import canonical_json
from weft_engine.errors import (
    BudgetTooSmall,
    InvalidMessage,
    OverBudget,
    PolicyMissing,
    TokenizerMissing,
)
from weft_engine.events.event import Fact, Message, PolicyChoice, Role
from weft_engine.events.facts import FactBook, SaidFact
from weft_engine.events.part import Call, CallRef, File, Part, Result, Text
from weft_engine.names import EventId, RecordHash, context_name
from weft_engine.views.all_policies import find_policy
from weft_engine.views.build import build
from weft_engine.views.cache import ViewCache
from weft_engine.views.count import count_message, tool_set
from weft_engine.views.entry import Entry
from weft_engine.views.marks import NO_MARKS, Marks, StandingPin, StandingSummary
from weft_engine.views.past import past_of
from weft_engine.views.piece import Scale
from weft_engine.views.policies import LastN, Manual, SkipParts
from weft_engine.views.policy import POLICIES
from weft_engine.views.shown import Area, Rule
from weft_engine.views.slot import INTERRUPTED, ORPHAN, PASSED
from weft_engine.views.source import Source
from weft_engine.views.spec import ViewSpec, view_spec
from weft_engine.views.tokenizer import CL100K_BASE, O200K_BASE, Tokenizer
from weft_engine.views.view import Settings, View

TOKENIZER = Tokenizer(O200K_BASE)
CONTEXT = context_name("acme/chat-42")
LARGE = view_spec(budget=1_000_000)


def event_id(number: int) -> EventId:
    return EventId(f"{number:016x}-{'cd' * 16}")


def entry(number: int, role: Role, *parts: Part | str, tokens: int | None = None) -> Entry:
    said = tuple(Text(part) if isinstance(part, str) else part for part in parts)
    message = Message(role, said, tokens=tokens)
    return Entry(event_id(number), message, "ann", number, count_message(message, TOKENIZER))


def user(number: int, *parts: Part | str, tokens: int | None = None) -> Entry:
    return entry(number, Role.USER, *parts, tokens=tokens)


def agent(number: int, *parts: Part | str) -> Entry:
    return entry(number, Role.ASSISTANT, *parts)


def result(number: int, out: str, event: int | None, part: int = 0, id_: str = "c1") -> Entry:
    ref = None if event is None else CallRef(event_id(event), part)
    return entry(number, Role.TOOL, Result(id_, out, ref))


def call(id_: str = "c1", args: str = "{}") -> Call:
    return Call(id_, "find", args)


def view_of(
    *tail: Entry,
    spec: ViewSpec = LARGE,
    head: tuple[Entry, ...] = (),
    late: tuple[Entry, ...] = (),
    marks: Marks = NO_MARKS,
    settings: Settings | None = None,
    cache: ViewCache | None = None,
    before: View | None = None,
) -> View:
    view = build(
        Source(list(head), list(tail), late=late, marks=marks),
        cut=(RecordHash(b"\2" * 32), RecordHash(b"\1" * 32)),
        context=CONTEXT,
        spec=spec,
        tokenizer=TOKENIZER,
        settings=settings or Settings(),
        cache=cache,
        before=before,
    )
    assert isinstance(view, View)
    return view


def said(view: View) -> list[tuple[object, object]]:
    """(role, text or id of the call answered)"""
    return [(m["role"], m.get("tool_call_id", m["content"])) for m in view.openai()]


# ---- tool calls ------------------------------------------------------------------------------


def test_results_move_up_behind_their_call_in_the_order_of_its_calls() -> None:
    view = view_of(
        agent(1, call("a"), call("b")),
        user(2, "meanwhile"),
        result(3, "B", 1, 1, "b"),
        result(4, "A", 1, 0, "a"),
    )
    assert [m["role"] for m in view.openai()] == ["assistant", "tool", "tool", "user"]
    assert [m["content"] for m in view.openai()] == [None, "A", "B", "meanwhile"]
    assert view.ids == (event_id(1), event_id(4), event_id(3), event_id(2))


def test_a_call_without_result_is_marked_interrupted_in_the_view_only() -> None:
    before = view_of(agent(1, call("a")), user(2, "go on"))
    assert before.openai()[1] == {"role": "tool", "tool_call_id": "a", "content": INTERRUPTED}
    after = view_of(agent(1, call("a")), user(2, "go on"), result(3, "late", 1, 0, "a"))
    assert [m["content"] for m in after.openai()] == [None, "late", "go on"]


@pytest.mark.parametrize(
    "history",
    [
        pytest.param((result(2, "X", None),), id="names no call"),
        pytest.param((result(2, "X", 77),), id="its call is not there"),
        pytest.param((user(1, "hi"), result(2, "X", 1)), id="what it names is no call"),
        pytest.param((result(2, "X", 3), agent(3, call())), id="before its call"),
        pytest.param((agent(1, call()), result(2, "1st", 1), result(3, "X", 1)), id="second"),
        pytest.param((agent(1, call()), result(3, "X", 1, 1)), id="names another part"),
    ],
)
def test_a_result_that_answers_nothing_becomes_text(history: tuple[Entry, ...]) -> None:
    sent = view_of(*history).openai()
    assert {"role": "user", "content": ORPHAN + "X"} in sent
    assert all(m["content"] != "X" for m in sent)


def test_one_message_with_results_for_two_others() -> None:
    both = entry(
        3,
        Role.USER,
        Result("c1", "B", CallRef(event_id(2), 0)),
        Result("c1", "A", CallRef(event_id(1), 0)),
        "and now?",
    )
    view = view_of(agent(1, call()), replace(agent(2, call()), author="bob"), both)
    assert [m["content"] for m in view.openai()] == [None, "A", None, "B", "and now?"]
    assert view.ids == (event_id(1), event_id(3), event_id(2))


def test_one_message_with_all_results_of_another() -> None:
    refs = [CallRef(event_id(1), part) for part in range(2)]
    both = entry(2, Role.TOOL, Result("b", "B", refs[1]), Result("a", "A", refs[0]))
    calling = agent(1, call("a"), call("b"))
    view = view_of(calling, both)
    assert [m["content"] for m in view.openai()] == [None, "A", "B"]
    assert view.used_tokens == 3 + calling.tokens + both.tokens
    assert view.ids == (event_id(1), event_id(2))


def test_call_ids_of_one_message_are_made_distinct_and_its_results_follow() -> None:
    ids = ["x", "x", "x~2", "", ""]
    view = view_of(
        agent(1, *(call(id_) for id_ in ids)),
        *(result(2 + place, f"out {place}", 1, place, id_) for place, id_ in enumerate(ids)),
    )
    first, *answers = view.openai()
    calls = first["tool_calls"]
    assert isinstance(calls, list)
    labels = [made["id"] for made in calls]
    assert labels == ["x", "x~3", "x~2", "call~2", "call~3"]
    assert [m["tool_call_id"] for m in answers] == labels
    assert [m["content"] for m in answers] == [f"out {place}" for place in range(5)]


def test_an_id_used_again_later_gets_a_number_and_so_does_its_result() -> None:
    view = view_of(agent(1, call()), result(2, "A", 1), agent(3, call()), result(4, "B", 3))
    assert [m.get("tool_call_id") for m in view.openai()] == [None, "c1", None, "c1~2"]
    calls = view.openai()[2]["tool_calls"]
    assert calls[0]["id"] == "c1~2"


def test_a_result_that_its_caller_answered_past_stays_where_it_came() -> None:
    asked, past = agent(1, call()), agent(3, "I go on without it.")
    late = result(4, "found", 1)
    view = view_of(asked, user(2, "well?"), past, late)
    assert [m["content"] for m in view.openai()] == [
        None,
        INTERRUPTED,
        "well?",
        "I go on without it.",
        PASSED + "found",
    ]
    # Another agent's answer does not count as the caller's.
    other = view_of(asked, user(2, "well?"), replace(past, author="bob"), late)
    assert other.openai()[1]["content"] == "found"


# ---- the window ------------------------------------------------------------------------------


def test_no_history_is_an_empty_view() -> None:
    view = view_of(spec=view_spec(budget=8, reserved=5))
    assert view.openai() == []
    assert view.used_tokens == 3
    assert (view.first, view.left_out, view.needs_compaction) == (None, 0, False)
    with pytest.raises(BudgetTooSmall, match="what is reserved needs 9 tokens"):
        view_of(spec=view_spec(budget=8, reserved=6))


def test_the_window_moves_in_steps_to_milestones() -> None:
    # 7 tokens each, from user messages. R = 800 - 3, W = 698: a milestone each 50, and with nothing
    # in the preamble room for 113.
    words = [user(number, "one two three") for number in range(300)]
    spec = view_spec(budget=800, reserved=0)
    starts = [view_of(*words[:end], spec=spec).shape.start for end in range(1, 301)]
    assert starts[:113] == [words[0].id] * 113
    places = [words.index(next(w for w in words if w.id == start)) for start in starts[113:]]
    assert sorted(set(places)) == [50, 100, 150, 200]
    assert places == sorted(places)


def test_a_short_result_in_the_place_of_a_remark_moves_no_window_back() -> None:
    # The remark is 14 tokens, the result 5.
    talk = [user(number, "one two three") for number in range(12)]
    for budget in range(90, 130):
        spec = view_spec(budget=budget, reserved=0)
        waiting = view_of(*talk, agent(20, call()), spec=spec)
        answered = view_of(*talk, agent(20, call()), result(21, "x", 20), spec=spec)
        assert answered.shape.start == waiting.shape.start


def test_a_call_and_its_results_are_taken_or_left_together() -> None:
    talk = [user(0, "word " * 60), agent(1, call()), result(2, "found " * 30, 1)]
    last = user(3, "thanks " * 60)
    spec = view_spec(budget=105, reserved=0)
    assert view_of(*talk, last, spec=spec).ids == (last.id,)


def test_the_message_that_opens_the_turn_stands_before_the_window() -> None:
    opening = user(0, "Book it. " + "word " * 400)
    loop = [agent(number, "step " * 20) for number in range(1, 60)]
    view = view_of(opening, *loop, spec=view_spec(budget=1_000, reserved=0))
    first = view.shown[0]
    assert (first.ids, first.area) == ((opening.id,), Area.PREAMBLE)
    assert first.rules == {Rule.OPENING, Rule.SHORTENED}
    assert first.tokens <= 997 // 8 // 2
    assert view.openai()[0]["content"].startswith("Book it.")
    assert view.shape.start == view.ids[1]
    # Hidden, it is not shown there either.
    hidden = Marks(hidden={opening.id: event_id(99)})
    again = view_of(opening, *loop, spec=view_spec(budget=1_000, reserved=0), marks=hidden)
    assert opening.id not in again.ids
    assert again.shape.start == view.shape.start


def test_what_leads_is_kept_and_too_much_of_it_is_told() -> None:
    head = (entry(0, Role.SYSTEM, "Be brief."), entry(1, Role.DEVELOPER, "word " * 50))
    view = view_of(user(2, "one two three"), head=head, spec=view_spec(budget=80, reserved=0))
    assert [m["role"] for m in view.openai()] == ["system", "developer", "user"]
    with pytest.raises(BudgetTooSmall, match="developer message") as caught:
        view_of(user(2, "hi"), head=head, spec=view_spec(budget=40, reserved=0))
    assert caught.value.needed == 3 + sum(item.tokens for item in head)
    assert caught.value.budget == 40


def test_a_late_system_message_is_never_shortened() -> None:
    late = entry(2, Role.SYSTEM, "word " * 100)
    with pytest.raises(BudgetTooSmall, match=f"the system message {late.id}"):
        view_of(user(1, "hi"), late, spec=view_spec(budget=60, reserved=0))


def test_tools_that_the_reserve_cannot_hold_are_reserved_for_in_addition() -> None:
    tools = tool_set([{"name": "word " * 30}], TOKENIZER)
    assert tools is not None
    assert view_spec(budget=800, tools=tools).surplus == 0
    spec = view_spec(budget=80, tools=tools)
    assert (spec.reserved, spec.surplus, spec.tools) == (10, tools.tokens, tools.digest)


def test_a_surplus_moves_no_milestone_and_is_taken_from_the_window_only_if_it_must() -> None:
    words = [user(number, "one two three") for number in range(150)]
    plain = view_spec(budget=800, reserved=20)
    tools = tool_set([{"name": "word " * 30}], TOKENIZER)
    assert tools is not None
    with_tools = view_spec(budget=800, reserved=20, tools=tools)
    same = 0
    for end in range(1, 150):
        few, more = (view_of(*words[:end], spec=spec) for spec in (plain, with_tools))
        assert more.used_tokens + 20 + tools.tokens <= 800
        same += few.openai() == more.openai()
    assert 120 < same < 149
    before = view_of(*words[:10], spec=plain)
    assert view_of(*words[:10], spec=with_tools, before=before).changed_because == ("tools",)


def test_needs_compaction() -> None:
    talk = [user(number, "one two three") for number in range(10)]  # 70 tokens and 3
    spec = view_spec(budget=100, reserved=0)
    assert not view_of(*talk, spec=spec, settings=Settings(trigger=730)).needs_compaction
    assert view_of(*talk, spec=spec, settings=Settings(trigger=729)).needs_compaction
    freeing = [
        view_of(*talk, spec=spec, settings=Settings(clear_at_least=least)).needs_compaction
        for least in (70, 71)
    ]
    assert freeing == [True, False]
    few = view_spec(budget=100, reserved=0, policy=LastN(9))
    assert not view_of(*talk, spec=few, settings=Settings(trigger=660)).needs_compaction


def test_last_n() -> None:
    history = [user(1, "a"), agent(2, call()), result(3, "A", 2), user(4, "b")]
    for limit, shown in [(1, 1), (2, 1), (3, 3), (4, 4)]:
        view = view_of(*history, spec=view_spec(budget=8_000, policy=LastN(limit)))
        window = [one for one in view.shown if one.area is Area.WINDOW]
        assert sum(len(one.ids) for one in window) == shown
    alone = view_of(*history[1:3], spec=view_spec(budget=8_000, policy=LastN(1)))
    assert len(alone.ids) == 2


def test_skip_parts_spares_the_newest_turn() -> None:
    looked = [user(1, "look"), agent(2, "I will.", call()), result(3, "found " * 9, 2, 1)]
    spec = view_spec(budget=8_000, policy=SkipParts())
    before = view_of(*looked, spec=spec)
    assert [m["content"] for m in before.openai()] == ["look", "I will.", "found " * 9]
    after = view_of(*looked, agent(4, "There."), user(5, "thanks"), spec=spec, before=before)
    assert said(after) == [
        ("user", "look"),
        ("assistant", "I will."),
        ("assistant", "There."),
        ("user", "thanks"),
    ]
    assert "tool_calls" not in after.openai()[1]
    assert after.changed_because == ("skipped",)
    assert Rule.SKIPPED in after.shown[1].rules
    other = view_spec(budget=8_000, policy=SkipParts(("tool-book",)))
    assert len(view_of(*looked, user(5, "thanks"), spec=other).openai()) == 4


def test_a_running_loop_of_calls_that_is_spared_keeps_to_the_room() -> None:
    loop = [user(0, "look everywhere")]
    for number in range(1, 41, 2):
        loop += [agent(number, call()), result(number + 1, "found " * 50, number)]
    spec = view_spec(budget=600, reserved=0, policy=SkipParts())
    for end in range(1, len(loop) + 1):
        view = view_of(*loop[:end], spec=spec)
        taken = sum(one.tokens for one in view.shown if one.area is not Area.HEAD)
        assert taken <= 597


def test_manual_lets_nothing_go() -> None:
    words = [user(number, "one two three") for number in range(20)]
    policy = Manual()
    assert len(view_of(*words, spec=view_spec(budget=200, reserved=0, policy=policy)).ids) == 20
    with pytest.raises(OverBudget, match="everything needs 143 tokens"):
        view_of(*words, spec=view_spec(budget=142, reserved=0, policy=policy))
    hidden = Marks(hidden=dict.fromkeys([word.id for word in words[:10]], event_id(99)))
    spec = view_spec(budget=143, reserved=0, policy=policy)
    assert len(view_of(*words, spec=spec, marks=hidden).ids) == 10


def test_a_policy_is_registered_once() -> None:
    with pytest.raises(InvalidMessage, match="already"):
        POLICIES.register("last_n", 1, lambda config: LastN(1))


# ---- what marks do ---------------------------------------------------------------------------


def test_hidden_messages_go_with_their_results() -> None:
    talk = [user(1, "a"), agent(2, call()), result(3, "A", 2), user(4, "b")]
    marks = Marks(hidden={event_id(2): event_id(9)})
    before = view_of(*talk)
    view = view_of(*talk, marks=marks, before=before)
    assert said(view) == [("user", "a"), ("user", "b")]
    assert view.changed_because == ("hide",)
    assert view_of(*talk, before=view).changed_because == ("revoke",)


def test_pins_stand_before_the_window_once_it_has_left_them() -> None:
    words = [user(number, f"number {number} " * 9) for number in range(60)]
    spec = view_spec(budget=800, reserved=0)
    source = Source([], list(words), marks=Marks(pins=(StandingPin(b"p", event_id(1)),)))
    view = view_of(*words, spec=spec, marks=source.marks)
    assert view.shown[0].rules == {Rule.PINNED}
    assert view.shown[0].area is Area.PREAMBLE
    assert view.ids.index(event_id(1)) == 0
    near = Marks(pins=(StandingPin(b"p", event_id(59)),))
    assert all(one.area is Area.WINDOW for one in view_of(*words, spec=spec, marks=near).shown)


def test_facts_newer_than_the_window_are_told_in_it() -> None:
    def fact(time: int, name: str) -> SaidFact:
        key = time.to_bytes(8, "big") + bytes(24)
        return SaidFact(key, event_id(time), Fact(name, '"x"', "last", ()))

    talk = [user(10, "a"), agent(20, "b"), user(30, "c")]
    said = [fact(5, "old"), fact(25, "seat"), fact(40, "class")]
    marks = Marks(book=FactBook(said))
    view = view_of(*talk, marks=marks)
    assert [m["content"] for m in view.openai()] == [
        '[facts]\nold: "x"',
        "a",
        "b",
        '[fact] seat: "x"',
        "c",
        '[fact] class: "x"',
    ]
    cause = view_of(*talk, marks=Marks(book=FactBook(said[:2])), before=view)
    assert cause.changed_because == ("facts",)


def test_what_a_summary_does_not_cover_comes_first() -> None:
    missed = user(2, "one more thing")
    summary = StandingSummary(b"s", event_id(90), "...", 3, event_id(4), frozenset({missed.id}))
    talk = [user(5, "c"), agent(6, "d")]
    marks = Marks(summary=summary)
    view = view_of(*talk, late=(missed,), marks=marks)
    said, first, *rest = view.openai()
    assert said["content"] == "[summary of 3 earlier messages]\n..."
    assert first["content"].startswith("[late]\n")
    assert [m["content"] for m in rest] == ["one more thing", "c", "d"]
    assert Rule.LATE in view.shown[2].rules
    before = view_of(user(1, "a"), missed, *talk)
    assert "summary" in view_of(*talk, late=(missed,), marks=marks, before=before).changed_because


def test_what_a_policy_recalls_from_begins_with_a_whole_unit() -> None:
    shelf = ViewCache().shelf(TOKENIZER, LARGE.media, "openai")
    talk = [user(1, "a"), agent(2, call()), result(3, "A", 2), user(4, "b"), user(5, "c")]
    source = Source([], talk)
    shown = [[*past_of(source, 4, back, shelf).authors] for back in range(5)]
    whole = [entry.id for entry in talk[:4]]
    assert shown == [[], whole[3:], whole[3:], whole[1:], whole]


# ---- why a view changed ----------------------------------------------------------------------


def test_causes() -> None:
    asked = agent(2, call())
    talk = [user(1, "a"), asked]
    waiting = view_of(*talk)
    answered = view_of(*talk, result(3, "A", 2), before=waiting)
    assert answered.changed_because == ("result",)
    assert view_of(*talk, result(3, "A", 2), user(4, "b"), before=answered).changed_because == ()
    late = view_of(user(1, "a"), user(5, "late"), asked, before=waiting)
    assert late.changed_because == ("late message",)
    assert view_of(asked, before=waiting).changed_because == ("step",)
    assert view_of(user(1, "a"), before=waiting).changed_because == ("erased",)
    spec = view_spec(budget=90)
    assert view_of(user(7, "z"), spec=spec, before=waiting).changed_because == ("spec", "step")


def test_policies_are_found_by_name_and_version() -> None:
    assert find_policy(LastN(7).choice()) == LastN(7)
    for name, version in [("last_n", 2), ("guess", 1)]:
        with pytest.raises(PolicyMissing, match=f"'{name}' version {version}"):
            find_policy(PolicyChoice(name, version, "{}"))


def test_another_tokenizer_is_refused() -> None:
    with pytest.raises(TokenizerMissing, match="cl100k_base"):
        view_of(user(1, "hi"), spec=view_spec(budget=100, tokenizer=CL100K_BASE))


# ---- shortening ------------------------------------------------------------------------------


def test_the_newest_message_alone_too_big_is_cut_in_the_middle() -> None:
    text = "begin " + "word " * 3_000 + "end"
    spec = view_spec(budget=200)
    view = view_of(user(1, "hi"), user(2, text), spec=spec)
    _, sent = [m["content"] for m in view.openai()]
    assert isinstance(sent, str)
    assert sent.startswith("begin word")
    assert sent.endswith("word end")
    beginning, mark, end = sent.split("\n")
    left_out = len(text) - len(beginning) - len(end)
    assert mark == f"[... {left_out} characters left out ...]"
    assert 150 < view.used_tokens <= 175
    assert view.used_tokens == 3 + 5 + 4 + TOKENIZER.count(sent)


def test_a_cut_message_does_not_depend_on_what_else_there_is() -> None:
    big = user(2, "word " * 3_000)
    spec = view_spec(budget=200)
    alone = view_of(big, spec=spec).openai()
    assert view_of(user(1, "ok"), big, spec=spec).openai()[-1:] == alone


def test_a_cache_does_not_mistake_one_cut_message_for_another() -> None:
    cache = ViewCache()
    for word in ("word ", "other "):
        for budget in (200, 400, 200):
            again = [
                view_of(user(2, word * 3_000), spec=view_spec(budget=budget), cache=memo)
                for memo in (cache, cache, None)
            ]
            assert again[0] == again[1] == again[2]


def test_the_results_of_a_group_are_levelled_and_arguments_stay_json() -> None:
    args = json.dumps({"query": 'a "quoted" word ' * 500})
    view = view_of(
        agent(1, call("a", args), call("b"), call("c")),
        result(2, "short", 1, 0, "a"),
        result(3, "x y " * 1_000, 1, 1, "b"),
        result(4, "z w " * 5_000, 1, 2, "c"),
        spec=view_spec(budget=1_000, reserved=0),
    )
    first, short, long, longest = view.openai()
    assert short["content"] == "short"
    lengths = []
    for message in (long, longest):
        content = message["content"]
        assert isinstance(content, str)
        lengths.append(len(content) - len(content.split("\n")[1]))
    assert lengths[0] == lengths[1]
    calls = first["tool_calls"]
    assert isinstance(calls, list)
    made = json.loads(calls[0]["function"]["arguments"])
    assert args.startswith(made["beginning"])
    assert made["characters_left_out"] == len(args) - len(made["beginning"])
    assert calls[1]["function"]["arguments"] == "{}"
    assert 840 < view.used_tokens <= 876


def test_characters_stay_whole() -> None:
    view = view_of(user(1, "😀日" * 5_000), spec=view_spec(budget=100))
    content = view.openai()[0]["content"]
    assert isinstance(content, str)
    beginning, _, end = content.encode().decode().split("\n")
    assert set(beginning) == set(end) == {"😀", "日"}


def test_a_message_that_says_what_it_costs_is_cut_in_proportion() -> None:
    dear = user(1, "word " * 100, tokens=1_000)  # ten for each of its own
    view = view_of(dear, spec=view_spec(budget=603, reserved=0))
    content = view.openai()[0]["content"]
    assert isinstance(content, str)
    assert "left out" in content
    assert 9 * TOKENIZER.count(content) < view.used_tokens <= 603


def test_shares_of_a_declared_cost_are_rounded_up() -> None:
    assert [Scale(declared=10, counted=3).cost(share) for share in (0, 1, 2, 3)] == [0, 4, 7, 10]
    assert Scale(declared=1, counted=100).cost(1) == 1


def test_what_cannot_be_cut_is_told() -> None:
    pictures = user(1, *[File("image/png", url="https://example.com/a.png")] * 3)
    with pytest.raises(BudgetTooSmall, match=f"the user message {pictures.id}") as caught:
        view_of(pictures, spec=view_spec(budget=2_000))
    assert caught.value.needed == 4 + 3 * 1_445
    assert caught.value.budget == (2_000 - 250 - 3) - (2_000 - 250 - 3) // 8
    # Once somebody answers, it is only left out.
    assert len(view_of(pictures, agent(2, "nice"), spec=view_spec(budget=2_000)).ids) == 1


# ---- the view itself -------------------------------------------------------------------------


def test_the_fingerprint_is_that_of_messages_and_spec() -> None:
    view = view_of(agent(1, call("é", '{"q":"\\u00e9"}')), user(2, 'say "hi"\n\x7f'))
    text = canonical_json({"messages": view.openai(), "spec": view.spec.to_json()})
    digest = hashlib.blake2b(text, digest_size=32, person=b"weft-view").hexdigest()
    assert view.fingerprint == digest
    assert view.cut == (b"\1" * 32, b"\2" * 32)


def test_fingerprints_never_change_without_a_new_renderer() -> None:
    history = (
        agent(1, call(args='{"q": "é"}'), call("c1")),
        user(2, "wait", File("image/png", url="https://example.com/a.png")),
        result(3, "word " * 900, 1, 1),
        result(4, "lost", None),
    )
    head = (entry(0, Role.SYSTEM, "Be brief."),)
    whole = view_of(*history, head=head, spec=view_spec(budget=8_000))
    assert whole.spec.renderer == 2
    assert whole.fingerprint == "d76fe0a80e9d9104824ac0a2ed63ead27fc3f34b0849eb5e47d258cc19c9c72d"
    cut = view_of(history[0], history[2], head=head, spec=view_spec(budget=400))
    assert cut.fingerprint == "ce31573a10fcde8b679dc8430706ef83d557c1f8775a9b6fea1dd0328fefe0d7"


def test_copies_are_safe_to_change() -> None:
    cache = ViewCache()

    def once() -> View:
        return view_of(agent(1, call()), cache=cache)

    view = once()
    sent = view.openai()
    calls = sent[0]["tool_calls"]
    assert isinstance(calls, list)
    calls.clear()
    sent.clear()
    view.messages[0].clear()
    assert len(view.openai()) == 2
    assert once() == view


def test_a_view_that_counts_nothing_loads_no_tokenizer() -> None:
    code = """
import sys
from weft_engine.events.event import Message, Role
from weft_engine.events.part import Call, CallRef, Result, Text
from weft_engine.names import EventId, context_name
from weft_engine.views.entry import Entry
from weft_engine.views.spec import view_spec
from weft_engine.views.tokenizer import O200K_BASE, Tokenizer
from weft_engine.views.build import build
from weft_engine.views.source import Source
ids = [EventId(f"{number:016x}-{'cd' * 16}") for number in range(3)]
said = [
    Message(Role.USER, (Text("hi"),)),
    Message(Role.ASSISTANT, (Call("a", "find", "{}"),)),
    Message(Role.TOOL, (Result("a", "A", CallRef(ids[1], 0)),)),
]
tail = [Entry(id_, message, "ann", 1, 50) for id_, message in zip(ids, said)]
view = build(Source([], tail), cut=(), context=context_name("c"),
             spec=view_spec(budget=1000), tokenizer=Tokenizer(O200K_BASE))
print(len(view.openai()), "tiktoken" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("3 False\n", "")

"""Views by example: what is sent, what it costs, what is left out, what is refused."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest

from weft_engine.canonical import canonical_json
from weft_engine.errors import BudgetTooSmall, PolicyMissing, TokenizerMissing
from weft_engine.events.event import Message, PolicyChoice, Role
from weft_engine.events.part import Call, CallRef, File, Part, Result, Text
from weft_engine.names import EventId, RecordHash, context_name
from weft_engine.views.cache import ViewCache
from weft_engine.views.count import count_message, tool_set
from weft_engine.views.entry import Entry
from weft_engine.views.piece import Scale
from weft_engine.views.policy import LastN, find_policy
from weft_engine.views.spec import ViewSpec, view_spec
from weft_engine.views.tokenizer import CL100K_BASE, O200K_BASE, Tokenizer
from weft_engine.views.view import NeedMore, Settings, View, build
from weft_engine.views.walk import INTERRUPTED, ORPHAN

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


def ask(
    *tail: Entry,
    spec: ViewSpec = LARGE,
    head: tuple[Entry, ...] = (),
    complete: bool = True,
    absent: frozenset[EventId] = frozenset(),
    settings: Settings | None = None,
) -> View | NeedMore:
    return build(
        head=head,
        tail=tail,
        complete=complete,
        cut=(RecordHash(b"\2" * 32), RecordHash(b"\1" * 32)),
        context=CONTEXT,
        spec=spec,
        tokenizer=TOKENIZER,
        settings=settings,
        absent=absent,
    )


def view_of(
    *tail: Entry,
    spec: ViewSpec = LARGE,
    head: tuple[Entry, ...] = (),
    complete: bool = True,
    absent: frozenset[EventId] = frozenset(),
    settings: Settings | None = None,
) -> View:
    view = ask(*tail, spec=spec, head=head, complete=complete, absent=absent, settings=settings)
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
    view = view_of(agent(1, call()), agent(2, call()), both)
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


def test_an_id_used_again_later_stays() -> None:
    view = view_of(agent(1, call()), result(2, "A", 1), agent(3, call()), result(4, "B", 3))
    assert [m.get("tool_call_id") for m in view.openai()] == [None, "c1", None, "c1"]


# ---- the window ------------------------------------------------------------------------------


def test_no_history_is_an_empty_view() -> None:
    view = view_of(spec=view_spec(budget=8, reserved=5))
    assert view.openai() == []
    assert view.used_tokens == 3
    assert (view.first, view.left_out, view.needs_compaction) == (None, 0, False)
    with pytest.raises(BudgetTooSmall, match="what is reserved needs 9 tokens"):
        view_of(spec=view_spec(budget=8, reserved=6))


def test_the_newest_whole_units_that_fit() -> None:
    words = [user(number, "one two three") for number in range(5)]  # 7 tokens each
    for budget, shown in [(3 + 35, 5), (3 + 34, 4), (3 + 7, 1)]:
        view = view_of(*words, spec=view_spec(budget=budget, reserved=0))
        assert view.ids == tuple(item.id for item in words[5 - shown :])
        assert view.used_tokens == 3 + 7 * shown
        assert view.left_out == 5 - shown
        assert view.first == words[5 - shown].id


def test_a_call_and_its_results_are_taken_or_left_together() -> None:
    group = [agent(1, call()), result(2, "found", 1)]
    last = user(3, "thanks")
    both = sum(item.tokens for item in (*group, last))
    assert len(view_of(*group, last, spec=view_spec(budget=3 + both, reserved=0)).ids) == 3
    assert view_of(*group, last, spec=view_spec(budget=2 + both, reserved=0)).ids == (last.id,)


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
    assert view_spec(budget=800, tools=tools).reserved == 100
    assert view_spec(budget=80, tools=tools).reserved == 10 + tools.tokens
    assert view_spec(budget=80, tools=tools).tools == tools.digest


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


def test_what_the_newest_entries_do_not_tell_is_asked_for() -> None:
    late = result(9, "late", 1)
    asked = ask(late, complete=False)
    assert asked == NeedMore(given=1, calls=(event_id(1),))
    # It may be the answer to an older call: only a look at the history can tell.
    assert said(view_of(agent(1, call()), late)) == [("assistant", None), ("tool", "c1")]
    spec = view_spec(budget=40, reserved=0, policy=LastN(1))
    known = view_of(late, complete=False, absent=frozenset({event_id(1)}), spec=spec)
    assert said(known) == [("user", ORPHAN + "late")]
    assert known.left_out is None
    # What stands there and is no call is not looked for further back.
    no_call = view_of(
        user(1, "hi"), late, complete=False, spec=view_spec(budget=99, policy=LastN(2))
    )
    assert said(no_call) == [("user", "hi"), ("user", ORPHAN + "late")]
    # Behind a full window, nobody asks.
    talk = [user(number, "one two three") for number in range(10, 20)]
    assert len(view_of(late, *talk, complete=False, spec=spec).ids) == 1


def test_last_n() -> None:
    history = [user(1, "a"), agent(2, call()), result(3, "A", 2), user(4, "b")]
    for limit, shown in [(1, 1), (2, 1), (3, 3), (4, 4)]:
        view = view_of(*history, spec=view_spec(budget=8_000, policy=LastN(limit)))
        assert len(view.ids) == shown
    assert len(view_of(*history[:3], spec=view_spec(budget=8_000, policy=LastN(1))).ids) == 2


def test_policies_are_found_by_name_and_version() -> None:
    assert find_policy(LastN(7).choice()) == LastN(7)
    for name, version in [("last_n", 2), ("guess", 1)]:
        with pytest.raises(PolicyMissing, match=f"'{name}' version {version}"):
            find_policy(PolicyChoice(name, version, "{}"))


def test_another_tokenizer_is_refused() -> None:
    with pytest.raises(TokenizerMissing, match="cl100k_base"):
        ask(user(1, "hi"), spec=view_spec(budget=100, tokenizer=CL100K_BASE))


# ---- shortening ------------------------------------------------------------------------------


def test_the_newest_message_alone_too_big_is_cut_in_the_middle() -> None:
    text = "begin " + "word " * 3_000 + "end"
    spec = view_spec(budget=200)
    view = view_of(user(1, "hi"), user(2, text), spec=spec)
    (sent,) = [m["content"] for m in view.openai()]
    assert isinstance(sent, str)
    assert sent.startswith("begin word")
    assert sent.endswith("word end")
    beginning, mark, end = sent.split("\n")
    left_out = len(text) - len(beginning) - len(end)
    assert mark == f"[... {left_out} characters left out ...]"
    assert 150 < view.used_tokens <= 175
    assert view.used_tokens == 3 + 4 + TOKENIZER.count(sent)


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
                build(
                    head=(),
                    tail=[user(2, word * 3_000)],
                    complete=True,
                    cut=(),
                    context=CONTEXT,
                    spec=view_spec(budget=budget),
                    tokenizer=TOKENIZER,
                    cache=memo,
                )
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
    assert 900 < view.used_tokens <= 1_000


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
    assert caught.value.budget == 2_000 - 250 - 3
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
    assert whole.spec.renderer == 1
    assert whole.fingerprint == "c931a5ad549e985677a2203a9bb024e045c88f9da739ed2b7f3e401fec16e1cf"
    cut = view_of(history[0], history[2], head=head, spec=view_spec(budget=400))
    assert cut.fingerprint == "7c3954e8ce2c6ef6fa6368beb59b6b653392446084531c0ac938867e40ece977"


def test_copies_are_safe_to_change() -> None:
    cache = ViewCache()

    def once() -> View:
        view = build(
            head=(),
            tail=[agent(1, call())],
            complete=True,
            cut=(),
            context=CONTEXT,
            spec=LARGE,
            tokenizer=TOKENIZER,
            cache=cache,
        )
        assert isinstance(view, View)
        return view

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
from weft_engine.views.view import build
ids = [EventId(f"{number:016x}-{'cd' * 16}") for number in range(3)]
said = [
    Message(Role.USER, (Text("hi"),)),
    Message(Role.ASSISTANT, (Call("a", "find", "{}"),)),
    Message(Role.TOOL, (Result("a", "A", CallRef(ids[1], 0)),)),
]
tail = [Entry(id_, message, "ann", 1, 50) for id_, message in zip(ids, said)]
view = build(head=(), tail=tail, complete=True, cut=(), context=context_name("c"),
             spec=view_spec(budget=1000), tokenizer=Tokenizer(O200K_BASE))
print(len(view.openai()), "tiktoken" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("3 False\n", "")

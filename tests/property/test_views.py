"""Laws of views, with a checker that shares no code with them.

`check_valid` knows the rules of the OpenAI chat API, `recount` the counting rule; both look only
at the messages that would be sent, and count with an encoding of their own.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_engine.errors import BudgetTooSmall
from weft_engine.events.event import Criticality, Fact, Lifetime, Message, Role
from weft_engine.events.facts import FactBook, SaidFact
from weft_engine.events.part import (
    Call,
    CallRef,
    File,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Result,
    Text,
)
from weft_engine.names import EventId, context_name
from weft_engine.views.build import build
from weft_engine.views.cache import ViewCache
from weft_engine.views.count import count_message
from weft_engine.views.entry import Entry, head_length
from weft_engine.views.marks import NO_MARKS, Marks, StandingPin, StandingSummary
from weft_engine.views.milestones import milestones
from weft_engine.views.past import is_lasting
from weft_engine.views.policies import LastN, Manual, SkipParts
from weft_engine.views.policy import LOOK_BACK, Policy
from weft_engine.views.room import Grid
from weft_engine.views.shown import Area
from weft_engine.views.source import Earlier, Source
from weft_engine.views.spec import ViewSpec, view_spec
from weft_engine.views.start import NeedMore
from weft_engine.views.tokenizer import O200K_BASE, Tokenizer
from weft_engine.views.view import Settings, View

TRANSCRIPTS = Path(__file__).parents[2] / ".." / "shared" / "data" / "agent-transcripts.jsonl"
CONTEXT = context_name("acme/chat-42")
TOKENIZER = Tokenizer(O200K_BASE)
USED_BY_ALL = ViewCache()
"""Full of answers about other conversations whose events have the same ids."""
IMAGE_TOKENS = 1_445

NOTHING = Message(Role.USER, ())
Sent = list[dict[str, object]]


# ---- the independent checker ----------------------------------------------------------------


@cache
def encoding() -> tiktoken.Encoding:
    package = find_spec("bpe_openai")
    assert package is not None
    assert package.submodule_search_locations
    packed = Path(package.submodule_search_locations[0]) / "data" / "o200k_base.tiktoken.gz"
    rows = [line.split() for line in gzip.decompress(packed.read_bytes()).splitlines()]
    upper, lower = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
    start, end = r"[^\r\n\p{L}\p{N}]?", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    return tiktoken.Encoding(
        "checker",
        pat_str=rf"{start}{upper}*{lower}+{end}|{start}{upper}+{lower}*{end}"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        mergeable_ranks={base64.b64decode(token): int(rank) for token, rank in rows},
        special_tokens={},
    )


def n(text: object) -> int:
    assert isinstance(text, str)
    return len(encoding().encode_ordinary(text))


def recount(sent: Sent) -> int:
    tokens = 3
    for said in sent:
        tokens += 4
        if "name" in said:
            tokens += 1 + n(said["name"])
        content = said.get("content")
        for part in content if isinstance(content, list) else [content]:
            if isinstance(part, str):
                tokens += n(part)
            elif isinstance(part, dict) and part.keys() == {"type", "text"}:
                tokens += n(part["text"])
            elif isinstance(part, dict) and part["type"] == "image_url":
                tokens += IMAGE_TOKENS
            else:
                assert part is None, part
        if "refusal" in said:
            tokens += n(said["refusal"])
        for _, name, arguments in calls_of(said):
            tokens += 8 + n(name) + n(arguments)
    return tokens


def calls_of(said: dict[str, object]) -> list[tuple[str, str, str]]:
    calls = said.get("tool_calls", [])
    assert isinstance(calls, list)
    for call in calls:
        assert call["type"] == "function"
        assert call["function"].keys() == {"name", "arguments"}
    return [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in calls]


def check_valid(sent: Sent) -> None:
    """OpenAI: a message with tool calls is followed by one tool message per call, nothing else is a
    tool message, ids tell the calls of a view apart, every message says something it may say."""
    rest = list(sent)
    used: set[str] = set()
    while rest:
        said = rest.pop(0)
        assert said["role"] in {"system", "developer", "user", "assistant"}, said
        calls = calls_of(said)
        assert "tool_calls" not in said or (calls and said["role"] == "assistant")
        assert said["content"] is not None or calls or "refusal" in said
        ids = [id_ for id_, _, _ in calls]
        assert len(set(ids)) == len(ids)
        assert "" not in ids
        assert not used.intersection(ids)
        used.update(ids)
        for id_ in ids:
            answer = rest.pop(0)
            assert answer["role"] == "tool"
            assert answer["tool_call_id"] == id_
            assert isinstance(answer["content"], (str, list))
        json.dumps(said, ensure_ascii=False).encode()


# ---- conversations ---------------------------------------------------------------------------

words = st.sampled_from(["", "a", " ", "b z0\n", '"\\', "é日", "😀", "e\u0301x", "09.5, it's"])
texts = st.one_of(
    words,
    st.builds(
        lambda word, times: word * times,
        st.sampled_from(
            ["lorem ipsum ", "x", " ", "日本", "😀👩\u200d👧", '{"a": [1]}\n', "\x00\u2028"]
        ),
        st.sampled_from([7, 60, 350]),
    ),
)
call_ids = st.sampled_from(["c1", "c2", "c1~2", ""])


def event_id(number: int) -> EventId:
    return EventId(f"{number:016x}-{'ab' * 16}")


@st.composite
def results(draw: st.DrawFn, messages: int) -> Result:
    where = CallRef(event_id(draw(st.integers(0, messages))), draw(st.integers(0, 3)))
    inner: st.SearchStrategy[list[Part]] = st.lists(
        st.one_of(st.builds(Text, texts), st.just(image())), max_size=3
    )
    return Result(
        id=draw(call_ids),
        out=draw(st.one_of(texts, inner.map(tuple))),
        call=draw(st.sampled_from([where, where, where, None])),
        name=draw(st.sampled_from([None, "find flight"])),
    )


def image() -> File:
    return File("image/png", url="data:image/png;base64,AAAA")


def parts(count: int) -> dict[Role, st.SearchStrategy[list[Part]]]:
    said: st.SearchStrategy[Part] = st.builds(Text, texts)
    calls: st.SearchStrategy[Part] = st.builds(
        Call, call_ids, st.sampled_from(["find", "book_it"]), texts
    )
    result: st.SearchStrategy[Part] = results(count)
    others: st.SearchStrategy[Part] = st.one_of(
        st.builds(Refusal, texts),
        st.builds(Reasoning, st.just("openai"), words),
        st.builds(lambda t: Opaque("openai_chat", json.dumps({"type": "text", "text": t})), words),
        st.just(Opaque("openai_chat", '{"type":"deep","x":' + "[" * 62 + "]" * 62 + "}")),
    )
    picture: st.SearchStrategy[Part] = st.just(image())
    return {
        Role.ASSISTANT: st.one_of(
            st.lists(said, min_size=1, max_size=1),
            st.lists(calls, min_size=1, max_size=3),
            st.lists(st.one_of(said, calls, result, others), max_size=4),
        ),
        Role.USER: st.lists(st.one_of(said, said, picture, calls, result, others), max_size=3),
        Role.TOOL: st.lists(st.one_of(result, result, said), min_size=1, max_size=3),
        Role.SYSTEM: st.lists(st.one_of(st.builds(Text, words), result), max_size=2),
    }


def messages(count: int, *, declared: bool) -> st.SearchStrategy[Message]:
    tokens = st.one_of(st.none(), st.integers(1, 3_000)) if declared else st.none()
    of = {
        role: st.builds(
            Message,
            st.just(role),
            some.map(tuple),
            name=st.sampled_from([None, None, "ann"]),
            tokens=tokens,
            crit=st.sampled_from([None, None, None, None, Criticality.CRITICAL]),
            life=st.sampled_from([None, None, None, *Lifetime]),
        )
        for role, some in parts(count).items()
    }
    return st.one_of(
        *(of[Role(r)] for r in ["assistant", "assistant", "tool", "tool", "user", "system"])
    )


@st.composite
def conversations(draw: st.DrawFn, *, declared: bool = False) -> list[Entry]:
    """In any order: results before their calls, doubled, without calls, between other turns."""
    count = draw(st.integers(0, 10))
    said = draw(st.lists(messages(count, declared=declared), min_size=count, max_size=count))
    if draw(st.booleans()):
        said.insert(0, Message(Role.SYSTEM, (Text("Be brief."),)))
    calls = [
        (CallRef(event_id(number), index), part.id)
        for number, message in enumerate(said)
        for index, part in enumerate(message.parts)
        if isinstance(part, Call)
    ]

    def aimed(part: Part) -> Part:
        if not isinstance(part, Result) or not calls or draw(st.integers(0, 3)) == 0:
            return part
        ref, id_ = draw(st.sampled_from(calls))
        return replace(part, call=ref, id=id_ if draw(st.booleans()) else part.id)

    said = [replace(m, parts=tuple(aimed(part) for part in m.parts)) for m in said]
    numbers = draw(st.permutations(range(len(said)))) if draw(st.booleans()) else range(len(said))
    return [entry(number, message) for number, message in zip(numbers, said, strict=True)]


def entry(number: int, message: Message) -> Entry:
    return Entry(event_id(number), message, "ann", number, count_message(message, TOKENIZER))


def source_of(
    entries: Sequence[Entry], *, marks: Marks = NO_MARKS, newest: int | None = None
) -> Source:
    """All of it, or the newest messages only, as a store would give them that knows no more."""
    top = head_length(entries)
    head, tail = list(entries[:top]), list(entries[top:])
    late: list[Entry] = []
    end = 0
    if marks.summary is not None:
        places = {item.id: place for place, item in enumerate(tail)}
        end = places[marks.summary.last] + 1
        late = [item for item in tail[:end] if item.id in marks.summary.late]
        tail = tail[end:]
    if newest is None or newest >= len(tail):
        return Source(
            head, tail, late=tuple(late), marks=marks, before=earlier(entries, marks, end=end)
        )
    return Source(head, tail[len(tail) - newest :], complete=False, late=tuple(late), marks=marks)


def earlier(entries: Sequence[Entry], marks: Marks, *, end: int) -> tuple[Earlier, ...]:
    """What may be taken along of the first `end` behind the head, each with the results behind
    it."""
    top = head_length(entries)
    targets = {pin.target for pin in marks.pins}
    found = []
    for place in range(top, top + end):
        message = entries[place].message
        depth = 0
        if entries[place].id not in targets and not is_lasting(message):
            depth = top + end - place
            if message.life is not Lifetime.SESSION or depth > LOOK_BACK:
                continue
        group = [entries[place]]
        if message.role is Role.ASSISTANT:
            for behind in entries[place + 1 : top + end]:
                if behind.message.role is not Role.TOOL:
                    break
                group.append(behind)
        found.append(Earlier(tuple(group), depth))
    return tuple(found)


def made_of(
    source: Source, spec: ViewSpec, *, memo: ViewCache | None = None, before: View | None = None
) -> View | NeedMore:
    return build(
        source,
        cut=(),
        context=CONTEXT,
        spec=spec,
        tokenizer=TOKENIZER,
        settings=Settings(trigger=700, clear_at_least=100),
        cache=memo,
        before=before,
    )


def whole_view(
    entries: Sequence[Entry],
    spec: ViewSpec,
    *,
    marks: Marks = NO_MARKS,
    memo: ViewCache | None = None,
    before: View | None = None,
) -> View:
    view = made_of(source_of(entries, marks=marks), spec, memo=memo, before=before)
    assert isinstance(view, View)
    return view


def view_or_error(
    entries: Sequence[Entry], spec: ViewSpec, *, marks: Marks = NO_MARKS
) -> View | BudgetTooSmall:
    try:
        return whole_view(entries, spec, marks=marks)
    except BudgetTooSmall as error:
        return error


def ask_for_more(
    entries: Sequence[Entry],
    spec: ViewSpec,
    newest: int,
    memo: ViewCache | None,
    *,
    marks: Marks = NO_MARKS,
    hinted: int = 0,
) -> View:
    """The view as it is made from the end of the history, with ever more of it, beginning at a
    milestone; at the `hinted`-th before the one that would do."""
    top = head_length(entries)
    tail = entries[top:]
    source = source_of(entries, marks=marks, newest=newest)
    while True:
        view = made_of(source, spec, memo=memo)
        if isinstance(view, View):
            return view
        assert not source.complete
        weight, first = 0, len(tail)
        while first and not (
            len(tail) - first >= view.rows
            and (weight > view.tokens or (view.messages or 10**9) < len(tail) - first)
        ):
            first -= 1
            weight += tail[first].tokens
        laid = [place for place in milestones(tail, view.grid) if place <= first]
        begin = laid[max(0, len(laid) - 1 - hinted)] if first else 0
        users = [item for item in tail[:begin] if item.message.role is Role.USER]
        source = Source(
            list(entries[:top]),
            list(tail[begin:]),
            complete=begin == 0,
            opening=users[-1] if users else None,
            marks=marks,
            before=earlier(entries, marks, end=begin),
            anchors={view.grid: 0},
        )


def all_parts(entries: Sequence[Entry]) -> list[Part]:
    return [part for item in entries for part in item.message.parts]


def is_said(text: str, sent: Sent) -> bool:
    return json.dumps(text)[1:-1] in json.dumps(sent)


def enough(entries: Sequence[Entry]) -> int:
    """A budget at which shortening always succeeds: what can't be cut, and room for the marks."""
    return 400 + 2 * sum(
        200 + sum(3_200 if isinstance(p, File | Result | Opaque) else 200 for p in e.message.parts)
        for e in entries
    )


budgets = st.one_of(st.integers(1, 300), st.integers(300, 3_000), st.integers(3_000, 60_000))
limits = st.one_of(st.just(400), st.integers(1, 6))
policies: st.SearchStrategy[Policy] = st.one_of(
    st.builds(LastN, limits),
    st.builds(
        SkipParts, st.sampled_from([("reasoning", "tool"), ("tool-find",), ("text",)]), limits
    ),
)
laws = settings(max_examples=200, deadline=None)
LARGE = view_spec(budget=10**9, policy=LastN(10**6))


@st.composite
def marks_of(draw: st.DrawFn, entries: Sequence[Entry]) -> Marks:
    """Pins, hidden messages, facts and a summary of what a history begins with."""
    top = head_length(entries)
    tail = entries[top:]
    if not tail or draw(st.booleans()):
        return NO_MARKS
    some = st.sets(st.sampled_from([item.id for item in tail]), max_size=3)
    summary = None
    if draw(st.booleans()):
        end = draw(st.integers(1, len(tail)))
        late = draw(st.sets(st.sampled_from([item.id for item in tail[:end]]), max_size=2))
        summary = StandingSummary(
            b"s" * 32,
            event_id(901),
            "They met.",
            end - len(late),
            tail[end - 1].id,
            frozenset(late),
        )
    facts = [
        SaidFact(
            Entry(event_id(950 + n), NOTHING, "", draw(st.integers(0, 12)), 0).key,
            event_id(950 + n),
            Fact(f"f{draw(st.integers(0, 1))}", json.dumps(draw(words)), "last", ()),
        )
        for n in range(draw(st.integers(0, 6)))
    ]
    return Marks(
        pins=tuple(StandingPin(b"p" * 32, id_) for id_ in sorted(draw(some))),
        hidden=dict.fromkeys(sorted(draw(some)), event_id(902)),
        book=FactBook(facts),
        summary=summary,
    )


def said_after() -> st.SearchStrategy[tuple[int, tuple[int, str, str]]]:
    """How many messages stand there when it is said; its time, name and value."""
    return st.tuples(
        st.integers(0, 12), st.tuples(st.integers(0, 40), st.sampled_from("ab"), words)
    )


def said_fact(number: int, said: tuple[int, str, str]) -> SaidFact:
    time, name, value = said
    key = Entry(event_id(950 + number), NOTHING, "", time, 0).key
    return SaidFact(key, event_id(950 + number), Fact(name, json.dumps(value), "last", ()))


# ---- laws ------------------------------------------------------------------------------------


@laws
@given(st.data(), conversations(), budgets, policies)
def test_valid_never_over_budget_and_what_leads_is_kept(
    data: st.DataObject, entries: list[Entry], budget: int, policy: Policy
) -> None:
    spec = view_spec(budget=budget, policy=policy)
    marks = data.draw(marks_of(entries))
    view = view_or_error(entries, spec, marks=marks)
    if isinstance(view, BudgetTooSmall):
        assert view.needed > view.budget
        assert budget - budget // 8 < enough(entries)
        return
    sent = view.openai()
    check_valid(sent)
    nests_too_deep = any("deep" in p.json for p in all_parts(entries) if isinstance(p, Opaque))
    counted = recount(sent)
    assert counted == view.used_tokens or (nests_too_deep and counted < view.used_tokens)
    assert view.used_tokens + spec.reserved <= budget
    assert view.used_tokens == 3 + sum(shown.tokens for shown in view.shown)
    top = entries[: head_length(entries)]
    assert {item.id for item in top} <= {*view.ids}
    for part in all_parts(top):
        if isinstance(part, Text):
            assert is_said(part.text, sent)
    in_window = {id_ for shown in view.shown for id_ in shown.ids if shown.area is Area.WINDOW}
    assert not in_window & marks.hidden.keys()


@laws
@given(st.data(), conversations(declared=True), budgets, policies, st.integers(1, 3))
def test_the_same_from_any_number_of_entries_any_hint_and_any_cache(
    data: st.DataObject, entries: list[Entry], budget: int, policy: Policy, newest: int
) -> None:
    spec = view_spec(budget=budget, policy=policy)
    marks = data.draw(marks_of(entries))
    if marks.summary is not None:
        marks = replace(marks, summary=None)
    view = view_or_error(entries, spec, marks=marks)
    if isinstance(view, View):
        check_valid(view.openai())
        assert view.used_tokens + spec.reserved <= budget
    for memo, hinted in ((None, 0), (USED_BY_ALL, 1), (USED_BY_ALL, 2)):
        if isinstance(view, View):
            asked = ask_for_more(entries, spec, newest, memo, marks=marks, hinted=hinted)
            assert asked == view
            assert whole_view(entries, spec, marks=marks, memo=memo) == view
        else:
            with pytest.raises(BudgetTooSmall):
                ask_for_more(entries, spec, newest, memo, marks=marks)


@laws
@given(st.data(), conversations(), budgets, policies)
def test_what_grows_comes_out_as_what_is_made_anew_and_begins_as_before(
    data: st.DataObject, entries: list[Entry], budget: int, policy: Policy
) -> None:
    """One source that grows, as in a running store: at every cut the view is the one that a store
    opened just now would make; unless it says why not, it begins with the one before."""
    spec = view_spec(budget=budget, policy=policy)
    top = head_length(entries)
    memo = ViewCache()
    growing = Source(list(entries[:top]), [])
    facts = data.draw(st.lists(said_after(), max_size=6))
    before: View | None = None
    starts: list[EventId | None] = []
    for end in range(top, len(entries) + 1):
        if end > top:
            growing.tail.append(entries[end - 1])
        for number, (place, fact) in enumerate(facts):
            if place == end:
                growing.marks = growing.marks.with_fact(said_fact(number, fact))
        marks = Marks(book=growing.marks.book)
        anew = view_or_error(entries[:end], spec, marks=marks)
        if isinstance(anew, BudgetTooSmall):
            with pytest.raises(BudgetTooSmall):
                made_of(growing, spec, memo=memo, before=before)
            continue
        if data.draw(st.booleans()):
            continue
        view = made_of(growing, spec, memo=memo, before=before)
        assert view == anew
        assert isinstance(view, View)
        check_valid(view.openai())
        if before is not None:
            is_prefix = view.openai()[: len(before.openai())] == before.openai()
            assert is_prefix or view.changed_because
            assert not (is_prefix and view.changed_because)
        places = {item.id: place for place, item in enumerate(entries)}
        starts.append(view.shape.start)
        begun = [places[start] for start in starts if start is not None]
        assert begun == sorted(begun), "a window never moves back"
        before = view


def grown(entries: Sequence[Entry], spec: ViewSpec, *, marks: Marks = NO_MARKS) -> None:
    """A source that grows gives at every message the view that is made anew."""
    memo = ViewCache()
    top = head_length(entries)
    growing = Source(list(entries[:top]), [], marks=marks)
    for end in range(top + 1, len(entries) + 1):
        growing.tail.append(entries[end - 1])
        assert made_of(growing, spec, memo=memo) == whole_view(entries[:end], spec, marks=marks)


def said(number: int, role: str, *parts: Part) -> Entry:
    return entry(number, Message(Role(role), parts))


def test_a_result_behind_other_messages_is_counted_with_its_call() -> None:
    call = Call("c1", "find", json.dumps({"q": "word " * 520}))
    result = Result("c1", "word " * 500, CallRef(event_id(2), 0))
    entries = [
        said(1, "user", Text("Hi")),
        said(2, "assistant", call),
        said(3, "user", Text("mid " * 30)),
        said(4, "tool", result),
        said(5, "user", Text("Go on")),
    ]
    for budget in (900, 1_000, 1_200, 2_000):
        grown(entries, view_spec(budget=budget))


@pytest.mark.parametrize("policy", [LastN(400), LastN(6)])
def test_a_result_of_a_hidden_call_counts_nothing(policy: Policy) -> None:
    result = Result("c1", "word " * 500, CallRef(event_id(2), 0))
    entries = [
        said(1, "user", Text("Hi")),
        said(2, "assistant", Call("c1", "find", "{}")),
        said(3, "tool", result),
        said(4, "tool", replace(result, out="word " * 100)),
        *(said(5 + n, "user", Text("word " * 80)) for n in range(12)),
    ]
    marks = Marks(hidden={event_id(2): event_id(902)})
    grown(entries, view_spec(budget=1_000, policy=policy), marks=marks)


def test_the_newest_message_that_is_shown_is_in_the_view_or_named() -> None:
    """Behind it stand results of a hidden call, of which nothing is shown."""
    picture = Message(Role.USER, (image(),))
    result = Result("c1", "word " * 50, CallRef(event_id(2), 0))
    entries = [
        said(1, "user", Text("Hi")),
        said(2, "assistant", Call("c1", "find", "{}")),
        entry(3, picture),
        *(said(4 + n, "tool", result) for n in range(4)),
    ]
    marks = Marks(hidden={event_id(2): event_id(902)})
    assert event_id(3) in whole_view(entries, view_spec(budget=3_000), marks=marks).ids
    with pytest.raises(BudgetTooSmall) as raised:
        whole_view(entries, view_spec(budget=600), marks=marks)
    assert event_id(3) in raised.value.culprit


def facts_of(*facts: tuple[int, str, str]) -> FactBook:
    return FactBook(
        [
            SaidFact(
                Entry(event_id(n), NOTHING, "", n, 0).key,
                event_id(n),
                Fact(name, json.dumps(value), "last", ()),
            )
            for n, name, value in facts
        ]
    )


def test_a_fact_too_large_for_a_notice_is_listed_with_those_before_it() -> None:
    book = facts_of((2, "early", "x"), (3, "big", "word " * 3_000), (4, "small", "y"))
    view = whole_view([said(1, "user", Text("Hi"))], view_spec(budget=400), marks=Marks(book=book))
    sent = view.openai()
    assert is_said("early: ", sent)
    assert is_said("big: ", sent)
    assert sent[-1]["content"] == '[fact] small: "y"'


def test_facts_behind_a_message_that_takes_all_the_window_stand_before_it() -> None:
    entries = [
        *(said(1 + n, "user", Text(f"{n} " + "word " * 150)) for n in range(10)),
        said(11, "user", Text("word " * 3_000)),
    ]
    pins = tuple(StandingPin(b"p" * 32, event_id(1 + n)) for n in range(10))
    marks = Marks(pins=pins, book=facts_of((12, "seat", "aisle")))
    view = whole_view(entries, view_spec(budget=2_000), marks=marks)
    assert view.ids[-1] == event_id(11)
    assert view.shown[-1].area is Area.WINDOW


def test_results_that_come_to_a_unit_above_the_room_are_counted_once() -> None:
    counted: list[int] = []

    class Counting:
        id = TOKENIZER.id

        def count(self, text: str) -> int:
            counted.append(len(text))
            return TOKENIZER.count(text)

    calls = 40
    texts = ["word " * 2_000 for _ in range(calls)]
    entries = [
        said(1, "assistant", *(Call(f"c{n}", "find", "{}") for n in range(calls))),
        *(
            said(2 + n, "tool", Result(f"c{n}", text, CallRef(event_id(1), n)))
            for n, text in enumerate(texts)
        ),
    ]
    spec = view_spec(budget=32_000)
    build(source_of(entries), cut=(), context=CONTEXT, spec=spec, tokenizer=Counting())
    assert sum(counted) < 6 * sum(map(len, texts))


@laws
@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 4), st.sampled_from("abc"), words),
        min_size=4,
        max_size=40,
    ),
    st.integers(250, 1_200),
)
def test_facts_that_come_to_a_view_stand_where_a_view_made_anew_has_them(
    steps: list[tuple[bool, int, str, str]], budget: int
) -> None:
    """Messages and facts one by one, most of them newer than all before."""
    spec = view_spec(budget=budget, policy=LastN(100))
    memo, growing = ViewCache(), Source([], [])
    for time, (is_fact, early, name, text) in enumerate(steps, 10):
        id_, when = event_id(time), max(0, time - early * early)
        said = Message(Role.USER, (Text(f"{text} word" * (1 + 20 * early)),))
        one = Entry(id_, said, "ann", when, count_message(said, TOKENIZER))
        if is_fact:
            fact = SaidFact(one.key, id_, Fact(name, json.dumps(text), "last", ()))
            growing.marks = growing.marks.with_fact(fact)
        else:
            growing.tail.append(one)
        anew = view_or_error(growing.tail, spec, marks=Marks(book=growing.marks.book))
        if isinstance(anew, View):
            assert made_of(growing, spec, memo=memo) == anew
        else:
            with pytest.raises(BudgetTooSmall):
                made_of(growing, spec, memo=memo)


@laws
@given(conversations(), st.integers(1, 8))
def test_nothing_is_lost_but_by_the_policy(entries: list[Entry], limit: int) -> None:
    view = whole_view(entries, LARGE)
    left_out = [item for item in entries if item.id not in view.ids]
    assert view.left_out == len(left_out)
    assert not any(item.tokens for item in left_out)
    sent = view.openai()
    for item in entries:
        for part in item.message.parts:
            match part:
                case Text(text) if item.message.role is not Role.TOOL:
                    assert is_said(text, sent)
                case Result(out=str(text)):
                    assert is_said(text, sent)
                case Call(args=text) if item.message.role is Role.ASSISTANT:
                    assert is_said(text, sent)
                case _:
                    pass
    manual = whole_view(entries, replace(LARGE, policy=Manual().choice()))
    assert manual.openai() == sent


@laws
@given(conversations(), budgets)
def test_compaction_is_asked_for_by_demand(entries: list[Entry], budget: int) -> None:
    view = view_or_error(entries, view_spec(budget=budget))
    if isinstance(view, BudgetTooSmall):
        return
    top = head_length(entries)
    head = [shown.tokens for shown in view.shown if shown.area is Area.HEAD]
    tail = [item.tokens for item in entries[top:]]
    demand = 3 + sum(head) + sum(tail)
    assert view.needs_compaction == (demand > budget * 700 // 1_000 and sum(tail) >= 100)


# ---- milestones and starts, by the letter of the design --------------------------------------


def units_by_the_letter(entries: Sequence[Entry], window: int) -> list[list[int]]:
    """The indices of the rows of each unit."""
    units: list[list[int]] = []
    for index, item in enumerate(entries):
        if item.message.role is Role.TOOL and units:
            units[-1].append(index)
        else:
            units.append([index])
    return units


def milestones_by_the_letter(
    entries: Sequence[Entry], window: int, limit: int | None = None
) -> list[int]:
    """A limit is a window of messages: what is said of tokens is said of them as well."""
    weights = [min(item.tokens, window) for item in entries]
    sizes = [(window, window // 2, 5 * window // 8, weights)]
    if limit is not None:
        sizes.append((limit, limit // 2, 5 * limit // 8, [1] * len(entries)))
    found: list[int] = []
    before: list[int] = []
    for rows in units_by_the_letter(entries, window):
        is_user = entries[rows[0]].message.role is Role.USER
        for whole, near, furthest, weight in sizes:
            since = sum(weight[found[-1] if found else 0 : rows[0]])
            if (
                not found
                or (is_user and since >= near)
                or since >= furthest
                or sum(weight[row] for row in rows) > whole - furthest
                or sum(weight[row] for row in before) > whole - furthest
            ):
                found.append(rows[0])
                break
        before = rows
    return found


def opening_by_the_letter(tail: Sequence[Entry], start: int, allowance: int) -> int:
    """What the message that opens the turn takes of the allowance, if the window begins inside."""
    if start == 0 or tail[start].message.role is Role.USER:
        return 0
    said = [item.tokens for item in tail[:start] if item.message.role is Role.USER]
    if not said:
        return 0
    assert said[-1] <= allowance // 2, "it is not shortened in what is checked by the letter"
    return said[-1]


def start_by_the_letter(entries: Sequence[Entry], spec: ViewSpec, limit: int | None) -> int:
    """Where the window begins, if each message costs what it weighs."""
    top = head_length(entries)
    costs = [item.tokens for item in entries[top:]]
    room = spec.budget - spec.reserved - 3 - sum(item.tokens for item in entries[:top])
    window = room - room // 8
    tail = entries[top:]
    bounds = [0] * len(tail)
    for rows in units_by_the_letter(tail, window):
        bounds[rows[0]] = min(window, sum(costs[row] for row in rows))
    for start in milestones_by_the_letter(tail, window, limit):
        spare = room - window - opening_by_the_letter(tail, start, room - window)
        if sum(bounds[start:]) <= window + spare and (limit is None or len(tail) - start <= limit):
            return top + start
    raise AssertionError("from the last milestone everything fits")


@laws
@given(conversations(declared=True), st.integers(0, 9_000), st.one_of(st.none(), st.integers(1, 9)))
def test_milestones_are_those_of_the_design(
    entries: list[Entry], window: int, limit: int | None
) -> None:
    assert milestones(entries, Grid(window, limit)) == (
        milestones_by_the_letter(entries, window, limit)
    )


weights = st.lists(
    st.tuples(st.sampled_from(["user", "assistant", "assistant", "tool"]), st.integers(1, 900)),
    max_size=120,
)


@laws
@given(weights, st.integers(40, 3_000))
def test_the_last_milestone_fits_and_steps_are_few(
    rows: list[tuple[str, int]], window: int
) -> None:
    entries = [
        Entry(event_id(n), Message(Role(role), (Text("x"),), tokens=size), "ann", n, size)
        for n, (role, size) in enumerate(rows)
    ]
    laid = milestones_by_the_letter(entries, window)
    assert milestones(entries, Grid(window, None)) == laid
    if not laid:
        return
    units = units_by_the_letter(entries, window)
    sizes = {rows[0]: min(window, sum(entries[row].tokens for row in rows)) for rows in units}
    assert sum(size for first, size in sizes.items() if first >= laid[-1]) <= window
    # The start at each moment, if what is said costs what it weighs.
    starts: list[int] = []
    for end in sizes:
        said = [size for first, size in sizes.items() if first <= end]
        place = {first: number for number, first in enumerate(sizes)}
        starts.append(next(m for m in laid if m > end or sum(said[place[m] :]) <= window))
    assert starts == sorted(starts)
    steps = len(set(starts)) - 1
    assert steps <= 1 + sum(sizes.values()) // max(1, 3 * window // 8)


# ---- real conversations ----------------------------------------------------------------------


def transcripts() -> list[list[Entry]]:
    if not TRANSCRIPTS.exists():
        pytest.skip("../shared/data/agent-transcripts.jsonl is not there")
    read: list[list[Entry]] = []
    number = 0
    for line in TRANSCRIPTS.read_text().splitlines():
        entries: list[Entry] = []
        asked: dict[str, CallRef] = {}
        for said in json.loads(line)["messages"]:
            number += 1
            parts: list[Part] = []
            if said["role"] == "tool":
                ref = asked.pop(said["tool_call_id"], None)
                parts.append(Result(said["tool_call_id"], said["content"], ref, name=said["name"]))
            elif said["content"] is not None:
                parts.append(Text(said["content"]))
            for call in said.get("tool_calls", []):
                asked[call["id"]] = CallRef(event_id(number), len(parts))
                made = call["function"]
                parts.append(Call(call["id"], made["name"], made["arguments"]))
            entries.append(entry(number, Message(Role(said["role"]), tuple(parts))))
        read.append(entries)
    return read


def joined_transcripts() -> list[Entry]:
    read = transcripts()
    return read[0] + [item for entries in read[1:] for item in entries[1:]]


def check_real(view: View | NeedMore, spec: ViewSpec) -> View:
    assert isinstance(view, View)
    sent = view.openai()
    check_valid(sent)
    assert recount(sent) == view.used_tokens
    assert view.used_tokens + spec.reserved <= spec.budget
    return view


def smallest_budget(entries: Sequence[Entry], memo: ViewCache) -> int:
    low, high = 1, 8_000
    while high - low > 1:
        middle = (low + high) // 2
        try:
            whole_view(entries, view_spec(budget=middle), memo=memo)
            high = middle
        except BudgetTooSmall:
            low = middle
    return high


def test_every_real_conversation_at_every_cut() -> None:
    read = transcripts()
    originals = [json.loads(line)["messages"] for line in TRANSCRIPTS.read_text().splitlines()]
    for number, (entries, original) in enumerate(zip(read, originals, strict=True)):
        memo = ViewCache()
        budgets = [2_500, 4_000, 128_000]
        if number % 10 == 0:
            budgets.append(smallest_budget(entries, memo) if number % 20 else 1_700)
        for budget in budgets:
            spec = view_spec(budget=budget)
            growing = source_of(entries[:1])
            try:
                for end in range(1, len(entries) + 1):
                    if end > 1:
                        growing.tail.append(entries[end - 1])
                    view = made_of(growing, spec, memo=memo)
                    if budget != 128_000 or end == len(entries):
                        check_real(view, spec)
            except BudgetTooSmall:
                assert budget < 2_000
                continue
            assert isinstance(view, View)
            if budget == 128_000:
                sent = [{k: v for k, v in m.items() if k != "tool_call_id"} for m in view.openai()]
                assert len(sent) == len(original)
                assert [m["content"] for m in sent] == [m["content"] for m in original]


@pytest.mark.parametrize(
    ("budget", "least_kept"), [(8_000, 0.94), (16_000, 0.97), (32_000, 0.97), (128_000, 0.97)]
)
def test_real_conversations_joined(budget: int, least_kept: float) -> None:
    """Starts by the letter of the design, few steps, and most of each view kept by the next."""
    joined = joined_transcripts()
    spec = view_spec(budget=budget, policy=LastN(10**6))
    room = budget - spec.reserved - 3 - joined[0].tokens
    quantum = 3 * (room - room // 8) // 8
    memo = ViewCache()
    growing = source_of(joined[:1])
    before: View | None = None
    kept = calls = steps = used = 0
    shares = 0.0
    for end in range(2, len(joined) + 1):
        growing.tail.append(joined[end - 1])
        if end < len(joined) and joined[end].message.role is not Role.ASSISTANT:
            continue  # nobody calls a model here
        view = made_of(growing, spec, memo=memo, before=before)
        assert isinstance(view, View)
        if end % 53 == 0:
            check_real(view, spec)
            assert ask_for_more(joined[:end], spec, 16, memo, hinted=end % 3) == view
            start = start_by_the_letter(joined[:end], spec, None)
            assert view.shape.start == joined[start].id
        calls += 1
        used += view.used_tokens
        if before is not None:
            old, new = said_by(before), said_by(view)
            common = 0
            for one, other in zip(old, new, strict=False):
                if one != other:
                    break
                common += len(one)
            shares += common / sum(map(len, old))
            kept += 1
            if old != new[: len(old)]:
                assert view.changed_because == ("step",)
                steps += 1
            else:
                assert view.changed_because == ()
        before = view
    appended = sum(item.tokens for item in joined[1:])
    print(
        f"{budget:>7,} tokens: kept {shares / kept:6.2%} with steps counted,"
        f" {100 * steps / calls:.1f} steps per 100 calls,"
        f" room used {used / calls / (budget - spec.reserved):.0%}"
    )
    assert steps <= 1 + appended // quantum
    assert shares / kept >= least_kept


def test_a_limit_of_messages_steps_too() -> None:
    joined = joined_transcripts()[:700]
    spec = view_spec(budget=128_000, policy=LastN(60))
    memo = ViewCache()
    growing = source_of(joined[:1])
    starts = set()
    for end in range(2, len(joined) + 1):
        growing.tail.append(joined[end - 1])
        view = made_of(growing, spec, memo=memo)
        assert isinstance(view, View)
        if joined[end - 1].message.role is not Role.TOOL or end % 7:
            continue
        assert len(view.ids) <= 61
        starts.add(view.shape.start)
        start = start_by_the_letter(joined[:end], spec, 60)
        assert view.shape.start == joined[start].id
    assert len(starts) <= 1 + 700 // (3 * 60 // 8)


def said_by(view: View) -> list[bytes]:
    return [said for unit in view.shape.units for piece in unit.pieces if (said := piece.sent())]


def test_agents_at_once() -> None:
    # As after a merge: two agents' turns interleaved, each still answered right behind its calls.
    read = transcripts()
    memo = ViewCache()
    mixed = [
        replace(item, author=author)
        for pair in zip(read[1][1:], read[2][1:], strict=False)
        for item, author in zip(pair, ("ann", "bob"), strict=True)
    ]
    for budget in (1_000, 4_000, 32_000):
        for end in range(1, len(mixed) + 1):
            spec = view_spec(budget=budget)
            check_real(whole_view(mixed[:end], spec, memo=memo), spec)

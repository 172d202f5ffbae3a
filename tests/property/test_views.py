"""Laws of views, with a checker that shares no code with them.

`check_valid` knows the rules of the OpenAI chat API, `recount` the counting rule; both look only
at the messages that would be sent, and count with an encoding of their own.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
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
from weft_engine.events.event import Message, Role
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
from weft_engine.views.cache import ViewCache
from weft_engine.views.count import count_message
from weft_engine.views.entry import Entry, head_length
from weft_engine.views.policy import LastN
from weft_engine.views.spec import ViewSpec, view_spec
from weft_engine.views.tokenizer import O200K_BASE, Tokenizer
from weft_engine.views.view import NeedMore, Settings, View, build

TRANSCRIPTS = Path(__file__).parents[2] / ".." / "shared" / "data" / "agent-transcripts.jsonl"
CONTEXT = context_name("acme/chat-42")
TOKENIZER = Tokenizer(O200K_BASE)
USED_BY_ALL = ViewCache()
"""Full of answers about other conversations whose events have the same ids."""
IMAGE_TOKENS = 1_445

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
    tool message, ids tell the calls of a message apart, every message says something it may say."""
    rest = list(sent)
    while rest:
        said = rest.pop(0)
        assert said["role"] in {"system", "developer", "user", "assistant"}, said
        calls = calls_of(said)
        assert "tool_calls" not in said or (calls and said["role"] == "assistant")
        assert said["content"] is not None or calls or "refusal" in said
        ids = [id_ for id_, _, _ in calls]
        assert len(set(ids)) == len(ids)
        assert "" not in ids
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


def view_of(
    entries: Sequence[Entry], spec: ViewSpec, *, memo: ViewCache | None = None, newest: int = 10**9
) -> View | NeedMore:
    top = head_length(entries)
    tail = entries[top:]
    return build(
        head=entries[:top],
        tail=tail[max(0, len(tail) - newest) :],
        complete=newest >= len(tail),
        cut=(),
        context=CONTEXT,
        spec=spec,
        tokenizer=TOKENIZER,
        settings=Settings(trigger=700, clear_at_least=100),
        cache=memo,
        total=len(entries),
    )


def whole_view(entries: Sequence[Entry], spec: ViewSpec) -> View:
    view = view_of(entries, spec)
    assert isinstance(view, View)
    return view


def view_or_error(entries: Sequence[Entry], spec: ViewSpec) -> View | BudgetTooSmall:
    try:
        return whole_view(entries, spec)
    except BudgetTooSmall as error:
        return error


def ask_for_more(
    entries: Sequence[Entry], spec: ViewSpec, newest: int, memo: ViewCache | None
) -> View:
    while True:
        view = view_of(entries, spec, newest=newest, memo=memo)
        if isinstance(view, View):
            return view
        assert newest < len(entries)
        newest *= 2


def all_parts(entries: Sequence[Entry]) -> list[Part]:
    return [part for item in entries for part in item.message.parts]


def is_said(text: str, sent: Sent) -> bool:
    return json.dumps(text)[1:-1] in json.dumps(sent)


def enough(entries: Sequence[Entry]) -> int:
    """A budget at which shortening always succeeds: what can't be cut, and room for the marks."""
    return 200 + sum(
        200 + sum(3_200 if isinstance(p, File | Result | Opaque) else 200 for p in e.message.parts)
        for e in entries
    )


budgets = st.one_of(st.integers(1, 300), st.integers(300, 3_000), st.integers(3_000, 60_000))
limits = st.one_of(st.just(400), st.integers(1, 6))
laws = settings(max_examples=200, deadline=None)
LARGE = view_spec(budget=10**9, policy=LastN(10**6))


# ---- laws ------------------------------------------------------------------------------------


@laws
@given(conversations(), budgets, limits)
def test_valid_never_over_budget_and_what_leads_is_kept(
    entries: list[Entry], budget: int, limit: int
) -> None:
    spec = view_spec(budget=budget, policy=LastN(limit))
    view = view_or_error(entries, spec)
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
    top = entries[: head_length(entries)]
    assert {item.id for item in top} <= {*view.ids}
    for part in all_parts(top):
        if isinstance(part, Text):
            assert is_said(part.text, sent)


@laws
@given(conversations(declared=True), budgets, limits, st.integers(1, 3))
def test_the_same_from_any_number_of_entries_and_any_cache(
    entries: list[Entry], budget: int, limit: int, newest: int
) -> None:
    spec = view_spec(budget=budget, policy=LastN(limit))
    view = view_or_error(entries, spec)
    if isinstance(view, View):
        check_valid(view.openai())
        assert view.used_tokens + spec.reserved <= budget
    for memo in (None, USED_BY_ALL, USED_BY_ALL):
        if isinstance(view, View):
            assert ask_for_more(entries, spec, newest, memo) == view
            assert view_of(entries, spec, memo=memo) == view
        else:
            with pytest.raises(BudgetTooSmall, match=re.escape(str(view))):
                ask_for_more(entries, spec, newest, memo)


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
    top = head_length(entries)
    cut = whole_view(entries, view_spec(budget=10**9, policy=LastN(limit)))
    head = whole_view(entries[:top], LARGE).openai()
    newest = cut.openai()[len(head) :]
    assert sent[: len(head)] == cut.openai()[: len(head)] == head
    assert sent[len(sent) - len(newest) :] == newest
    if len(cut.ids) - top > limit:
        assert cut.ids == whole_view(entries, view_spec(budget=10**9, policy=LastN(1))).ids


@laws
@given(conversations(), budgets, st.integers(0, 3_000))
def test_a_larger_budget_shows_no_less_and_compaction_is_asked_for_by_demand(
    entries: list[Entry], budget: int, more: int
) -> None:
    spec = view_spec(budget=budget)
    view = view_or_error(entries, spec)
    if isinstance(view, BudgetTooSmall):
        return
    # A unit that is cut leaves the rest of the window to older ones: then there may be fewer.
    if "left out" not in json.dumps(view.openai()).replace("_", " "):
        larger = whole_view(entries, replace(spec, budget=budget + more))
        assert {*view.ids} <= {*larger.ids}
    demand = whole_view(entries, LARGE).used_tokens
    head = whole_view(entries[: head_length(entries)], LARGE).used_tokens
    assert view.needs_compaction == (demand > budget * 700 // 1_000 and demand - head >= 100)


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


def check_real(entries: Sequence[Entry], spec: ViewSpec, memo: ViewCache) -> View:
    view = view_of(entries, spec, memo=memo)
    assert isinstance(view, View)
    sent = view.openai()
    check_valid(sent)
    assert recount(sent) == view.used_tokens
    assert view.used_tokens + spec.reserved <= spec.budget
    return view


def test_every_real_conversation() -> None:
    memo = ViewCache()
    specs = [view_spec(budget=budget) for budget in (1_500, 2_500, 4_000, 64_000)]
    read = transcripts()
    originals = [json.loads(line)["messages"] for line in TRANSCRIPTS.read_text().splitlines()]
    for entries, original in zip(read, originals, strict=True):
        views = [check_real(entries, spec, memo) for spec in specs]
        assert views[-1].openai() == original
        # While the model waits for a tool: the call is the newest message.
        last_call = max(
            (i for i, e in enumerate(entries) if e.message.role is Role.TOOL), default=1
        )
        check_real(entries[:last_call], specs[1], memo)


def test_real_conversations_joined() -> None:
    read = transcripts()
    joined = read[0] + [item for entries in read[1:] for item in entries[1:]]
    memo = ViewCache()
    for budget in (2_000, 8_000, 32_000, 128_000):
        spec = view_spec(budget=budget)
        for end in range(40, len(joined), 97):
            view = check_real(joined[:end], spec, memo)
            assert ask_for_more(joined[:end], spec, 16, memo) == view
    # As after a merge: two agents' turns interleaved, each still answered right behind its calls.
    mixed = [item for pair in zip(read[1][1:], read[2][1:], strict=False) for item in pair]
    for budget in (1_000, 4_000, 32_000):
        check_real(mixed, view_spec(budget=budget), memo)

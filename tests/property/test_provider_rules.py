"""No view breaks a rule of its provider: generated conversations and real ones, at every cut, at
budgets from the smallest that fits, in every format that has a provider.

Views are made as applications make them; what they send is judged by `tests.validators`, which
shares no code with the renderers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.command_line import TRANSCRIPTS
from tests.stores import folder, open_replica
from tests.validators import VALIDATORS
from tests.validators.sdk_types import refused
from weft_engine.errors import BudgetTooSmall
from weft_engine.events.event import Message, Role
from weft_engine.events.part import Call, File, Part, Reasoning, Refusal, Result, Text
from weft_engine.replica.context import Context
from weft_engine.views.view import View

FORMATS = sorted(VALIDATORS)
LARGEST = 128_000


def violations(view: View, format_name: str) -> list[str]:
    """What the provider would refuse; nothing of a view that says nothing."""
    if not any(map(says_something, view.said)):
        return []
    sent = getattr(view, format_name)()
    found = VALIDATORS[format_name](sent)
    against = refused(format_name, sent)
    return found if against is None else [*found, against]


def says_something(message: Message) -> bool:
    """Some providers want a message beside the instructions, one that is not blank."""
    if message.role in (Role.SYSTEM, Role.DEVELOPER):
        return False
    return any(
        part.text.strip() if isinstance(part, Text) else isinstance(part, (Call, File, Refusal))
        for part in message.parts
    )


async def at_most(chat: Context, budget: int, form: str = "openai") -> View | None:
    try:
        view = await chat.view(budget=budget, format=form)
    except BudgetTooSmall:
        return None
    assert view.used_tokens + view.spec.reserved <= budget
    return view


async def smallest(chat: Context, form: str = "openai") -> int:
    """The smallest budget that fits now."""
    low, high = 0, LARGEST
    while high - low > 1:
        middle = (low + high) // 2
        if await at_most(chat, middle, form) is None:
            low = middle
        else:
            high = middle
    return high


# ---- generated ----------------------------------------------------------------------------------

words = st.sampled_from(["yes", "a b ", " ", "", "日本 😀\n", '{"a": "\\\\"}', "\x00\u2028"])
texts = st.one_of(words, st.builds(lambda word, n: word * n, words, st.sampled_from([20, 400])))
tame_ids = st.sampled_from(["c1", "c2", "call_3"])
tame_names = st.sampled_from(["find", "book-it_2"])
foreign_ids = st.sampled_from(["c1", "functions.find:0", "functions_find_0", "x" * 90, "é", "a b"])
foreign_names = st.sampled_from(["find", "my server/find it", "n" * 100, "日本", "<|a|>"])
arguments = st.sampled_from(["{}", '{"to": "AMS", "n": [1.50, null]}', "", "[1]", "{oops", "null"])
PICTURE = File("image/png", url="data:image/png;base64,AAAA")
ATTACHED = [
    PICTURE,
    File("image/jpeg", url="https://example.com/a.jpg"),
    File("application/pdf", url="data:application/pdf;base64,JVBERi0=", name="a.pdf"),
    File("image/svg+xml", url="data:image/svg+xml;base64,AAAA"),
    File("audio/wav", url="data:audio/wav;base64,AAAA"),
    File("text/csv", blob="ab" * 32, name="a.csv"),
]
THOUGHTS = [
    Reasoning("anthropic", "Hm.", sig="EqQB"),
    Reasoning("anthropic", "Unsigned."),
    Reasoning("anthropic", data="EqRC"),
    Reasoning("openai", "Hm.", item_id="rs_1", data="gAAA"),
    Reasoning("openai", item_id="rs_1"),
    Reasoning("other", "Hm."),
]


@dataclass(frozen=True)
class Named:
    """Where ids and names come from: our own kind, or another provider's."""

    ids: st.SearchStrategy[str]
    names: st.SearchStrategy[str]


TAME = Named(tame_ids, tame_names)
FOREIGN = Named(foreign_ids, foreign_names)


def of_user(named: Named) -> st.SearchStrategy[Message]:
    said: st.SearchStrategy[Part] = st.one_of(st.builds(Text, texts), st.sampled_from(ATTACHED))
    name = st.one_of(st.none(), named.names)
    return st.builds(
        lambda parts, name: Message(Role.USER, tuple(parts), name=name),
        st.lists(said, min_size=1, max_size=3),
        name,
    )


def of_model(named: Named) -> st.SearchStrategy[Message]:
    thought: st.SearchStrategy[Part] = st.sampled_from(THOUGHTS)
    said: st.SearchStrategy[Part] = st.builds(Text, texts)
    called: st.SearchStrategy[Part] = st.builds(Call, named.ids, named.names, arguments)
    return st.one_of(
        st.lists(said, min_size=1, max_size=2),
        st.builds(lambda *parts: [*parts], thought, said),
        st.lists(called, min_size=1, max_size=4),
        st.builds(lambda first, calls: [first, *calls], said, st.lists(called, max_size=3)),
        st.builds(lambda first, calls: [first, *calls], thought, st.lists(called, max_size=3)),
        st.lists(st.one_of(thought, said, called), min_size=1, max_size=5),
        st.just([Refusal("No.")]),
    ).map(lambda parts: Message(Role.ASSISTANT, tuple(parts)))


def of_tool(named: Named, open_ids: Sequence[str]) -> st.SearchStrategy[Message]:
    """Mostly answers to calls that are open; else late, twice, or to nothing."""
    outs = st.one_of(
        texts, st.lists(st.one_of(st.builds(Text, texts), st.just(PICTURE)), max_size=2).map(tuple)
    )
    ids = st.one_of(named.ids, *(st.sampled_from(open_ids) for _ in open_ids[:3]))
    name = st.one_of(st.none(), named.names)
    results = st.builds(Result, ids, outs, st.none(), st.booleans(), name)
    return st.lists(results, min_size=1, max_size=2).map(
        lambda some: Message(Role.TOOL, tuple(some))
    )


@st.composite
def conversations(draw: st.DrawFn, named: Named) -> list[Message]:
    system = st.builds(lambda text: Message(Role.SYSTEM, (Text(text),)), words)
    said = [*draw(st.lists(system, max_size=1)), Message(Role.USER, (Text("Hi"),))]
    open_ids: list[str] = []
    for _ in range(draw(st.integers(4, 12))):
        by = draw(st.sampled_from(["user", "model", "model", "tool", "tool", "tool", "system"]))
        match by:
            case "user":
                said.append(draw(of_user(named)))
            case "model":
                said.append(draw(of_model(named)))
                open_ids += [part.id for part in said[-1].parts if isinstance(part, Call)]
            case "tool":
                said.append(draw(of_tool(named, open_ids)))
                answered = {part.id for part in said[-1].parts if isinstance(part, Result)}
                open_ids = [id_ for id_ in open_ids if id_ not in answered]
            case _:
                said.append(draw(system))
    return said


async def check_at_every_cut(messages: Sequence[Message], budgets: Sequence[int]) -> None:
    with folder() as place:
        async with open_replica(place / "s.db") as replica:
            chat = replica.context("acme/chat")
            for message in messages:
                await chat.append(message)
                for budget in (*budgets, LARGEST):
                    for format_name in FORMATS:
                        view = await at_most(chat, budget, format_name)
                        found = [] if view is None else violations(view, format_name)
                        assert found == [], (format_name, budget)


cuts = st.lists(st.integers(50, 3_000), min_size=1, max_size=2)


@settings(max_examples=30, deadline=None)
@given(conversations(TAME), cuts)
def test_generated_conversations_at_every_cut(messages: list[Message], budgets: list[int]) -> None:
    asyncio.run(check_at_every_cut(messages, budgets))


@settings(max_examples=30, deadline=None)
@given(conversations(FOREIGN), cuts)
def test_ids_and_names_of_other_providers_are_made_to_fit(
    messages: list[Message], budgets: list[int]
) -> None:
    asyncio.run(check_at_every_cut(messages, budgets))


@pytest.mark.deep
@settings(max_examples=1_000, deadline=None)
@given(st.one_of(conversations(TAME), conversations(FOREIGN)), cuts)
def test_many_generated_conversations_at_every_cut(
    messages: list[Message], budgets: list[int]
) -> None:
    asyncio.run(check_at_every_cut(messages, budgets))


# ---- real ---------------------------------------------------------------------------------------


def transcripts() -> list[list[dict[str, Any]]]:
    if not TRANSCRIPTS.exists():
        pytest.skip("../shared/data/agent-transcripts.jsonl is not there")
    return [json.loads(line)["messages"] for line in TRANSCRIPTS.read_text().splitlines()]


def parallel(messages: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A transcript as a model with parallel calls would have had it: runs of calls made at once."""
    run: list[dict[str, Any]] = []
    for message in [*messages, None]:
        if message is not None and (message.get("tool_calls") or message["role"] == "tool"):
            run.append(message)
            continue
        calls = [call for said in run for call in said.get("tool_calls", ())]
        ids = {call["id"]: f"call_{place}" for place, call in enumerate(calls)}
        if len(ids) == len(calls) and calls:
            named = [call | {"id": ids[call["id"]]} for call in calls]
            yield {"role": "assistant", "content": None, "tool_calls": named}
            for said in reversed(run):
                if said["role"] == "tool":
                    yield said | {"tool_call_id": ids[said["tool_call_id"]]}
        else:
            yield from run
        run = []
        if message is not None:
            yield message


@pytest.mark.parametrize("format_name", FORMATS)
def test_every_real_conversation_alone(format_name: str) -> None:
    async def check() -> None:
        with folder() as place:
            async with open_replica(place / "s.db") as replica:
                for number, messages in enumerate(transcripts()):
                    chat = replica.context(f"acme/{number}")
                    said = [*parallel(messages)] if number % 2 else messages
                    for length, message in enumerate(said):
                        await chat.append(message)
                        budget = (LARGEST, 1_800, 2_500, 4_000)[length % 4]
                        view = await at_most(chat, budget, format_name)
                        assert view is None or violations(view, format_name) == [], number
                    view = await at_most(chat, await smallest(chat, format_name), format_name)
                    assert view is not None
                    assert violations(view, format_name) == [], number

    asyncio.run(check())


@pytest.mark.parametrize("format_name", FORMATS)
def test_real_conversations_joined(format_name: str) -> None:
    async def check() -> None:
        read = transcripts()
        joined = [read[0][0], *(said for messages in read for said in messages[1:])]
        with folder() as place:
            async with open_replica(place / "s.db") as replica:
                chat = replica.context("acme/all")
                for start in range(0, len(joined), 61):
                    await chat.append(joined[start : start + 61])
                    least = await smallest(chat, format_name)
                    for budget in (least, 2_000, 8_000, 32_000, LARGEST):
                        view = await at_most(chat, budget, format_name)
                        assert view is None or violations(view, format_name) == [], budget

    asyncio.run(check())

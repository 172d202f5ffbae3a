"""A call with something wrong ends in one error of ours that names it, and writes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from tests.stores import all_records, folder, open_replica
from weft_engine.errors import (
    CallerError,
    ContextClosed,
    InvalidMessage,
    NotFound,
    PolicyMissing,
    TokenizerMissing,
    WeftError,
)
from weft_engine.events.event import Config, Event, PolicyChoice
from weft_engine.replica.replica import Replica
from weft_engine.views.custom_policy import Custom
from weft_engine.views.policies import LastN

ODD: Any = object()
NO_ID: Any = None

CALLS: dict[str, tuple[Callable[[Any], Awaitable[object]], type[WeftError], str]] = {
    "bytes": (lambda c: c.append(b"hi"), InvalidMessage, "bytes is no message"),
    "a view that is none": (lambda c: c.append("hi", view=ODD), CallerError, "object is no view"),
    "budget, text": (lambda c: c.view(budget="8k"), InvalidMessage, r"\$.budget: .* not '8k'"),
    "budget, beyond": (
        lambda c: c.view(budget=2**70),
        InvalidMessage,
        r"\$.budget: .*9007199254740",
    ),
    "policy, object": (lambda c: c.view(policy=ODD), CallerError, "object is no policy .*LastN"),
    "policy, name": (lambda c: c.view(policy="last_n"), CallerError, "str is no policy"),
    "policy, class": (lambda c: c.view(policy=LastN), CallerError, "LastN is a class"),
    "tools, text": (lambda c: c.view(tools="f"), CallerError, "tools"),
    "tools, numbers": (lambda c: c.view(tools=[5]), CallerError, r"tools\[0\]"),
    "configured budget": (lambda c: c.configure(budget=0), InvalidMessage, r"\$.budget"),
    "configured trigger": (lambda c: c.configure(trigger="x"), InvalidMessage, r"\$.trigger.*'x'"),
    "trigger beyond": (lambda c: c.configure(trigger=2.0), InvalidMessage, r"\$.trigger"),
    "trigger nan": (lambda c: c.configure(trigger=float("nan")), InvalidMessage, r"\$.trigger"),
    "configured policy": (lambda c: c.configure(policy=ODD), CallerError, "object is no policy"),
    "tokenizer": (lambda c: c.configure(tokenizer="x"), TokenizerMissing, "'x'"),
    "reserved": (lambda c: c.configure(budget=90, reserved=90), InvalidMessage, "reserved"),
    "metadata": (lambda c: c.configure(metadata="{"), InvalidMessage, r"\$.metadata"),
    "pin": (lambda c: c.pin(NO_ID), NotFound, "None"),
    "revoke": (lambda c: c.revoke(ODD), NotFound, "object"),
    "interrupt": (lambda c: c.interrupt(NO_ID), NotFound, "None"),
    "branch before": (lambda c: c.branch("a", before=5), NotFound, "5"),
    "branch, no name": (lambda c: c.branch(""), CallerError, "branch name"),
    "branch, long name": (lambda c: c.branch("x" * 10_000), CallerError, "branch name"),
    "on": (lambda c: c.on(ODD).view(), NotFound, "object"),
    "summarizer": (lambda c: c.compact("shorter"), CallerError, "str is no summarizer"),
    "search": (lambda c: c.search(NO_ID), CallerError, "None"),
    "limit": (lambda c: c.search("a", limit="x"), CallerError, "'x'"),
    "author": (lambda c: c.search("a", author=5), CallerError, "author 5"),
    "since": (lambda c: c.search("a", since="now"), CallerError, "'now'"),
    "whole reply": (
        lambda c: c.append({"object": "chat.completion", "choices": []}),
        InvalidMessage,
        r"\$.choices",
    ),
}


@pytest.fixture
async def replica() -> AsyncIterator[Replica]:
    with folder() as place:
        async with open_replica(place / "s.db") as opened:
            yield opened


@pytest.mark.parametrize("which", CALLS)
async def test_wrong_calls(replica: Replica, which: str) -> None:
    call, error, words = CALLS[which]
    chat = replica.context("zoo")
    await chat.append("hello")
    before = len(await all_records(replica))
    with pytest.raises(error, match=words):
        await call(chat)
    assert len(await all_records(replica)) == before


def test_the_settings_of_a_policy_are_json_text() -> None:
    settings: Any = {"a": 1}
    with pytest.raises(InvalidMessage, match=r"\$\.config"):
        Custom("any", 1, settings)


async def test_a_whole_chat_completion_is_its_message(replica: Replica) -> None:
    chat = replica.context("zoo")
    message = {"role": "assistant", "content": "hi"}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    await chat.append({"object": "chat.completion", "model": "m", "choices": [choice]})
    assert (await chat.view()).openai() == [message]
    with pytest.raises(InvalidMessage, match=r"choices.*2"):
        await chat.append({"object": "chat.completion", "choices": [choice, choice]})


CONFIGS = {
    "no budget": Config(budget=0),
    "all reserved": Config(budget=10, reserved=10),
    "unknown policy": Config(policy=PolicyChoice("from_the_future", 7, "{}")),
    "odd settings": Config(policy=PolicyChoice("last_n", 1, '{"limit":0}')),
    "unknown format": Config(format="smoke"),
    "unknown tokenizer": Config(tokenizer="x300k"),
}


@pytest.mark.parametrize("which", CONFIGS)
async def test_settings_of_another_version_stop_no_writer(replica: Replica, which: str) -> None:
    """Only views that need them fail; they can be asked for otherwise, and set right."""
    chat = replica.context("zoo")
    await chat.append("hello")
    event = Event("config", CONFIGS[which])
    await replica.scribe.append(chat.name, [lambda _: event])
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    await chat.append({"role": "assistant", "content": None, "tool_calls": [call]})
    await chat.append({"role": "tool", "tool_call_id": "1", "content": "done"})
    with pytest.raises(CallerError):
        await chat.view()
    await chat.configure(
        budget=8_000, reserved=100, policy=LastN(9), format="openai", tokenizer="o200k_base"
    )
    assert len((await chat.view()).ids) == 3


async def test_what_a_policy_of_another_version_is_called(replica: Replica) -> None:
    chat = replica.context("zoo")
    await chat.append("hello")
    await replica.scribe.append(chat.name, [lambda _: Event("config", CONFIGS["unknown policy"])])
    with pytest.raises(PolicyMissing, match=r"from_the_future' version 7 .*last_n 1"):
        await chat.view()
    assert await chat.view(policy=LastN())


async def test_a_closed_context_takes_no_choice_between_answers(replica: Replica) -> None:
    chat = replica.context("zoo")
    (id_,) = await chat.append("hello")
    await chat.close("done")
    for wanted in (
        partial(chat.choose, id_),
        partial(chat.merge, id_, "both"),
        partial(chat.set_aside, id_),
        partial(chat.compact, lambda given: "short"),
    ):
        with pytest.raises(ContextClosed):
            await wanted()


async def test_results_of_very_many_parallel_calls_find_them(replica: Replica) -> None:
    chat = replica.context("zoo")
    many = range(700)
    calls = [
        {"id": f"c{i}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for i in many
    ]
    await chat.append(["go", {"role": "assistant", "content": None, "tool_calls": calls}])
    results = [{"role": "tool", "tool_call_id": f"c{i}", "content": f"r{i}"} for i in many]
    await chat.append(results[:500])
    for result in results[500:]:
        await chat.append(result)
    sent = (await chat.view(budget=100_000, policy=LastN(10_000))).openai()
    assert sent[2:] == results

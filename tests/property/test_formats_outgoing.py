"""Laws of the formats of views: valid by the providers' types, one spelling, never dearer together
than apart, and what was sent stays as it was when a view grows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from anthropic.types import MessageParam, TextBlockParam
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses.response_input_item_param import ResponseInputItemParam
from pydantic import TypeAdapter

from tests.conversations import render_view, views
from weft_engine.canonical import canonical_json
from weft_engine.errors import InvalidMessage
from weft_engine.events.event import Message, Role
from weft_engine.events.part import Call, Opaque, Reasoning, Refusal, Result, Text
from weft_engine.formats.anthropic_outgoing import BEGINNING, INSTRUCTION
from weft_engine.formats.registry import FORMAT_NAMES, outgoing
from weft_engine.views.count import count_message
from weft_engine.views.media import DEFAULT_MEDIA
from weft_engine.views.tokenizer import O200K_BASE, Tokenizer

law = settings(max_examples=60, deadline=None)
TOKENIZER = Tokenizer(O200K_BASE)


def flat(view: list[list[Message]]) -> list[Message]:
    return [message for unit in view for message in unit]


def cost(name: str, messages: list[Message]) -> int:
    known = outgoing(name)

    def count_file(kind: str) -> int:
        return int(getattr(DEFAULT_MEDIA, kind))

    return known.count(known.render(messages), TOKENIZER.count, count_file)


@pytest.mark.parametrize("name", FORMAT_NAMES)
@law
@given(views())
def test_what_is_sent_has_one_spelling(name: str, view: list[list[Message]]) -> None:
    messages = flat(view)
    sent = outgoing(name).render(messages)
    # As it stands in what a fingerprint is made of.
    canonical_json({"messages": sent, "spec": {}})
    assert outgoing(name).render(messages) == sent
    assert json.loads(canonical_json(sent)) == sent


@pytest.mark.parametrize("name", FORMAT_NAMES)
@law
@given(views())
def test_messages_together_cost_no_more_than_apart(name: str, view: list[list[Message]]) -> None:
    messages = flat(view)
    assert cost(name, messages) <= sum(cost(name, [message]) for message in messages)


@law
@given(views())
def test_the_openai_format_costs_what_messages_count(view: list[list[Message]]) -> None:
    messages = flat(view)
    assert cost("openai", messages) == sum(count_message(one, TOKENIZER) for one in messages)


NOTHING_SAID = (0, "user", {"type": "text", "text": BEGINNING})


def parts_of(sent: object, name: str) -> list[object]:
    """What was sent, piece by piece, the smallest that a longer view may add to."""
    match name:
        case "anthropic":
            assert isinstance(sent, Mapping)
            pieces: list[object] = [("system", block) for block in sent.get("system", ())]
            for place, said in enumerate(sent["messages"]):
                pieces += [(place, said["role"], block) for block in said["content"]]
            return pieces
        case "ui":
            assert isinstance(sent, list)
            return [(m["id"], m["role"], part) for m in sent for part in m["parts"]]
        case _:
            assert isinstance(sent, list)
            return list(sent)


@pytest.mark.parametrize("name", FORMAT_NAMES)
@law
@given(views())
def test_what_was_sent_stays_when_the_view_grows(name: str, view: list[list[Message]]) -> None:
    whole = parts_of(outgoing(name).render(flat(view)), name)
    for end in range(len(view)):
        part = parts_of(outgoing(name).render(flat(view[:end])), name)
        if part[-1:] == [NOTHING_SAID]:  # but for instructions: that ends as soon as anybody speaks
            part.pop()
        assert whole[: len(part)] == part


# ---- anthropic --------------------------------------------------------------------------------

TURN: TypeAdapter[Any] = TypeAdapter(MessageParam)
BLOCK: TypeAdapter[Any] = TypeAdapter(TextBlockParam)


def walked(value: object) -> None:
    """Lazily checked iterables are checked when they are walked."""
    if isinstance(value, Mapping):
        value = value.values()
    elif isinstance(value, str) or not hasattr(value, "__iter__"):
        return
    for item in value:
        walked(item)


@law
@given(views())
def test_anthropic_messages_are_as_the_api_wants_them(view: list[list[Message]]) -> None:
    sent = render_view(flat(view), "anthropic")
    assert isinstance(sent, dict)
    assert sent.keys() <= {"system", "messages"}
    for block in sent.get("system", []):
        walked(BLOCK.validate_python(block))
        assert block["text"].strip()
    assert sent.get("system", True)
    said = sent["messages"]
    assert not said or said[0]["role"] == "user"
    ids: set[str] = set()
    waiting: list[str] = []
    for place, turn in enumerate(said):
        walked(TURN.validate_python(turn))
        assert turn.keys() == {"role", "content"}
        assert turn["role"] == ("user", "assistant")[place % 2]
        kinds = [block["type"] for block in turn["content"]]
        assert kinds
        answered = [b["tool_use_id"] for b in turn["content"] if b["type"] == "tool_result"]
        assert answered == waiting
        assert kinds[: len(answered)] == ["tool_result"] * len(answered)
        calls = [block for block in turn["content"] if block["type"] == "tool_use"]
        assert not calls or kinds[-len(calls) :] == ["tool_use"] * len(calls)
        waiting = [call["id"] for call in calls]
        for call in calls:
            assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", call["id"])
            assert re.fullmatch("[a-zA-Z0-9_-]{1,128}", call["name"])
            assert isinstance(call["input"], dict)
        assert not ids & set(waiting)
        assert len(set(waiting)) == len(waiting)
        ids |= set(waiting)
        thinking = [kind in ("thinking", "redacted_thinking") for kind in kinds]
        assert thinking == sorted(thinking, reverse=True)
        assert not thinking[-1]
        texts = [block["text"] for block in turn["content"] if block["type"] == "text"]
        assert all(text.strip() for text in texts)
        if turn["role"] == "assistant" and kinds[-1] == "text":
            assert texts[-1] == texts[-1].rstrip()
    assert not waiting


def test_a_view_of_nothing_but_instructions_has_a_first_message() -> None:
    sent = render_view([Message(Role.SYSTEM, (Text("be kind"),))], "anthropic")
    assert sent == {
        "system": [{"type": "text", "text": "be kind"}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": BEGINNING}]}],
    }


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_what_says_nothing_leaves_nothing(name: str) -> None:
    view = [
        Message(Role.USER, ()),
        Message(Role.USER, (Opaque("else", "{}"),)),
        Message(Role.ASSISTANT, (Reasoning("else", "hmm"),)),
    ]
    nothing: dict[str, object] = {"anthropic": {"messages": []}, "text": ""}
    if name != "ui":  # which shows any reasoning
        assert render_view(view, name) == nothing.get(name, [])
    assert render_view([], name) == nothing.get(name, [])


def test_instructions_in_the_middle_are_marked() -> None:
    view = [
        Message(Role.USER, (Text("hi"),)),
        Message(Role.DEVELOPER, (Text("be brief"),)),
        Message(Role.ASSISTANT, (Refusal("no"),)),
    ]
    sent = render_view(view, "anthropic")
    assert isinstance(sent, dict)
    assert [block["text"] for block in sent["messages"][0]["content"]] == [
        "hi",
        INSTRUCTION,
        "be brief",
    ]


def test_thinking_goes_back_whole_first_and_to_its_maker_only() -> None:
    signed = Reasoning("anthropic", text="hm", sig="s")
    hidden = Reasoning("anthropic", data="d")
    unsigned = Reasoning("anthropic", text="hm")
    foreign = Reasoning("openai", text="hm", data="d", item_id="rs_1")

    def kinds(*parts: Any) -> list[str]:
        sent = render_view(
            [Message(Role.USER, (Text("?"),)), Message(Role.ASSISTANT, parts)], "anthropic"
        )
        assert isinstance(sent, dict)
        return [block["type"] for block in sent["messages"][-1]["content"]]

    assert kinds(signed, hidden, Text("a")) == ["thinking", "redacted_thinking", "text"]
    assert kinds(signed, unsigned, Text("a")) == ["text"]
    assert kinds(foreign, signed, Text("a")) == ["thinking", "text"]
    assert kinds(Text("a"), signed, Call("c", "f", "{}")) == ["text", "tool_use"]
    assert kinds(Call("c", "f", "{}"), Text("a")) == ["text", "tool_use"]
    only = render_view([Message(Role.ASSISTANT, (signed,))], "anthropic")
    assert only == {"messages": []}


# ---- responses --------------------------------------------------------------------------------

ITEM: TypeAdapter[Any] = TypeAdapter(ResponseInputItemParam)


@law
@given(views())
def test_responses_items_are_as_the_api_wants_them(view: list[list[Message]]) -> None:
    items = render_view(flat(view), "responses")
    assert isinstance(items, list)
    calls: list[str] = []
    answers: list[str] = []
    ids: list[str] = []
    for place, item in enumerate(items):
        walked(ITEM.validate_python(item))
        ids += [item["id"]] if "id" in item else []
        match item.get("type"):
            case "function_call":
                calls.append(item["call_id"])
                assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", item["name"])
                assert 0 < len(item["call_id"]) <= 64
                assert item.get("id", "fc_").startswith("fc_")
            case "function_call_output":
                answers.append(item["call_id"])
            case "reasoning":
                assert item["id"].startswith("rs_")
                assert item["encrypted_content"]
                follower = items[place + 1]
                assert follower.get("type") == "function_call" or follower["role"] == "assistant"
            case _:
                assert item["content"]
                assert item["role"] in ("user", "assistant", "system", "developer")
                assert item["role"] != "assistant" or isinstance(item["content"], str)
    assert sorted(calls) == sorted(answers)
    assert len(set(calls)) == len(calls)
    assert len(set(ids)) == len(ids)


def test_the_id_of_a_call_stands_only_beside_its_reasoning() -> None:
    call = Call("c1", "find", "{}", item_id="fc_1")
    reasoning = Reasoning("openai", text="hm", data="e", item_id="rs_1")
    result = Message(Role.TOOL, (Result("c1", "x"),))

    def items(*parts: Any) -> Any:
        return render_view([Message(Role.ASSISTANT, parts), result], "responses")

    assert items(reasoning, call)[:2] == [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "encrypted_content": "e",
        },
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "find", "arguments": "{}"},
    ]
    assert "id" not in items(call)[0]
    assert "id" not in items(Reasoning("openai", data="e", item_id="odd"), call)[0]


# ---- ui and text ------------------------------------------------------------------------------


@law
@given(views())
def test_ui_messages_hold_whole_answers(view: list[list[Message]]) -> None:
    said = render_view(flat(view), "ui")
    assert isinstance(said, list)
    assert [one["id"] for one in said] == [f"msg-{place}" for place in range(len(said))]
    outputs = 0
    for one in said:
        assert one["role"] in ("system", "user", "assistant")
        assert one["parts"] or one["role"]
        for part in one["parts"]:
            if str(part["type"]).startswith("tool-") and "toolCallId" in part:
                assert part["state"] in ("output-available", "output-error")
                assert ("errorText" in part) == (part["state"] == "output-error")
                outputs += 1
    calls = [p for m in flat(view) for p in m.parts if isinstance(p, Call)]
    assert outputs == len(calls)


def test_an_answer_with_its_tools_is_one_ui_message() -> None:
    view = [
        Message(Role.USER, (Text("weather?"),)),
        Message(Role.ASSISTANT, (Text("looking"), Call("c1", "find", '{"city": "Bonn"}'))),
        Message(Role.TOOL, (Result("c1", "sunny"),)),
        Message(Role.ASSISTANT, (Text("It is sunny."),)),
    ]
    assert render_view(view, "ui") == [
        {"id": "msg-0", "role": "user", "parts": [{"type": "text", "text": "weather?"}]},
        {
            "id": "msg-1",
            "role": "assistant",
            "parts": [
                {"type": "step-start"},
                {"type": "text", "text": "looking"},
                {
                    "type": "tool-find",
                    "toolCallId": "c1",
                    "state": "output-available",
                    "input": {"city": "Bonn"},
                    "output": "sunny",
                },
                {"type": "step-start"},
                {"type": "text", "text": "It is sunny."},
            ],
        },
    ]
    assert render_view(view, "text") == (
        'user: weather?\n\nassistant: looking\n[call c1] find({"city": "Bonn"})\n\n'
        "[result c1] sunny\n\nassistant: It is sunny."
    )


def test_an_unknown_format_is_refused_with_the_list() -> None:
    with pytest.raises(InvalidMessage) as caught:
        outgoing("gemini")
    assert caught.value.hint is not None
    assert all(name in caught.value.hint for name in FORMAT_NAMES)


@law
@given(st.lists(st.text(min_size=1, max_size=90), unique=True, max_size=8))
def test_different_names_stay_different_when_they_are_made_to_fit(names: list[str]) -> None:
    view = [
        Message(Role.ASSISTANT, tuple(Call(name, name, "{}") for name in names)),
        *[Message(Role.TOOL, (Result(name, name),)) for name in names],
    ]
    sent = render_view(view, "anthropic")
    assert isinstance(sent, dict)
    if names:
        calls, results = sent["messages"][1]["content"], sent["messages"][2]["content"]
        assert len({call["name"] for call in calls}) == len(names)
        assert [call["id"] for call in calls] == [one["tool_use_id"] for one in results]
        assert len({call["id"] for call in calls}) == len(names)

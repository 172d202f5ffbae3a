"""What applications append: every SDK's objects, told apart by their shape."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from anthropic.types import Message as AnthropicReply
from openai.types.chat import ChatCompletionMessage
from openai.types.responses import Response

from tests.conversations import render_view
from weft_engine.errors import InvalidMessage
from weft_engine.events.codec import decode_event, encode_event
from weft_engine.events.event import Event, Message, Role, Via
from weft_engine.events.part import Call, Reasoning, Refusal, Result, Text
from weft_engine.formats.shapes import Shape, read_messages, shape_of

CLAUDE = AnthropicReply.model_validate(
    {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
            {"type": "text", "text": "hi", "citations": None},
            {
                "type": "tool_use",
                "id": "toolu_1",
                "name": "find",
                "input": {"city": "Bonn", "n": 1.5},
            },
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 4},
    }
)
GPT = Response.model_validate(
    {
        "id": "resp_1",
        "object": "response",
        "created_at": 1.0,
        "model": "gpt-x",
        "output": [
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "e"},
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "status": "completed",
                "content": [
                    {"type": "output_text", "text": "hi", "annotations": []},
                    {"type": "refusal", "refusal": "no"},
                ],
            },
            {
                "type": "function_call",
                "id": "fc_1",
                "call_id": "call_1",
                "name": "find",
                "arguments": "{}",
                "status": "completed",
            },
        ],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "status": "completed",
    }
)
CALLS = (
    Reasoning("openai", data="e", item_id="rs_1"),
    Text("hi"),
    Refusal("no"),
    Call("call_1", "find", "{}", item_id="fc_1"),
)


def one(said: Any) -> Message:
    (message,) = read_messages([said])
    stored = decode_event(encode_event(Event("ann", message))).body
    assert stored == message
    return message


def test_the_answer_of_anthropic() -> None:
    message = one(CLAUDE)
    assert message.role is Role.ASSISTANT
    assert message.parts == (
        Reasoning("anthropic", text="hm", sig="sig"),
        Text("hi"),
        Call("toolu_1", "find", '{"city":"Bonn","n":1.5}'),
    )
    assert message.via == Via("anthropic", "claude-x")
    assert message.src is None
    assert message.meta is not None
    assert json.loads(message.meta) == {
        "id": "msg_1",
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 3, "output_tokens": 4},
    }
    assert one(CLAUDE.model_dump()).parts == message.parts
    short = one(CLAUDE.model_copy(update={"content": CLAUDE.content[1:2]}))
    assert (short.parts, short.src) == ((Text("hi"),), None)


def test_the_answer_of_anthropic_goes_back_as_it_came() -> None:
    sent = render_view([one({"role": "user", "content": "?"}), one(CLAUDE)], "anthropic")
    assert isinstance(sent, dict)
    came = CLAUDE.model_dump(exclude_none=True)["content"]
    assert sent["messages"][1]["content"] == came


def test_blocks_of_the_sdk_in_a_mapping_of_the_application() -> None:
    message = one({"role": "assistant", "content": CLAUDE.content})
    assert message.parts == one(CLAUDE).parts
    assert message.via is None


def test_results_for_anthropic() -> None:
    message = one(
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "x", "is_error": True},
                {"type": "tool_result", "tool_use_id": "toolu_2"},
            ],
        }
    )
    assert message.role is Role.TOOL
    assert message.parts == (Result("toolu_1", "x", error=True), Result("toolu_2", ""))


def test_the_answer_of_the_responses_api() -> None:
    message = one(GPT)
    assert message.role is Role.ASSISTANT
    assert message.parts == CALLS
    assert message.via == Via("openai", "gpt-x")
    assert message.meta is not None
    assert json.loads(message.meta) == {"id": "resp_1", "status": "completed"}
    assert one(GPT.model_dump()).parts == CALLS


def test_the_items_of_an_output_are_one_answer() -> None:
    (message, result) = read_messages(
        [*GPT.output, {"type": "function_call_output", "call_id": "call_1", "output": "x"}]
    )
    assert message.parts == CALLS
    assert result == Message(Role.TOOL, (Result("call_1", "x"),))
    texts = [m.parts for m in read_messages([GPT.output[0], "hello", GPT.output[2]])]
    assert texts == [CALLS[:1], (Text("hello"),), CALLS[3:]]


def test_a_response_that_has_no_output_yet_is_refused() -> None:
    with pytest.raises(InvalidMessage) as caught:
        read_messages([{"object": "response", "id": "r", "output": [], "status": "in_progress"}])
    assert caught.value.path == "$.output"


def test_a_ui_message_is_a_message_for_each_step_and_its_results() -> None:
    messages = read_messages(
        [
            {
                "id": "m1",
                "role": "assistant",
                "parts": [
                    {"type": "step-start"},
                    {
                        "type": "tool-find",
                        "toolCallId": "c1",
                        "state": "output-available",
                        "input": {"a": 1},
                        "output": "x",
                    },
                    {
                        "type": "dynamic-tool",
                        "toolName": "look",
                        "toolCallId": "c2",
                        "state": "output-error",
                        "input": {},
                        "errorText": "gone",
                    },
                    {"type": "step-start"},
                    {"type": "text", "text": "done"},
                ],
            }
        ]
    )
    assert [(message.role, message.parts) for message in messages] == [
        (Role.ASSISTANT, (Call("c1", "find", '{"a":1}'), Call("c2", "look", "{}"))),
        (Role.TOOL, (Result("c1", "x"), Result("c2", "gone", error=True))),
        (Role.ASSISTANT, (Text("done"),)),
    ]


def test_what_openai_chat_says_stays_openai_chat() -> None:
    answer = ChatCompletionMessage(role="assistant", content="hi")
    assert one(answer) == Message(Role.ASSISTANT, (Text("hi"),))
    assert one("hi") == one({"role": "user", "content": "hi"}) == Message(Role.USER, (Text("hi"),))


@pytest.mark.parametrize(
    ("said", "shape"),
    [
        ({"role": "user", "content": "hi"}, Shape.OPENAI),
        ({"role": "user", "content": [{"type": "text", "text": "hi"}]}, Shape.OPENAI),
        ({"role": "user", "content": [{"type": "image_url"}]}, Shape.OPENAI),
        ({"role": "assistant", "content": [{"type": "refusal", "refusal": "x"}]}, Shape.OPENAI),
        ({"role": "user", "content": [{"type": "image", "source": {}}]}, Shape.ANTHROPIC),
        ({"role": "user", "content": [{"type": "text"}, {"type": "tool_result"}]}, Shape.ANTHROPIC),
        ({"role": "user", "content": [{"type": "input_text"}]}, Shape.ITEM),
        ({"role": "assistant", "type": "message", "content": []}, Shape.ITEM),
        (
            {"role": "assistant", "type": "message", "content": [], "model": "x"},
            Shape.ANTHROPIC_REPLY,
        ),
        ({"type": "function_call"}, Shape.ITEM),
        ({"object": "response", "output": []}, Shape.RESPONSE),
        ({"role": "user", "parts": []}, Shape.UI),
        ({"role": "user", "parts": [], "content": "hi"}, Shape.OPENAI),
        ({}, Shape.OPENAI),
    ],
)
def test_shapes(said: Mapping[str, object], shape: Shape) -> None:
    assert shape_of(said) is shape


def test_what_is_no_message_is_refused() -> None:
    said: Any = 7
    with pytest.raises(InvalidMessage):
        read_messages([said])

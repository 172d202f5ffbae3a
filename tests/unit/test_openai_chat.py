"""The OpenAI chat format: parts of real and odd messages, what is sent, files that come back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat import (
    ChatCompletionAssistantMessageParam,
    ChatCompletionDeveloperMessageParam,
    ChatCompletionMessage,
    ChatCompletionSystemMessageParam,
    ChatCompletionToolMessageParam,
    ChatCompletionUserMessageParam,
)
from pydantic import TypeAdapter

from weft_engine.errors import InvalidMessage
from weft_engine.events.event import ImportedFrom, Message, Original, Role
from weft_engine.events.part import (
    Call,
    CallRef,
    Data,
    File,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Result,
    Source,
    Text,
)
from weft_engine.formats.openai_chat import (
    Conversation,
    export_message,
    export_text,
    import_conversation,
    import_message,
    link_conversation,
    link_results,
    read_conversation,
    render,
    write_conversation,
)
from weft_engine.names import EventId

TRANSCRIPTS = Path(__file__).parents[2] / "../shared/data/agent-transcripts.jsonl"

PNG = "data:image/png;base64,AAAA"
PDF = "data:application/pdf;base64,AAAA"
CALL_JSON = {"function": {"arguments": '{"a": 1.0}', "name": "f"}, "id": "x", "type": "function"}
CALL = Call("x", "f", '{"a": 1.0}')

_ADAPTERS: dict[str, TypeAdapter[Any]] = {
    "system": TypeAdapter(ChatCompletionSystemMessageParam),
    "developer": TypeAdapter(ChatCompletionDeveloperMessageParam),
    "user": TypeAdapter(ChatCompletionUserMessageParam),
    "assistant": TypeAdapter(ChatCompletionAssistantMessageParam),
    "tool": TypeAdapter(ChatCompletionToolMessageParam),
}


def validate(sent: Mapping[str, object]) -> None:
    """Holds `sent` against the SDK's own types. (Its arrays are checked as they are walked.)"""

    def walk(value: object) -> None:
        if isinstance(value, dict):
            value = value.values()
        elif not hasattr(value, "__iter__") or isinstance(value, str):
            return
        for item in value:
            walk(item)

    walk(_ADAPTERS[str(sent["role"])].validate_python(sent))


def event_id(index: int) -> EventId:
    return EventId(f"{index:016x}-{'ab' * 16}")


# ---- messages in ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"role": "user", "content": " hi\r\n"}, Message(Role.USER, (Text(" hi\r\n"),))),
        ({"role": "user", "content": ""}, Message(Role.USER, (Text(""),))),
        (
            {"role": "system", "content": "be kind", "name": "ann"},
            Message(Role.SYSTEM, (Text("be kind"),), name="ann"),
        ),
        ({"role": "developer", "content": "x"}, Message(Role.DEVELOPER, (Text("x"),))),
        ({"content": "hi", "role": "assistant"}, Message(Role.ASSISTANT, (Text("hi"),))),
        (
            {"content": None, "role": "assistant", "tool_calls": [CALL_JSON]},
            Message(Role.ASSISTANT, (CALL,)),
        ),
        (
            {"content": None, "refusal": "no", "role": "assistant"},
            Message(Role.ASSISTANT, (Refusal("no"),)),
        ),
        (
            {"role": "tool", "tool_call_id": "x", "name": "f", "content": "done"},
            Message(Role.TOOL, (Result("x", "done", name="f"),)),
        ),
        (
            {"role": "tool", "tool_call_id": "x", "content": [{"type": "text", "text": "a"}] * 2},
            Message(Role.TOOL, (Result("x", (Text("a"), Text("a"))),)),
        ),
        (
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "see"},
                    {"type": "image_url", "image_url": {"url": PNG}},
                    {"type": "image_url", "image_url": {"url": "https://x/y"}},
                    {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}},
                ],
            },
            Message(
                Role.USER,
                (
                    Text("see"),
                    File("image/png", url=PNG),
                    File("image/*", url="https://x/y"),
                    File("audio/wav", url="data:audio/wav;base64,AA"),
                    File("application/pdf", url=PDF, name="a.pdf"),
                ),
            ),
        ),
    ],
)
def test_messages_whose_parts_say_everything(source: dict[str, object], expected: Message) -> None:
    assert import_message(source) == expected
    assert import_message(json.dumps(source)) == expected
    assert render(expected) == (source,)
    assert export_text(expected) == json.dumps(source, separators=(",", ":"))
    validate(source)


DETAILED = '{"type":"image_url","image_url":{"url":"u","detail":"low"}}'
CUSTOM_CALL = '{"id":"x","type":"custom","custom":{"name":"f","input":"go"}}'


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('{"content":"hi","role":"user"}', (Text("hi"),)),
        ('{"role":"user","content":"hi","weight":1.0}', (Text("hi"),)),
        ('{"role":"user","content":[{"type":"text","text":"hi"}]}', (Text("hi"),)),
        ('{"role":"user","content":[]}', ()),
        ('{"role":"user","content":null}', ()),
        ('{"role":"user"}', ()),
        ('{"role":"assistant"}', ()),
        ('{"role":"assistant","content":null}', ()),
        ('{"content":"a","refusal":null,"role":"assistant"}', (Text("a"),)),
        ('{"content":null,"role":"assistant","tool_calls":[]}', ()),
        (
            '{"role":"user","content":[{"type":"hologram","n":1.50}]}',
            (Opaque("openai_chat", '{"type":"hologram","n":1.50}'),),
        ),
        ('{"role":"assistant","content":[{"type":"refusal","refusal":"no"}]}', (Refusal("no"),)),
        ('{"role":"tool","tool_call_id":"x","content":null}', (Result("x", ""),)),
        ('{"role":"tool","tool_call_id":"x"}', (Result("x", ""),)),
        (
            '{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}}',
            (Call("call_f", "f", "{}"),),
        ),
        ('{"role":"function","name":"f","content":"3"}', (Result("call_f", "3", name="f"),)),
        (
            '{"content":null,"role":"assistant","tool_calls":[' + CUSTOM_CALL + "]}",
            (Call("x", "f", "go"),),
        ),
        (
            '{"role":"assistant","tool_calls":[{"type":"mcp","n":1e0}]}',
            (Opaque("openai_chat.tool_call", '{"type":"mcp","n":1e0}'),),
        ),
        (
            '{"role":"assistant","content":null,"audio":{"id":"a","transcript":"hello"}}',
            (Text("hello"),),
        ),
        ('{"role":"system","role":"user","content":"hi"}', (Text("hi"),)),
        (
            '{"role":"user","content":[{"type":"text","text":"a","text":"b"},'
            '{"type":"text","text":"c"}]}',
            (Text("b"), Text("c")),
        ),
        ('{"role":"tool","tool_call_id":"\\udc00","content":"\\udc00"}', (Result("�", "�"),)),
        ('{"role":"user","content":"\\ud83d!"}', (Text("�!"),)),
        ('{"role":"user","content":"é","\\udc00":1}', (Text("é"),)),
    ],
)
def test_messages_whose_original_is_kept(text: str, parts: tuple[Part, ...]) -> None:
    message = import_message(text)
    assert message.parts == parts
    assert message.src == Original("openai_chat", export_text(message))
    assert pairs(export_text(message)) == pairs(text)


@pytest.mark.parametrize(
    "part",
    [DETAILED, '{"type":"file","file":{"file_id":"f-1"}}', '{"type":"hologram","n":1.5}'],
)
def test_a_content_part_without_counterpart_is_kept_whole_and_sent_again(part: str) -> None:
    text = '{"role":"user","content":[' + part + "]}"
    assert import_message(text) == Message(Role.USER, (Opaque("openai_chat", part),))
    assert render(import_message(text)) == (json.loads(text),)
    assert export_text(import_message(text)) == text


def test_a_lone_surrogate_of_an_application_is_replaced_and_kept() -> None:
    message = import_message({"role": "user", "content": "é\ud83d"})
    assert message.parts == (Text("é�"),)
    assert message.src == Original("openai_chat", '{"role":"user","content":"é\\ud83d"}')
    joined = Message(Role.USER, (Text("\U0001f600"),))
    assert import_message({"role": "user", "content": "\ud83d\ude00"}) == joined
    assert import_message('{"role":"user","content":"\ud83d\ude00"}') == joined


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("[]", "$"),
        ("not json", "$"),
        ('{"role":"user","content":NaN}', "$"),
        ({}, "$.role"),
        ({"role": 1}, "$.role"),
        ({"role": "robot", "content": "x"}, "$.role"),
        ({"role": "user", "content": 5}, "$.content"),
        ({"role": "user", "content": {"type": "text"}}, "$.content"),
        ({"role": "user", "content": ["hi"]}, "$.content[0]"),
        ({"role": "user", "content": [{"text": "hi"}]}, "$.content[0].type"),
        ({"role": "user", "content": [{"type": "text"}]}, "$.content[0].text"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "$.content[0].image_url"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {}}]},
            "$.content[0].image_url.url",
        ),
        ({"role": "user", "content": "x", "name": 1}, "$.name"),
        ({"role": "user", "content": b"x"}, "$.content"),
        ({"role": "user", "content": "x", "n": float("nan")}, "$.n"),
        ({"role": "user", "content": "x", "m": {1: 2}}, "$.m"),
        ({"role": "tool", "content": "x"}, "$.tool_call_id"),
        ({"role": "function", "content": "x"}, "$.name"),
        ({"role": "assistant", "refusal": 1}, "$.refusal"),
        ({"role": "assistant", "tool_calls": {}}, "$.tool_calls"),
        ({"role": "assistant", "tool_calls": ["x"]}, "$.tool_calls[0]"),
        ({"role": "assistant", "tool_calls": [{"id": "x"}]}, "$.tool_calls[0].function"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
            "$.tool_calls[0].id",
        ),
        (
            {
                "role": "assistant",
                "tool_calls": [{"id": "x", "function": {"name": "f", "arguments": {}}}],
            },
            "$.tool_calls[0].function.arguments",
        ),
        ({"role": "assistant", "function_call": "f"}, "$.function_call"),
        ('{"role":"user","content":' + "[" * 70 + "]" * 70 + "}", "$"),
    ],
)
def test_what_is_no_message_is_refused_where_it_is_wrong(
    source: str | dict[str, object], path: str
) -> None:
    with pytest.raises(InvalidMessage) as caught:
        import_message(source)
    assert caught.value.path == path


def test_messages_of_the_sdk() -> None:
    said = ChatCompletionMessage(role="assistant", content="hi")
    assert import_message(said) == Message(Role.ASSISTANT, (Text("hi"),))
    answer: dict[str, object] = {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "annotations": [],
        "tool_calls": [
            {"id": "x", "type": "function", "function": {"name": "f", "arguments": "{ }"}}
        ],
    }
    called = import_message(ChatCompletionMessage.model_validate(answer))
    assert called.parts == (Call("x", "f", "{ }"),)
    assert json.loads(export_text(called)) == answer
    for sent in render(called):
        validate(sent)


# ---- what is sent ---------------------------------------------------------------------------


def test_each_result_is_a_message_and_answers_come_first() -> None:
    results = (Result("x", "1"), Result("y", "2", error=True))
    first: dict[str, object] = {"role": "tool", "tool_call_id": "x", "content": "1"}
    second: dict[str, object] = {"role": "tool", "tool_call_id": "y", "content": "2"}
    assert render(Message(Role.TOOL, results)) == (first, second)
    user = render(Message(Role.USER, (Text("and"), *results)))
    assert user == (first, second, {"role": "user", "content": "and"})
    assistant = render(Message(Role.ASSISTANT, (CALL, *results, Text("so"))))
    assert assistant == (
        {"content": "so", "role": "assistant", "tool_calls": [CALL_JSON]},
        first,
        second,
    )
    for sent in (first, second, *user, *assistant):
        validate(sent)
    assert len(export_message(Message(Role.TOOL, results))) == 2
    with pytest.raises(InvalidMessage, match="make 2 chat messages"):
        export_text(Message(Role.TOOL, results))


def test_what_the_api_has_no_place_for_is_left_out() -> None:
    foreign = (
        Reasoning("anthropic", text="hm"),
        Source("{}"),
        Data("d", "{}"),
        Opaque("anthropic", '{"type":"text","text":"x"}'),
        Opaque("weft.part", '{"type":"text","text":"x"}'),
        Opaque("openai_chat", "not json"),
        Opaque("openai_chat", '["no object"]'),
        Opaque("openai_chat", '{"type":"hologram","n":123456789012345678901}'),
        File("image/png", blob="ab" * 32),
        File("video/mp4", url="https://x/y.mp4"),
    )
    for role in (Role.SYSTEM, Role.DEVELOPER, Role.ASSISTANT, Role.TOOL):
        assert render(Message(role, foreign)) == ()
    assert render(Message(Role.USER, foreign), exact=True) == ()
    assert render(Message(Role.USER, foreign[:8])) == ()
    (said,) = render(Message(Role.USER, foreign))
    assert said["content"] == "[attachment: image/png]\n[attachment: video/mp4]"
    drawn = File("image/svg+xml", url="data:image/svg+xml;base64,AAAA")
    (said,) = render(Message(Role.USER, (Text("Look"), drawn)))
    assert said["content"] == [
        {"type": "text", "text": "Look"},
        {"type": "text", "text": "[attachment: image/svg+xml]"},
    ]
    (said,) = render(Message(Role.USER, (Text("Look"), drawn)), exact=True)
    assert "image_url" in str(said)
    assert render(Message(Role.USER, (*foreign, CALL, Text("hi")))) == (
        {"role": "user", "content": "hi"},
    )
    assert render(Message(Role.TOOL, (Result("x", foreign),))) == (
        {"role": "tool", "tool_call_id": "x", "content": ""},
    )


def test_own_opaque_parts_are_put_back_where_the_api_takes_them() -> None:
    image = Opaque("openai_chat", DETAILED)
    hologram = Opaque("openai_chat", '{"type":"hologram","n":1.5}')
    content = [json.loads(DETAILED), {"type": "hologram", "n": 1.5}]
    user = Message(Role.USER, (image, hologram))
    assert render(user) == ({"role": "user", "content": content},)
    assert render(Message(Role.ASSISTANT, (image, Text("hi")))) == (
        {"content": "hi", "role": "assistant"},
    )


def test_a_file_is_sent_as_what_its_bytes_say() -> None:
    message = Message(Role.USER, (File("audio/wav", url=PDF),))
    assert render(message) == (
        {"role": "user", "content": [{"type": "file", "file": {"file_data": PDF}}]},
    )


def test_several_texts_are_an_array_and_names_are_sent() -> None:
    texts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    parts = (Text("a"), Text("b"))
    assert render(Message(Role.USER, parts, name="ann")) == (
        {"role": "user", "content": texts, "name": "ann"},
    )
    said = render(Message(Role.ASSISTANT, (*parts, Refusal("no"), Refusal("never")), name="bot"))
    assert said == ({"content": texts, "refusal": "no\nnever", "role": "assistant", "name": "bot"},)
    validate(said[0])


# ---- results and their calls ----------------------------------------------------------------


def refs(message: Message) -> list[CallRef | None]:
    return [part.call for part in message.parts if isinstance(part, Result)]


def test_results_are_linked_by_what_the_caller_finds() -> None:
    known = CallRef(event_id(9), 9)
    message = Message(Role.TOOL, (Result("x", ""), Result("y", "", call=known), Result("z", "")))
    found = {"x": CallRef(event_id(1), 0), "y": CallRef(event_id(2), 0)}
    assert refs(link_results(message, found.get)) == [found["x"], known, None]
    plain = Message(Role.USER, (Text("hi"),))
    assert link_results(plain, found.get) is plain


def test_a_result_goes_to_the_nearest_unanswered_call_before_it() -> None:
    call, result = Call("x", "f", ""), Result("x", "")
    ask, answer = Message(Role.ASSISTANT, (Text(""), call)), Message(Role.TOOL, (result,))
    both = Message(Role.ASSISTANT, (call, call))
    messages = [answer, ask, answer, ask, ask, answer, both, answer, answer, answer, answer]
    linked = link_conversation((event_id(i), message) for i, message in enumerate(messages))
    found = [ref and (ref.event, ref.part) for message in linked for ref in refs(message)]
    assert found == [
        None,
        (event_id(1), 1),
        (event_id(4), 1),
        (event_id(6), 0),
        (event_id(6), 1),
        (event_id(3), 1),
        None,
    ]


def test_a_call_that_a_result_named_is_not_given_away() -> None:
    named = Result("x", "", call=CallRef(event_id(0), 0))
    messages = [
        Message(Role.ASSISTANT, (Call("x", "f", ""), Call("x", "f", ""))),
        Message(Role.TOOL, (named,)),
        Message(Role.TOOL, (Result("x", ""),)),
        Message(Role.TOOL, (Result("x", ""),)),
    ]
    linked = link_conversation((event_id(i), message) for i, message in enumerate(messages))
    assert [refs(message) for message in linked[1:]] == [
        [CallRef(event_id(0), 0)],
        [CallRef(event_id(0), 1)],
        [None],
    ]


# ---- files of conversations -----------------------------------------------------------------


def pairs(text: str) -> object:
    """A JSON value with key order, repeated keys and number text, by means of our own."""

    def number(digits: str) -> tuple[str, str]:
        return ("number", digits)

    return json.loads(text, object_pairs_hook=tuple, parse_int=number, parse_float=number)


@pytest.mark.parametrize(
    ("line", "conversation_id", "rest"),
    [
        ('{"id":"a","messages":[]}', "a", None),
        ('{"messages": [], "id": "a"}', "a", '{"messages":[],"id":"a"}'),
        ('{"id":7.0,"messages":[]}', "7.0", '{"id":7.0,"messages":[]}'),
        (
            '{"v":1e0,"id":"a","messages":[{"role":"user","content":"x"}],"t":{"b":1,"b":2}}\n',
            "a",
            '{"v":1e0,"id":"a","messages":[],"t":{"b":1,"b":2}}',
        ),
        ('{"id":"\\ud83d","messages":[{"z":1.0,"a":1}]}', "�", '{"id":"\\ud83d","messages":[]}'),
    ],
)
def test_a_line_comes_back_equal(line: str, conversation_id: str, rest: str | None) -> None:
    conversation = read_conversation(line)
    assert (conversation.id, conversation.rest) == (conversation_id, rest)
    again = write_conversation(conversation.id, conversation.messages, conversation.rest)
    assert pairs(again) == pairs(line)


def test_a_conversation_can_be_written_under_another_id() -> None:
    assert write_conversation("b", ['{"n":1.0}'], '{"v":1,"id":"a","messages":[]}') == (
        '{"v":1,"id":"b","messages":[{"n":1.0}]}'
    )


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("", "$"),
        ("{", "$"),
        ("[]", "$"),
        ("1", "$"),
        ('{"id":"a"}', "$.messages"),
        ('{"messages":[]}', "$.id"),
        ('{"id":null,"messages":[]}', "$.id"),
        ('{"id":"a","messages":{}}', "$.messages"),
        ('{"id":"a","id":"b","messages":[]}', "$"),
    ],
)
def test_a_line_that_is_no_conversation_is_refused(line: str, path: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        read_conversation(line)
    assert caught.value.path == path


def test_imported_messages_know_their_place() -> None:
    line = '{"id":"c","messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}]}'
    first, second = import_conversation(read_conversation(line))
    assert first.ext == ImportedFrom("openai_chat:c", 0)
    assert second.ext == ImportedFrom("openai_chat:c", 1)


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ('{"content":"x"}', "$.messages[1].role"),
        ("5", "$.messages[1]"),
        ('{"role":"user","content":[{"type":"text"}]}', "$.messages[1].content[0].text"),
    ],
)
def test_a_wrong_message_of_a_conversation_is_named(message: str, path: str) -> None:
    conversation = Conversation("c", ('{"role":"user","content":"x"}', message))
    with pytest.raises(InvalidMessage) as caught:
        import_conversation(conversation)
    assert caught.value.path == path


# ---- real transcripts -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def transcripts() -> Iterator[list[str]]:
    if not TRANSCRIPTS.exists():
        pytest.skip("the shared sample data is not beside this checkout (../shared/data)")
    with TRANSCRIPTS.open(encoding="utf-8") as lines:
        yield list(lines)


def test_real_transcripts_need_no_original_and_come_back_equal(transcripts: list[str]) -> None:
    count = 0
    for line in transcripts:
        conversation = read_conversation(line)
        messages = import_conversation(conversation)
        count += len(messages)
        assert all(message.src is None for message in messages)
        assert conversation.rest is None
        again = write_conversation(conversation.id, [export_text(m) for m in messages])
        assert pairs(again) == pairs(line)
        for message in messages:
            for sent in render(message):
                validate(sent)
    assert (len(transcripts), count) == (100, 2526)


def test_real_results_answer_the_call_right_before_them(transcripts: list[str]) -> None:
    results = misplaced_by_id = 0
    for line in transcripts:
        messages = import_conversation(read_conversation(line))
        linked = link_conversation((event_id(i), message) for i, message in enumerate(messages))
        assert [replace(m, parts=()) for m in linked] == [replace(m, parts=()) for m in messages]
        first_with_id: dict[str, CallRef] = {}
        last_call: CallRef | None = None
        for index, message in enumerate(linked):
            for place, part in enumerate(message.parts):
                if isinstance(part, Call):
                    last_call = CallRef(event_id(index), place)
                    first_with_id.setdefault(part.id, last_call)
                if isinstance(part, Result):
                    results += 1
                    assert part.call == last_call
                    misplaced_by_id += part.call != first_with_id[part.id]
    assert (results, misplaced_by_id) == (577, 38)

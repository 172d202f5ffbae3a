"""Laws of importing: whatever goes in comes out equal, in every format of files."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conversations import (
    OBJECTS,
    VALUES,
    Members,
    array_texts,
    constant,
    object_texts,
    pairs,
    string_texts,
    views,
)
from weft_engine.canonical import canonical_json
from weft_engine.errors import InvalidMessage
from weft_engine.events.codec import decode_event, encode_event
from weft_engine.events.event import Event, Message, Original, Role
from weft_engine.events.part import Text
from weft_engine.formats.files import (
    FILE_FORMAT_NAMES,
    file_format,
    read_conversation,
    write_conversation,
)
from weft_engine.formats.registry import FORMAT_NAMES, outgoing
from weft_engine.formats.verbatim_json import parse_verbatim

law = settings(max_examples=80, deadline=None)
TEXT = string_texts()
NULL = constant(None)


def either(*constants: object) -> st.SearchStrategy[str]:
    return st.sampled_from([json.dumps(value) for value in constants])


# ---- anthropic --------------------------------------------------------------------------------

CACHED: Members = [("cache_control", constant({"type": "ephemeral"}))]
A_TEXT = object_texts([("type", constant("text")), ("text", TEXT)], [*CACHED, ("citations", NULL)])
SOURCE = st.one_of(
    object_texts(
        [
            ("type", constant("base64")),
            ("media_type", either("image/png", "application/pdf", "text/plain", "x/y", "")),
            ("data", either("AAAA", "aGVsbG8=", "%", "")),
        ]
    ),
    object_texts([("type", constant("url")), ("url", either("https://x/y", "", "data:,x"))]),
    object_texts([("type", constant("file")), ("file_id", TEXT)]),
    object_texts(
        [("type", constant("text")), ("media_type", constant("text/plain")), ("data", TEXT)]
    ),
    VALUES,
)
A_FILE = object_texts(
    [("type", either("image", "document")), ("source", SOURCE)], [("title", TEXT)]
)
A_ODD = object_texts([("type", either("search_result", "container_upload")), ("x", VALUES)])
A_THINKING = st.one_of(
    object_texts([("type", constant("thinking")), ("thinking", TEXT)], [("signature", TEXT)]),
    object_texts([("type", constant("redacted_thinking")), ("data", TEXT)]),
)
A_CALL = object_texts(
    [("type", constant("tool_use")), ("id", TEXT), ("name", TEXT), ("input", OBJECTS)], CACHED
)
A_RESULT = object_texts(
    [("type", constant("tool_result")), ("tool_use_id", TEXT)],
    [
        ("content", TEXT | NULL | array_texts(A_TEXT | A_FILE | A_ODD | A_CALL)),
        ("is_error", either(True, False)),
    ],
)
A_MESSAGE = st.one_of(
    object_texts([("role", constant("user")), ("content", TEXT)]),
    object_texts([("role", constant("user")), ("content", array_texts(A_TEXT | A_FILE | A_ODD))]),
    object_texts([("role", constant("user")), ("content", array_texts(A_RESULT | A_TEXT))]),
    object_texts([("role", constant("user")), ("content", array_texts(A_RESULT))]),
    object_texts([("role", constant("system")), ("content", TEXT)]),
    object_texts([("role", constant("assistant")), ("content", TEXT)]),
    object_texts(
        [
            ("role", constant("assistant")),
            ("content", array_texts(A_TEXT | A_THINKING | A_CALL | A_ODD)),
        ]
    ),
)

# ---- responses --------------------------------------------------------------------------------

R_TEXT = object_texts([("type", either("input_text", "text")), ("text", TEXT)])
R_FILE = st.one_of(
    object_texts(
        [
            ("type", constant("input_image")),
            ("image_url", either("https://x/y", "data:image/png;base64,AA", "", "x")),
            ("detail", either("auto", "low")),
        ]
    ),
    object_texts([("type", constant("input_image")), ("file_id", TEXT)]),
    object_texts(
        [
            ("type", constant("input_file")),
            ("filename", TEXT),
            ("file_data", either("data:application/pdf;base64,AA", "AA", "data:audio/wav,x")),
        ]
    ),
    object_texts([("type", constant("input_file")), ("file_url", either("https://x/y", ""))]),
)
R_SAID = st.one_of(
    object_texts(
        [("type", constant("output_text")), ("text", TEXT), ("annotations", constant([]))]
    ),
    object_texts([("type", constant("refusal")), ("refusal", TEXT)]),
)
R_ITEM = st.one_of(
    object_texts(
        [("role", either("user", "system", "developer")), ("content", TEXT)],
        [("type", constant("message"))],
    ),
    object_texts([("role", constant("user")), ("content", array_texts(R_TEXT | R_FILE))]),
    object_texts([("role", constant("assistant")), ("content", TEXT)]),
    object_texts(
        [
            ("id", TEXT),
            ("type", constant("message")),
            ("role", constant("assistant")),
            ("content", array_texts(R_SAID)),
        ],
        [("status", constant("completed"))],
    ),
    object_texts(
        [
            ("type", constant("reasoning")),
            ("id", TEXT),
            (
                "summary",
                array_texts(object_texts([("type", constant("summary_text")), ("text", TEXT)])),
            ),
        ],
        [("encrypted_content", TEXT | NULL)],
    ),
    object_texts(
        [
            ("type", constant("function_call")),
            ("id", TEXT),
            ("call_id", TEXT),
            ("name", TEXT),
            ("arguments", TEXT),
        ],
        [("status", constant("completed"))],
    ),
    object_texts(
        [("type", constant("custom_tool_call")), ("call_id", TEXT), ("name", TEXT), ("input", TEXT)]
    ),
    object_texts(
        [
            ("type", either("function_call_output", "custom_tool_call_output")),
            ("call_id", TEXT),
            ("output", TEXT | array_texts(R_TEXT | R_FILE)),
        ]
    ),
    object_texts([("type", either("web_search_call", "computer_call_output")), ("id", TEXT)]),
)

# ---- ui ---------------------------------------------------------------------------------------

U_TOOL = object_texts(
    [
        ("type", either("tool-find", "tool-", "dynamic-tool")),
        ("toolName", TEXT),
        ("toolCallId", either("c1", "c2", "c3")),
        ("state", either("input-streaming", "input-available", "output-available", "output-error")),
    ],
    [("input", VALUES), ("output", VALUES), ("errorText", TEXT)],
)
U_TOOL_OF_OURS = object_texts(
    [
        ("type", constant("tool-find")),
        ("toolCallId", either("c1", "c2", "c3")),
        ("state", constant("output-available")),
        ("input", VALUES),
        ("output", TEXT),
    ]
)
U_PART = st.one_of(
    object_texts([("type", constant("text")), ("text", TEXT)], [("state", constant("done"))]),
    object_texts(
        [("type", constant("reasoning")), ("text", TEXT)],
        [("providerMetadata", either({"anthropic": {"signature": "s"}}, {"openai": {}}, {"x": 1}))],
    ),
    object_texts(
        [("type", constant("file")), ("mediaType", TEXT), ("url", TEXT)], [("filename", TEXT)]
    ),
    object_texts([("type", constant("source-url")), ("sourceId", TEXT), ("url", TEXT)]),
    object_texts([("type", constant("data-weather")), ("data", VALUES)], [("id", TEXT)]),
    object_texts([("type", constant("hologram"))], [("x", VALUES)]),
    constant({"type": "step-start"}),
)
U_MESSAGE = st.one_of(
    object_texts(
        [("id", TEXT), ("role", either("user", "system")), ("parts", array_texts(U_PART))],
        [("metadata", VALUES)],
    ),
    object_texts(
        [
            ("id", TEXT),
            ("role", constant("assistant")),
            ("parts", array_texts(U_PART | U_TOOL | U_TOOL_OF_OURS, most=6)),
        ],
        [("metadata", VALUES)],
    ),
)

LINES: dict[str, tuple[Members, Members]] = {
    "anthropic": (
        [("messages", array_texts(A_MESSAGE, most=4))],
        [("system", TEXT | NULL | array_texts(A_TEXT))],
    ),
    "responses": ([("items", array_texts(R_ITEM, most=5))], []),
    "ui": ([("messages", array_texts(U_MESSAGE, most=4))], []),
}


@st.composite
def lines(draw: st.DrawFn, name: str) -> str:
    """An object that repeats no key, for that would be no conversation."""
    always, maybe = LINES[name]
    members = [*always, *(member for member in maybe if draw(st.booleans()))]
    if name == "responses" and draw(st.booleans()):
        members = [("input", members[0][1])]
    members.insert(0, ("id", TEXT))
    if draw(st.booleans()):
        members.append(("x", VALUES))
    members = draw(st.permutations(members)) if draw(st.booleans()) else members
    return "{" + ", ".join(f"{json.dumps(key)}: {draw(text)}" for key, text in members) + "}"


@pytest.mark.parametrize("name", LINES)
@law
@given(st.data())
def test_a_conversation_comes_back_equal(name: str, data: st.DataObject) -> None:
    line = data.draw(lines(name))
    known = file_format(name)
    read = read_conversation(parse_verbatim(line), known)
    stored: list[Message] = []
    for message in read.messages:
        body = decode_event(encode_event(Event("ann", message))).body
        assert body == message
        assert isinstance(body, Message)
        stored.append(body)
    assert pairs(write_conversation(read.id, stored, read.rest, known)) == pairs(line)
    places = [message.ext.index for message in stored if message.ext]
    first = places[0] if places else 0
    assert places == list(range(first, first + len(stored)))


@pytest.mark.parametrize("name", LINES)
@law
@given(st.data())
def test_what_was_imported_can_be_sent_in_every_format(name: str, data: st.DataObject) -> None:
    read = read_conversation(parse_verbatim(data.draw(lines(name))), file_format(name))
    for sent_as in FORMAT_NAMES:
        sent = outgoing(sent_as).render(read.messages)
        canonical_json({"messages": sent})


@pytest.mark.parametrize("name", LINES)
@law
@given(st.data())
def test_a_damaged_conversation_is_read_or_refused_with_a_path(
    name: str, data: st.DataObject
) -> None:
    line = data.draw(lines(name))
    start = data.draw(st.integers(0, len(line) - 1))
    end = data.draw(st.integers(start, min(len(line), start + 8)))
    damaged = line[:start] + data.draw(VALUES | st.just("")) + line[end:]
    known = file_format(name)
    refused: InvalidMessage | None = None
    try:
        read = read_conversation(parse_verbatim(damaged), known)
    except InvalidMessage as error:
        refused = error
    if refused is not None:
        assert refused.path.startswith("$")
        return
    assert pairs(write_conversation(read.id, read.messages, read.rest, known)) == pairs(damaged)


@pytest.mark.parametrize("name", FILE_FORMAT_NAMES)
@law
@given(views())
def test_anything_can_be_exported_and_imported_again(name: str, view: list[list[Message]]) -> None:
    known = file_format(name)
    messages = [message for unit in view for message in unit]
    line = write_conversation("a", messages, None, known)
    read = read_conversation(parse_verbatim(line), known)
    assert pairs(write_conversation("a", read.messages, read.rest, known)) == pairs(line)


@pytest.mark.parametrize("name", FILE_FORMAT_NAMES)
@pytest.mark.parametrize(
    "json_text", ["not json", "[]", "[1]", "{}", "null", '{"parts":[1]}', '"x"']
)
def test_an_original_that_is_none_breaks_no_export(name: str, json_text: str) -> None:
    """Any replica may have written it."""
    formats = ("openai_chat", "anthropic", "anthropic.system", "responses", "ui")
    known = file_format(name)
    messages = [
        Message(role, (Text("hi"),), src=Original(format_, json_text))
        for format_ in formats
        for role in Role
    ]
    pairs(write_conversation("a", messages, None, known))


def export_of(name: str, messages: list[Message]) -> Any:
    return json.loads(write_conversation("a", messages, None, file_format(name)))


def test_one_tree_is_several_messages_where_it_has_steps() -> None:
    answer = {
        "id": "m1",
        "role": "assistant",
        "metadata": {"seen": True},
        "parts": [
            {"type": "step-start"},
            {"type": "text", "text": "looking", "state": "done"},
            {
                "type": "tool-find",
                "toolCallId": "c1",
                "state": "output-available",
                "input": {"city": "Bonn"},
                "output": {"secret": 1},
            },
            {"type": "step-start"},
            {"type": "text", "text": "sunny"},
        ],
    }
    line = json.dumps({"id": "a", "messages": [answer]})
    read = read_conversation(parse_verbatim(line), file_format("ui"))
    assert [message.role for message in read.messages] == [
        Role.ASSISTANT,
        Role.TOOL,
        Role.ASSISTANT,
    ]
    # What a tool returned stands in its own message only, so that erasing that erases it.
    assert "secret" not in repr(read.messages[0])
    assert "secret" in repr(read.messages[1])
    without = export_of("ui", [read.messages[0], read.messages[2]])
    assert "secret" not in json.dumps(without)
    assert export_of("ui", list(read.messages))["messages"] == [answer]

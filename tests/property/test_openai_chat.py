"""Laws of the OpenAI chat format: whatever goes in comes out equal, and what is sent is valid."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from openai.types.chat import (
    ChatCompletionAssistantMessageParam,
    ChatCompletionDeveloperMessageParam,
    ChatCompletionMessage,
    ChatCompletionSystemMessageParam,
    ChatCompletionToolMessageParam,
    ChatCompletionUserMessageParam,
)
from pydantic import TypeAdapter

from weft_engine.canonical import canonical_json
from weft_engine.errors import InvalidMessage
from weft_engine.events.codec import decode_event, encode_event
from weft_engine.events.event import Event, Message, Role
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
from weft_engine.formats.openai_chat import (
    export_message,
    export_text,
    import_conversation,
    import_message,
    link_conversation,
    read_conversation,
    render,
    write_conversation,
)
from weft_engine.names import EventId

law = settings(max_examples=150, deadline=None)

# ---- JSON texts, built as texts so that every spelling occurs -------------------------------

NUMBERS = st.sampled_from(
    ["0", "-0", "1", "1.0", "1e0", "1E+00", "-1.50", "0.1", "1e400", "12345678901234567890123"]
) | st.integers().map(str)
STRINGS = st.text(max_size=8) | st.text(st.characters(categories=["Cs", "Ll"]), max_size=4)
FIELDS = frozenset(
    {"role", "name", "content", "refusal", "tool_calls", "tool_call_id", "function_call"}
    | {"audio", "type", "text", "image_url", "input_audio", "file", "url", "data", "format"}
    | {"filename", "file_data", "id", "function", "custom", "arguments", "input"}
)
"""Names that mean something, and so can't hold just anything."""
SPACES = st.sampled_from(["", "", "", " ", "\n\t"])


@st.composite
def string_texts(draw: st.DrawFn, strings: st.SearchStrategy[str] = STRINGS) -> str:
    """The same string in either spelling; half a character can only be escaped."""
    value = draw(strings)
    return json.dumps(value, ensure_ascii=not encodable(value) or draw(st.booleans()))


def encodable(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


@st.composite
def object_texts(draw: st.DrawFn, members: list[tuple[str, st.SearchStrategy[str]]]) -> str:
    """An object with these members in any order, some strange ones and maybe one twice."""
    written = [(json.dumps(key), draw(text)) for key, text in members]
    for _ in range(draw(st.integers(0, 2))):
        key = draw(string_texts())
        taken = {json.loads(known) for known, _ in written}
        if json.loads(key) not in FIELDS | taken:
            written.append((key, draw(VALUES)))
    if written and draw(st.integers(0, 9)) == 0:
        written.append(draw(st.sampled_from(written)))
    written = draw(st.permutations(written))
    space = draw(SPACES)
    return "{" + f",{space}".join(f"{key}:{space}{text}" for key, text in written) + "}"


def array_texts(items: st.SearchStrategy[str], most: int = 3) -> st.SearchStrategy[str]:
    return st.lists(items, max_size=most).map(lambda texts: "[" + ",".join(texts) + "]")


VALUES: st.SearchStrategy[str] = st.recursive(
    st.sampled_from(["null", "true", "false"]) | NUMBERS | string_texts(),
    lambda values: (
        array_texts(values)
        | st.lists(st.tuples(string_texts(), values), max_size=3).map(
            lambda members: "{" + ",".join(f"{key}:{value}" for key, value in members) + "}"
        )
    ),
    max_leaves=6,
)


def constant(value: object) -> st.SearchStrategy[str]:
    return st.just(json.dumps(value))


def optional(
    members: list[tuple[str, st.SearchStrategy[str]]],
) -> st.SearchStrategy[list[tuple[str, st.SearchStrategy[str]]]]:
    return st.lists(st.sampled_from(members), unique_by=lambda member: member[0], max_size=4)


NULL = constant(None)
URLS = st.sampled_from(["data:image/png;base64,AA==", "data:,x", "https://x/y", "", "data:"])
FILES = st.sampled_from(["data:application/pdf;base64,AA==", "data:audio/wav;base64,A", "AA"])
TEXT_PART = object_texts([("type", constant("text")), ("text", string_texts())])
REFUSAL_PART = object_texts([("type", constant("refusal")), ("refusal", string_texts())])
IMAGE = object_texts([("url", string_texts(URLS))])
AUDIO = object_texts(
    [("data", string_texts()), ("format", st.sampled_from(['"wav"', '"mp3"', '"ogg"']))]
)
FILE = optional(
    [("filename", string_texts()), ("file_data", string_texts(FILES)), ("file_id", string_texts())]
).flatmap(object_texts)
USER_PART = st.one_of(
    TEXT_PART,
    REFUSAL_PART,
    object_texts([("type", constant("image_url")), ("image_url", IMAGE)]),
    object_texts([("type", constant("input_audio")), ("input_audio", AUDIO)]),
    object_texts([("type", constant("file")), ("file", FILE)]),
    object_texts([("type", constant("hologram")), ("n", VALUES)]),
)
FUNCTION = object_texts([("name", string_texts()), ("arguments", string_texts())])
CUSTOM = object_texts([("name", string_texts()), ("input", string_texts())])
TOOL_CALL = st.one_of(
    object_texts([("id", string_texts()), ("type", constant("function")), ("function", FUNCTION)]),
    object_texts([("id", string_texts()), ("function", FUNCTION)]),
    object_texts([("id", string_texts()), ("type", constant("custom")), ("custom", CUSTOM)]),
    object_texts([("type", constant("mcp")), ("server", VALUES)]),
)
NAME = ("name", string_texts() | NULL)
CONTENT = string_texts() | NULL | array_texts(USER_PART)


@st.composite
def message_texts(draw: st.DrawFn) -> str:
    role = draw(
        st.sampled_from(["system", "developer", "user", "assistant", "assistant", "tool"])
        | st.just("function")
    )
    members: list[tuple[str, st.SearchStrategy[str]]] = [("role", constant(role))]
    if role == "function":
        members += [("name", string_texts())]
        members += draw(optional([("content", string_texts() | NULL)]))
    elif role == "tool":
        members += [("tool_call_id", string_texts())]
        members += draw(optional([("content", CONTENT), NAME]))
    elif role == "assistant":
        said = string_texts() | NULL | array_texts(TEXT_PART | REFUSAL_PART)
        refusal = ("refusal", string_texts() | NULL)
        calls = ("tool_calls", NULL | array_texts(TOOL_CALL))
        members += draw(optional([("content", said), refusal, calls, NAME]))
        members += draw(st.sampled_from([[], [], [("function_call", NULL | FUNCTION)]]))
    else:
        members += draw(optional([("content", CONTENT), NAME]))
    return draw(object_texts(members))


def pairs(text: str) -> object:
    """A JSON value with key order, repeated keys and number text, by means of our own."""

    def number(digits: str) -> tuple[str, str]:
        return ("number", digits)

    return json.loads(text, object_pairs_hook=tuple, parse_int=number, parse_float=number)


# ---- what comes in goes out -----------------------------------------------------------------


@law
@given(message_texts())
def test_a_message_comes_back_equal(text: str) -> None:
    message = import_message(text)
    again = export_text(message)
    assert pairs(again) == pairs(text)
    assert import_message(again) == message
    if message.src is not None:
        assert message.src.json == again


@law
@given(message_texts())
def test_a_message_in_an_event_comes_back_equal(text: str) -> None:
    event = Event("ann", import_message(text))
    stored = decode_event(encode_event(event))
    assert stored == event
    assert isinstance(stored.body, Message)
    assert pairs(export_text(stored.body)) == pairs(text)


@law
@given(message_texts())
def test_a_mapping_comes_back_equal(text: str) -> None:
    assume("1e400" not in text)  # no Python number is written so
    mapping = json.loads(text)
    written = json.dumps(mapping)
    assert pairs(export_text(import_message(mapping))) == pairs(written)


@law
@given(
    st.lists(message_texts(), max_size=3),
    string_texts() | NUMBERS,
    st.lists(st.tuples(string_texts(), VALUES), max_size=2, unique_by=lambda m: json.loads(m[0])),
    st.randoms(use_true_random=False),
)
def test_a_conversation_comes_back_equal(
    texts: list[str], conversation_id: str, others: list[tuple[str, str]], random: Any
) -> None:
    assume(not {json.loads(key) for key, _ in others} & {"id", "messages"})
    members = [('"id"', conversation_id), ('"messages"', "[" + ", ".join(texts) + "]"), *others]
    random.shuffle(members)
    line = "{" + ", ".join(f"{key}: {text}" for key, text in members) + "}"
    conversation = read_conversation(line)
    messages = import_conversation(conversation)
    exported = [export_text(message) for message in messages]
    again = write_conversation(conversation.id, exported, conversation.rest)
    assert pairs(again) == pairs(line)
    assert encodable(conversation.id)


def refused_at(read: Callable[[str], object], text: str) -> str:
    try:
        read(text)
    except InvalidMessage as error:
        return error.path
    return "nowhere"


@law
@given(VALUES | st.text(max_size=20))
def test_no_text_gives_another_error_than_one_with_a_path(text: str) -> None:
    assert refused_at(import_message, text).startswith("$")
    assert refused_at(read_conversation, text).startswith("$")


@law
@given(message_texts(), st.data())
def test_a_damaged_message_is_read_or_refused_with_a_path(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start, min(len(text), start + 8)))
    damaged = text[:start] + data.draw(VALUES | st.just("")) + text[end:]
    if refused_at(import_message, damaged) == "nowhere":
        assert pairs(export_text(import_message(damaged))) == pairs(damaged)


@law
@given(
    st.text(max_size=5),
    st.none() | st.text(max_size=5),
    st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=2),
)
def test_messages_of_the_sdk_come_back_equal(
    content: str, refusal: str | None, calls: list[tuple[str, str]]
) -> None:
    answer: dict[str, object] = {"role": "assistant", "content": content, "refusal": refusal}
    if calls:
        answer["tool_calls"] = [
            {"id": id_, "type": "function", "function": {"name": "f", "arguments": arguments}}
            for id_, arguments in calls
        ]
    said = ChatCompletionMessage.model_validate(answer)
    assert json.loads(export_text(import_message(said))) == answer


# ---- what is sent ---------------------------------------------------------------------------

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


WORDS = st.text(max_size=6)
EVENT_IDS = st.integers(0, 3).map(lambda index: EventId(f"{index:016x}-{'ab' * 16}"))
FILES_IN_PARTS = st.builds(
    File,
    st.sampled_from(["image/png", "audio/wav", "audio/ogg", "application/pdf", "image/*", ""]),
    url=URLS | FILES,
    name=st.none() | WORDS,
) | st.builds(File, WORDS, blob=st.just("ab" * 32))
OWN_OPAQUE = st.sampled_from(
    [
        '{"type":"text","text":"x","prompt_cache_breakpoint":{"mode":"explicit"}}',
        '{"type":"image_url","image_url":{"url":"u","detail":"low"}}',
        '{"type":"file","file":{"file_id":"f"}}',
        '{"type":"text","text":"twice","text":"x"}',
        "[]",
        "not json",
    ]
).map(lambda text: Opaque("openai_chat", text))
PARTS: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, WORDS),
    st.builds(Refusal, WORDS),
    st.builds(Reasoning, WORDS, text=st.none() | WORDS),
    st.builds(Call, st.sampled_from("xyz"), WORDS, WORDS),
    st.builds(Opaque, WORDS, WORDS),
    FILES_IN_PARTS,
    OWN_OPAQUE,
)
RESULTS = st.builds(
    Result,
    st.sampled_from("xyz"),
    WORDS | st.lists(st.builds(Text, WORDS) | FILES_IN_PARTS | OWN_OPAQUE, max_size=3).map(tuple),
    name=st.none() | WORDS,
)
MESSAGES = st.builds(
    Message,
    st.sampled_from(Role),
    st.lists(PARTS | RESULTS, max_size=5).map(tuple),
    name=st.none() | WORDS,
)


@law
@given(MESSAGES)
def test_what_is_sent_is_valid_and_has_one_spelling(message: Message) -> None:
    sent = render(message)
    for one in sent:
        validate(one)
    canonical_json(list(sent))
    assert render(message) == sent
    exact = list(render(message, exact=True))
    assert [json.loads(text) for text in export_message(message)] == exact
    for one in sent:
        assert re.fullmatch(r"[^\s<|\\/>]{1,64}", str(one.get("name", "x")))
    answered = [one["tool_call_id"] for one in sent if one["role"] == "tool"]
    assert answered == [part.id for part in message.parts if isinstance(part, Result)]
    texts = "".join(part.text for part in message.parts if isinstance(part, Text))
    assert message.role is Role.TOOL or not texts or len(sent) == len(answered) + 1


@law
@given(MESSAGES)
def test_what_is_exported_says_the_same_again(message: Message) -> None:
    for text in export_message(message):
        again = import_message(text)
        assert [json.loads(text)] == list(render(again, exact=True))


@law
@given(message_texts())
def test_what_was_imported_can_be_sent(text: str) -> None:
    sent = render(import_message(text))
    canonical_json(list(sent))


# ---- results and their calls ----------------------------------------------------------------


@law
@given(
    st.lists(
        st.builds(
            Message,
            st.sampled_from(Role),
            st.lists(
                st.builds(Call, st.sampled_from("xy"), WORDS, WORDS) | RESULTS, max_size=3
            ).map(tuple),
        ),
        max_size=8,
    )
)
def test_links_lead_back_to_a_call_of_that_id_and_no_call_has_two_answers(
    messages: list[Message],
) -> None:
    ids = [EventId(f"{index:016x}-{'ab' * 16}") for index in range(len(messages))]
    linked = link_conversation(zip(ids, messages, strict=True))
    given_away: set[CallRef] = set()
    calls_before: list[tuple[str, CallRef]] = []
    for event, message in zip(ids, linked, strict=True):
        for part in message.parts:
            if not isinstance(part, Result):
                continue
            free = [ref for id_, ref in calls_before if id_ == part.id and ref not in given_away]
            assert (part.call is None) == (not free)
            if part.call is not None:
                assert part.call in free
                assert part.call.event == max(ref.event for ref in free)
                given_away.add(part.call)
        calls_before += [
            (part.id, CallRef(event, place))
            for place, part in enumerate(message.parts)
            if isinstance(part, Call)
        ]

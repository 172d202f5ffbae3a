"""Messages of every shape, made by Hypothesis, for the tests of formats."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hypothesis import strategies as st

from weft_engine.events.event import Message, Role
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
from weft_engine.formats.registry import outgoing
from weft_engine.formats.text_format import transcript
from weft_engine.names import EventId

WORDS = st.text(max_size=6) | st.sampled_from(
    ["", " ", "\n\t", "hi ", "\u3000", "a b\\c/d|e", "x" * 200]
)
PNG = "data:image/png;base64,AAAA"
URLS = st.sampled_from(
    [
        PNG,
        "data:image/svg+xml;base64,AAAA",
        "data:image/png;base64,%%",
        "data:,x",
        "",
        "ftp://x",
        "https://x/y.png",
        "http://x/y",
        "data:application/pdf;base64,AAAA",
        "data:audio/wav;base64,AA==",
        "data:text/plain;base64,aGVsbG8=",
        "data:text/plain;base64,/w==",
        "data:text/plain;base64,IA==",
    ]
)
FILES = st.builds(
    File,
    st.sampled_from(
        ["image/png", "image/*", "image/svg+xml", "application/pdf", "text/plain", "audio/wav", ""]
    ),
    url=URLS,
    name=st.none() | WORDS,
) | st.builds(File, WORDS, blob=st.just("ab" * 32))
DEEP = "[" * 60 + "]" * 60
ARGS = st.sampled_from(
    [
        "",
        " ",
        "{}",
        '{"a": 1}',
        '{"a":1.50,"a":2}',
        "[1]",
        "null",
        "not json",
        '{"n":1e400}',
        '"s"',
        '{"big":12345678901234567890}',
        '{"\\ud800":0}',
        f'{{"deep":{DEEP}}}',
        '{"x":"' + "y" * 900 + '"}',
    ]
)
IDS = st.sampled_from(["c1", "c2", "call:3 é", "", "x" * 99, "toolu_01"])
NAMES = st.sampled_from(["find", "find it", "é", "", "n" * 150, "a.b"])
OPAQUE = st.tuples(
    st.sampled_from(["openai_chat", "anthropic", "responses", "responses.item", "ui", "else"]),
    st.sampled_from(
        [
            '{"type":"text","text":"x"}',
            '{"type":"text","text":" "}',
            '{"type":"input_text","text":"x"}',
            '{"type":"image","source":{"type":"file","file_id":"f"}}',
            '{"type":"document","source":{"type":"content","content":"x"}}',
            '{"type":"input_image","file_id":"f","detail":"low"}',
            '{"type":"input_file","file_id":"f"}',
            '{"type":"image_url","image_url":{"url":"u","detail":"low"}}',
            '{"type":"server_tool_use","id":"s","name":"web_search","input":{}}',
            '{"type":"web_search_call","id":"ws_1","status":"completed"}',
            '{"type":"text","text":"twice","text":"x"}',
            f'{{"type":"text","text":"deep","more":{DEEP}}}',
            "[]",
            "not json",
        ]
    ),
).map(lambda drawn: Opaque(*drawn))
REASONING = st.builds(
    Reasoning,
    st.sampled_from(["anthropic", "anthropic", "openai", "openai", "else"]),
    text=st.none() | WORDS,
    sig=st.none() | st.just("sig"),
    data=st.none() | st.just("data"),
    item_id=st.none() | st.sampled_from(["rs_1", "rs_2", "odd id"]),
)
SAYABLE: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, WORDS),
    st.builds(Text, WORDS),
    st.builds(Refusal, WORDS),
    REASONING,
    FILES,
    OPAQUE,
    st.builds(Source, st.sampled_from(['{"type":"source-url","url":"u","sourceId":"1"}', "odd"])),
    st.builds(Data, NAMES, st.sampled_from(['{"a":1}', "1e400", "odd"])),
)
CALLS = st.builds(Call, IDS, NAMES, ARGS, item_id=st.none() | st.sampled_from(["fc_1", "odd"]))
OUTS = WORDS | st.lists(
    st.builds(Text, WORDS) | FILES | OPAQUE | st.builds(Refusal, WORDS), max_size=3
).map(tuple)


def results_of(calls: list[Call]) -> st.SearchStrategy[list[Message]]:
    return st.tuples(
        *[
            st.builds(
                Result, st.just(call.id), OUTS, error=st.booleans(), name=st.none() | NAMES
            ).map(lambda result: Message(Role.TOOL, (result,)))
            for call in calls
        ]
    ).map(list)


@st.composite
def units(draw: st.DrawFn) -> list[Message]:
    """A message as a view has it: with its results, if it calls."""
    role = draw(
        st.sampled_from([Role.USER, Role.USER, Role.ASSISTANT, Role.ASSISTANT, Role.SYSTEM])
    )
    parts: list[Part] = draw(st.lists(SAYABLE, max_size=4))
    name = draw(st.none() | WORDS)
    calls: list[Call] = []
    if role is Role.ASSISTANT and draw(st.booleans()):
        calls = draw(st.lists(CALLS, min_size=1, max_size=3, unique_by=lambda call: call.id))
        parts = draw(st.permutations([*parts, *calls]))
        calls = [part for part in parts if isinstance(part, Call)]
    if role is Role.SYSTEM and draw(st.booleans()):
        role = Role.DEVELOPER
    return [Message(role, tuple(parts), name=name), *draw(results_of(calls))]


@st.composite
def views(draw: st.DrawFn) -> list[list[Message]]:
    """What a view may show, unit by unit: some instructions first, then anything."""
    head = draw(
        st.lists(
            st.builds(
                Message,
                st.sampled_from([Role.SYSTEM, Role.DEVELOPER]),
                st.lists(st.builds(Text, WORDS), max_size=2).map(tuple),
            ),
            max_size=2,
        )
    )
    return [*[[message] for message in head], *draw(st.lists(units(), max_size=6))]


# ---- foreign JSON, as texts so that every spelling occurs -------------------------------------

NUMBERS = st.sampled_from(
    ["0", "-0", "1.0", "1e0", "1E+00", "0.1", "1e400", "12345678901234567890"]
)
STRINGS = st.text(max_size=8) | st.text(st.characters(categories=["Cs", "Ll"]), max_size=4)
SPACES = st.sampled_from(["", "", "", " ", "\n\t"])


def encodable(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


@st.composite
def string_texts(draw: st.DrawFn, strings: st.SearchStrategy[str] = STRINGS) -> str:
    value = draw(strings)
    return json.dumps(value, ensure_ascii=not encodable(value) or draw(st.booleans()))


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
OBJECTS = st.lists(st.tuples(string_texts(), VALUES), max_size=3).map(
    lambda members: "{" + ",".join(f"{key}:{value}" for key, value in members) + "}"
)
Members = list[tuple[str, st.SearchStrategy[str]]]


def constant(value: object) -> st.SearchStrategy[str]:
    return st.just(json.dumps(value))


@st.composite
def object_texts(draw: st.DrawFn, members: Members, maybe: Members | None = None) -> str:
    """An object with these members and some of `maybe`, mostly in this order, at times with strange
    ones, at times one twice."""
    chosen = list(members)
    for member in maybe or ():
        if draw(st.booleans()):
            chosen.append(member)
    written = [(json.dumps(key), draw(text)) for key, text in chosen]
    if draw(st.integers(0, 3)) == 0:
        written.append((json.dumps("x_" + draw(st.text(max_size=3))), draw(VALUES)))
    if draw(st.integers(0, 9)) == 0:
        written.append(draw(st.sampled_from(written)))
    if draw(st.integers(0, 3)) == 0:
        written = draw(st.permutations(written))
    space = draw(SPACES)
    return "{" + f",{space}".join(f"{key}:{space}{text}" for key, text in written) + "}"


def pairs(text: str) -> object:
    """A JSON value with key order, repeated keys and number text, by means of our own."""

    def number(digits: str) -> tuple[str, str]:
        return ("number", digits)

    return json.loads(text, object_pairs_hook=tuple, parse_int=number, parse_float=number)


EVENT_IDS = st.integers(0, 3).map(lambda index: EventId(f"{index:016x}-{'ab' * 16}"))
REFS = st.builds(CallRef, EVENT_IDS, st.integers(0, 3))


def render_view(messages: Sequence[Message], name: str) -> object:
    """The JSON value of a format; of text the transcript."""
    sent = outgoing(name).render(messages)
    return transcript(sent) if name == "text" else sent

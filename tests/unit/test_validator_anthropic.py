"""Each rule of the Anthropic Messages validator catches what breaks it, and nothing else."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.validators.anthropic import validate
from tests.validators.sdk_types import refused

Json = dict[str, Any]


def text(said: Any = "Look") -> Json:
    return {"type": "text", "text": said}


def calls(id_: Any = "c1", **changes: Any) -> Json:
    return {"type": "tool_use", "id": id_, "name": "find", "input": {}} | changes


def gives(id_: Any = "c1", **changes: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": id_, "content": "found"} | changes


def thinks(**changes: Any) -> Json:
    return {"type": "thinking", "thinking": "Hm.", "signature": "EqQB"} | changes


def image(**changes: Any) -> Json:
    source = {"type": "base64", "media_type": "image/png", "data": "AA=="} | changes
    return {"type": "image", "source": source}


def paper(**source: Any) -> Json:
    return {"type": "document", "source": source}


def turns(*contents: Any) -> Json:
    """The user and the assistant in turns."""
    roles = ("user", "assistant")
    said = [{"role": roles[i % 2], "content": content} for i, content in enumerate(contents)]
    return {"messages": said}


PDF = {"type": "base64", "media_type": "application/pdf", "data": "AA=="}

GOOD: dict[str, Json] = {
    "a question": turns("Hi"),
    "a head": turns("Hi") | {"system": "Be brief."},
    "a head in blocks": turns("Hi") | {"system": [text("Be brief.")]},
    "white space inside": turns(" Hi ", " Yes\n", [text("\nAnd?")]),
    "parallel calls answered in another order": turns(
        "Hi",
        [thinks(), text(), calls("a"), calls("b", input={"x": [1]})],
        [gives("b", content=[text(), image()]), gives("a", is_error=True), text()],
        "Done.",
    ),
    "a result without content": turns(
        "Hi", [calls()], [{"type": "tool_result", "tool_use_id": "c1"}]
    ),
    "an empty result": turns("Hi", [calls()], [gives(content="")]),
    "thoughts": turns("Hi", [thinks(), {"type": "redacted_thinking", "data": "Eq"}, text()]),
    "all that a user may attach": turns(
        [
            text(),
            image(),
            {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}},
            paper(**PDF),
            paper(type="text", media_type="text/plain", data="a"),
            paper(type="url", url="https://a/b.pdf"),
        ]
    ),
}

BAD: list[tuple[str, Any, str]] = [
    ("no object", [], "object of messages"),
    ("no messages", {"system": "a"}, "object of messages"),
    ("something else", turns("Hi") | {"model": "x"}, "object of messages"),
    ("nothing said", {"messages": []}, "at least one message"),
    ("a message that is a text", {"messages": ["Hi"]}, "must be an object"),
    ("half a character", turns("\ud83d"), "no JSON in UTF-8"),
    ("a blank head", turns("Hi") | {"system": " "}, "system: must not be blank"),
    ("a head that is null", turns("Hi") | {"system": None}, "system: must be"),
    ("a blank block in the head", turns("Hi") | {"system": [text("")]}, r"system\[0\].text"),
    ("an image in the head", turns("Hi") | {"system": [image()]}, "'image' is none of text"),
    (
        "the assistant first",
        {"messages": [{"role": "assistant", "content": "Hi"}]},
        "first message",
    ),
    ("a head among the messages", {"messages": [{"role": "system", "content": "Hi"}]}, "role"),
    ("a name", {"messages": [{"role": "user", "content": "Hi", "name": "Ann"}]}, "name: unknown"),
    ("one role twice", {"messages": turns("Hi")["messages"] * 2}, "alternate"),
    ("an empty text", turns(""), "empty or blank"),
    ("a blank text", turns(" \n\t"), "empty or blank"),
    ("null", turns(None), "string or an array"),
    ("no block", turns([]), "at least one block"),
    ("an empty block", turns([text("")]), r"content\[0\].text"),
    ("a blank block beside another", turns([text(" "), text()]), r"content\[0\].text"),
    ("a block that is a text", turns(["Hi"]), "none of"),
    ("an unknown block", turns([{"type": "video"}]), "'video' is none of"),
    ("a call of the user", turns([calls()]), "'tool_use' is none of"),
    ("a result of the assistant", turns("Hi", [gives()]), "'tool_result' is none of"),
    ("an image of the assistant", turns("Hi", [image()]), "'image' is none of"),
    ("a block with more", turns([text() | {"x": 1}]), "x: unknown"),
    ("an image of another kind", turns([image(media_type="image/svg+xml")]), "media_type"),
    ("an image that is no base64", turns([image(data="data:image/png;base64,AA==")]), "base64"),
    ("an image without data", turns([image(data="")]), "base64"),
    (
        "an image by path",
        turns([{"type": "image", "source": {"type": "url", "url": "a"}}]),
        "address",
    ),
    ("an image by nothing", turns([{"type": "image", "source": {}}]), "base64, url or file"),
    (
        "a document of another kind",
        turns([paper(**PDF | {"media_type": "text/csv"})]),
        "media_type",
    ),
    ("a document that is no base64", turns([paper(**PDF | {"data": "?"})]), "base64"),
    ("a document by path", turns([paper(type="url", url="a.pdf")]), "address"),
    ("a document by nothing", turns([paper()]), "base64, text, url"),
    (
        "a thought without signature",
        turns("Hi", [{"type": "thinking", "thinking": "a"}, text()]),
        "sig",
    ),
    ("a thought with an empty one", turns("Hi", [thinks(signature=""), text()]), "signature"),
    ("a thought without text", turns("Hi", [thinks(thinking=None), text()]), "thinking: must"),
    ("a hidden thought without data", turns("Hi", [{"type": "redacted_thinking"}, text()]), "data"),
    ("a thought behind a text", turns("Hi", [text(), thinks(), text()]), "must come first"),
    ("a thought behind a call", turns("Hi", [calls(), thinks()], [gives()]), "must come first"),
    ("only a thought", turns("Hi", [thinks()]), "final block"),
    ("white space at the very end", turns("Hi", "Yes "), "white space"),
    ("white space at the end of a block", turns("Hi", [text("Yes\n")]), "white space"),
    ("an id with a dot", turns("Hi", [calls("a.b")], [gives("a.b")]), r"\.id: 'a.b'"),
    ("an empty id", turns("Hi", [calls("")], [gives("")]), r"\.id: ''"),
    (
        "a result's id with a dot",
        turns("Hi", [calls("a.b")], [gives("a.b")]),
        r"tool_use_id: 'a.b'",
    ),
    ("an id again", turns("Hi", [calls()], [gives()], [calls()], [gives()]), "must be unique"),
    ("an id twice at once", turns("Hi", [calls(), calls()], [gives(), gives()]), "must be unique"),
    ("a name with a dot", turns("Hi", [calls(name="a.b")], [gives()]), "name: 'a.b'"),
    ("a long name", turns("Hi", [calls(name="a" * 129)], [gives()]), "too long"),
    (
        "input that is a text",
        turns("Hi", [calls(input="{}")], [gives()]),
        "input: must be an object",
    ),
    (
        "input that is an array",
        turns("Hi", [calls(input=[])], [gives()]),
        "input: must be an object",
    ),
    ("a text behind a call", turns("Hi", [calls(), text()], [gives()]), "nothing may come between"),
    ("a call at the end", turns("Hi", [calls()]), "without a tool_result"),
    ("a call without result", turns("Hi", [calls()], "And?"), "without a tool_result"),
    ("one of two without", turns("Hi", [calls("a"), calls("b")], [gives("a")]), r"\['b'\]"),
    ("a result too late", turns("Hi", [calls()], "And?", "Yes", [gives()]), "no open tool_use"),
    ("a result of nothing", turns([gives()]), "no open tool_use"),
    ("two results", turns("Hi", [calls()], [gives(), gives()]), "no open tool_use"),
    ("a result behind a text", turns("Hi", [calls()], [text(), gives()]), "come first"),
    ("is_error as text", turns("Hi", [calls()], [gives(is_error="yes")]), "is_error"),
    (
        "an error without content",
        turns("Hi", [calls()], [gives(is_error=True, content="")]),
        "empty",
    ),
    (
        "an error with an image",
        turns("Hi", [calls()], [gives(is_error=True, content=[image()])]),
        "'image' is none of text",
    ),
    (
        "a blank block in a result",
        turns("Hi", [calls()], [gives(content=[text("")])]),
        r"\[0\].text",
    ),
    ("a result in a result", turns("Hi", [calls()], [gives(content=[gives()])]), "none of"),
    ("a result that is an object", turns("Hi", [calls()], [gives(content={})]), "content: must be"),
]


@pytest.mark.parametrize("request_", GOOD.values(), ids=GOOD)
def test_takes_what_the_api_takes(request_: Json) -> None:
    assert validate(request_) == []
    assert refused("anthropic", request_) is None


@pytest.mark.parametrize(("request_", "found"), [bad[1:] for bad in BAD], ids=[b[0] for b in BAD])
def test_names_what_the_api_refuses(request_: Any, found: str) -> None:
    violations = validate(request_)
    assert any(re.search(found, one) for one in violations), violations


def test_the_types_refuse_what_is_of_a_wrong_shape() -> None:
    for bad in (
        turns(None),
        turns("Hi", [{"type": "thinking", "thinking": "a"}, text()]),
        turns("Hi", [calls(input="{}")], [gives()]),
        turns("Hi") | {"system": [image()]},
    ):
        assert validate(bad)
        assert refused("anthropic", bad) is not None

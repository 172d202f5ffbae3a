"""Each rule of the OpenAI chat validator catches what breaks it, and nothing else."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.validators.openai_chat import validate
from tests.validators.sdk_types import refused

Json = dict[str, Any]


def call(id_: str = "c1", **changes: Any) -> Json:
    return {
        "id": id_,
        "type": "function",
        "function": {"name": "find", "arguments": "{}"},
    } | changes


def asks(*calls: Json, **changes: Any) -> Json:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)} | changes


def answers(id_: str = "c1", **changes: Any) -> Json:
    return {"role": "tool", "tool_call_id": id_, "content": "found"} | changes


def user(content: Any = "Hi", **changes: Any) -> Json:
    return {"role": "user", "content": content} | changes


def function(**changes: Any) -> Json:
    return asks(call(function={"name": "find", "arguments": "{}"} | changes))


HEAD: Json = {"role": "system", "content": "Be brief."}
IMAGE: Json = {
    "type": "image_url",
    "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"},
}
SOUND: Json = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
PAPER: Json = {
    "type": "file",
    "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
}
TEXT: Json = {"type": "text", "text": "Look"}

GOOD: dict[str, list[Json]] = {
    "a question": [user()],
    "a head, a name and empty texts": [
        HEAD,
        HEAD | {"role": "developer"},
        user("", name="Ann-1.é"),
    ],
    "all that a user may attach": [user([TEXT, IMAGE, SOUND, PAPER])],
    "parallel calls answered in another order": [
        user(),
        asks(call("a"), call("b"), content="Let me see."),
        answers("b", name="find"),
        answers("a", content=[TEXT]),
        {"role": "assistant", "content": "Done."},
    ],
    "an id again in a later message": [asks(call()), answers(), asks(call()), answers()],
    "arguments that are no JSON": [function(arguments="{oops"), answers()],
    "a custom tool": [
        asks({"id": "c1", "type": "custom", "custom": {"name": "sh", "input": "ls"}}),
        answers(),
    ],
    "refusals": [
        user(),
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    ],
}

BAD: list[tuple[str, Any, str]] = [
    ("nothing at all", [], "at least one"),
    ("no array", {"role": "user"}, "must be an array"),
    ("no object", ["Hi"], "must be an object"),
    ("half a character", [user("\ud83d")], "no JSON in UTF-8"),
    (
        "no number",
        [user([TEXT, IMAGE | {"image_url": {"url": "http://a", "detail": 1e999}}])],
        "JSON",
    ),
    ("an unknown role", [user(role="critic")], r"\[0\].role"),
    ("no role", [{"content": "Hi"}], "role"),
    ("an unknown field", [user(cache=True)], r"\[0\].cache: unknown"),
    ("calls of a user", [user(tool_calls=[call()]), answers()], "tool_calls: unknown"),
    ("a name with a space", [user(name="Ann Lee")], r"\[0\].name: 'Ann Lee'"),
    ("an empty name", [user(name="")], "at least one character"),
    ("a long name", [user(name="a" * 65)], "more than 64"),
    ("a tool's name with a space", [asks(call()), answers(name="find it")], r"\[1\].name"),
    ("null from a user", [user(None)], "got null"),
    ("null and nothing else", [{"role": "assistant", "content": None}], "got null"),
    ("null from a tool", [asks(call()), answers(content=None)], "got null"),
    ("an empty array", [user([])], "too short"),
    ("a number", [user(5)], "string or an array"),
    ("a part that is a text", [user(["Hi"])], "must be an object"),
    ("a part of another role", [HEAD | {"content": [IMAGE]}], "not taken from role system"),
    ("an unknown part", [user([{"type": "video", "video": {}}])], "'video' is not taken"),
    ("an image from a tool", [asks(call()), answers(content=[IMAGE])], "role tool"),
    ("a text part without text", [user([{"type": "text"}])], "must be a string"),
    ("a text part with more", [user([TEXT | {"x": 1}])], "unknown"),
    ("an image without address", [user([IMAGE | {"image_url": {"url": "a.png"}}])], "address"),
    (
        "an unknown detail",
        [user([IMAGE | {"image_url": {"url": "http://a", "detail": "most"}}])],
        "unknown",
    ),
    (
        "sound of another kind",
        [user([SOUND | {"input_audio": {"data": "A", "format": "ogg"}}])],
        "wav",
    ),
    ("a file by address", [user([PAPER | {"file": {"file_data": "http://a"}}])], "data URL"),
    ("an empty file", [user([PAPER | {"file": {"filename": "a"}}])], "file_id or file_data"),
    (
        "two refusals",
        [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}] * 2}],
        "exactly one refusal",
    ),
    ("a refusal that is no text", [{"role": "assistant", "content": "a", "refusal": 1}], "refusal"),
    ("no calls in the array", [asks(content="a")], "array of 1"),
    (
        "too many calls",
        [asks(*(call(f"c{i}") for i in range(129)))] + [answers(f"c{i}") for i in range(129)],
        "1 to 128",
    ),
    ("a call that is a text", [asks(content="a", tool_calls=["c"])], "must be an object"),
    ("one id twice", [asks(call(), call()), answers()], "twice in one message"),
    ("an empty id", [asks(call("")), answers("")], "at least one character"),
    ("a long id", [asks(call("c" * 41)), answers("c" * 41)], "more than 40"),
    ("a call of another type", [asks(call(type="web")), answers()], "type function or custom"),
    ("a call with more", [asks(call(index=0)), answers()], "type function or custom"),
    ("a function with more", [function(x=1), answers()], "exactly name and arguments"),
    ("a function's name with a dot", [function(name="a.b"), answers()], r"'a.b' does not match"),
    ("a function's long name", [function(name="a" * 65), answers()], "more than 64"),
    ("arguments that are an object", [function(arguments={}), answers()], "must be a string"),
    ("a call without answer", [asks(call())], r"\[0\]: calls without an answer"),
    ("one of two without", [asks(call("a"), call("b")), answers("a")], r"\['b'\]"),
    ("a user in between", [asks(call()), user(), answers()], "without an answer"),
    ("an answer to nothing", [user(), answers()], "no open call"),
    ("an answer first", [answers()], "no open call"),
    ("two answers", [asks(call()), answers(), answers()], "no open call"),
    ("an answer to another", [asks(call()), answers("c2"), answers()], "'c2'"),
    ("an answer without id", [asks(call()), answers(), answers(tool_call_id=None)], "tool_call_id"),
]


@pytest.mark.parametrize("messages", GOOD.values(), ids=GOOD)
def test_takes_what_the_api_takes(messages: list[Json]) -> None:
    assert validate(messages) == []
    assert refused("openai", messages) is None


@pytest.mark.parametrize(("messages", "found"), [bad[1:] for bad in BAD], ids=[b[0] for b in BAD])
def test_names_what_the_api_refuses(messages: Any, found: str) -> None:
    violations = validate(messages)
    assert any(re.search(found, one) for one in violations), violations


def test_the_types_refuse_what_is_of_a_wrong_shape() -> None:
    for bad in ([user(5)], [user(cache=True)], [user([TEXT | {"x": 1}])], [function(arguments={})]):
        assert validate(bad)
        assert refused("openai", bad) is not None

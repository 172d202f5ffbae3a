"""Each rule of the OpenAI Responses validator catches what breaks it, and nothing else."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.validators.responses import validate
from tests.validators.sdk_types import refused

Json = dict[str, Any]


def calls(id_: str = "c1", **changes: Any) -> Json:
    return {"type": "function_call", "call_id": id_, "name": "find", "arguments": "{}"} | changes


def gives(id_: str = "c1", **changes: Any) -> Json:
    return {"type": "function_call_output", "call_id": id_, "output": "found"} | changes


def thinks(id_: str = "rs_1", **changes: Any) -> Json:
    summary = [{"type": "summary_text", "text": "Hm."}]
    return {"type": "reasoning", "id": id_, "summary": summary} | changes


def says(content: Any = "Done.", **changes: Any) -> Json:
    return {"role": "assistant", "content": content} | changes


USER: Json = {"role": "user", "content": "Hi"}
TEXT: Json = {"type": "input_text", "text": "Look"}
IMAGE: Json = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "auto"}
PAPER: Json = {
    "type": "input_file",
    "filename": "a.pdf",
    "file_data": "data:application/pdf;base64,AA",
}
SAID: Json = {"type": "output_text", "text": "Yes", "annotations": []}
NAMED: Json = {"type": "message", "id": "msg_1", "status": "completed"}

GOOD: dict[str, list[Json]] = {
    "a question": [USER],
    "all roles": [
        {"role": "system", "content": "Be brief."},
        {"type": "message", "role": "developer", "content": [TEXT]},
        {"role": "user", "content": [TEXT, IMAGE, PAPER]},
        says(),
        says([SAID, {"type": "refusal", "refusal": "No."}], **NAMED),
    ],
    "parallel calls beside a message": [
        USER,
        thinks(encrypted_content="gAAA"),
        says([SAID], **NAMED),
        calls("a", id="fc_1", status="completed"),
        calls("b"),
        gives("b"),
        gives("a", output=[TEXT, {"type": "input_image", "image_url": "https://a/b.png"}]),
        says(),
    ],
    "thoughts between parallel calls": [
        thinks("rs_1"),
        thinks("rs_2"),
        calls("a"),
        thinks("rs_3"),
        calls("b"),
        gives("a"),
        gives("b"),
    ],
    "a custom tool and the web": [
        {"type": "custom_tool_call", "call_id": "c1", "name": "sh", "input": "ls"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "a"},
        {
            "type": "web_search_call",
            "id": "ws_1",
            "status": "completed",
            "action": {"type": "search", "query": "a"},
        },
        says(),
    ],
}

BAD: list[tuple[str, Any, str]] = [
    ("nothing at all", [], "at least one"),
    ("no object", ["Hi"], "must be an object"),
    ("half a character", [says("\ud83d")], "no JSON in UTF-8"),
    ("an unknown type", [{"type": "thought"}], "unknown 'thought'"),
    ("an unknown role", [USER | {"role": "tool"}], "role"),
    ("a name", [USER | {"name": "Ann"}], r"\[0\].name: unknown"),
    ("an unknown status", [says([SAID], **NAMED | {"status": "done"})], "status"),
    ("null", [USER | {"content": None}], "string or an array"),
    ("an empty array", [USER | {"content": []}], "at least one part"),
    ("input from an assistant", [says([TEXT])], "'input_text' is none of"),
    ("output from a user", [USER | {"content": [SAID]}], "'output_text' is none of"),
    ("a chat part", [USER | {"content": [{"type": "text", "text": "a"}]}], "'text' is none of"),
    (
        "a text part without text",
        [USER | {"content": [{"type": "input_text"}]}],
        "must be a string",
    ),
    ("an image without address", [USER | {"content": [IMAGE | {"image_url": "a.png"}]}], "address"),
    (
        "an image by nothing",
        [USER | {"content": [{"type": "input_image"}]}],
        "image_url or file_id",
    ),
    ("an unknown detail", [USER | {"content": [IMAGE | {"detail": "most"}]}], "detail"),
    ("an empty file", [USER | {"content": [{"type": "input_file"}]}], "one of file_data"),
    ("two files in one", [USER | {"content": [PAPER | {"file_id": "f"}]}], "one of file_data"),
    ("a call without output", [calls()], "no output for 'c1'"),
    (
        "a call before the next turn",
        [calls("a"), calls("b"), gives("a"), says(), gives("b")],
        "goes on",
    ),
    ("an output to nothing", [gives()], "no open function_call"),
    ("an output before its call", [gives(), calls(), gives()], r"\[0\]: no open"),
    ("two outputs", [calls(), gives(), gives()], r"\[2\]: no open"),
    (
        "an output of another type",
        [calls(), {"type": "custom_tool_call_output", "call_id": "c1", "output": "a"}, gives()],
        "no open custom_tool_call",
    ),
    ("a call id again", [calls(), gives(), calls(), gives()], "used twice"),
    ("an empty call id", [calls(""), gives("")], r"\[0\].call_id: .* one character"),
    ("an empty call id of an output", [calls(""), gives("")], r"\[1\].call_id: .* one character"),
    ("a long call id", [calls("c" * 65), gives("c" * 65)], "more than 64"),
    ("a name with a dot", [calls(name="a.b"), gives()], "does not match"),
    ("arguments that are an object", [calls(arguments={}), gives()], "arguments"),
    ("a call with more", [calls(function={}), gives()], r"function: unknown"),
    ("an output that is an object", [calls(), gives(output={})], "output: must be"),
    (
        "an output in chat parts",
        [calls(), gives(output=[{"type": "text", "text": "a"}])],
        "none of",
    ),
    ("a call's id of another kind", [calls(id="call_1"), gives()], "begin with fc"),
    ("a message's id of another kind", [says([SAID], **NAMED | {"id": "m1"})], "begin with msg"),
    ("a long id", [says([SAID], **NAMED | {"id": "msg_" + "a" * 61})], "more than 64"),
    ("one item twice", [thinks(), says(), thinks(), says()], "duplicate item 'rs_1'"),
    ("a thought at the end", [USER, thinks()], "without the item"),
    ("a thought before a user", [thinks(), USER], "without the item"),
    ("a thought before an output", [calls(), thinks(), gives()], "without the item"),
    ("a thought without id", [thinks(id=None), says()], r"\[0\].id: must be a string"),
    ("a thought without summary", [thinks(summary=None), says()], "summary: must be"),
    (
        "a thought's other part",
        [thinks(summary=[{"type": "text", "text": "a"}]), says()],
        "summary_text",
    ),
    ("encrypted content as object", [thinks(encrypted_content={}), says()], "encrypted_content"),
]


@pytest.mark.parametrize("items", GOOD.values(), ids=GOOD)
def test_takes_what_the_api_takes(items: list[Json]) -> None:
    assert validate(items) == []
    assert refused("responses", items) is None


@pytest.mark.parametrize(("items", "found"), [bad[1:] for bad in BAD], ids=[b[0] for b in BAD])
def test_names_what_the_api_refuses(items: Any, found: str) -> None:
    violations = validate(items)
    assert any(re.search(found, one) for one in violations), violations


def test_the_types_refuse_what_is_of_a_wrong_shape() -> None:
    for bad in ([USER | {"content": None}], [USER | {"name": "Ann"}], [calls(arguments={})]):
        assert validate(bad)
        assert refused("responses", bad) is not None


def test_the_types_want_more_of_an_assistants_parts_than_the_api() -> None:
    # The API takes output_text without annotations, id and status; the types do not.
    short = [USER, says([{"type": "output_text", "text": "Yes"}])]
    assert validate(short) == []
    assert refused("responses", short) is not None

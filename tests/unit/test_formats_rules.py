"""The rules of the providers by example, where chance might not find them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conversations import render_view
from weft_engine.errors import InvalidMessage
from weft_engine.events.event import Message, Role
from weft_engine.events.part import Call, File, Opaque, Part, Reasoning, Result, Text
from weft_engine.formats.anthropic_outgoing import BEGINNING
from weft_engine.formats.files import file_format, read_conversation, write_conversation
from weft_engine.formats.fitting import fit_id, fit_participant, fit_tool_name
from weft_engine.formats.openai_chat import export_text, import_message, render
from weft_engine.formats.registry import outgoing
from weft_engine.formats.verbatim_json import parse_verbatim

HELLO = Message(Role.USER, (Text("hello"),))
SIGNED = Reasoning("anthropic", text="hm", sig="s")
ENCRYPTED = Reasoning("openai", data="e", item_id="rs_1")


def said_by(*parts: Part) -> Message:
    return Message(Role.ASSISTANT, parts)


def turns(*view: Message) -> list[tuple[str, list[Any]]]:
    """Role and blocks: a text as it is, anything else by its type."""
    sent: Any = render_view(view, "anthropic")
    return [
        (said["role"], [block.get("text", block["type"]) for block in said["content"]])
        for said in sent["messages"]
    ]


def test_turns_alternate_and_begin_with_the_user() -> None:
    assert turns(HELLO, HELLO, said_by(Text("a")), said_by(Text("b")), HELLO) == [
        ("user", ["hello", "hello"]),
        ("assistant", ["a", "b"]),
        ("user", ["hello"]),
    ]
    assert turns(said_by(Text("a"))) == [("user", [BEGINNING]), ("assistant", ["a"])]
    assert turns(Message(Role.SYSTEM, (Text("s"),)), said_by(Text("a")))[0] == ("user", [BEGINNING])


def test_thinking_in_the_middle_of_a_turn_is_left_out() -> None:
    assert turns(HELLO, said_by(SIGNED, Text("a")), said_by(SIGNED, Text("b")))[1] == (
        "assistant",
        ["thinking", "a", "b"],
    )


def test_calls_end_a_turn_and_results_begin_the_next() -> None:
    results = [Message(Role.TOOL, (Result(id_, "x"),)) for id_ in ("c1", "c2")]
    view = [HELLO, said_by(Call("c1", "f", ""), Text("a "), Call("c2", "f", "")), *results, HELLO]
    assert turns(*view)[1:] == [
        ("assistant", ["a ", "tool_use", "tool_use"]),
        ("user", ["tool_result", "tool_result", "hello"]),
    ]


@pytest.mark.parametrize("blank", ["", " ", "\n\t ", "\u3000"])
def test_blank_text_is_not_sent_and_no_turn_ends_in_white_space(blank: str) -> None:
    assert turns(Message(Role.USER, (Text(blank),)), HELLO, said_by(Text(blank))) == [
        ("user", ["hello"])
    ]
    assert turns(HELLO, said_by(Text(f"a{blank}")))[1] == ("assistant", ["a"])
    assert turns(HELLO, said_by(Text(f"a{blank}"), Text(blank)), HELLO)[1] == ("assistant", ["a"])
    assert turns(Message(Role.SYSTEM, (Text(blank),))) == []


@pytest.mark.parametrize(
    ("args", "taken"),
    [
        ("", {}),
        ('{"a":1}', {"a": 1}),
        ("[1]", {"arguments": "[1]"}),
        ("{", {"arguments": "{"}),
        ('{"a":1,"a":2}', {"arguments": '{"a":1,"a":2}'}),
    ],
)
def test_tool_input_is_always_an_object(args: str, taken: object) -> None:
    sent: Any = render_view([HELLO, said_by(Call("c", "f", args))], "anthropic")
    assert sent["messages"][1]["content"][0]["input"] == taken


def test_ids_that_come_twice_are_told_apart() -> None:
    view = []
    for out in ("one", "two"):
        view += [said_by(Call("c 1", "f", "{}")), Message(Role.TOOL, (Result("c 1", out),))]
    sent: Any = render_view([HELLO, *view], "anthropic")
    ids = [said["content"][0].get("id") for said in sent["messages"][1::2]]
    answered = [said["content"][0]["tool_use_id"] for said in sent["messages"][2::2]]
    assert ids == answered
    assert len(set(ids)) == 2
    items: Any = render_view(view, "responses")
    calls = [item["call_id"] for item in items]
    assert calls[0] == calls[1] != calls[2] == calls[3]


def test_attachments() -> None:
    def sent(file: File, name: str) -> Any:
        shown: Any = render_view([Message(Role.USER, (file, Text("see")))], name)
        return (shown["messages"] if name == "anthropic" else shown)[0]["content"][0]

    png = File("image/png", url="data:image/png;base64,AAAA")
    assert sent(png, "anthropic")["source"] == {
        "type": "base64",
        "media_type": "image/png",
        "data": "AAAA",
    }
    web = File("image/*", url="https://x/y.png")
    assert sent(web, "anthropic")["source"] == {"type": "url", "url": "https://x/y.png"}
    assert sent(web, "responses") == {
        "type": "input_image",
        "image_url": "https://x/y.png",
        "detail": "auto",
    }
    pdf = File("application/pdf", url="data:application/pdf;base64,AAAA", name="a.pdf")
    assert sent(pdf, "anthropic")["title"] == "a.pdf"
    assert sent(pdf, "responses")["filename"] == "a.pdf"
    text = File("text/plain", url="data:text/plain;base64,aGVsbG8=")
    assert sent(text, "anthropic")["source"]["data"] == "hello"
    for odd in (File("image/png", blob="ab" * 32), File("image/png", url="ftp://x")):
        assert sent(odd, "anthropic") == {"type": "text", "text": "see"}


def test_reasoning_goes_back_once_and_with_its_item() -> None:
    call = Call("c1", "f", "{}", item_id="fc_1")

    def ids(*view: Message) -> list[str]:
        items: Any = render_view(view, "responses")
        return [item["id"] for item in items if "id" in item]

    assert ids(said_by(ENCRYPTED, call)) == ["rs_1", "fc_1"]
    assert ids(said_by(ENCRYPTED, call), said_by(ENCRYPTED, Text("a"))) == ["rs_1", "fc_1"]
    assert ids(said_by(call)) == []
    assert ids(said_by(Text("a"), ENCRYPTED)) == []


def test_foreign_parts_too_deep_or_odd_are_left_out_of_every_view() -> None:
    deep = "[" * 50 + "]" * 50
    text = f'{{"type":"text","text":"x","more":{deep}}}'
    for format_ in ("openai_chat", "anthropic", "responses", "ui"):
        message = Message(Role.USER, (Text("hi"), Opaque(format_, text)))
        for name in ("openai", "anthropic", "responses", "ui"):
            assert "more" not in json.dumps(outgoing(name).render([message]))


def test_a_tool_part_of_a_view_always_has_a_value_as_input() -> None:
    sent: Any = render_view([said_by(Call("c", "f", '{"n":1e400}'))], "ui")
    assert sent[0]["parts"][1]["input"] == '{"n":1e400}'


# ---- names ------------------------------------------------------------------------------------


def test_names_are_valid_in_views_and_verbatim_in_files() -> None:
    text = '{"role":"user","content":"hi","name":"Ann Lee <a|b>"}'
    message = import_message(text)
    assert render(message)[0]["name"] == "Ann_Lee__a_b_"
    assert export_text(message) == text
    call = said_by(Call("c" * 50, "get weather!", "{}"))
    sent: Any = render(call)
    (function,) = sent[0]["tool_calls"]
    assert function["function"]["name"].startswith("get_weather__")
    assert len(function["id"]) == 40
    (result,) = render(Message(Role.TOOL, (Result("c" * 50, "x"),)))
    assert result["tool_call_id"] == function["id"]


def test_what_fits_stays() -> None:
    assert fit_tool_name("get_x-1", 64) == "get_x-1"
    assert fit_id("call:1 é", 40) == "call:1 é"
    assert fit_participant("Zoë") == "Zoë"
    assert fit_participant("") is None
    assert fit_tool_name("a" * 65, 64) != fit_tool_name("a" * 66, 64)
    assert len(fit_tool_name("a" * 65, 64)) == 64


# ---- files ------------------------------------------------------------------------------------


def converted(messages: list[Message], name: str) -> Any:
    return json.loads(write_conversation("a", messages, None, file_format(name)))


def test_results_side_by_side_share_a_message_of_anthropic() -> None:
    messages = [
        Message(Role.SYSTEM, (Text("s"),)),
        said_by(Call("c1", "f", "{}"), Call("c2", "f", "{}")),
        Message(Role.TOOL, (Result("c1", "x"),)),
        Message(Role.TOOL, (Result("c2", "y"),)),
        HELLO,
    ]
    told = converted(messages, "anthropic")
    assert told["system"] == "s"
    assert [said["role"] for said in told["messages"]] == ["assistant", "user", "user"]
    assert [block["content"] for block in told["messages"][1]["content"]] == ["x", "y"]


def test_the_rest_of_another_format_leaves_no_empty_places() -> None:
    line = '{"id":"a","items":[{"role":"user","content":"hi"}],"title":"t"}'
    read = read_conversation(parse_verbatim(line), file_format("responses"))
    told = write_conversation("a", read.messages, read.rest, file_format("openai"))
    assert told == '{"id":"a","title":"t","messages":[{"role":"user","content":"hi"}]}'


def test_a_system_message_among_others_is_no_prompt() -> None:
    line = '{"id":"a","messages":[{"role":"system","content":"s"}]}'
    read = read_conversation(parse_verbatim(line), file_format("anthropic"))
    assert write_conversation("a", read.messages, read.rest, file_format("anthropic")) == line


def test_a_prompt_that_comes_later_moves_no_message() -> None:
    known = file_format("anthropic")
    said = '"messages":[{"role":"user","content":"hi"}]'
    before = read_conversation(parse_verbatim(f'{{"id":"a",{said}}}'), known)
    after = read_conversation(parse_verbatim(f'{{"id":"a","system":"s",{said}}}'), known)
    assert after.messages[1:] == before.messages


@pytest.mark.parametrize(
    ("name", "line", "path"),
    [
        ("anthropic", '{"id":"a","system":7,"messages":[]}', "$.system"),
        ("anthropic", '{"id":"a","messages":[{"role":"user"}]}', "$.messages[0].content"),
        (
            "anthropic",
            '{"id":"a","messages":[{"role":"user","content":[{"type":"tool_use","id":"c",'
            '"name":"f","input":"x"}]}]}',
            "$.messages[0].content[0].input",
        ),
        (
            "anthropic",
            '{"id":"a","messages":[{"role":"robot","content":""}]}',
            "$.messages[0].role",
        ),
        ("responses", '{"id":"a"}', "$.items"),
        ("responses", '{"id":"a","input":[{"type":"function_call"}]}', "$.input[0].call_id"),
        ("responses", '{"id":"a","items":[{"role":"user","content":7}]}', "$.items[0].content"),
        ("ui", '{"id":"a","messages":[{"role":"user"}]}', "$.messages[0].parts"),
        (
            "ui",
            '{"id":"a","messages":[{"role":"user","parts":[{}]}]}',
            "$.messages[0].parts[0].type",
        ),
        ("openai", '{"messages":[]}', "$.id"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(name: str, line: str, path: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        read_conversation(parse_verbatim(line), file_format(name))
    assert caught.value.path == path


def test_instructions_in_the_middle_cost_no_more_than_alone() -> None:
    known = outgoing("anthropic")
    instruction = Message(Role.SYSTEM, (Text("be brief"),))
    spoken = [said_by(Text("a")), instruction, said_by(Text("b"))]

    def cost(view: list[Message]) -> int:
        return known.count(known.render(view), len, lambda _: 0)

    assert cost(spoken) <= sum(cost([message]) for message in spoken)
    assert cost([HELLO, *spoken]) - cost([HELLO, spoken[0], spoken[2]]) <= cost([instruction])


def test_an_error_of_anthropic_has_content_and_nothing_but_text() -> None:
    picture = File("image/png", url="data:image/png;base64,AAAA")
    outs: list[tuple[str | tuple[Part, ...], object]] = [
        (" ", "[failed]"),
        ((picture,), "[failed]"),
        ((Text("No."), picture), [{"type": "text", "text": "No."}]),
    ]
    for out, content in outs:
        failed = Message(Role.TOOL, (Result("c1", out, error=True),))
        sent: Any = render_view([HELLO, said_by(Call("c1", "f", "")), failed], "anthropic")
        (block,) = sent["messages"][-1]["content"]
        assert (block["content"], block["is_error"]) == (content, True)


@pytest.mark.parametrize("name", ["anthropic", "responses"])
def test_an_attachment_that_has_no_place_leaves_a_remark(name: str) -> None:
    form = outgoing(name)
    sound = Message(Role.USER, (File("audio/wav", url="data:audio/wav;base64,AAAA"),))
    assert "[attachment: audio/wav]" in json.dumps(form.render([sound]))
    assert form.count(form.render([sound]), len, lambda _: 0) == 4 + len("[attachment: audio/wav]")
    named = Message(Role.USER, (Text("Listen"), *sound.parts))
    assert "attachment" not in json.dumps(form.render([named]))

"""What a command writes can't steer a terminal, and JSON stays equal JSON."""

from __future__ import annotations

import io
import json

import pytest

from weft_engine.errors import NotAStore, WeftError
from weft_server.cli.output import Output, one_line, safe, safe_json
from weft_server.cli.wording import body, chat_text, utc_time


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def output(
    *, as_json: bool = False, terminal: bool = False
) -> tuple[Output, io.StringIO, io.StringIO]:
    results, notes = io.StringIO(), Terminal() if terminal else io.StringIO()
    return Output(results=results, notes=notes, as_json=as_json), results, notes


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("over\rwritten\x08", "over\\x0dwritten\\x08"),
        ("\x00\x7f", "\\x00\\x7f"),
        ("evil\u202egnp.exe", "evil\\u202egnp.exe"),
        ("a\u2028b", "a\\u2028b"),
        ("half \ud83d", "half \\ud83d"),
        ("日本\u3000語 é 👩\u200d👩\u200d👧 עברית", "日本\u3000語 é 👩\u200d👩\u200d👧 עברית"),
    ],
)
def test_people_see_controls_as_escapes(text: str, shown: str) -> None:
    assert safe(text) == shown
    out, results, _ = output()
    out.say(text)
    assert results.getvalue() == shown + "\n"


def test_a_note_is_one_line() -> None:
    assert one_line("a\nb\tc") == "a\\nb\\tc"
    out, results, notes = output()
    out.note("weft: a\nweft: b")
    assert notes.getvalue() == "weft: a\\nweft: b\n"
    assert results.getvalue() == ""


@pytest.mark.parametrize(
    "value",
    ["\x1b[2J", "\x9b31m \u202e \u2028", "half \ud83d", {"k\x7f": ["é", 1.5, None]}],
)
def test_json_is_equal_and_safe(value: object) -> None:
    out, results, _ = output(as_json=True)
    out.data(value)
    text = results.getvalue()
    assert json.loads(text) == value
    assert safe(text) == text
    text.encode()
    assert safe_json(text.strip()) == text.strip()


def test_text_and_json_exclude_each_other() -> None:
    for as_json, shown in ((False, "text\n"), (True, '{"a": 1}\n')):
        out, results, _ = output(as_json=as_json)
        out.say("text")
        out.data({"a": 1})
        assert results.getvalue() == shown


def test_an_error_is_one_line_and_a_hint() -> None:
    out, _, notes = output()
    out.error(NotAStore("x is\nno store", hint="give another"))
    out.error(WeftError("no hint"))
    assert notes.getvalue() == "weft: x is\\nno store\nhint: give another\nweft: no hint\n"


def test_progress_is_for_terminals_and_goes_away() -> None:
    out, results, notes = output()
    out.progress("importing", 1, 2)
    assert notes.getvalue() == ""
    out, results, notes = output(terminal=True)
    out.progress("importing\x1b", 1_000, 2_000)
    assert notes.getvalue() == "\r\x1b[Kimporting\\x1b 1,000 of 2,000"
    out.progress("too soon to be shown again", 2, 2)
    out.say("done")
    assert notes.getvalue().endswith("2,000\r\x1b[K")
    assert results.getvalue() == "done\n"


def test_long_messages_are_cut_and_said_to_be() -> None:
    text = "\n".join(f"line {number}" for number in range(50))
    cut = body(text, full=False)
    assert cut.startswith("    line 0\n")
    assert cut.endswith(f"line 11 … ({len(text)} characters)")
    assert body(text, full=True).count("\n") == 49
    assert body("x" * 5_000, full=False).endswith("x … (5,000 characters)")
    assert body("short\n", full=False) == "    short\n"


def test_chat_messages_in_words() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said: dict[str, object] = {
        "role": "assistant",
        "content": None,
        "refusal": "no",
        "tool_calls": [call],
    }
    assert chat_text(said) == "[refusal] no\n[call f] {}"
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "x"}}]
    assert chat_text({"role": "user", "content": parts}) == "look\n[image_url]"
    assert chat_text({"role": "assistant", "content": None}) == "(nothing)"


def test_times() -> None:
    assert utc_time(0) == "1970-01-01 00:00:00Z"
    assert utc_time((1 << 48) - 1) == "281474976710655 ms"

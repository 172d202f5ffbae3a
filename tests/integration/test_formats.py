"""The formats through a store: append, view, the command line, and real transcripts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import TRANSCRIPTS
from tests.stores import folder, open_replica
from tests.unit.test_formats_shapes import CLAUDE, GPT
from weft_engine.events.event import Message
from weft_engine.formats.files import (
    FILE_FORMAT_NAMES,
    file_format,
    read_conversation,
    write_conversation,
)
from weft_engine.formats.registry import FORMAT_NAMES
from weft_engine.formats.verbatim_json import parse_verbatim
from weft_engine.replica.context import Context
from weft_server.cli import main

LINES = {
    "anthropic": '{"id":"a","system":"be kind","messages":[{"role":"user","content":"hi"},'
    '{"role":"assistant","content":[{"type":"text","text":"looking"},'
    '{"type":"tool_use","id":"t1","name":"find","input":{"n":1.0}}]},'
    '{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"x"},'
    '{"type":"text","text":"and?","cache_control":{"type":"ephemeral"}}]}],"title":1.50}',
    "responses": '{"id":"a","input":[{"role":"user","content":"hi"},'
    '{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"e"},'
    '{"type":"function_call","id":"fc_1","call_id":"t1","name":"find","arguments":"{}"},'
    '{"type":"function_call_output","call_id":"t1","output":"x"}]}',
    "ui": '{"messages":[{"id":"m1","role":"user","parts":[{"type":"text","text":"hi"}]},'
    '{"id":"m2","role":"assistant","parts":[{"type":"step-start"},{"type":"tool-find",'
    '"toolCallId":"t1","state":"output-available","input":{},"output":{"n":1.0}},'
    '{"type":"step-start"},{"type":"text","text":"x","state":"done"}]}],"id":"a"}',
    "openai": '{"id":"a","messages":[{"role":"user","content":"hi"}]}',
}


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as found:
        yield found


def run(*words: str | Path) -> int:
    return main([str(word) for word in words])


@pytest.mark.parametrize("name", FILE_FORMAT_NAMES)
@pytest.mark.parametrize("written", ["lines", "object", "array"])
def test_a_file_comes_back_through_a_store(
    place: Path, name: str, written: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = LINES[name]
    other = line.replace('"id":"a"', '"id":"b"')
    text = {
        "lines": f"{line}\n\n{other}\n",
        "object": line.replace('"messages"', '\n"messages"').replace('"input":[', '\n"input":[\n'),
        "array": f"[\n{line},\n{other}]",
    }[written]
    (place / "in").write_text(text, encoding="utf-8")
    store = place / "s.db"
    assert run("import", place / "in", "--format", name, "--store", store) == 0
    again = capsys.readouterr().out
    assert run("import", place / "in", "--format", name, "--store", store) == 0
    assert "new messages: 0" not in again
    assert "new messages: 0" in capsys.readouterr().out
    assert run("export", "--format", name, "--store", store) == 0
    expected = [line] if written == "object" else [line, other]
    assert capsys.readouterr().out.splitlines() == expected
    for shown in FORMAT_NAMES:
        assert run("view", "a", "--store", store, "--format", shown) == 0
        out = capsys.readouterr().out
        assert out == f"{json.loads(json.dumps(out))}"
        if shown != "text":
            sent = json.loads(out)
            assert run("view", "a", "--store", store, "--format", shown, "--json") == 0
            assert json.loads(capsys.readouterr().out)["messages"] == sent
        else:
            assert "hi" in out


def test_a_bad_array_is_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "in").write_text('[{"id":"a","messages":[]},\n{"id":"b"}]', encoding="utf-8")
    assert run("import", place / "in", "--store", place / "s.db") != 0
    assert "conversation 2: $.messages: missing" in capsys.readouterr().err


async def test_answers_of_every_sdk_are_appended_and_answered(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("a")
        await chat.append("hi")
        view = await chat.view()
        assert len(await chat.append(CLAUDE, view=view)) == 1
        await chat.append(
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"}],
            }
        )
        await chat.append(GPT, view=await chat.view())
        await chat.append({"type": "function_call_output", "call_id": "call_1", "output": "rain"})
        view = await chat.view()
        sent: Any = view.anthropic()
        results = [
            block["content"]
            for said in sent["messages"]
            for block in said["content"]
            if block["type"] == "tool_result"
        ]
        assert results == ["sunny", "rain"]
        kinds = [item.get("type") for item in view.responses()]
        assert kinds == [
            *(None, None, "function_call", "function_call_output"),
            *("reasoning", None, None, "function_call", "function_call_output"),
        ]
        assert len(view.ui_messages()) == 2
        assert "sunny" in view.text()


# ---- real transcripts -------------------------------------------------------------------------


async def shown(chat: Context) -> dict[str, Any]:
    view = await chat.view(budget=200_000)
    return {name: alike(view.rendered(name)) for name in FORMAT_NAMES if name != "text"}


def alike(sent: Any) -> Any:
    """`sent` but for what not every format can say: how arguments are spelled, and the name of a
    tool beside its result."""
    if isinstance(sent, list):
        return [alike(item) for item in sent]
    if not isinstance(sent, dict):
        return sent
    said = {key: alike(value) for key, value in sent.items()}
    if "arguments" in said:
        said["arguments"] = json.loads(said["arguments"])
    if said.get("role") == "tool":
        said.pop("name", None)
    return said


async def messages_of(chat: Context) -> Sequence[Message]:
    return [s.event.body async for s in chat.history() if isinstance(s.event.body, Message)]


async def test_real_transcripts_say_the_same_in_every_format(place: Path) -> None:
    if not TRANSCRIPTS.is_file():
        pytest.skip(f"no transcripts at {TRANSCRIPTS}")
    lines = TRANSCRIPTS.read_bytes().decode().splitlines()
    async with open_replica(place / "s.db") as replica:
        for line in lines[::4]:
            read = read_conversation(parse_verbatim(line), file_format("openai"))
            first = replica.context(read.id)
            await first.import_messages(read.messages)
            expected = await shown(first)
            for name in FILE_FORMAT_NAMES:
                known = file_format(name)
                told = write_conversation(read.id, await messages_of(first), None, known)
                again = read_conversation(parse_verbatim(told), known)
                chat = replica.context(f"{name}/{read.id}")
                await chat.import_messages(again.messages)
                assert await shown(chat) == expected, (read.id, name)
                back = write_conversation(read.id, await messages_of(chat), again.rest, known)
                assert back == told
                chat.let_go()
            first.let_go()

"""``--at``, ``weft note`` and ``weft replay``, as a user meets them."""

from __future__ import annotations

import asyncio
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import Run, weft
from tests.stores import Clock, open_replica
from weft_engine.replica.past import When
from weft_server.cli import main
from weft_server.cli.at import joined, moment

AT = datetime(2024, 11, 20, 14, 3, 5, 250_000, tzinfo=UTC)
START_MS = int(AT.timestamp() * 1000)


async def _write(path: Path) -> None:
    async with open_replica(path, clock=Clock(START_MS)) as replica:
        chat = replica.context("acme/chat")
        await chat.append("one")
        await chat.note("plan").append("first\n")
        await chat.view(trace_id="call-1", budget=500)
    async with open_replica(path, seed=1, clock=Clock(START_MS + 86_400_000)) as replica:
        chat = replica.context("acme/chat")
        await chat.append("two")
        await chat.note("plan").append("second\n")


class Here:
    def __init__(self, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.store = store
        self._capsys = capsys

    def __call__(self, *words: str, code: int = 0) -> Run:
        self._capsys.readouterr()
        assert main([*words, "--store", str(self.store)]) == code
        shown = self._capsys.readouterr()
        return Run(code, shown.out, shown.err)

    def said(self, at: str) -> list[str]:
        lines = self("history", "acme/chat", "--json", "--at", at).lines()
        return [line["event"]["parts"][0]["text"] for line in lines]


@pytest.fixture
def here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Here:
    asyncio.run(_write(tmp_path / "s.db"))
    return Here(tmp_path / "s.db", capsys)


# ---- moments ----------------------------------------------------------------------------------

NOW_MS = START_MS + 10 * 86_400_000
DAY_MS = 86_400_000
DAY_START_MS = int(datetime(2024, 11, 20, tzinfo=UTC).timestamp()) * 1000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-11-20", DAY_START_MS + DAY_MS - 1),
        ("2024-11-20T14", DAY_START_MS + 15 * 3_600_000 - 1),
        ("2024-11-20T14:03", START_MS - 5_250 + 59_999),
        ("2024-11-20 14:03:05Z", START_MS - 250 + 999),
        ("2024-11-20T14:03:05.25", START_MS),
        ("2024-11-20T16:03:05.250+02:00", START_MS),
        ("2024-11-20T16:03:05.250+0200", START_MS),
        (str(START_MS), START_MS),
        ("-2h", NOW_MS - 7_200_000),
        ("2h", NOW_MS - 7_200_000),
        ("90s", NOW_MS - 90_000),
        ("3w", NOW_MS - 21 * DAY_MS),
        ("999999999w", NOW_MS - 999_999_999 * 7 * DAY_MS),
        ("now", NOW_MS),
        ("yesterday", DAY_START_MS + 10 * DAY_MS - 1),
        ("ab" * 32, (b"\xab" * 32,)),
        (f"{'ab' * 32},{'cd' * 32}", (b"\xab" * 32, b"\xcd" * 32)),
        # Nothing of the kind, so at most a trace id:
        ("2024-13-45", "2024-13-45"),
        ("2024", "2024"),
        ("20241120", "20241120"),
        ("-2y", "-2y"),
        ("", ""),
        ("AB" * 32, "AB" * 32),
        ("٢h", "٢h"),
    ],
)
def test_what_a_moment_may_be_called(text: str, expected: When) -> None:
    assert moment(text, now_ms=NOW_MS) == expected


def test_a_dash_is_taken_for_a_time_only_behind_at() -> None:
    assert joined(["view", "c", "--at", "-2h"]) == ["view", "c", "--at=-2h"]
    for words in (["append", "c", "-2h"], ["view", "--at", "--json"], ["view", "--at"]):
        assert joined(words) == words


def test_the_shown_time_of_a_message_includes_it(here: Here) -> None:
    shown = here("history", "acme/chat", "--limit", "1").out.splitlines()[0]
    assert shown.startswith("2024-11-20 14:03:05Z")
    assert here.said(shown[:20]) == ["one"]


def test_history_at(here: Here) -> None:
    assert here.said("2024-11-19") == here.said("9999w") == []
    assert here.said("2024-11-20") == here.said("call-1") == ["one"]
    assert here.said("2024-11-21") == ["one", "two"]
    assert "two" in here("history", "acme/chat", "--at", "-2h").out
    assert here("history", "acme/chat", "--at", "-9999w").out == ""
    events = here("history", "acme/chat", "--events", "--json", "--at", "2024-11-20").lines()
    assert len(events) == 1


def test_before_the_first_word_there_is_nothing_and_it_is_said(here: Here) -> None:
    shown = here("history", "acme/chat", "--at", "2024-11-19")
    assert shown.out == ""
    assert shown.err == "acme/chat has no messages at 2024-11-19\n"
    assert here("history", "acme/chat", "--at", "2024-11-19", "--json").err == ""


def test_view_at_a_time_a_cut_and_a_trace(here: Here) -> None:
    now = here("view", "acme/chat", "--json").json()
    assert [message["content"] for message in now["messages"]] == ["one", "two"]
    then = here("view", "acme/chat", "--json", "--at", "2024-11-20").json()
    assert [message["content"] for message in then["messages"]] == ["one"]
    cut = ",".join(then["receipt"]["cut"])
    again = here("view", "acme/chat", "--json", "--at", cut).json()
    assert again["fingerprint"] == then["fingerprint"]
    sent = here("view", "acme/chat", "--json", "--at", "call-1").json()
    assert sent["receipt"]["trace_id"] == "call-1"
    assert sent["receipt"]["spec"]["budget"] == 500
    asked = here("view", "acme/chat", "--json", "--at", "call-1", "--budget", "600").json()
    assert asked["receipt"]["spec"]["budget"] == 600
    assert "acme/chat: 1 message" in here("view", "acme/chat", "--at", "2024-11-20").out


def test_note(here: Here) -> None:
    assert here("note", "acme/chat", "plan").out == "first\nsecond\n"
    assert here("note", "acme/chat", "plan", "--at", "2024-11-20").out == "first\n"
    told = here("note", "acme/chat", "plan", "--at", "2024-11-20", "--json").json()
    assert told == {"note": "plan", "text": "first\n"}
    empty = here("note", "acme/chat", "other")
    assert empty.out == ""
    assert "the note is empty" in empty.err
    assert "no context 'none'" in here("note", "none", "plan", code=1).err
    assert "slash" in here("note", "acme/chat", "a/b", code=1).err


def test_no_moment(here: Here) -> None:
    for command in (["history", "acme/chat"], ["view", "acme/chat"], ["note", "acme/chat", "p"]):
        told = here(*command, "--at", "yesterdya", code=1).err
        assert "--at 'yesterdya' is no time, no cut and no trace id of this store" in told
        assert "hint: give a time such as" in told
        told = here(*command, "--at", "ab" * 32, code=1).err
        assert "1 of the 1 records of a cut of context 'acme/chat' are not held here" in told
        assert "hint: sync with a replica that has them" in told


# ---- replay -----------------------------------------------------------------------------------


def test_a_view_can_be_piped_into_replay(here: Here) -> None:
    view = weft("view", "acme/chat", "--store", here.store, "--json")
    asyncio.run(_more(here.store))
    replayed = weft("replay", "-", "--store", here.store, "--json", stdin=view.out.encode())
    assert replayed.code == 0
    assert replayed.json() == {**view.json(), "identical": True}
    shown = weft("replay", "-", "--store", here.store, stdin=view.out.encode())
    assert "two" in shown.out
    assert "byte-identical to the view of receipt" in shown.out


async def _more(path: Path) -> None:
    async with open_replica(path, seed=2, clock=Clock(START_MS)) as replica:
        await replica.context("acme/chat").append("three")


def test_replay_a_trace_id_and_a_file(here: Here, tmp_path: Path) -> None:
    by_trace = here("replay", "call-1", "--json").json()
    assert by_trace["messages"] == [{"role": "user", "content": "one"}]
    file = tmp_path / "receipt.json"
    file.write_text(json.dumps(by_trace["receipt"]))
    assert here("replay", str(file), "--json").json() == by_trace
    told = here("replay", "nobody", code=1).err
    assert "there is no file 'nobody', and this store has no receipt with that trace id" in told


def altered(receipt: dict[str, Any], change: str) -> dict[str, Any]:
    match change:
        case "records that are not here":
            return {**receipt, "cut": ["00" * 32, *receipt["cut"]]}
        case "another context":
            return {**receipt, "context": "acme/none"}
        case "another renderer":
            return {**receipt, "spec": {**receipt["spec"], "renderer": 99}}
        case "another fingerprint":
            return {**receipt, "fingerprint": "00" * 32}
    return {**receipt, "cut": "all of it"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("records that are not here", "1 of the 2 records of a cut"),
        ("another context", "no context 'acme/none'"),
        ("another renderer", "renderer 99"),
        ("another fingerprint", "comes out as"),
        ("no cut", "$.cut: an array was expected"),
    ],
)
def test_what_can_not_be_replayed(here: Here, tmp_path: Path, change: str, told: str) -> None:
    receipt = here("replay", "call-1", "--json").json()["receipt"]
    file = tmp_path / "receipt.json"
    file.write_text(json.dumps(altered(receipt, change)))
    run = here("replay", str(file), code=1)
    assert told in run.err
    assert run.err.count("\nhint: ") == (0 if change == "no cut" else 1)
    assert run.out == ""


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "7", "{}", '{"receipt": null}'])
def test_no_receipt(here: Here, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert here("replay", "-", code=1).err.startswith("weft: ")

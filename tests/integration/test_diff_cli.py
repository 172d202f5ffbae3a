"""``weft diff``, as a developer meets it who asks why an agent forgot something."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import Run
from tests.stores import open_replica
from weft_engine.names import EventId
from weft_server.cli import main

LONG = "word " * 20


async def _write(path: Path) -> dict[str, Any]:
    """Views of one conversation: `one` and, after another message, `two` and a smaller `three`."""
    async with open_replica(path) as replica:
        chat = replica.context("acme/chat")
        await chat.append({"role": "system", "content": "Be brief."})
        ids = []
        for turn in range(20):
            ids += await chat.append(f"My secret is {turn}. {LONG}")
            ids += await chat.append({"role": "assistant", "content": f"Noted {turn}. {LONG}"})
        one = await chat.view(budget=1_100, trace_id="one")
        ids += await chat.append("What was \x1b[31mmy secret?")
        await chat.view(budget=1_100, trace_id="two")
        await chat.view(budget=700, trace_id="small")
        three = await chat.view(budget=250, trace_id="three")
        await replica.context("acme/other").append("Hi")
        await replica.context("acme/other").view(budget=400, trace_id="other")
        return {
            "ids": ids,
            "one": one,
            "three": three,
            "dropped": [id_ for id_ in one.ids if id_ not in three.ids],
        }


class Here:
    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.store = folder / "s.db"
        self.known = asyncio.run(_write(self.store))
        self._capsys = capsys

    def __call__(self, *words: str, code: int = 0) -> Run:
        self._capsys.readouterr()
        assert main(["diff", *words, "--store", str(self.store)]) == code
        shown = self._capsys.readouterr()
        return Run(code, shown.out, shown.err)


@pytest.fixture
def here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(tmp_path, capsys)


def test_what_was_dropped_and_what_came_is_seen_at_a_glance(here: Here) -> None:
    out = here("one", "three").out
    dropped = here.known["dropped"]
    assert len(dropped) > 10
    assert f"DROPPED {len(dropped):,} messages" in out
    assert "older than the window, which begins at" in out
    assert "budget: 1,100 in A, 250 in B" in out
    assert "ADDED 1 message" in out
    assert "not said yet" in out
    assert "the history of B has 1 more" in out
    assert "\x1b" not in out
    lines = [line for line in out.splitlines() if line.startswith("  - ")]
    assert len(lines) == 10
    assert dropped[-1] in lines[-1]
    assert f"... {len(dropped) - 10} older ones" in out
    assert all("…" in line for line in lines)
    full = here("one", "three", "--full").out
    for id_ in dropped:
        assert id_ in full
    assert "…" not in full


def test_the_same_view_twice(here: Here) -> None:
    out = here("one", "one").out
    assert f"{len(here.known['one'].ids)} messages are the same in both: the views show" in out
    assert "DROPPED" not in out


def test_json_tells_the_same(here: Here) -> None:
    told = here("one", "three", "--json").json()
    assert told["context"] == "acme/chat"
    assert [change["field"] for change in told["spec"]] == ["budget", "reserved"]
    assert told["a"]["trace_id"] == "one"
    assert told["a"]["total"] == 41
    assert told["b"]["total"] == 42
    by_id = {one["id"]: one for one in told["messages"]}
    assert {id_ for id_, one in by_id.items() if one["change"] == "dropped"} == {
        *here.known["dropped"]
    }
    one = by_id[here.known["dropped"][0]]
    assert one["a"]["shown"]
    assert one["a"]["area"] == "window"
    assert one["b"]["reason"] == "before_window"
    assert one["b"]["by"] == told["b"]["window_start"]
    assert told["b"]["window_start"] in here.known["three"].ids
    assert by_id[here.known["ids"][-1]]["a"]["reason"] == "not_yet"
    assert told["same"] == len({*here.known["one"].ids} & {*here.known["three"].ids})


def test_one_message(here: Here) -> None:
    lost = here.known["dropped"][0]
    out = here("one", "three", "--event", lost).out
    assert "in A: shown in the window" in out
    assert "in B: not shown: older than the window" in out
    never = here.known["ids"][0]
    told = here("one", "three", "--event", never, "--json").json()["messages"]
    assert [(one["id"], one["change"]) for one in told] == [(never, "absent")]


def test_receipts_come_from_files_and_stdin(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "one.json"
    file.write_text(json.dumps({"receipt": here.known["one"].receipt.to_json()}))
    text = json.dumps(here.known["three"].receipt.to_json())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert here(str(file), "-").out == here("one", "three").out


def test_what_can_not_be_compared(here: Here) -> None:
    assert "one receipt is of context" in here("one", "other", code=1).err
    assert "no receipt with that trace id" in here("one", "nope", code=1).err
    assert "only one receipt" in here("-", "-", code=1).err
    assert "no event id" in here("one", "two", "--event", "x", code=1).err
    unknown = f"{5:016x}-{'ab' * 16}"
    assert "is no message of" in here("one", "two", "--event", unknown, code=1).err


def test_what_was_erased_is_said_to_be(here: Here) -> None:
    never, shown = here.known["ids"][0], here.known["ids"][-1]

    async def erase(event: EventId) -> None:
        async with open_replica(here.store, seed=1) as replica:
            await replica.context("acme/chat").erase(event=event, reason="asked to")

    asyncio.run(erase(never))
    out = here("small", "three", "--event", never).out
    assert out.count("not shown: it was erased") == 2
    asyncio.run(erase(shown))
    assert "erased" in here("one", "three", code=1).err


def test_facts_make_views_different_that_show_the_same_messages(here: Here) -> None:
    async def write() -> None:
        async with open_replica(here.store) as replica:
            chat = replica.context("facts")
            await chat.append("Hi")
            for trace, city in (("none", None), ("lima", "Lima"), ("rome", "Rome")):
                if city is not None:
                    await chat.fact("city", city)
                    await chat.append(f"I am in {city}")
                await chat.view(trace_id=trace)
            await chat.fact("sky", "grey")
            await chat.view(trace_id="grey")

    asyncio.run(write())
    out = here("none", "lima").out
    assert "facts: 0 tokens in A, 13 in B" in out
    out = here("rome", "grey").out
    assert "show the same" not in out
    assert "facts: 25 tokens in A, 37 in B" in out
    assert json.loads(here("none", "lima", "--json").out)["beside"] == {"a": {}, "b": {"facts": 13}}

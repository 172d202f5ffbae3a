"""`examples/browser/weft-events.js`: what it writes, a store reads; what is none, it refuses."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import weft
from tests.npm import NotInstalled, installed
from tests.running_relay import RunningRelay, running_relay
from tests.yjs_clients.browser import FAMILIES, HELPER, Family, Tab, browser
from weft_engine.events.codec import encode_event
from weft_engine.events.part import Result

CLIENTS = Path(__file__).parents[1] / "yjs_clients"
ONE = "0123456789abcdef-0123456789abcdef0123456789abcdef"
TEXTS = ("hi", "", 'Zürich 👍 \u2028 \\ " \x00 \x7f \ufffd 𝒳', "line\nline\ttab", "x" * 100_000)
GOOD: tuple[dict[str, Any], ...] = (
    *({"role": "user", "parts": text} for text in TEXTS),
    {"role": "system", "parts": [{"type": "text", "text": "be brief"}], "author": "Ada 👍"},
    {
        "role": "assistant",
        "name": "bot",
        "parts": [
            {"type": "text", "text": "I look."},
            {"type": "call", "id": "c1", "name": "find", "args": '{"q": "seat 14C"'},
            {"type": "refusal", "text": "no"},
        ],
    },
    {
        "role": "tool",
        "parts": [
            {"type": "result", "id": "c1", "out": "none", "call": [ONE, 1], "error": True},
            {"type": "result", "id": "c1", "out": "", "error": False, "name": "find"},
        ],
    },
    {
        "role": "user",
        "parts": [
            {"type": "file", "mediaType": "image/png", "url": "https://a/b.png", "name": "b"},
            {"type": "data", "name": "place", "json": '{"lat": 1.5}'},
        ],
    },
)
BAD: tuple[tuple[Any, str], ...] = (
    (None, "a message is an object"),
    ({"role": "robot", "parts": "x"}, "role is one of"),
    ({"role": "user"}, "parts is a text, or an array"),
    ({"role": "user", "parts": []}, "parts is a text, or an array"),
    ({"role": "user", "parts": ["x"]}, "parts[0].type is one of"),
    ({"role": "user", "parts": [{"type": "constructor"}]}, "parts[0].type is one of"),
    ({"role": "user", "parts": [{"type": "text"}]}, "parts[0].text is a text"),
    ({"role": "user", "parts": [{"type": "text", "text": "a", "b": 1}]}, 'no field "b"'),
    ({"role": "user", "parts": "x", "content": "y"}, 'no field "content"'),
    ({"role": "user", "parts": "\ud83d"}, "half of a character"),
    ({"role": "user", "parts": "x", "author": 7}, "author is a text"),
    ({"role": "tool", "parts": [{"type": "result", "id": "a", "out": {}}]}, "parts[0].out is"),
    (
        {"role": "tool", "parts": [{"type": "result", "id": "a", "out": "", "call": ["x", 0]}]},
        "parts[0].call is [event id",
    ),
    (
        {"role": "assistant", "parts": [{"type": "call", "id": "a", "name": "b", "args": {}}]},
        "parts[0].args is a text",
    ),
    ({"role": "user", "parts": "x" * (8 * 1024 * 1024)}, "bytes, 8388608 are the most"),
    ({"role": "user", "parts": [{"type": "text", "text": ""}] * 1025}, "1024 parts at most"),
)


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRelay]:
    with running_relay(tmp_path_factory.mktemp("relay")) as found:
        yield found


@pytest_asyncio.fixture(params=FAMILIES)
async def tab(request: pytest.FixtureRequest, relay: RunningRelay) -> AsyncIterator[Tab]:
    family: Family = request.param
    async with browser(family) as node:
        found = await node.open(relay.url, f"chat/{family}/{request.node.originalname}")
        await found.synced()
        yield found


async def said_in(chat: weft.Context, count: int) -> list[weft.Said]:
    """What a store reads, when there is so much of it."""
    async with asyncio.timeout(30):
        changes = chat.watch()
        coming = asyncio.ensure_future(anext(changes))
        while len(said := [one async for one in chat.history()]) < count:
            await coming
            coming = asyncio.ensure_future(anext(changes))
        coming.cancel()
    return said


async def test_what_a_page_appends_is_read_as_events(
    relay: RunningRelay, tmp_path: Path, tab: Tab, request: pytest.FixtureRequest
) -> None:
    name = f"chat/{request.node.callspec.params['tab']}/{request.node.originalname}"
    ids = [await tab.do("append", message=message) for message in GOOD]
    assert ids == sorted(ids)
    async with weft.open(tmp_path / "store.db") as store:
        link = store.connect(relay.url, contexts=[name])
        chat = store.context(name)
        said = await said_in(chat, len(GOOD))
        assert [one.id for one in said] == ids
        assert await chat.problems() == []
        # What the page holds is what a store would have written, byte for byte.
        for id_, one in zip(ids, said, strict=True):
            held = (await tab.look(key=id_))["key"]
            assert held.encode() == encode_event(one.event)
        (mine,) = await chat.append("from Python")
        await link.synced(timeout=30)
        await tab.until(
            event=mine, key=encode_event((await said_in(chat, len(GOOD) + 1))[-1].event).decode()
        )
        told = await tab.do("history")
        assert [one["id"] for one in told] == [*ids, mine]
        assert told[0]["parts"] == [{"type": "text", "text": "hi"}]
        assert told[len(TEXTS)]["author"] == "Ada 👍"
        await chat.note("plan 👍").append("together")
        await link.synced(timeout=30)
        await tab.until(note="plan 👍", text="together")
        assert await tab.do("note", note="plan 👍") == "together"
        for format_ in ("openai", "anthropic"):
            await chat.view(budget=100_000, format=format_)
    done = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "weft_server", "history", name, "--json", "--events"),
        *("--store", str(tmp_path / "store.db")),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await done.communicate()
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) == len(GOOD) + 1
    assert not [line for line in lines if "problem" in line]


async def test_results_find_their_calls_as_in_a_store(
    relay: RunningRelay, tmp_path: Path, tab: Tab, request: pytest.FixtureRequest
) -> None:
    """Providers use ids again: the last call that nothing has answered yet is meant."""
    name = f"chat/{request.node.callspec.params['tab']}/{request.node.originalname}"

    async def call(*ids: str) -> str:
        parts = [{"type": "call", "id": id_, "name": "find", "args": "{}"} for id_ in ids]
        told = await tab.do("append", message={"role": "assistant", "parts": parts})
        assert isinstance(told, str)
        return told

    async def answer(*ids: str) -> None:
        parts = [{"type": "result", "id": id_, "out": "42"} for id_ in ids]
        await tab.do("append", message={"role": "tool", "parts": parts})

    first = await call("a", "b", "a")
    await answer("b", "a", "a", "a")
    second = await call("a")
    await answer("a", "nobody's")
    async with weft.open(tmp_path / "store.db") as store:
        store.connect(relay.url, contexts=[name])
        chat = store.context(name)
        said = await said_in(chat, 4)
        answered = [
            part.call and (part.call.event, part.call.part)
            for one in said
            for part in (one.event.body.parts if isinstance(one.event.body, weft.Message) else ())
            if isinstance(part, Result)
        ]
        assert answered == [(first, 1), (first, 0), (first, 2), None, (second, 0), None]
        view = await chat.view(budget=10_000)
        assert "interrupted" not in view.text()


async def test_what_no_store_would_read_is_refused_in_one_sentence(tab: Tab) -> None:
    for message, problem in BAD:
        with pytest.raises(AssertionError) as raised:
            await tab.do("append", message=message)
        assert problem in str(raised.value)
        assert "\n" not in str(raised.value)
    for name in ("", "a/b", "x\n", "ä" * 65):
        with pytest.raises(AssertionError, match="a note name"):
            await tab.do("note", note=name)
    assert (await tab.look())["keys"] == []


async def test_what_is_no_message_is_left_out_of_the_history(tab: Tab) -> None:
    id_ = await tab.do("append", message={"role": "user", "parts": "hi", "author": "Ada"})
    good: dict[str, Any] = json.loads((await tab.look(key=id_))["key"])
    wrongs: list[dict[str, Any]] = [
        {"parts": [None]},
        {"parts": [*good["parts"], {"text": "no type"}]},
        {"parts": "hi"},
        {"role": "king"},
        {"author": None},
        {"kind": "fact"},
    ]
    for number, wrong in enumerate(wrongs):
        key = id_[:-2] + f"{number:02x}"
        await tab.set(key, json.dumps({**good, **wrong}))
    await tab.set("no id", json.dumps(good))
    await tab.set(id_[:-2] + "ff", "no JSON")
    assert [one["id"] for one in await tab.do("history")] == [id_]


@pytest.mark.deep
async def test_the_page_shows_what_a_store_says_and_says_what_a_store_reads(
    relay: RunningRelay, tmp_path: Path
) -> None:
    name = "page/50% of what? #1"
    packages = {
        "yjs": "13.6.33",
        "y-websocket": "3.1.0",
        "esbuild": "0.28.2",
        "jsdom": "26.1.0",
    }
    try:
        folder = await asyncio.to_thread(installed, "browser-page", packages)
    except NotInstalled as error:
        pytest.skip(f"a browser without a screen can't be had: {error}")
    page = await asyncio.create_subprocess_exec(
        *("node", "--input-type=module", "--eval", (CLIENTS / "page.mjs").read_text()),
        *("--", str(HELPER.parent), relay.url, name),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
    )
    assert page.stdout is not None
    try:
        async with weft.open(tmp_path / "store.db") as store, asyncio.timeout(60):
            store.connect(relay.url, contexts=[name])
            chat = store.context(name)
            (said,) = await said_in(chat, 1)
            assert said.event.author == "Ada"
            await chat.append("Hello from a store")
            await chat.note("plan").append(" by both")
            async for line in page.stdout:
                shown = json.loads(line)
                if shown["said"][1:] and shown["plan"] == "noted 🙃 by both":
                    break
            assert shown["status"] == "connected"
            assert shown["said"] == ["Hi from a page 👍", "Hello from a store"]
            assert shown["here"] == "here: Ada"
            assert shown["cursor"] == len("noted")
    finally:
        if page.returncode is None:
            page.kill()
        await page.wait()

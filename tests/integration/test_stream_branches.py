"""Streams beside what else a context has: its branches, its end, what search finds in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.stores import folder, give, open_replica
from tests.streaming import abandon
from weft_engine.errors import ContextClosed, NotFound
from weft_engine.events.event import Message
from weft_engine.events.part import Text
from weft_engine.events.streams import text_of
from weft_engine.names import EventId
from weft_engine.replica.context import Context
from weft_engine.replica.replica import Replica
from weft_engine.replica.stream import Stream
from weft_engine.storage.verify import verify

NAME = "acme/chat"


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as found:
        yield found


def at(place: Path, name: str, seed: int = 0) -> Replica:
    (place / name).mkdir(exist_ok=True)
    return open_replica(place / name / f"{name}.db", seed=seed)


def sound(path: Path) -> None:
    assert verify(path, progress=lambda *_: None).findings == ()


async def shown(chat: Context) -> list[str]:
    found = []
    async for said in chat.history():
        assert isinstance(said.event.body, Message)
        found.append(text_of(said.event.body.parts))
    return found


async def say(stream: Stream, *texts: str) -> EventId:
    async with stream as s:
        for text in texts:
            await s.write(text)
    return s.id


async def break_off(stream: Stream, text: str, *, last: Context | None = None) -> None:
    """Stream it and fail; `last`: a context that is closed before."""
    async with stream as s:
        await s.write(text)
        await s.flush()
        if last is not None:
            await last.close()
        raise ZeroDivisionError


async def broken(stream: Stream, text: str) -> EventId:
    with pytest.raises(ZeroDivisionError):
        await break_off(stream, text)
    return stream.id


# ---- branches -------------------------------------------------------------------------------


async def test_a_stream_is_of_the_branch_that_it_was_opened_on(place: Path) -> None:
    async with at(place, "a") as a, at(place, "b") as b:
        chat = a.context(NAME)
        await chat.append(["one", "two"])
        again = await chat.branch("again")
        view = await again.view(budget=4000)
        async with again.stream(view=view) as s:
            await s.write("on the ")
            await s.flush()
            await give(a, b)
            (seen,) = await b.context(NAME).streams()
            assert (seen.id, seen.branch, seen.text) == (s.id, again.branch_id, "on the ")
            await s.write("branch")
        await chat.append("main goes on")
        await give(a, b)
        for replica in (a, b):
            assert await shown(replica.context(NAME)) == ["one", "two", "main goes on"]
            there = replica.context(NAME).on(again.branch_id)
            assert await shown(there) == ["one", "two", "on the branch"]
            assert (await there.view(budget=4000)).openai()[-1]["content"] == "on the branch"
    sound(a.path)
    sound(b.path)


async def test_what_broke_off_stands_on_its_branch_and_is_shared_by_those_of_it(
    place: Path,
) -> None:
    async with at(place, "a") as a, at(place, "b") as b:
        chat = a.context(NAME)
        await chat.append("one")
        again = await chat.branch("again")
        half = await broken(again.stream(), "half of")
        await again.append("after it")
        third = await again.branch("third", at=half)
        await third.append("other")
        await give(a, b)
        for replica in (a, b):
            main = replica.context(NAME)
            assert await shown(main) == ["one"]
            assert await shown(main.on(again.branch_id)) == ["one", "half of", "after it"]
            assert await shown(main.on(third.branch_id)) == ["one", "half of", "other"]
            last = [said async for said in main.on(third.branch_id).history()]
            assert [said.is_interrupted for said in last] == [False, True, False]
            assert last[1].id == half
    sound(a.path)
    sound(b.path)


async def test_a_crash_leaves_what_there_was_on_its_branch(place: Path) -> None:
    async with at(place, "a") as a:
        chat = a.context(NAME)
        await chat.append("one")
        again = await chat.branch("again")
        await abandon(again, "until ", "the end")
        branch = again.branch_id
    async with at(place, "a", 1) as a:
        chat = a.context(NAME)
        assert await shown(chat) == ["one"]
        assert await shown(chat.on(branch)) == ["one", "until the end"]
    sound(a.path)


async def test_streamed_answers_of_a_branch_are_waists(place: Path) -> None:
    async with at(place, "a") as a:
        chat = a.context(NAME)
        await chat.append("Hi")
        again = await chat.branch("again")
        for number in range(20):
            await chat.append(f"{number} on main")
            await again.append(f"{number}")
            async with again.stream(view=await again.view(budget=4000)) as s:
                await s.write("an answer ")
                await s.flush()
                await chat.append("meanwhile on main")
        assert len(await shown(again)) == 41
    with closing(sqlite3.connect(a.path)) as store:
        ((waists,),) = store.execute("SELECT sum(waist) FROM events WHERE branch > x''").fetchall()
        assert waists == 20
    sound(a.path)


async def test_no_stream_opens_on_a_branch_that_is_not_there(place: Path) -> None:
    async with at(place, "a") as a:
        chat = a.context(NAME)
        (message,) = await chat.append("one")
        with pytest.raises(NotFound):
            await say(chat.on(message).stream(), "nowhere")
        assert len(await a.context(NAME).streams()) == 0


# ---- closed contexts ------------------------------------------------------------------------


async def test_a_closed_context_opens_no_stream_but_lets_one_end(place: Path) -> None:
    async with at(place, "a") as a:
        chat = a.context(NAME)
        await chat.append("one")
        async with chat.stream() as s:
            await s.write("before ")
            await chat.close("done")
            await s.write("and after")
            with pytest.raises(ContextClosed):
                await say(chat.stream(), "refused")
        assert await shown(chat) == ["one", "before and after"]
        await chat.reopen()
        await say(chat.stream(), "again")
        assert await shown(chat) == ["one", "before and after", "again"]


async def test_a_stream_of_a_closed_context_breaks_off(place: Path) -> None:
    async with at(place, "a") as a:
        chat = a.context(NAME)
        with pytest.raises(ZeroDivisionError):
            await break_off(chat.stream(), "as far as this", last=chat)
        assert await shown(chat) == ["as far as this"]


# ---- search ---------------------------------------------------------------------------------


async def hits(chat: Context, query: str) -> list[tuple[str, EventId | None, str]]:
    return [(hit.kind, hit.id, hit.snippet) for hit in await chat.search(query)]


async def test_what_broke_off_is_found_as_the_message_it_stands_for(place: Path) -> None:
    async with at(place, "a") as a:
        chat = a.context(NAME)
        await chat.append("one")
        async with chat.stream() as s:
            await s.write("a needle that grows")
            await s.flush()
            assert await hits(chat, "needle") == []
        assert await hits(chat, "needle") == [("message", s.id, "a needle that grows")]
        again = await chat.branch("again")
        half = await broken(again.stream(author="bot"), "a thimble, broken")
        assert await hits(chat, "thimble") == [("message", half, "a thimble, broken")]
        (hit,) = await chat.search("thimble", kind="message", role="assistant", author="bot")
        assert hit.branch == again.branch_id
        assert await chat.search("thimble", role="user") == []
    async with open_replica(a.path, readonly=True) as reader:
        (found,) = await hits(reader.context(NAME), "thimble")
        assert found[1] == half
    sound(a.path)


async def test_what_another_told_is_not_found_once_the_message_is_there(place: Path) -> None:
    async with at(place, "a") as a, at(place, "b") as b:
        chat, there = a.context(NAME), b.context(NAME)
        async with chat.stream() as s:
            await s.write("a needle")
            await s.flush()
            await give(a, b)
            await there.interrupt(s.id)
            assert await hits(there, "needle") == [("message", s.id, "a needle")]
            s.finish(Message(s._writer.plan.role, (Text("a needle and thread"),)))
        await give(a, b)
        assert await hits(there, "needle") == [("message", s.id, "a needle and thread")]

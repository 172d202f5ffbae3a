"""A note that follows many records: others get their turn meanwhile, and nobody sees half of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.stores import give, open_replica
from weft_engine.replica import pace
from weft_engine.replica.context import Context

LETTERS = 200


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each record takes a turn."""
    monkeypatch.setattr(pace, "DOCUMENT_TURN_S", -1.0)


@asynccontextmanager
async def behind(folder: Path) -> AsyncIterator[tuple[Context, str]]:
    """A context whose note is open and has much to follow; what it says then."""
    async with (
        open_replica(folder / "a.db", seed=1) as writer,
        open_replica(folder / "b.db", seed=2) as reader,
    ):
        written, read = writer.context("c"), reader.context("c")
        await written.note("n").append("first ")
        await give(writer, reader)
        assert await read.note("n").text() == "first "
        for number in range(LETTERS):
            await written.note("n").append(str(number % 10))
        await give(writer, reader)
        yield read, await written.note("n").text()


async def turns_until(task: asyncio.Task[str]) -> int:
    count = 0
    while not task.done():
        await asyncio.sleep(0)
        count += 1
    return count


async def test_others_get_their_turn(tmp_path: Path) -> None:
    async with behind(tmp_path) as (chat, whole):
        reading = asyncio.create_task(chat.note("n").text())
        assert await turns_until(reading) > LETTERS
        assert await reading == whole


async def test_who_reads_and_writes_meanwhile_has_all_of_it(tmp_path: Path) -> None:
    async with behind(tmp_path) as (chat, whole):
        first = asyncio.create_task(chat.note("n").text())
        edit = asyncio.create_task(chat.note("n").append("!"))
        second = asyncio.create_task(chat.note("n").text())
        assert await first == whole
        await edit
        assert await second == whole + "!"


async def test_a_read_that_is_given_up_halfway_leaves_no_half_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with behind(tmp_path) as (chat, whole):
        reading = asyncio.create_task(chat.note("n").text())
        turns = itertools.count(1)
        turn = pace.Pace.turn

        async def last_turn(one: pace.Pace) -> None:
            if next(turns) == LETTERS // 2:
                reading.cancel()
            await turn(one)

        with monkeypatch.context() as patched:
            patched.setattr(pace.Pace, "turn", last_turn)
            await asyncio.wait([reading])
        assert reading.cancelled()
        assert next(turns) == LETTERS // 2 + 1
        assert await chat.note("n").text() == whole
        await chat.note("n").append("!")
        assert await chat.note("n").text() == whole + "!"


async def test_the_past_is_put_together_in_turns_too(tmp_path: Path) -> None:
    async with behind(tmp_path) as (chat, whole):
        reading = asyncio.create_task(chat.at(await chat.frontier()).note("n").text())
        assert await turns_until(reading) > LETTERS
        assert await reading == whole

"""Hints where windows begin: they save work, change no view, and go when the index moves."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.stores import Clock, folder, give, open_replica
from weft_engine.storage.windows import Hint, Windows

NAME = "acme/long"
BUDGET = 1_200


def hints(path: Path) -> list[tuple[int, int | None]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT place, opening FROM windows ORDER BY place").fetchall()


async def fill(path: Path, clock: Clock, *, first: int = 0, count: int = 700) -> None:
    async with open_replica(path, clock=clock, seed=first) as replica:
        chat = replica.context(NAME)
        for number in range(first, first + count):
            role = "user" if number % 3 == 0 else "assistant"
            await chat.append({"role": role, "content": f"{number} " + "word " * (number % 40)})


async def seen(path: Path, seed: int) -> str:
    async with open_replica(path, seed=seed) as replica:
        return (await replica.context(NAME).view(budget=BUDGET)).fingerprint


def test_a_hint_is_kept_and_changes_nothing() -> None:
    async def story() -> None:
        with folder() as place:
            path = place / "a.db"
            clock = Clock()
            await fill(path, clock)
            first = await seen(path, 1)
            assert len(hints(path)) == 1
            assert await seen(path, 2) == first
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("DELETE FROM windows")
                connection.commit()
            assert await seen(path, 3) == first
            assert len(hints(path)) == 1
            # What is appended moves nothing.
            await fill(path, clock, first=700, count=20)
            assert len(hints(path)) == 1
            # Nor does a branch, whose places have nothing to do with those of main.
            async with open_replica(path, clock=clock, seed=9) as replica:
                chat = replica.context(NAME)
                (early, *_) = [said.id for said in await chat.page(limit=3)]
                branch = await chat.branch("try", at=early)
                for _ in range(20):
                    await branch.append("word " * 20)
                await branch.view(budget=BUDGET)
            assert len(hints(path)) == 1

    asyncio.run(story())


def test_what_comes_late_takes_the_hints_behind_it_away() -> None:
    async def story() -> None:
        with folder() as place:
            clock = Clock()
            one, two = place / "a.db", place / "b.db"
            async with (
                open_replica(one, clock=clock) as ann,
                open_replica(two, clock=clock) as bob,
            ):
                for number in range(600):
                    said = {"role": "user", "content": f"{number} " + "word " * (number % 40)}
                    await ann.context(NAME).append(said)
                    if number == 100:
                        await bob.context(NAME).append("written on a plane " * 20)
                await ann.context(NAME).view(budget=BUDGET)
                await ann.hints.flush()
                assert len(hints(one)) == 1
                await give(bob, ann)
                after = await ann.context(NAME).view(budget=BUDGET)
                assert await ann.context(NAME).at(after.cut).view(budget=BUDGET) == after
                assert hints(one) == [], "it stood behind what came"
            await seen(one, 5)

    asyncio.run(story())


def test_a_hint_of_an_index_that_has_moved_since_is_not_written() -> None:
    async def story() -> None:
        with folder() as place:
            path = place / "a.db"
            await fill(path, Clock(), count=3)
            with closing(sqlite3.connect(path)) as connection:
                windows = Windows(connection, 1)
                hint = Hint("9/None/", 4, None, windows.moves())
                windows.clear()
                windows.keep(hint)
                assert windows.find("9/None/", upto=9) is None
                windows.keep(Hint("9/None/", 4, None, windows.moves()))
                assert windows.find("9/None/", upto=9) is not None
                assert windows.find("9/None/", upto=3) is None
                assert windows.find("8/None/", upto=9) is None

    asyncio.run(story())

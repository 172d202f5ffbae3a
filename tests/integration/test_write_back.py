"""The log is written back into the store beside the commits, and harms none of them."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

from tests.stores import folder, open_replica
from weft_engine.names import ContextName
from weft_engine.replica.replica import Replica
from weft_engine.storage import write_back

CONTEXT = ContextName("acme/chat")


def in_the_file(path: Path) -> int:
    """How many records the store itself holds, without its log."""
    copy = path.with_name("copy.db")
    shutil.copyfile(path, copy)
    with closing(sqlite3.connect(f"{copy.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM records").fetchone()
    return int(count)


async def append_until(replica: Replica, is_enough: Callable[[], bool]) -> int:
    """Append, one commit each, until it is enough; how many. The log stays far shorter than what
    SQLite would wait for: the test fails if it has to."""
    context = replica.context(CONTEXT)
    for count in range(1, 100):
        await context.append(f"said {count}")
        await asyncio.sleep(write_back._PAUSE_S / 8)
        if is_enough():
            return count
    raise AssertionError("nothing was written back")


def run(story: Callable[[Path, Replica], Awaitable[None]]) -> None:
    async def go() -> None:
        with folder() as place:
            path = place / "s.db"
            replica = open_replica(path)
            try:
                await story(path, replica)
            finally:
                await replica.close()
            assert not path.with_name("s.db-wal").exists(), "the last to close folds the log in"

    asyncio.run(go())


def test_what_is_committed_reaches_the_store_beside_the_commits() -> None:
    async def story(path: Path, replica: Replica) -> None:
        assert await append_until(replica, lambda: in_the_file(path) > 0) >= write_back._COMMITS

    run(story)


def test_a_few_commits_are_left_to_the_close() -> None:
    async def story(path: Path, replica: Replica) -> None:
        for number in range(write_back._COMMITS // 2):
            await replica.context(CONTEXT).append(f"said {number}")
        await asyncio.sleep(2 * write_back._PAUSE_S)
        assert in_the_file(path) == 0

    run(story)


def test_large_commits_are_written_back_before_there_are_many() -> None:
    async def story(path: Path, replica: Replica) -> None:
        text = "a long answer " * 4_000
        count = 1 + write_back._BYTES // len(text)
        await asyncio.gather(*[replica.context(CONTEXT).append(text) for _ in range(count)])
        for _ in range(3_000):
            if in_the_file(path):
                return
            await asyncio.sleep(0.01)
        raise AssertionError("nothing was written back")

    run(story)


def test_commits_go_on_where_it_fails() -> None:
    """Its connection can't be opened: the store is elsewhere for a while. The other two connections
    are open by then."""

    async def story(path: Path, replica: Replica) -> None:
        context = replica.context(CONTEXT)
        await context.append("first")
        assert [said.event.body async for said in context.history()]
        aside = path.with_name("aside.db")
        await asyncio.to_thread(path.rename, aside)
        for number in range(3 * write_back._COMMITS):
            await context.append(f"said {number}")
            await asyncio.sleep(write_back._PAUSE_S / 8)
        assert not in_the_file(aside)
        await asyncio.to_thread(aside.rename, path)
        await append_until(replica, lambda: in_the_file(path) > 0)
        assert len([said async for said in context.history()]) > 3 * write_back._COMMITS

    run(story)

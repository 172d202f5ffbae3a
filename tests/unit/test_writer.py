"""What the writer gathers for a commit, by a clock of the test's own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVarTuple

from weft_engine.limits import COMMIT_GATHER_BYTES, COMMIT_GATHER_S, QUEUED_BYTES_MAX
from weft_engine.storage.write_back import WriteBack
from weft_engine.storage.writer import Writer

Ts = TypeVarTuple("Ts")


class OneByOne:
    """A lane that works in the loop's next turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def run(self, work: Callable[[], None], /) -> None:
        self._loop.call_soon(work)

    def answer(self, deliver: Callable[[*Ts], None], /, *arguments: *Ts) -> None:
        self._loop.call_soon(deliver, *arguments)

    async def end(self) -> None:
        for _ in range(4):
            await asyncio.sleep(0)


class Nothing:
    """A journal without rows."""

    def flush(self) -> None:
        pass

    def reset(self) -> None:
        pass


class Story:
    """A writer whose commits are noted: the jobs of each."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.now_s = 1000.0
        loop.time = lambda: self.now_s  # type: ignore[method-assign]
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.set_trace_callback(self._ran)
        path, lane = Path("none"), OneByOne(loop)
        self.writer = Writer(
            path, connection, Nothing(), lane=lane, write_back=WriteBack(path, OneByOne(loop))
        )
        self.commits: list[list[str]] = []
        self.answered: list[str] = []
        self._jobs: list[str] = []

    def _ran(self, statement: str) -> None:
        if statement == "COMMIT":
            self.commits.append(self._jobs)
            self._jobs = []

    def submit(self, name: str, *, may_wait: bool, size: int = 1) -> None:
        def done(_: Any, error: BaseException | None) -> None:
            assert error is None
            self.answered.append(name)

        self.writer.submit(
            lambda _: self._jobs.append(name), size=size, done=done, may_wait=may_wait
        )

    async def turns(self) -> None:
        for _ in range(8):
            await asyncio.sleep(0)


def test_what_may_wait_shares_a_commit() -> None:
    async def story() -> None:
        told = Story()
        told.submit("first", may_wait=True)
        await told.turns()
        assert told.commits == [["first"]], "nothing was written lately, so it is not kept waiting"
        told.submit("b", may_wait=True)
        told.submit("c", may_wait=True)
        await told.turns()
        assert told.commits == [["first"]]
        told.now_s += COMMIT_GATHER_S
        await told.turns()
        assert told.commits == [["first"], ["b", "c"]]
        assert told.answered == ["first", "b", "c"]
        await told.writer.close()

    asyncio.run(story())


def test_what_may_not_wait_takes_along_what_does() -> None:
    async def story() -> None:
        told = Story()
        told.submit("first", may_wait=False)
        await told.turns()
        told.submit("b", may_wait=True)
        told.submit("c", may_wait=False)
        await told.turns()
        assert told.commits == [["first"], ["b", "c"]], "in the order in which they came"
        told.submit("d", may_wait=False)
        await told.turns()
        assert told.commits[2:] == [["d"]], "who writes one by one waits for no timer"
        await told.writer.close()

    asyncio.run(story())


def test_much_does_not_wait() -> None:
    async def story() -> None:
        told = Story()
        told.submit("first", may_wait=False)
        await told.turns()
        told.submit("b", may_wait=True, size=COMMIT_GATHER_BYTES)
        await told.turns()
        assert told.commits == [["first"]]
        told.submit("c", may_wait=True)
        await told.turns()
        assert told.commits == [["first"], ["b", "c"]]
        await told.writer.close()

    asyncio.run(story())


def test_closing_writes_what_waits() -> None:
    async def story() -> None:
        told = Story()
        told.submit("first", may_wait=True)
        await told.turns()
        told.submit("b", may_wait=True)
        await told.writer.close()
        assert told.commits == [["first"], ["b"]]

    asyncio.run(story())


def test_a_fault_of_one_that_is_answered_is_told_and_keeps_no_other_from_its_answer() -> None:
    async def story() -> None:
        told = Story()
        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, about: faults.append(about.get("exception"))
        )
        fault = RuntimeError("a listener's")

        def fail(_: Any, error: BaseException | None) -> None:
            raise fault

        told.writer.submit(lambda _: None, size=1, done=fail)
        told.submit("a", may_wait=False)
        await told.turns()
        assert told.commits == [["a"]], "both in one commit"
        assert faults == [fault]
        assert told.answered == ["a"]
        told.writer.submit(lambda _: None, size=QUEUED_BYTES_MAX + 1, done=fail)
        waiting = asyncio.create_task(told.writer.room())
        await told.turns()
        assert waiting.done(), "what was written makes room"
        await told.writer.close()

    asyncio.run(story())

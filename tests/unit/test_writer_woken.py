"""The writer's lane is woken whatever the loop and the lane do in which order: each runs in between
every two lines of the other.
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, TypeVarTuple

import pytest

from tests.unit.test_writer import Nothing
from weft_engine.storage import writer as writer_module
from weft_engine.storage.write_back import WriteBack
from weft_engine.storage.writer import Writer

Ts = TypeVarTuple("Ts")


class Beside:
    """A lane that works when it is told to."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._given: deque[Callable[[], None]] = deque()

    def work(self) -> None:
        while self._given:
            self._given.popleft()()

    def run(self, work: Callable[[], None], /) -> None:
        self._given.append(work)

    def answer(self, deliver: Callable[[*Ts], None], /, *arguments: *Ts) -> None:
        self._loop.call_soon_threadsafe(deliver, *arguments)

    async def end(self) -> None:
        self.work()


class Story:
    """A writer, and who was answered."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.lane = Beside(loop)
        connection = sqlite3.connect(":memory:", isolation_level=None)
        path = Path("none")
        self.writer = Writer(
            path,
            connection,
            Nothing(),
            lane=self.lane,
            write_back=WriteBack(path, Beside(loop)),
        )
        self.answered: list[str] = []

    def submit(self, name: str) -> None:
        def done(_: Any, error: BaseException | None) -> None:
            assert error is None
            self.answered.append(name)

        self.writer.submit(lambda _: None, size=1, done=done)

    async def settled(self) -> None:
        for _ in range(8):
            await asyncio.sleep(0)
            self.lane.work()
        await asyncio.sleep(0)


def interrupted(call: Callable[[], None], number: int, then: Callable[[], None]) -> bool:
    """`call`, and `then` in front of its line of that number, counted from 0 as they are run in the
    writer's module; whether it has so many."""
    left = number

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename != writer_module.__file__:
            return None
        if event == "line":
            left -= 1
            if left == -1:
                then()
        return trace

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(former)
    return left < 0


@pytest.mark.parametrize("together", [1, 2])
def test_the_lane_may_write_it_while_it_is_being_submitted(together: int) -> None:
    async def story(number: int) -> bool:
        told = Story()
        names = [f"first {index}" for index in range(together)]
        for name in names:
            told.submit(name)
        await told.settled()
        told.submit("a")
        if together > 1:
            await asyncio.sleep(0)  # It is handed over in the loop's next turn.
        has_line = interrupted(lambda: told.submit("b"), number, told.lane.work)
        await told.settled()
        told.submit("c")
        await told.settled()
        assert told.answered == [*names, "a", "b", "c"], f"the lane worked in front of {number}"
        await told.writer.close()
        return has_line

    lines = next(number for number in itertools.count() if not asyncio.run(story(number)))
    assert lines > 10, "there are lines between which it worked"


@pytest.mark.parametrize("together", [1, 2])
def test_somebody_may_submit_while_the_lane_works(together: int) -> None:
    async def story(number: int) -> bool:
        told = Story()
        names = [f"first {index}" for index in range(together)]
        for name in names:
            told.submit(name)
        await told.settled()
        told.submit("a")
        await asyncio.sleep(0)
        has_line = interrupted(told.lane.work, number, lambda: told.submit("b"))
        await told.settled()
        told.submit("c")
        await told.settled()
        submitted = [*names, "a", *(["b"] if has_line else []), "c"]
        assert told.answered == submitted, f"it was submitted in front of {number}"
        await told.writer.close()
        return has_line

    lines = next(number for number in itertools.count() if not asyncio.run(story(number)))
    assert lines > 10, "there are lines between which it was submitted"

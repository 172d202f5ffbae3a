"""The virtual loop: time without waiting, and ends without clean-up."""

from __future__ import annotations

import asyncio
import inspect
import time
import types
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import get_ident

import pytest

from tests.simulation.loop import Life, Stuck, VirtualLane, VirtualLoop, close_coroutine, in_life


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = VirtualLoop(1)
    yield made
    made.close()


def test_an_hour_passes_at_once(loop: VirtualLoop) -> None:
    loop.seconds_max = 4000

    async def sleep() -> float:
        await asyncio.sleep(3600)
        return loop.time()

    began = time.monotonic()
    assert loop.run_until_complete(sleep()) == 3600
    assert time.monotonic() - began < 60


def test_whoever_waits_for_nothing_is_stuck(loop: VirtualLoop) -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck):
        loop.run_until_complete(wait())


def test_what_does_not_end_is_stuck(loop: VirtualLoop) -> None:
    def again() -> None:
        loop.call_later(10, again)

    again()
    with pytest.raises(Stuck):
        loop.run_forever()


def test_an_executor_runs_here_and_in_order(loop: VirtualLoop) -> None:
    executor = ThreadPoolExecutor(1)

    async def ask() -> list[int]:
        asked = [loop.run_in_executor(executor, order.append, n) for n in range(50)]
        asked.append(loop.run_in_executor(executor, lambda: threads.append(get_ident())))
        await asyncio.gather(*asked)
        return order

    order: list[int] = []
    threads: list[int] = []
    assert loop.run_until_complete(ask()) == list(range(50))
    assert threads == [get_ident()]
    assert loop.time() > 0


def test_a_lane_commits_before_it_answers_and_ends_after_both(loop: VirtualLoop) -> None:
    said: list[str] = []

    async def use() -> None:
        lane = VirtualLane()

        def work() -> None:
            said.append("commit")
            lane.answer(said.append, "answer")

        lane.run(work)
        lane.run(work)
        assert not said
        await lane.end()

    loop.run_until_complete(use())
    assert sorted(said) == ["answer", "answer", "commit", "commit"]
    assert said[0] == "commit"
    assert said[-1] == "answer"


def test_a_life_that_is_over_does_nothing_more_not_even_clean_up(loop: VirtualLoop) -> None:
    life, said = Life("one"), list[int]()

    async def live() -> None:
        try:
            for number in range(10):
                said.append(number)
                await asyncio.sleep(1)
        finally:
            said.append(-1)

    async def watch() -> None:
        in_life(life, lambda: loop.create_task(live()))
        await asyncio.sleep(2.5)
        life.is_over = True
        await asyncio.sleep(100)

    loop.run_until_complete(watch())
    assert said == [0, 1, 2]
    (task,) = life.tasks
    task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_a_life_can_end_after_any_step(loop: VirtualLoop) -> None:
    async def live(said: list[int]) -> None:
        for number in range(10):
            said.append(number)
            await asyncio.sleep(1)

    async def watch(life: Life, said: list[int]) -> None:
        in_life(life, lambda: loop.create_task(live(said)))
        await asyncio.sleep(100)

    ends = []
    for steps in range(1, 5):
        life, said = Life("one"), list[int]()
        life.ends_at, life.on_end = steps, partial(setattr, life, "is_over", True)
        loop.run_until_complete(watch(life, said))
        ends.append(len(said))
        life.tasks[0]._log_destroy_pending = False  # type: ignore[attr-defined]
    assert ends == sorted(ends)
    assert ends[0] < ends[-1] < 10


def test_what_nobody_catches_is_noted(loop: VirtualLoop) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    async def watch() -> None:
        task = asyncio.create_task(fail())
        await asyncio.sleep(1)
        assert task.done()
        del task

    loop.run_until_complete(watch())
    assert [type(about["exception"]) for about in loop.faults] == [ZeroDivisionError]


@types.coroutine
def pause() -> Generator[None, None, None]:
    """A wait that needs no loop."""
    yield


def test_a_coroutine_that_waits_on_its_way_out_is_ended_without_a_complaint() -> None:
    said: list[str] = []

    async def live() -> None:
        try:
            await pause()
        finally:
            try:
                await pause()
            finally:
                said.append("out")

    coroutine = live()
    coroutine.send(None)
    close_coroutine(coroutine)
    assert said == ["out"]
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED

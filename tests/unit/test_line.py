"""Whoever came first has everything first; nobody waits for who does not read, or for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from weft_engine.limits import STEPS_PER_PLACE
from weft_engine.sync.driving.line import LEASES, STEPS_PER_TURN, Line, Place

TURNS_MAX = 1_000_000


class Joiner:
    """Takes steps until it has all; it comes for the next one as soon as it has `read`."""

    def __init__(self, line: Line, name: int, *, steps: int, ends: list[int]) -> None:
        self.left = steps
        self.name = name
        self.reads = True
        self._line = line
        self._place = line.place()
        self._ends = ends

    def come(self) -> None:
        self._line.step(self._place, self._served)

    def _served(self) -> None:
        self.left -= 1
        if self.left == 0:
            self._ends.append(self.name)
            self._line.leave(self._place)
        elif self.reads:
            asyncio.get_running_loop().call_soon(self.come)


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(TURNS_MAX):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError(f"not in {TURNS_MAX} turns of the loop")


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    asyncio.run(main())


def test_those_that_came_first_have_everything_first() -> None:
    async def joining() -> None:
        line, ends = Line(), list[int]()
        joiners = [Joiner(line, number, steps=18, ends=ends) for number in range(60)]
        for joiner in joiners:
            joiner.come()
        await until(lambda: bool(ends))
        # Served in turn, nobody would have more than one step less than the first.
        assert sum(joiner.left == 17 for joiner in joiners) > 30
        await until(lambda: len(ends) == 60)
        assert all(abs(at - number) <= 2 * LEASES for at, number in enumerate(ends))

    run(joining)


def test_who_does_not_read_holds_nobody_up() -> None:
    async def joining() -> None:
        line, ends = Line(), list[int]()
        joiners = [Joiner(line, number, steps=18, ends=ends) for number in range(60)]
        for joiner in joiners:
            joiner.reads = joiner.name >= 3 * LEASES
            joiner.come()
        # They come for a second step, and then no more.
        for joiner in joiners[: 3 * LEASES]:
            joiner.come()
        await until(lambda: len(ends) == 60 - 3 * LEASES)
        # One of them reads again: it has its place still, before those that came meanwhile.
        later = [Joiner(line, number, steps=18, ends=ends) for number in range(60, 90)]
        for joiner in later:
            joiner.come()
        joiners[0].reads = True
        joiners[0].come()
        await until(lambda: 0 in ends)
        assert sum(joiner.left > 0 for joiner in later) > len(later) // 2
        await until(lambda: len(ends) == 60 - 3 * LEASES + 1 + 30)

    run(joining)


def test_who_lacks_little_does_not_wait_for_who_lacks_much() -> None:
    async def joining() -> None:
        line, ends = Line(), list[int]()
        many = [Joiner(line, number, steps=10_000, ends=ends) for number in range(200)]
        for joiner in many:
            joiner.come()
        await until(lambda: sum(joiner.left for joiner in many) < 200 * 10_000 - 1000)
        before = sum(joiner.left for joiner in many)
        Joiner(line, 200, steps=1, ends=ends).come()
        await until(lambda: ends == [200])
        assert before - sum(joiner.left for joiner in many) <= 2 * STEPS_PER_TURN
        for joiner in many:
            joiner.reads = False

    run(joining)


def test_who_is_served_for_long_goes_to_the_end() -> None:
    async def joining() -> None:
        line, ends = Line(), list[int]()
        for number in range(2 * LEASES):
            Joiner(line, number, steps=20 * STEPS_PER_PLACE, ends=ends).come()
        Joiner(line, 99, steps=STEPS_PER_PLACE, ends=ends).come()
        await until(lambda: bool(ends))
        assert ends == [99]
        await until(lambda: len(ends) == 2 * LEASES + 1)

    run(joining)


def test_a_flood_of_first_steps_leaves_half_of_the_time_to_others() -> None:
    async def joining() -> None:
        line, ends = Line(), list[int]()
        joiner = Joiner(line, 0, steps=40, ends=ends)
        joiner.come()
        served: list[int] = []
        for _ in range(4000):
            line.step(line.place(), partial(served.append, 1))
        await until(lambda: ends == [0])
        assert len(served) < 4000
        await until(lambda: len(served) == 4000)

    run(joining)


def test_no_more_than_some_steps_are_taken_in_a_turn_of_the_loop() -> None:
    async def joining() -> None:
        line, loop = Line(), asyncio.get_running_loop()
        taken, most = [0], [0]

        def look() -> None:
            most[0], taken[0] = max(most[0], taken[0]), 0
            if left[0]:
                loop.call_soon(look)

        left = [500]

        def served() -> None:
            taken[0] += 1
            left[0] -= 1

        for _ in range(500):
            # A function of its own for each, as links have.
            line.step(line.place(), partial(served))
        look()
        await until(lambda: left[0] == 0)
        assert STEPS_PER_TURN <= most[0] <= 2 * STEPS_PER_TURN

    run(joining)


def test_who_waits_for_a_turn_and_is_gone_is_passed_over() -> None:
    async def joining() -> None:
        line = Line()
        places = [line.place() for _ in range(40)]
        waiting = [asyncio.create_task(line.turn(place)) for place in places]
        await asyncio.sleep(0)
        for task in waiting[::2]:
            task.cancel()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert results[1::2] == [None] * 20

    run(joining)


def test_places_are_numbered_in_the_order_of_coming() -> None:
    line = Line()
    places: list[Place] = [line.place() for _ in range(3)]
    assert [place.number for place in places] == [0, 1, 2]

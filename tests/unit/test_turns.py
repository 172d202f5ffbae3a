"""Who is served when more comes than one turn of the event loop has time for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from weft_engine.sync.driving.turns import Turns

TURNS_MAX = 10_000


async def turn_until(holds: Callable[[], bool]) -> None:
    """Turn the event loop until something is so."""
    for _ in range(TURNS_MAX):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError(f"not in {TURNS_MAX} turns of the loop")


class Link:
    """Has so many small messages to take, and does it as `sync.driving.taking` does."""

    def __init__(self, name: str, left: int, turns: Turns, taken: list[str]) -> None:
        self.name = name
        self.left = left
        self._turns = turns
        self._taken = taken

    def changed(self, *, is_our_turn: bool = False) -> None:
        while self.left:
            if (self._turns.is_crowded and not is_our_turn) or not self._turns.may_step():
                self._turns.later(self.go_on)
                return
            is_our_turn = False
            self.left -= 1
            self._taken.append(self.name)

    def go_on(self) -> None:
        self.changed(is_our_turn=True)


async def test_a_turn_of_the_loop_has_an_end() -> None:
    turns, taken = Turns(), list[str]()
    busy = Link("busy", 1000, turns, taken)
    busy.changed()
    first = len(taken)
    assert 0 < first < 1000
    await asyncio.sleep(0)
    assert first < len(taken) <= 2 * first
    await turn_until(lambda: not busy.left)
    assert len(taken) == 1000


async def test_who_comes_later_does_not_wait_for_all_that_others_brought() -> None:
    turns, taken = Turns(), list[str]()
    busy = [Link(f"busy {index}", 200, turns, taken) for index in range(50)]
    for link in busy:
        link.changed()
    bystander = Link("bystander", 1, turns, taken)
    bystander.changed()
    await turn_until(lambda: not bystander.left)
    # Each of those who were first had one turn, but for the one that began.
    assert taken.index("bystander") <= 2 * len(busy)
    await turn_until(lambda: not any(link.left for link in busy))
    assert len(taken) == 50 * 200 + 1


async def test_nobody_is_forgotten_who_has_nothing_left_when_called() -> None:
    turns = Turns()
    called: list[int] = []
    while turns.may_step():
        pass
    idle: list[Callable[[], None]] = [partial(called.append, index) for index in range(100)]
    for go_on in idle:
        turns.later(go_on)
    await turn_until(lambda: not turns.is_crowded)
    assert called == list(range(100))


@pytest.mark.parametrize(("turns", "at_once"), [(Turns(), 1), (Turns(large_at_once=2), 2)])
async def test_large_messages_take_turns(turns: Turns, at_once: int) -> None:
    begun = list[str]()
    under_way, most = 0, 0

    async def link(name: str, messages: int) -> None:
        nonlocal under_way, most
        for _ in range(messages):
            await turns.wait()
            under_way += 1
            most = max(most, under_way)
            begun.append(name)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            under_way -= 1
            turns.end()

    names = ["a", "b", "c", "d"]
    await asyncio.gather(*(link(name, 5) for name in names))
    assert most == at_once
    for start in range(0, 20, 4):
        assert sorted(begun[start : start + 4]) == names

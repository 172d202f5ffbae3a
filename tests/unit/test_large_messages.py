"""Whose large message is handed over when more of them come than one turn has room for."""

from __future__ import annotations

import asyncio
from functools import partial

from weft_engine.limits import KIB
from weft_server.large_messages import LargeMessages

SIZE = 160 * KIB
TURNS_MAX = 1000


def _come(large: LargeMessages, name: str, came: list[str], turns: list[int]) -> None:
    if large.may_come(SIZE):
        came.append(f"{name} {len(turns)}")
    else:
        large.later(partial(_come, large, name, came, turns))


async def test_one_in_a_turn_and_in_the_order_in_which_they_came() -> None:
    large, came, turns = LargeMessages(), list[str](), list[int]()
    names = [str(number) for number in range(6)]
    for name in names:
        _come(large, name, came, turns)
    assert came == ["0 0"]
    while len(came) < len(names):
        assert len(turns) < TURNS_MAX
        turns.append(len(came))
        await asyncio.sleep(0)
    assert [one.split()[0] for one in came] == names
    assert len({one.split()[1] for one in came}) == len(names)


async def test_who_comes_later_does_not_overtake_who_waits() -> None:
    large, came, turns = LargeMessages(), list[str](), list[int]()
    _come(large, "a", came, turns)
    _come(large, "b", came, turns)
    large.later(lambda: _come(large, "d", came, turns))
    assert not large.may_come(1)
    _come(large, "c", came, turns)
    for _ in range(20):
        await asyncio.sleep(0)
    assert [one.split()[0] for one in came] == ["a", "b", "d", "c"]

"""What is announced and does not come is asked for in time, at one who holds it, then at the next,
and later where things come late by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.simulation.loop import VirtualLoop
from weft_engine.limits import LATE_HALF_S, WANT_AFTER_S, WANT_AFTER_S_MAX, WANT_GRACE_S
from weft_engine.names import RecordHash
from weft_engine.sync.driving.pulls import Pulls

A, B, C = (RecordHash(bytes([index]) * 32) for index in range(3))
SOON_S = WANT_AFTER_S + WANT_GRACE_S
"""When something is asked for that was just announced."""


class Asked:
    """Who was asked for what, and when."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, str, list[RecordHash]]] = []
        self.coming: set[RecordHash] = set()
        self.pulls: Pulls[str] = Pulls(self._ask, is_coming=self.coming.__contains__)

    def _ask(self, who: str, hashes: list[RecordHash]) -> None:
        self.asked.append((asyncio.get_running_loop().time(), who, hashes))

    @property
    def whom(self) -> list[str]:
        return [who for _, who, _ in self.asked]


def in_virtual_time(work: Callable[[Asked], Awaitable[None]]) -> None:
    loop = VirtualLoop(1)
    loop.seconds_max = 1000

    async def run() -> None:
        await work(Asked())

    try:
        loop.run_until_complete(run())
    finally:
        loop.close()


def test_who_announced_is_asked_one_after_the_other() -> None:
    async def work(one: Asked) -> None:
        one.pulls.lack("eu", [A, B])
        one.pulls.lack("us", [A])
        await asyncio.sleep(WANT_AFTER_S - 0.01)
        assert one.asked == []
        await asyncio.sleep(0.1)
        assert [(who, hashes) for _, who, hashes in one.asked] == [("eu", [A, B])]
        await asyncio.sleep(WANT_AFTER_S_MAX)
        assert [(who, hashes) for _, who, hashes in one.asked[1:]] == [("us", [A])]
        # Each is asked once, and whoever tells of it later, too.
        one.pulls.lack("eu", [A])
        one.pulls.lack("ap", [B])
        await asyncio.sleep(2 * WANT_AFTER_S_MAX)
        assert one.whom == ["eu", "us", "ap"]

    in_virtual_time(work)


def test_what_came_or_is_on_its_way_is_not_asked_for() -> None:
    async def work(one: Asked) -> None:
        one.pulls.lack("eu", [A, B, C])
        one.coming.add(B)
        one.pulls.came(A)
        await asyncio.sleep(WANT_AFTER_S + 0.1)
        assert [hashes for _, _, hashes in one.asked] == [[C]]
        one.coming.clear()
        await asyncio.sleep(WANT_AFTER_S_MAX)
        assert [hashes for _, _, hashes in one.asked] == [[C], [B]]
        for hash_ in (B, C):
            one.pulls.came(hash_)
        assert len(one.pulls) == 0

    in_virtual_time(work)


def test_nobody_is_asked_who_has_gone() -> None:
    async def work(one: Asked) -> None:
        one.pulls.lack("eu", [A])
        one.pulls.lack("us", [A, B])
        one.pulls.leave("eu")
        await asyncio.sleep(WANT_AFTER_S + 0.1)
        assert one.asked[0][1:] == ("us", [A, B])
        one.pulls.leave("us")
        assert len(one.pulls) == 0

    in_virtual_time(work)


@pytest.mark.parametrize("had_to_ask", [False, True])
def test_it_waits_longer_where_things_come_late(had_to_ask: bool) -> None:
    async def work(one: Asked) -> None:
        loop = asyncio.get_running_loop()
        one.pulls.lack("eu", [A])
        if had_to_ask:
            await asyncio.sleep(SOON_S + 0.1)
            late_s = one.asked[0][0]
        else:
            late_s = WANT_AFTER_S - 0.01
            await asyncio.sleep(late_s)
        one.pulls.came(A)
        count, began_s = len(one.asked), loop.time()
        one.pulls.lack("eu", [B])
        await asyncio.sleep(WANT_AFTER_S_MAX)
        waited_s = one.asked[count][0] - began_s
        assert 1.8 * late_s < waited_s < 2.2 * late_s
        one.pulls.came(B)
        # It is forgotten in time.
        await asyncio.sleep(10 * LATE_HALF_S)
        count, began_s = len(one.asked), loop.time()
        one.pulls.lack("eu", [C])
        await asyncio.sleep(WANT_AFTER_S_MAX)
        assert one.asked[count][0] - began_s == pytest.approx(SOON_S, abs=0.05)

    in_virtual_time(work)

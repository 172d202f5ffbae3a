"""Relays of several regions in one process, over pipes: tickets, clocks, one link for a pair."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.linked import PipeEnd, pipe
from tests.running_relay import until
from tests.stores import Clock, open_replica
from weft_engine.sync.driving.link import Link
from weft_engine.sync.end.ending import State
from weft_server.door.permission import ANYTHING
from weft_server.mesh.region_links import Via
from weft_server.relay import Relay


class _Piped:
    """A pipe's end as a relay wants it."""

    closing_code: int | None = None

    def __init__(self, end: PipeEnd) -> None:
        self.send, self.receive, self.close = end.send, end.receive, end.close


class Regions:
    """Relays by region; a clock can be off by some milliseconds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = AsyncExitStack()
        self.of: dict[str, Relay] = {}
        self._tasks: set[asyncio.Task[object]] = set()

    async def open(self, region: str, *, ahead_ms: int = 0) -> Relay:
        clock = Clock(time.time_ns() // 1_000_000 + ahead_ms)
        replica = await self._stack.enter_async_context(
            open_replica(self._folder / f"{region}.db", clock=clock)
        )
        self.of[region] = Relay(replica, region=region, doorkeeper=lambda *_: ANYTHING)
        return self.of[region]

    def dial(self, who: str, whom: str) -> Link:
        """The link at `who`; both ends run."""
        near, far = pipe(frames_max=64)
        link = self.of[who].make_dialled(_Piped(near), Via(whom, whom, may_be_region=True))
        self._run(self.of[who].run(link))
        self._run(self.of[whom].serve(_Piped(far), ANYTHING))
        return link

    async def settled(self) -> None:
        """Every link that was dialled is over."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        for relay in self.of.values():
            await relay.close()
        await self.settled()
        await self._stack.aclose()

    def _run(self, work: Coroutine[object, object, object]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@asynccontextmanager
async def regions(folder: Path) -> AsyncIterator[Regions]:
    found = Regions(folder)
    try:
        yield found
    finally:
        await found.close()


def is_live(link: Link) -> bool:
    return link.state is State.LIVE


def open_links(relay: Relay) -> list[Link]:
    return [one.link for one in relay.mesh.links]


async def test_of_links_both_ways_one_stays_and_both_show_their_tickets(tmp_path: Path) -> None:
    """Again and again, as after partitions: no store takes the other, or itself, for a copy."""
    async with regions(tmp_path) as mesh:
        eu, us = await mesh.open("eu"), await mesh.open("us")
        stores = [relay.mesh.replica.identity.store for relay in (eu, us)]
        for number in range(6):
            pairs = [("eu", "us"), ("us", "eu")]
            first = mesh.dial(*pairs[number % 2])
            if number % 3 == 0:
                # The first one is up already when the second is dialled.
                await first.until(partial(is_live, first), timeout=30)
            second = mesh.dial(*pairs[(number + 1) % 2])
            by_eu, by_us = (first, second) if number % 2 == 0 else (second, first)

            async def is_settled(by_us: Link = by_us) -> bool:
                """One link stays at both ends, is live, and both have shown their tickets on it."""
                kept = (open_links(eu), open_links(us))
                has_ended = by_us.session.end is not None
                return (
                    has_ended
                    and [len(links) for links in kept] == [1, 1]
                    and all(
                        is_live(link) and link.session.tickets.peer_is_current for (link,) in kept
                    )
                )

            await until(is_settled, what=f"one link stays, round {number}")
            assert open_links(eu) == [by_eu]
            for link in (*open_links(eu), *open_links(us)):
                link.close()
            await mesh.settled()
        assert [relay.mesh.replica.identity.store for relay in (eu, us)] == stores


async def test_a_clock_that_is_off_its_peers_raises_an_alarm(tmp_path: Path) -> None:
    async with regions(tmp_path) as mesh:
        relays = [await mesh.open("eu"), await mesh.open("us")]
        ahead = await mesh.open("ap", ahead_ms=40_000)
        mesh.dial("eu", "ap")

        async def one_of_two() -> bool:
            return bool(ahead.mesh.alarms())

        await until(one_of_two, what="the clocks of two that disagree")
        assert "one of the two is wrong" in ahead.mesh.alarms()[0].text
        mesh.dial("us", "ap")
        mesh.dial("eu", "us")

        async def is_sure() -> bool:
            told = [[alarm.text for alarm in relay.mesh.alarms()] for relay in (*relays, ahead)]
            wanted = "this relay's clock is 40 s ahead of the median of its 2 peers"
            return told[:2] == [[], []] and told[2][0].startswith(wanted)

        await until(is_sure, what="the one clock that is wrong, and no other")
        assert ahead.mesh.alarms()[0].kind == "clock"


@pytest.mark.parametrize(
    "links",
    [
        [("eu", "us"), ("us", "ap"), ("ap", "sa")],  # a line
        [("eu", "us"), ("us", "ap"), ("ap", "sa"), ("sa", "eu")],  # a ring
        [("us", "eu"), ("ap", "eu"), ("sa", "eu")],  # a star
    ],
)
async def test_what_is_written_in_one_region_comes_to_all(
    tmp_path: Path, links: list[tuple[str, str]]
) -> None:
    async with regions(tmp_path) as mesh:
        relays = [await mesh.open(region) for region in ("eu", "us", "ap", "sa")]
        contexts = [
            [relay.mesh.replica.context(f"acme/{number}") for relay in relays]
            for number in range(4)
        ]
        for who, whom in links:
            mesh.dial(who, whom)
        for number, copies in enumerate(contexts):
            await copies[number].append(f"from the {number}. region")

        async def are_level() -> bool:
            for copies in contexts:
                found = {await copy.fingerprint() for copy in copies}
                if len(found) != 1 or await copies[0].frontier() == ():
                    return False
            return True

        await until(are_level, what="all regions hold all")

"""A connection that stands though nobody is at its other end: both ends find that out, on virtual
time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.simulation.history import _bury, _made_up_files
from tests.simulation.loop import VirtualLoop
from tests.simulation.network import Wire
from tests.simulation.trace import Trace
from tests.simulation.world import World
from weft_engine.limits import LINK_DEAD_MS
from weft_engine.sync.end.ending import State
from weft_engine.sync.framing.messages import ByeCode

LINK_DEAD_S = LINK_DEAD_MS / 1000
SLACK_S = 4.0
"""Signs of life are looked for once a second, and what is closed waits for its goodbye."""


def played(place: Path, story: Callable[[World], Awaitable[None]]) -> None:
    loop = VirtualLoop(1)
    world = World(loop, place, seed=1, trace=Trace(None), disks=None)
    try:
        asyncio.set_event_loop(loop)
        with _made_up_files(world):
            loop.run_until_complete(story(world))
    finally:
        _bury(world)
        asyncio.set_event_loop(None)
        loop.close()


async def until(holds: Callable[[], bool]) -> None:
    """The loop ends a wait that has no end."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("kind", ["client", "region"])
def test_both_ends_leave_a_half_open_link_and_another_is_made(tmp_path: Path, kind: str) -> None:
    async def story(world: World) -> None:
        relay = world.add("relay", region="eu")
        other = world.add("other", region=None if kind == "client" else "us")
        for machine in (relay, other):
            assert world.bring_up(machine)
        kept = next(iter(other.kept), None) or other.link("relay")
        await until(lambda: kept.status is State.LIVE)
        wire: Wire = next(iter(world.network.wires))
        assert relay.relay is not None
        (here,), there = relay.relay._links, kept.link
        assert there is not None
        await asyncio.sleep(2 * LINK_DEAD_S)
        assert (here.session.end, there.session.end) == (None, None), "an idle one stays"
        began_s = world.loop.time()
        wire.swallows.add("other")
        await asyncio.sleep(LINK_DEAD_S - SLACK_S - 10.0)
        assert (here.session.end, there.session.end) == (None, None)
        await until(lambda: here.is_over and there.is_over)
        for end in (here.session.end, there.session.end):
            assert end is not None
            assert (end.code, end.by_peer) == (ByeCode.SILENT, False)
            assert "nothing was heard for" in end.reason
        assert world.loop.time() - began_s < LINK_DEAD_S + SLACK_S
        await until(lambda: kept.status is State.LIVE)
        assert wire not in world.network.wires, "both ends have closed it"
        assert relay.relay.links == 1
        for machine in (other, relay):
            await machine.task(machine.stop())

    played(tmp_path, story)

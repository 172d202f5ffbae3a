"""kill -9 of a relay under load: what a client saw acknowledged is there afterwards."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.hostile.writers import Writer, Writing, frame_writer, store_writer, yjs_writer
from tests.running_relay import running_relay
from tests.stores import folder
from weft_engine.storage.verify import verify

ACKNOWLEDGED_S = 60.0
"""What a round may take until enough is acknowledged; far more than it does."""


async def more_acknowledged(writers: Sequence[Writer], least: Sequence[int]) -> None:
    """Until each writer has seen so much acknowledged since now."""
    wanted = [len(w.acknowledged) + more for w, more in zip(writers, least, strict=True)]
    async with asyncio.timeout(ACKNOWLEDGED_S):
        for writer, least_now in zip(writers, wanted, strict=True):
            while len(writer.acknowledged) < least_now:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


async def kill_under_load(place: Path, rounds: int, kinds: Sequence[Writing]) -> None:
    rng = random.Random(rounds)
    with running_relay(place / "relay") as first:
        relay = first
        async with AsyncExitStack() as stack:
            stack.callback(lambda: relay.end())
            writers = [
                await stack.enter_async_context(kind(relay.url, place, number))
                for number, kind in enumerate(kinds)
            ]
            for _ in range(rounds):
                await more_acknowledged(writers, [rng.randint(1, 24) for _ in writers])
                await asyncio.sleep(rng.random() * 0.05)  # anywhere between two commits
                relay.kill()
                seen = [set(writer.acknowledged) for writer in writers]
                relay = await asyncio.to_thread(relay.again)
                for writer, acknowledged in zip(writers, seen, strict=True):
                    lost = await writer.missing(relay.url, relay.store)
                    assert not lost & acknowledged, f"{len(lost)} acknowledged were lost"
            # Whoever was there goes on with the last one.
            await more_acknowledged(writers, [1] * len(writers))
            for writer in writers:
                assert not await writer.missing(relay.url, relay.store)
        assert not verify(relay.store, progress=lambda *_: None).findings


@pytest.mark.parametrize("rounds", [3, pytest.param(50, marks=pytest.mark.deep)])
def test_a_relay_killed_under_load_has_everything_it_acknowledged(rounds: int) -> None:
    kinds: list[Writing] = [frame_writer] * 3 + [store_writer] + [yjs_writer] * 3
    with folder() as place:
        asyncio.run(kill_under_load(place, rounds, kinds))

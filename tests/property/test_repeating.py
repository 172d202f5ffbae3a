"""A link that lives compares again, whatever happens on it: what is on its way is never taken for
lost, and what is lost is found."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.linked import cut, link, settle, stores, wander
from weft_engine.limits import REPEAT_MS
from weft_engine.sync.framing.messages import ByeCode


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_what_is_under_way_is_not_lost_and_what_is_lost_is_found(seed: int) -> None:
    async def run() -> None:
        rng = random.Random(seed)
        async with stores(2, seed=seed) as (a, b):
            for index in range(rng.randrange(8)):
                await rng.choice((a, b)).write(f"acme/{index % 3}", "before")
            pair = link(a, b, regions=("eu", "us"))
            await settle(pair)
            now_ms = 0
            for _ in range(rng.randrange(10, 60)):
                # Ticks in the middle of everything, frames that wait, commits without a pause.
                now_ms += rng.choice((0, 500, 3_000, REPEAT_MS // 4))
                for end in pair:
                    if rng.random() < 0.8:
                        end.session.tick(now_ms)
                if rng.random() < 0.3:
                    await rng.choice((a, b)).write(f"acme/{rng.randrange(4)}", "more")
                await wander(rng, rng.choice((1, 5, 40)), pair)
            await settle(pair)
            ends = [end.session.end for end in pair]
            assert all(one is None or one.code == ByeCode.SILENT for one in ends), ends
            cut(pair)

            pair = link(a, b, regions=("eu", "us"))
            await settle(pair)
            loser = rng.choice(pair)
            loser.store.hub.leave(loser)
            await loser.store.write(f"acme/{rng.randrange(5)}", "lost")
            loser.store.hub.flush()
            loser.store.hub.join(loser)
            for later_ms in range(0, 2 * REPEAT_MS, 1_000):
                for end in pair:
                    end.session.tick(later_ms)
                await settle(pair)
            ends = [end.session.end for end in pair]
            assert all(one is not None and one.code == ByeCode.CLOSED for one in ends), ends
            cut(pair)
            pair = link(a, b, regions=("eu", "us"))
            await settle(pair)
            assert await a.fingerprints() == await b.fingerprints()

    asyncio.run(run())

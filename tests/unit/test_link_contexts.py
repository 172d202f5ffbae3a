"""The contexts that links are about are counted as they are made."""

from __future__ import annotations

import asyncio
import random

from tests.linked import Store, stores
from weft_engine.storage import context_counts
from weft_engine.sync.interest import EVERYTHING, Interest
from weft_server.link_contexts import LinkContexts

A = Interest.of(prefixes=["a/"])
AB = Interest.of(prefixes=["a/", "b/"], contexts=["c/1", "c/2"])
NAMES = [f"{letter}/{number}" for letter in "abc" for number in range(4)]


async def counted(store: Store, interest: Interest, *, most: int) -> int:
    return await store.journal.read(
        lambda c: context_counts.count(
            c,
            prefixes=interest.prefixes,
            names=interest.contexts,
            upto=context_counts.newest(c),
            most=most,
        )
    )


def test_a_count_is_that_of_the_contexts_covered() -> None:
    async def run() -> None:
        async with stores(1) as (store,):
            assert await counted(store, EVERYTHING, most=100) == 0
            for name in NAMES:
                await store.write(name, "one")
            assert await counted(store, A, most=100) == 4
            assert await counted(store, AB, most=100) == 10
            assert await counted(store, EVERYTHING, most=100) == len(NAMES)
            assert await counted(store, AB, most=7) == 7
            assert await counted(store, AB, most=9) == 9

    asyncio.run(run())


def test_what_is_made_and_who_comes_is_counted_once() -> None:
    async def run(seed: int) -> None:
        rng = random.Random(seed)
        async with stores(1, seed=seed) as (store,):
            bound = rng.randrange(6)
            contexts = LinkContexts(store.journal, contexts_max=bound)
            left = rng.sample(NAMES, len(NAMES))
            made: list[str] = []
            while left:
                for _ in range(rng.randrange(3)):
                    if left:
                        made.append(left.pop())
                        await store.write(made[-1], "one")
                now = rng.sample([A, AB, EVERYTHING], rng.randrange(4))
                found = await contexts.too_large(now * rng.randrange(1, 3))
                sizes = {one: sum(map(one.covers, made)) for one in now}
                assert set(found) == {one for one, size in sizes.items() if size > bound}
                assert all(bound < found[one] <= sizes[one] for one in found)

    for seed in range(8):
        asyncio.run(run(seed))

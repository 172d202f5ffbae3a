"""In random topologies, with random deliveries, cuts and losses of a disk: whenever it is said that
a region holds a store's journal up to some position, it does; and in the end it is said of all."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.linked import End, Store, cut, settle, stores, wander
from weft_engine.limits import REACH_HOLD_MS
from weft_engine.names import RecordHash
from weft_engine.sync.framing.messages import Window
from weft_engine.sync.interest import EVERYTHING

Pair = tuple[End, End]
CONTEXTS = ("a/1", "a/2", "b/1")
TIMEOUT_S = 60.0


class Mesh:
    """Regions and clients, and who is linked with whom."""

    def __init__(self, rng: random.Random, found: list[Store], *, regions: int) -> None:
        self.rng = rng
        self.stores = found
        self.names: list[str | None] = [
            f"r{number}" if number < regions else None for number in range(len(found))
        ]
        self.links: dict[tuple[int, int], Pair] = {}
        self.now_ms = 1_000

    def join(self, a: int, b: int) -> None:
        if (a, b) not in self.links:
            window = Window(self.rng.choice([2, 64]), 1 << 20)
            first = End(self.stores[a], region=self.names[a], window=window)
            self.links[a, b] = first, End(self.stores[b], region=self.names[b])

    def cut(self, a: int, b: int) -> None:
        cut(self.links.pop((a, b)))

    def tick(self, ms: int) -> None:
        self.now_ms += ms
        for pair in self.links.values():
            for end in pair:
                end.session.tick(self.now_ms)

    async def check(self) -> dict[tuple[int, str], bool]:
        """What is said is so. Whether a region is said to hold all of a store's journal."""
        held: dict[str, set[RecordHash]] = {}
        journals = [await store.hashes() for store in self.stores]
        for name, journal in zip(self.names, journals, strict=True):
            if name is not None:
                held[name] = set(journal)
        whole: dict[tuple[int, str], bool] = {}
        for number, (store, journal) in enumerate(zip(self.stores, journals, strict=True)):
            for region, upto in store.reach.holders(EVERYTHING).items():
                assert held[region].issuperset(journal[:upto]), f"{number}: {region} up to {upto}"
                whole[number, region] = upto == len(journal)
        return whole

    async def is_all_known(self) -> bool:
        """Whether every client knows that every region has all, once everything has moved."""
        regions = [name for name in self.names if name is not None]
        clients = range(len(regions), len(self.stores))
        await settle(*self.links.values())
        self.tick(1_000)
        for store in self.stores:
            store.hub.forwarding.announce()
        for (number, _), pair in self.links.items():
            if number in clients:
                upto = await self.stores[number].last_position()
                pair[0].session.tell_when_sent(upto)
        await settle(*self.links.values())
        whole = await self.check()
        journals = {frozenset(await store.hashes()) for store in self.stores}
        known = [whole.get((number, name), False) for number in clients for name in regions]
        return len(journals) == 1 and all(known)


async def story(seed: int, *, steps: int) -> None:
    rng = random.Random(seed)
    regions, clients = rng.randint(2, 5), rng.randint(1, 3)
    async with stores(regions + clients, seed=seed) as found:
        mesh = Mesh(rng, found, regions=regions)
        tree = [(rng.randrange(number), number) for number in range(1, regions)]
        others = [(a, b) for b in range(regions) for a in range(b) if (a, b) not in tree]
        ways = [*tree, *rng.sample(others, rng.randint(0, len(others)))]
        for client in range(regions, regions + clients):
            ways.append((client, rng.randrange(regions)))
        for way in ways:
            mesh.join(*way)
        for _ in range(steps):
            match rng.randrange(8):
                case 0 | 1:
                    writer = rng.choice(found)
                    await writer.write(rng.choice(CONTEXTS), f"{rng.random()}")
                case 2:
                    mesh.tick(rng.choice([200, 1_000, 3_000]))
                case 3 if mesh.links:
                    mesh.cut(*rng.choice(list(mesh.links)))
                case 4:
                    mesh.join(*rng.choice(ways))
                case 5 if rng.random() < 0.5:
                    rng.choice(found).hub.forwarding.announce()
                case 5 if mesh.links:
                    end, _ = rng.choice(list(mesh.links.values()))
                    end.session.tell_when_sent(await end.store.last_position())
                case _:
                    if mesh.links:
                        await wander(rng, 12, *mesh.links.values())
            await mesh.check()
        for way in ways:
            mesh.join(*way)
        mesh.tick(REACH_HOLD_MS)
        async with asyncio.timeout(TIMEOUT_S):
            is_known = await mesh.is_all_known()
            while not is_known:
                await asyncio.sleep(0.05)  # Pulls go by the loop's clock.
                is_known = await mesh.is_all_known()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_what_is_said_of_regions_is_so_and_is_said_in_the_end(seed: int) -> None:
    asyncio.run(story(seed, steps=60))

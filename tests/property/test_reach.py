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
from weft_engine.records.envelope import Record
from weft_engine.sync.framing.messages import Window
from weft_engine.sync.interest import EVERYTHING

Pair = tuple[End, End]
CONTEXTS = ("a/1", "a/2", "b/1")


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
        self.held: list[Record] = []
        """Written, and its parents are not everywhere."""

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

    async def check(self) -> dict[str, int]:
        """What is said is so; how many regions are said to hold all of each store's journal."""
        held: dict[str, set[RecordHash]] = {}
        journals = [await store.hashes() for store in self.stores]
        for name, journal in zip(self.names, journals, strict=True):
            if name is not None:
                held[name] = set(journal)
        whole: dict[str, int] = {}
        for number, (store, journal) in enumerate(zip(self.stores, journals, strict=True)):
            for region, upto in store.reach.holders(EVERYTHING).items():
                assert held[region].issuperset(journal[:upto]), f"{number}: {region} up to {upto}"
                whole[f"{number} {region}"] = upto == len(journal)
        return whole


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
                case 5 if mesh.links:
                    # A message comes in part: what is in the other half is parked for.
                    end, _ = rng.choice(list(mesh.links.values()))
                    end.session.tell_when_sent(await end.store.last_position())
                case _:
                    if mesh.links:
                        await wander(rng, 12, *mesh.links.values())
            await mesh.check()
        for way in ways:
            mesh.join(*way)
        for step in range(4):
            await settle(*mesh.links.values())
            mesh.tick(1_000 if step != 2 else REACH_HOLD_MS)
            for client in range(regions, regions + clients):
                for pair in mesh.links.values():
                    if pair[0].store is found[client]:
                        pair[0].session.tell_when_sent(await found[client].last_position())
            await settle(*mesh.links.values())
        whole = await mesh.check()
        for client in range(regions, regions + clients):
            for number in range(regions):
                assert whole[f"{client} r{number}"], f"client {client} does not know of r{number}"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_what_is_said_of_regions_is_so_and_is_said_in_the_end(seed: int) -> None:
    asyncio.run(story(seed, steps=60))

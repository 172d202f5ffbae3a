"""Regions in random order, in any topology, with links that lose all that one end sends, or end:
all get everything, and nobody takes for durable what is not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from itertools import combinations, pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.linked import Store, cut, link, stores, wander
from tests.meshed import NAMES, Mesh
from weft_engine.names import Position, RecordHash
from weft_engine.sync.framing.messages import Window

CONTEXTS = ["a/1", "a/2", "b/1"]


def topology(rng: random.Random, regions: int) -> list[tuple[int, int]]:
    """Some links, by which all can be reached."""
    chain = list(range(regions))
    rng.shuffle(chain)
    links = {(min(pair), max(pair)) for pair in pairwise(chain)}
    links.update(pair for pair in combinations(range(regions), 2) if rng.random() < 0.7)
    return sorted(links)


async def journal_of(store: Store) -> list[tuple[Position, RecordHash]]:
    return await store.journal.read(
        lambda c: [
            (Position(row[0]), RecordHash(row[1]))
            for row in c.execute("SELECT position, hash FROM records ORDER BY position")
        ]
    )


async def check_claims(mesh: Mesh) -> None:
    """What an end takes for durable at its peer is there."""
    held = [frozenset(await store.hashes()) for store in mesh.stores]
    journals = [await journal_of(store) for store in mesh.stores]
    for (a, b), pair in mesh.pairs.items():
        for end, at, other in ((pair[0], a, b), (pair[1], b, a)):
            claims: Sequence[Position | None] = (
                end.session.progress.durable_upto(),
                end.session.regions.get(NAMES[other]),
            )
            upto = max((one for one in claims if one is not None), default=Position(0))
            lost = [hash_ for p, hash_ in journals[at] if p <= upto and hash_ not in held[other]]
            assert not lost, f"{NAMES[at]} takes {len(lost)} records for durable at {NAMES[other]}"


@given(
    seed=st.integers(0, 2**32),
    regions=st.integers(3, 5),
    window=st.sampled_from([None, None, Window(1, 1), Window(3, 900)]),
)
@example(seed=742489, regions=5, window=None)  # A context's turn came twice.
@settings(max_examples=25, deadline=None)
def test_all_get_everything(seed: int, regions: int, window: Window | None) -> None:
    async def run() -> None:
        rng = random.Random(seed)
        async with stores(regions, seed=seed) as found:
            mesh = Mesh(found, links=topology(rng, regions), window=window)
            if rng.random() < 0.8:
                await mesh.settle()
            for _ in range(rng.randint(1, 8)):
                pairs = list(mesh.pairs.values())
                # Some ends are not heard for now, though they hear.
                deaf = [pair for pair in pairs[1:] if rng.random() < 0.2]
                await wander(rng, rng.randint(0, 60), *[p for p in pairs if p not in deaf])
                for pair in deaf:
                    while pair[1].read_one():
                        pass
                    pair[1].flush(pair[0])
                writer = rng.choice(found)
                texts = [f"{number}" for number in range(rng.randint(1, 4))]
                await writer.write(rng.choice(CONTEXTS), *texts)
                if rng.random() < 0.3:
                    for store in found:
                        store.hub.forwarding.announce()
                if rng.random() < 0.2:
                    at = rng.choice(list(mesh.pairs))
                    cut(mesh.pairs[at])
                    a, b = at
                    mesh.pairs[at] = link(
                        found[a], found[b], windows=(window, window), regions=(NAMES[a], NAMES[b])
                    )
                await check_claims(mesh)
            await mesh.until(mesh.is_done)
            await check_claims(mesh)
            for pair in mesh.pairs.values():
                assert (pair[0].session.end, pair[1].session.end) == (None, None)

    asyncio.run(run())

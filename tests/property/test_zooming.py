"""Regions that have grown apart find out exactly what the other lacks, whoever wrote where; and ask
one of several for it."""

from __future__ import annotations

import asyncio
import random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.linked import End, Store, cut, link, settle, stores, wander
from tests.property.test_session import check_acknowledged, share_out, sound_world
from weft_engine.names import ContextName
from weft_engine.storage import reading
from weft_engine.sync.framing.messages import Sample, Zoom


async def write_at(region: Store, writer: Store, context: str, count: int) -> None:
    """Records of a writer who is at this region, each after all that is there."""
    name = ContextName(context)
    state = await region.journal.read(lambda c: reading.context(c, name))
    frontier = () if state is None else state.frontier
    records = []
    for _ in range(count):
        records.append(writer.make(name, "text", frontier))
        frontier = (records[-1].hash,)
    items = [writer.key.sign(record.hash) for record in records]
    outcome = await region.admit(records, items)
    assert not outcome.parked
    assert not outcome.refused


async def meet(a: Store, b: Store) -> tuple[End, End]:
    """Link two regions; nothing goes where it is already."""
    held = [set(await store.hashes()) for store in (a, b)]
    pair = link(a, b, regions=("a", "b"))
    await settle(pair)
    assert [end.session.end for end in pair] == [None, None]
    assert all(end.session.progress.is_synced for end in pair)
    assert await a.fingerprints() == await b.fingerprints()
    now = set(await a.hashes())
    sent = [end.records_sent for end in pair]
    assert [len(set(some)) for some in sent] == [len(some) for some in sent]
    assert len(sent[0]) == len(now - held[1])
    assert len(sent[1]) == len(now - held[0])
    cut(pair)
    return pair


@given(seed=st.integers(0, 2**32), writers=st.integers(1, 5), large=st.booleans())
@settings(max_examples=12, deadline=None)
def test_exactly_what_is_lacking_is_sent(seed: int, writers: int, large: bool) -> None:
    """Each writer is at one region at a time, and takes along what it has written."""

    async def run() -> None:
        rng = random.Random(seed)
        async with stores(2 + writers, seed=seed) as (a, b, *some):
            regions = (a, b)
            home = {id(writer): rng.choice(regions) for writer in some}
            for _ in range(rng.randint(1, 3)):
                for _ in range(rng.randint(0, 12)):
                    writer = rng.choice(some)
                    count = rng.randint(60, 700) if large and rng.random() < 0.3 else 1
                    context = rng.choice(["c/1", "c/1", "c/2", "c/3"])
                    await write_at(home[id(writer)], writer, context, count)
                await meet(a, b)
                # Who goes elsewhere does so when the other region has what it wrote.
                for writer in some:
                    if rng.random() < 0.4:
                        home[id(writer)] = rng.choice(regions)

    asyncio.run(run())


def test_a_fork_costs_a_few_hashes_whatever_the_history() -> None:
    async def run() -> None:
        async with stores(4) as (a, b, one, other):
            for _ in range(6):
                await write_at(a, one, "c/1", 250)
                await write_at(a, other, "c/1", 250)
            await meet(a, b)
            await write_at(a, one, "c/1", 40)
            await write_at(b, other, "c/1", 50)
            pair = await meet(a, b)
            told = [m for end in pair for m in end.sent if isinstance(m, Sample | Zoom)]
            hashes = sum(len(m.ends) + len(m.floor) for m in told if isinstance(m, Sample))
            assert (len(told), hashes) == (6, 6)
            await write_at(a, one, "c/1", 1)
            pair = await meet(a, b)
            # Who is ahead says so, and who is behind asks.
            assert [m for end in pair for m in end.sent if isinstance(m, Sample)] == []

    asyncio.run(run())


@given(seed=st.integers(0, 2**32), steps=st.integers(0, 40), count=st.integers(2, 4))
@settings(max_examples=15, deadline=None)
@example(seed=3, steps=40, count=4)
def test_regions_meet_whatever_happens(seed: int, steps: int, count: int) -> None:
    """In a full mesh of regions, cut at random places, with equivocations and records without
    signatures of their own."""

    def linked(some: list[Store]) -> list[tuple[End, End]]:
        return [
            link(some[i], some[j], regions=(f"r{i}", f"r{j}"))
            for i in range(count)
            for j in range(i + 1, count)
        ]

    async def run() -> None:
        rng = random.Random(seed)
        world = sound_world(seed, steps=steps)
        async with stores(count, seed=seed) as some:
            await share_out(rng, world, some)
            for _ in range(3):
                pairs = linked(some)
                for _ in range(3):
                    await wander(rng, rng.randint(0, 60 * count), *pairs)
                    await rng.choice(some).write(rng.choice(["world/one", "live/1"]), "live")
                    for pair in pairs:
                        await check_acknowledged(pair)
                assert not any(end.session.end for pair in pairs for end in pair)
                for pair in pairs:
                    cut(pair)
            pairs = linked(some)
            for _ in range(4):
                await settle(*pairs)
                for store in some:
                    store.hub.forwarding.announce()
            await settle(*pairs)
            prints = [await store.fingerprints() for store in some]
            assert prints[1:] == prints[:-1]
            assert {r.hash for r in world.records} <= set(await some[-1].hashes())
            assert all(end.session.progress.is_synced for pair in pairs for end in pair)
            for pair in pairs:
                cut(pair)

    asyncio.run(run())


def test_what_two_regions_have_is_asked_of_one() -> None:
    async def run() -> None:
        async with stores(3) as (a, b, c):
            for index in range(200):
                await a.write(f"c/{index}", "one", "two")
            first = link(a, b, regions=("a", "b"))
            await settle(first)
            pairs = [link(a, c, regions=("a", "c")), link(b, c, regions=("b", "c"))]
            await settle(*pairs)
            assert await a.fingerprints() == await c.fingerprints()
            sent = [len(pair[0].records_sent) for pair in pairs]
            assert sum(sent) == 400
            assert min(sent) >= 100
            for pair in (first, *pairs):
                cut(pair)

    asyncio.run(run())

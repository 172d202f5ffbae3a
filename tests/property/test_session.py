"""Random worlds on two or three replicas, linked in a random order of steps and cut at random
places, end with the same records everywhere; what was acknowledged is journaled at the peer. So do
clients that resume by cursor and change what they ask for."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.linked import End, Store, cut, link, settle, stores, wander
from tests.worlds import World, causal_shuffle, make_world
from weft_engine.errors import MalformedRecord
from weft_engine.names import Position, RecordHash
from weft_engine.records.envelope import Record
from weft_engine.records.sound import read_record
from weft_engine.sync.end.questions import answer
from weft_engine.sync.framing.messages import Window
from weft_engine.sync.interest import EVERYTHING, Interest


def sound_world(seed: int, *, steps: int) -> World:
    """A world without the records that every replica refuses, and without what depends on them:
    an author whose clock is behind may have set another one's later id."""
    world = make_world(seed, steps=steps)
    records: list[Record] = []
    out: set[RecordHash] = set()
    for record in world.records:
        try:
            read_record(record.envelope_bytes, record.payload)
        except MalformedRecord:
            out.add(record.hash)
        if out.isdisjoint((record.hash, *record.envelope.parents)):
            records.append(record)
        else:
            out.add(record.hash)
    return World(records, [item for item in world.items if item.tip not in out])


async def share_out(rng: random.Random, world: World, into: list[Store]) -> None:
    """Each record to one replica or more, with its past, in some causal order; signatures for all
    of them or only now and then."""
    items = {item.tip: item for item in world.items}
    by_hash = {record.hash: record for record in world.records}
    for store in into:
        held: set[RecordHash] = set()
        for record in rng.sample(world.records, rng.randint(0, len(world.records))):
            todo = [record.hash]
            while todo:
                hash_ = todo.pop()
                if hash_ not in held:
                    held.add(hash_)
                    todo.extend(by_hash[hash_].envelope.parents)
        records = [r for r in causal_shuffle(rng, world.records) if r.hash in held]
        while records:
            size = rng.randint(1, 12)
            batch, records = records[:size], records[size:]
            outcome = await store.admit(batch, [items[record.hash] for record in batch])
            assert not outcome.refused
    # What nobody was given goes to the first.
    given_out = {hash_ for store in into for hash_ in await store.hashes()}
    rest = [r for r in causal_shuffle(rng, world.records) if r.hash not in given_out]
    if rest:
        await into[0].admit(world.records, world.items)


async def check_acknowledged(pair: tuple[End, End]) -> None:
    """Everything that an end takes for durable at the other is in the other's journal."""
    for end, other in (pair, pair[::-1]):
        durable = end.session.progress.durable_upto()
        ours = await end.store.hashes()
        theirs = set(await other.store.hashes())
        upto = Position(0) if durable is None else durable
        assert theirs.issuperset(ours[:upto])


@given(
    seed=st.integers(0, 2**32),
    steps=st.integers(0, 40),
    count=st.integers(2, 3),
    window=st.sampled_from([None, Window(1, 1), Window(2, 400)]),
    are_regions=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_replicas_meet_whatever_happens(
    seed: int, steps: int, count: int, window: Window | None, are_regions: bool
) -> None:
    """Regions compare trees, others lists."""
    names = ("r0", "r1", "r2") if are_regions else (None, None, None)

    async def run() -> None:
        rng = random.Random(seed)
        world = sound_world(seed, steps=steps)
        async with stores(count, seed=seed) as some:
            await share_out(rng, world, some)
            for _ in range(3):
                pairs = [
                    link(
                        some[i],
                        some[i + 1],
                        windows=(window, None),
                        regions=(names[i], names[i + 1]),
                    )
                    for i in range(count - 1)
                ]
                for _ in range(3):
                    await wander(rng, rng.randint(0, 40), *pairs)
                    writer = rng.choice(some)
                    await writer.write(rng.choice(["world/one", "live/1", "live/2"]), "live")
                    for pair in pairs:
                        await check_acknowledged(pair)
                for pair in pairs:
                    assert [end.session.end for end in pair] == [None, None]
                    cut(pair)
            pairs = [
                link(some[i], some[i + 1], regions=(names[i], names[i + 1]))
                for i in range(count - 1)
            ]
            await settle(*pairs)
            prints = [await store.fingerprints() for store in some]
            assert prints[1:] == prints[:-1]
            assert {r.hash for r in world.records} <= set(await some[-1].hashes())
            assert [await store.waiting() for store in some] == [0] * count
            assert all(end.session.progress.is_synced for pair in pairs for end in pair)
            for pair in pairs:
                cut(pair)
            again = [
                link(some[i], some[i + 1], regions=(names[i], names[i + 1]))
                for i in range(count - 1)
            ]
            await settle(*again)
            assert [end.records_sent for pair in again for end in pair] == [[]] * 2 * (count - 1)

    asyncio.run(run())


@given(seed=st.integers(0, 2**32), steps=st.integers(1, 60))
@settings(max_examples=25, deadline=None)
def test_a_chain_signed_now_and_then_arrives(seed: int, steps: int) -> None:
    """Signatures are kept for few records only, so that stretches end anywhere in a frame."""

    async def run() -> None:
        rng = random.Random(seed)
        world = sound_world(seed, steps=steps)
        records = causal_shuffle(rng, world.records)
        items = {item.tip: item for item in world.items}
        async with stores(3, seed=seed) as (a, b, c):
            # A signature at every tip that nothing continues covers all; a few more, by chance.
            continued = {r.envelope.prev for r in records}
            signed = [r.hash for r in records if r.hash not in continued or rng.random() < 0.2]
            await a.admit(records, [items[hash_] for hash_ in signed])
            assert len(await a.hashes()) == len(records)
            left, right = link(a, b, windows=(Window(1, 1), None)), link(b, c)
            await wander(rng, 60, left, right)
            await settle(left, right)
            assert await a.fingerprints() == await b.fingerprints() == await c.fingerprints()
            assert await b.waiting() == await c.waiting() == 0

    asyncio.run(run())


async def part(pair: tuple[End, End]) -> None:
    """As `cut`, and the client keeps how far it came."""
    cut(pair)
    question = pair[0].session.cursors.last()
    if question is not None:
        await pair[0].store.journal.write(lambda connection: answer(connection, question))


@given(
    seed=st.integers(0, 2**32),
    steps=st.integers(0, 30),
    clients=st.integers(1, 2),
    window=st.sampled_from([None, Window(1, 1), Window(2, 400)]),
)
@settings(max_examples=40, deadline=None)
def test_clients_that_resume_miss_nothing(
    seed: int, steps: int, clients: int, window: Window | None
) -> None:
    """Whatever is under way when a link breaks, and whoever writes meanwhile."""

    async def run() -> None:
        rng = random.Random(seed)
        names = ["world/one", "live/1", "live/2", "live/3"]
        world = sound_world(seed, steps=steps)
        now_ms = 0
        async with stores(clients + 1, seed=seed) as some:
            relay, *ends = some
            await share_out(rng, world, some)

            def dial(client: Store, interest: Interest) -> tuple[End, End]:
                asks = End(client, interest=interest, window=rng.choice((window, None)))
                return asks, End(relay, region="eu")

            async def check(pair: tuple[End, End]) -> None:
                """An end of a narrow link speaks of what the link is about only."""
                if all(end.session.interest == EVERYTHING for end in pair):
                    await check_acknowledged(pair)

            asked = dict.fromkeys(range(clients), EVERYTHING)
            for _ in range(rng.randint(2, 5)):
                pairs = [dial(client, asked[i]) for i, client in enumerate(ends)]
                for _ in range(rng.randint(1, 4)):
                    await wander(rng, rng.randint(0, 60), *pairs)
                    if rng.random() < 0.7:
                        await rng.choice(some).write(rng.choice(names), "live")
                    if rng.random() < 0.3:
                        i = rng.randrange(clients)
                        few = Interest.of(contexts=rng.sample(names, 2))
                        asked[i] = rng.choice((EVERYTHING, few))
                        pairs[i][0].session.ask(asked[i])
                    now_ms += rng.choice((0, 400, 1100))
                    for pair in pairs:
                        for end in pair:
                            end.session.tick(now_ms)
                        await check(pair)
                if rng.random() < 0.4:
                    await settle(*pairs)
                assert [end.session.end for pair in pairs for end in pair] == [None, None] * clients
                for pair in pairs:
                    if rng.random() < 0.8:
                        await part(pair)
                    else:
                        cut(pair)
                if rng.random() < 0.5:
                    await rng.choice(some).write(rng.choice(names), "offline")
            pairs = [dial(client, EVERYTHING) for client in ends]
            await settle(*pairs)
            prints = [await store.fingerprints() for store in some]
            assert prints[1:] == prints[:-1]
            assert all(end.session.progress.is_synced for pair in pairs for end in pair)
            for pair in pairs:
                for end in pair:
                    end.session.tick(now_ms + 5_000)
            await settle(*pairs)
            for pair in pairs:
                await part(pair)
            again = [dial(client, EVERYTHING) for client in ends]
            await settle(*again)
            assert [end.records_sent for pair in again for end in pair] == [[], []] * clients

    asyncio.run(run())

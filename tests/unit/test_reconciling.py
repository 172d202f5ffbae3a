"""Two regions compare trees instead of lists."""

from __future__ import annotations

import asyncio

from tests.linked import End, Store, settle, stores
from weft_engine.sync.framing.messages import Branches, Compared, Contexts, Frontier, Tree


def regions(a: Store, b: Store) -> tuple[End, End]:
    return End(a, region="eu"), End(b, region="us")


def kinds(end: End) -> list[str]:
    wanted = (Tree, Branches, Compared, Frontier, Contexts)
    return [type(m).__name__ for m in end.sent if isinstance(m, wanted)]


def test_equal_stores_agree_in_two_messages() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            first = regions(a, b)
            for index in range(40):
                await a.write(f"acme/{index}", "hello")
            await settle(first)
            assert await a.fingerprints() == await b.fingerprints()
            for end in first:
                end.session.lost("cut")
                end.stop()
            again = regions(a, b)
            await settle(again)
            assert [kinds(end) for end in again] == [["Tree"], ["Tree"]]
            assert [end.session.state for end in again] == ["live", "live"]
            assert sum(end.session.cost.bytes_sent for end in again) <= 64
            assert [end.records_sent for end in again] == [[], []]

    asyncio.run(run())


async def compared(a: Store, b: Store) -> tuple[End, End]:
    """Link them until nothing moves; both ends are content, and alike."""
    pair = regions(a, b)
    await settle(pair)
    assert [end.session.end for end in pair] == [None, None]
    assert [end.session.state for end in pair] == ["live", "live"]
    assert all(end.session.progress.is_synced for end in pair)
    assert await a.fingerprints() == await b.fingerprints()
    return pair


def part(pair: tuple[End, End]) -> None:
    for end in pair:
        end.session.lost("cut")
        end.stop()


def test_an_empty_region_gets_everything() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            for index in range(200):
                await a.write(f"acme/{index}", "hello")
            pair = await compared(a, b)
            assert "Branches" not in kinds(pair[0]) + kinds(pair[1])
            assert len(await b.hashes()) == 200

    asyncio.run(run())


def test_what_differs_is_found_whoever_has_it() -> None:
    """One more record at either end, other ones at both, and contexts that one has only."""

    async def run() -> None:
        async with stores(2) as (a, b):
            for index in range(300):
                await a.write(f"acme/{index}", "hello")
            part(await compared(a, b))
            await a.write("acme/17", "more")
            await b.write("acme/18", "more")
            await a.write("acme/19", "one")
            await b.write("acme/19", "other")
            await a.write("acme/at-a", "new")
            await b.write("acme/at-b", "new")
            pair = await compared(a, b)
            announced = [
                {m.context.removeprefix("acme/") for m in end.sent if isinstance(m, Frontier)}
                for end in pair
            ]
            assert announced == [{"17", "18", "19", "at-a"}, {"17", "18", "19", "at-b"}]
            assert [len(end.records_sent) for end in pair] == [3, 3]
            assert [end.session.cost.contexts for end in pair] == [4, 4]

    asyncio.run(run())


def test_everything_differs() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            for index in range(120):
                await a.write(f"acme/{index}", "one")
                await b.write(f"acme/{index}", "other")
            await compared(a, b)

    asyncio.run(run())

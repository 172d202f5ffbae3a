"""Two regions compare trees instead of lists."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.linked import End, Store, settle, stores, wander
from weft_engine.errors import MachineError
from weft_engine.names import ContextName, RecordHash
from weft_engine.sync.driving.kept_tree import KeptTree, Read
from weft_engine.sync.end.regions.tree_questions import ReadTree
from weft_engine.sync.framing.frames import encode
from weft_engine.sync.framing.messages import Branches, Compared, Contexts, Frontier, Tree, Zoom
from weft_engine.sync.framing.messages import Message as Frame
from weft_engine.sync.interest import EVERYTHING, Interest


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


def test_what_is_written_meanwhile_arrives() -> None:
    """Whatever is written between any two steps of a comparison arrives."""

    async def run(seed: int) -> None:
        rng = random.Random(seed)
        async with stores(2, seed=seed) as (a, b):
            for index in range(60):
                await a.write(f"acme/{index}", "hello")
            part(await compared(a, b))
            for index in range(5):
                await a.write(f"acme/{index}", "more")
                await b.write(f"acme/{index + 3}", "more")
            pair = regions(a, b)
            for step in range(60):
                await wander(rng, 2, pair)
                await rng.choice((a, b)).write(f"acme/{rng.randrange(70)}", f"at {step}")
            await settle(pair)
            assert [end.session.end for end in pair] == [None, None]
            assert all(end.session.progress.is_synced for end in pair)
            assert await a.fingerprints() == await b.fingerprints()

    for seed in range(6):
        asyncio.run(run(seed))


def test_a_smaller_interest_is_compared_by_a_tree_of_its_own() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            for index in range(40):
                await a.write(f"acme/{index}", "hello")
                await b.write(f"other/{index}", "hello")
            await b.write("one", "hello")
            asked = Interest.of(contexts=["one", "two"], prefixes=["acme/3"])
            pair = (
                End(a, region="eu", interest=EVERYTHING),
                End(b, region="us", interest=asked),
            )
            await settle(pair)
            assert [end.session.state for end in pair] == ["live", "live"]
            assert set(await a.fingerprints()) == {"one", *(f"acme/{i}" for i in range(40))}
            there = {name for name in await b.fingerprints() if name.startswith("acme/")}
            assert there == {"acme/3", *(f"acme/3{i}" for i in range(10))}

    asyncio.run(run())


def test_the_kept_tree_follows_the_journal() -> None:
    """Brought up, it is what a new one would be."""

    async def run() -> None:
        async with stores(1) as (a,):
            kept = KeptTree(a.journal)
            everything = ReadTree(EVERYTHING)
            for index in range(50):
                await a.write(f"acme/{index}", "hello")
            first = await kept.read(everything, a.journal.read)
            assert first.position == 50
            assert first.tree.count == 50
            before = first.tree.value()
            for index in range(45, 60):
                await a.write(f"acme/{index}", "more")
            assert first.tree.value() == before
            again, both = await asyncio.gather(
                kept.read(everything, a.journal.read), kept.read(everything, a.journal.read)
            )
            assert again.tree is first.tree is both.tree
            assert again.position == 65
            made = await KeptTree(a.journal).read(everything, a.journal.read)
            assert made.tree.value() == again.tree.value() != before

    asyncio.run(run())


def test_a_tree_that_is_far_behind_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with stores(1) as (a,):
            kept = KeptTree(a.journal)
            await a.write("acme/0", "hello")
            first = await kept.read(ReadTree(EVERYTHING), a.journal.read)
            for index in range(4):
                assert kept.is_behind == (index > 2)
                await a.write(f"acme/{index}", "more")
            again = await kept.read(ReadTree(EVERYTHING), a.journal.read)
            assert again.tree is not first.tree
            assert again.tree.count == 4
            assert again.position == 5

    monkeypatch.setattr("weft_engine.sync.driving.kept_tree.TREE_BEHIND_CONTEXTS", 3)
    monkeypatch.setattr("weft_engine.sync.driving.kept_tree.TREE_BEHIND_CONTEXTS_MAX", 3)
    asyncio.run(run())


def test_a_tree_that_could_not_be_read_is_brought_up_later() -> None:
    async def run() -> None:
        async with stores(1) as (a,):
            kept = KeptTree(a.journal)
            await a.write("acme/0", "hello")
            first = await kept.read(ReadTree(EVERYTHING), a.journal.read)
            before = first.tree.value()
            await a.write("acme/0", "more")

            async def fails(_: object) -> object:
                raise MachineError("no room")

            with pytest.raises(MachineError):
                await kept.bring_up(cast(Read, fails))
            assert first.tree.value() == before
            await kept.bring_up(a.journal.read)
            assert first.tree.value() != before

    asyncio.run(run())


def test_a_client_compares_no_trees() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            pair = End(a), End(b, region="eu")
            await settle(pair)
            pair[1].session.receive(encode(Tree(0, bytes(8), bytes(8))))
            end = pair[1].session.end
            assert end is not None
            assert "only regions compare trees" in end.reason

    asyncio.run(run())


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (Contexts((), True), "regions compare trees"),
        (Compared(0), "before its tree"),
        (Branches((), (), ()), "before its tree"),
        (Frontier(ContextName("a"), (RecordHash(bytes(32)),), ()), "before its tree"),
    ],
)
def test_what_has_no_place_before_the_trees(message: Frame, complaint: str) -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            pair = regions(a, b)
            pair[0].flush(pair[1])
            pair[1].read_one()
            pair[1].session.receive(encode(message))
            end = pair[1].session.end
            assert end is not None
            assert complaint in end.reason

    asyncio.run(run())


def test_a_second_tree_comes_behind_the_comparison_only() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            pair = regions(a, b)
            pair[0].flush(pair[1])
            pair[1].read_one()
            for _ in range(2):
                assert pair[1].session.end is None
                pair[1].session.receive(encode(Tree(0, bytes(8), bytes(8))))
            end = pair[1].session.end
            assert end is not None
            assert "a second tree" in end.reason

    asyncio.run(run())


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (Compared(0), "a compared of 0"),
        (Branches((), (), ()), "out of turn"),
        (Frontier(ContextName("a"), (RecordHash(bytes(32)),), ()), "no frontier of context 'a'"),
    ],
)
def test_what_has_no_place_behind_the_comparison(message: Frame, complaint: str) -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            pair = await compared(a, b)
            pair[1].session.receive(encode(message))
            end = pair[1].session.end
            assert end is not None
            assert complaint in end.reason

    asyncio.run(run())


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_random_trees_end_the_link_or_are_bounded_work(data: st.DataObject) -> None:
    """A peer that says anything gets an orderly bye, or goes on."""

    async def run() -> None:
        async with stores(1) as (a,):
            for index in range(3):
                await a.write(f"acme/{index}", "hello")
            end = End(a, region="eu")
            end.session.receive(encode(replace(end.session.hello, store=bytes(16), region="us")))
            end.session.receive(encode(Tree(40, bytes(8), bytes(8))))
            paths = st.integers(1, 40)
            digests = st.binary(max_size=20).map(lambda some: some[: len(some) // 5 * 5])
            for _ in range(data.draw(st.integers(1, 6))):
                if data.draw(st.booleans()):
                    while await end.ask_one():
                        pass
                end.session.frames_to_send()
                message = Branches(
                    tuple(
                        (path, 1, bytes(data.draw(st.binary(min_size=10, max_size=10))))
                        for path in data.draw(st.lists(paths, max_size=3))
                    ),
                    tuple(data.draw(st.lists(st.tuples(paths, digests), max_size=3))),
                    tuple(data.draw(st.lists(st.tuples(paths, digests), max_size=2))),
                    data.draw(st.booleans()),
                )
                end.receive(encode(message))
            assert end.session.end is None or end.session.end.code == "malformed"
            end.stop()

    asyncio.run(run())


# ---- in windows -------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """So many contexts are announced at once."""
    for module in ("reconciling", "unannounced"):
        monkeypatch.setattr(f"weft_engine.sync.end.regions.{module}.CONTEXTS_PER_QUESTION", 2)
    monkeypatch.setattr("weft_engine.sync.end.regions.reconciling.ANNOUNCED_AT_ONCE", 6)
    return 6


async def watched(pair: tuple[End, End], seed: int) -> int:
    """Move both until nothing moves; the most contexts that one had announced and was not through
    with."""
    rng, most = random.Random(seed), 0
    for _ in range(20_000):
        is_moving = False
        for end, other in rng.sample([pair, pair[::-1]], 2):
            end.flush(other)
            is_moving |= end.read_one() or await end.ask_one()
            zooming = end.session.between._subject.zooming
            most = max(most, 0 if zooming is None else zooming.led)
        if not is_moving:
            break
    await settle(pair)
    assert [end.session.end for end in pair] == [None, None]
    assert all(end.session.progress.is_synced for end in pair)
    return most


@pytest.mark.parametrize("seed", range(4))
def test_of_many_that_differ_a_few_are_announced_at_once(few: int, seed: int) -> None:
    """Whatever is at which end: what one has only, what both have, and what both have written."""

    async def run() -> None:
        rng = random.Random(seed)
        async with stores(2, seed=seed) as (a, b):
            for index in range(60):
                await a.write(f"acme/{index}", "hello")
            part(await compared(a, b))
            for index in range(90):
                for store in (a, b):
                    if rng.random() < (0.2, 0.5, 0.5, 1.0)[seed]:
                        await store.write(f"acme/{index}", "more")
            pair = regions(a, b)
            assert 2 <= await watched(pair, seed) <= few
            assert await a.fingerprints() == await b.fingerprints()
            for end in pair:
                names = [m.context for m in end.sent if isinstance(m, Frontier)]
                assert len(names) == len(set(names)), "each is announced once"

    asyncio.run(run())


def test_a_region_joins_in_windows(few: int) -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            for index in range(120):
                await a.write(f"acme/{index}", "hello")
            assert await watched(regions(a, b), 1) == few
            assert await a.fingerprints() == await b.fingerprints()

    asyncio.run(run())


def test_what_moves_before_it_is_announced_is_announced_next(few: int) -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            for index in range(120):
                await a.write(f"acme/{index}", "hello")
            pair = regions(a, b)
            while not any(isinstance(m, Frontier) for m in pair[0].sent):
                for end, other in (pair, pair[::-1]):
                    end.flush(other)
                    if not end.read_one():
                        await end.ask_one()
            told = {m.context for m in pair[0].sent if isinstance(m, Frontier)}
            late = [f"acme/{i}" for i in range(120) if f"acme/{i}" not in told]
            await a.write(late[-1], "more")
            await a.write("acme/new", "hello")
            while await pair[0].ask_one():
                pass
            pair[0].flush(pair[1])
            told = {m.context for m in pair[0].sent if isinstance(m, Frontier)}
            assert late[-1] in told
            assert len(told) <= few + 1, "beside what there was room for"
            await settle(pair)
            assert [end.session.end for end in pair] == [None, None]
            assert await a.fingerprints() == await b.fingerprints()

    asyncio.run(run())


def test_what_is_written_meanwhile_arrives_in_windows(few: int) -> None:
    async def run(seed: int) -> None:
        rng = random.Random(seed)
        async with stores(2, seed=seed) as (a, b):
            for index in range(40):
                await a.write(f"acme/{index}", "hello")
            part(await compared(a, b))
            for index in range(60):
                await rng.choice((a, b)).write(f"acme/{index}", "more")
            pair = regions(a, b)
            for step in range(80):
                await wander(rng, 2, pair)
                await rng.choice((a, b)).write(f"acme/{rng.randrange(70)}", f"at {step}")
            await settle(pair)
            assert [end.session.end for end in pair] == [None, None]
            assert all(end.session.progress.is_synced for end in pair)
            assert await a.fingerprints() == await b.fingerprints()

    for seed in range(6):
        asyncio.run(run(seed))


def test_who_answers_does_not_announce_any_more() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            await a.write("c/1", "hello")
            pair = regions(a, b)
            while not any(isinstance(m, Frontier) for m in pair[0].sent):
                for end, other in (pair, pair[::-1]):
                    end.flush(other)
                    if not end.read_one():
                        await end.ask_one()
            name = ContextName("c/1")
            session = pair[0].session
            session.receive(encode(Zoom(name, 1, b"\x00", False)))
            assert session.end is None
            session.receive(encode(Frontier(name, (RecordHash(bytes(32)),), ())))
            assert session.end is not None
            assert "no frontier of context 'c/1' is due" in session.end.reason
            part(pair)

    asyncio.run(run())

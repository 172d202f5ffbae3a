"""A cut never changes: what a context showed once, any replica that holds those records shows
again, whatever it has learned since and in whatever order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.test_replica import CONTEXT, act
from tests.stores import Clock, all_records, folder, give, open_replica
from tests.worlds import CONTEXT as WORLD
from tests.worlds import causal_shuffle, make_world
from weft_engine.names import RecordHash
from weft_engine.records.clock import hlc_ms
from weft_engine.records.envelope import Record
from weft_engine.records.frontier import Frontier, advance
from weft_engine.records.identity import SignatureItem
from weft_engine.replica.context import Context
from weft_engine.replica.past import Past
from weft_engine.replica.replica import Replica
from weft_engine.replica.settings import Settings
from weft_engine.views.receipt import Receipt


@dataclass(frozen=True)
class Shown:
    """Everything that a context shows of itself, positions in this store left out."""

    frontier: Frontier
    fingerprint: str
    history: list[tuple[object, ...]]
    backwards: list[str]
    events: list[tuple[object, ...]]
    problems: list[tuple[str, str]]
    export: list[str]
    note: str
    settings: Settings
    view: list[dict[str, object]]
    wide: str


async def shown(context: Context | Past) -> tuple[Shown, list[Receipt]]:
    view = await context.view()
    wide = await context.view(budget=100_000)
    return (
        Shown(
            await context.frontier(),
            await context.fingerprint(),
            [(one.id, one.event, one.time_ms, one.tokens) async for one in context.history()],
            [one.id async for one in context.history(newest_first=True)],
            [(one.id, one.event, one.time_ms, one.tokens) async for one in context.events()],
            sorted(await context.problems()),
            await context.export(),
            await context.note("plan").text(),
            await context.settings(),
            view.openai(),
            wide.fingerprint,
        ),
        [view.receipt, wide.receipt],
    )


async def deliver(target: Replica, records: list[Record], items: list[SignatureItem]) -> None:
    outcome = await target.journal.admit(records, items, session=b"test", now_ms=target.now_ms())
    assert not outcome.refused
    assert not outcome.parked


async def story(seed: int, steps: int) -> None:
    rng = random.Random(seed)
    with folder() as place:
        ahead_ms = rng.choice([0, 40, 3_600_000])
        replicas = [
            open_replica(place / "a.db"),
            open_replica(place / "b.db", clock=Clock(1_700_000_000_000 + ahead_ms)),
        ]
        third = open_replica(place / "c.db")
        moments: list[tuple[Shown, list[Receipt]]] = []
        try:
            for _ in range(steps):
                index = rng.randrange(2)
                await act(rng, replicas[index], replicas[1 - index])
                if rng.random() < 0.3:
                    moments.append(await shown(replicas[index].context(CONTEXT)))
            await give(replicas[0], replicas[1])
            stored = await all_records(replicas[1])
            items = await replicas[1].signature_items(stored)
            records = [one.record for one in stored]
            await deliver(third, causal_shuffle(rng, records), items)
            for replica in (replicas[1], third):
                await check_moments(replica, moments)
            await check_times(rng, third, records)
        finally:
            for replica in (*replicas, third):
                await replica.close()
        async with open_replica(place / "c.db", readonly=True) as reader:
            await check_moments(reader, moments)


async def check_moments(replica: Replica, moments: list[tuple[Shown, list[Receipt]]]) -> None:
    chat = replica.context(CONTEXT)
    for then, receipts in moments:
        again, _ = await shown(chat.at(then.frontier))
        assert again == then
        for receipt in receipts:
            view = await chat.at(receipt).view()
            assert view.receipt == receipt
            assert view.fingerprint == (await chat.replay(receipt)).fingerprint


def past_of(heads: Iterable[RecordHash], held: dict[RecordHash, Record]) -> set[RecordHash]:
    found: set[RecordHash] = set()
    left = list(heads)
    while left:
        hash_ = left.pop()
        if hash_ not in found:
            found.add(hash_)
            left.extend(held[hash_].envelope.parents)
    return found


def naive_cut(records: list[Record], time_ms: int) -> Frontier:
    """The definition, word for word."""
    held = {record.hash: record for record in records}
    inside = {
        hash_
        for hash_ in held
        if all(
            hlc_ms(held[one].envelope.hlc) <= time_ms for one in past_of([hash_], held) | {hash_}
        )
    }
    beneath = {parent for hash_ in inside for parent in held[hash_].envelope.parents}
    return tuple(sorted(inside - beneath))


async def check_times(rng: random.Random, replica: Replica, records: list[Record]) -> None:
    chat = replica.context(CONTEXT)
    times = sorted({hlc_ms(record.envelope.hlc) for record in records})
    for time_ms in [0, *rng.sample(times, min(4, len(times)))]:
        for at in (time_ms - 1, time_ms):
            assert await chat.at(at).frontier() == naive_cut(records, at)


@given(seed=st.integers(0, 2**32), steps=st.integers(1, 20))
@settings(max_examples=25, deadline=None)
def test_what_was_shown_once_is_shown_again(seed: int, steps: int) -> None:
    asyncio.run(story(seed, steps))


async def hostile(seed: int, steps: int, place: Path) -> None:
    rng = random.Random(seed)
    world = make_world(seed, steps=steps)
    order = causal_shuffle(rng, world.records)
    held = {record.hash: record for record in order}
    async with open_replica(place / "all.db") as everything:
        await deliver(everything, order, world.items)
        chat = everything.context(WORLD)
        if rng.random() < 0.5:
            await shown(chat)  # brings the index up; else the cut comes first
        for number in range(3):
            cut: Frontier = ()
            some = rng.sample(order, min(len(order), rng.randint(1, 3)))
            inside = past_of([record.hash for record in some], held)
            known = [record for record in order if record.hash in inside]
            for record in known:
                cut = advance(cut, record.envelope.parents, record.hash)
            async with open_replica(place / f"{number}.db") as fresh:
                items = [item for item in world.items if item.tip in inside]
                await deliver(fresh, causal_shuffle(rng, known), items)
                expected, _ = await shown(fresh.context(WORLD))
            # Named by its maximal records, or by more of its past.
            named = [record.hash for record in some] + rng.sample(
                sorted(inside), min(len(inside), 2)
            )
            assert (await shown(chat.at(named)))[0] == expected
            assert expected.frontier == cut


@given(seed=st.integers(0, 2**32), steps=st.integers(2, 40))
@settings(max_examples=40, deadline=None)
def test_a_cut_is_what_a_replica_with_those_records_only_shows(seed: int, steps: int) -> None:
    with folder() as place:
        asyncio.run(hostile(seed, steps, place))

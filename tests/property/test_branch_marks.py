"""Replicas that branch off, state facts, pin, hide, revoke and compact on every branch, and
meet in any order: each branch has the same marks on all of them, and the ones it had at a cut."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.test_replica import FILE
from tests.stores import Clock, folder, give, open_replica
from tests.summaries import by_definition, stands
from weft_engine.errors import Conflict, NotFound
from weft_engine.events.event import Message
from weft_engine.formats.openai_chat import import_conversation
from weft_engine.names import EventId
from weft_engine.records.frontier import Frontier
from weft_engine.replica.context import Context
from weft_engine.replica.replica import Replica
from weft_engine.storage.lineage import Lineage
from weft_engine.storage.marks import load_marks
from weft_engine.storage.verify import verify
from weft_engine.views.marks import Marks

NAME = "world/chat"


async def marks(replica: Replica, branch: EventId | None) -> tuple[object, ...]:
    name = replica.context(NAME).name
    found = await replica.ask(name, lambda table, _: load_marks(Lineage(table, branch)))
    return () if found is None else comparable(found)


async def marks_at(replica: Replica, branch: EventId | None, cut: Frontier) -> tuple[object, ...]:
    name = replica.context(NAME).name
    try:
        return comparable(
            await replica.ask_at(name, cut, lambda table, _: load_marks(Lineage(table, branch)))
        )
    finally:
        await replica.cuts.forget(name)


def comparable(found: Marks) -> tuple[object, ...]:
    return (found.pins, found.hidden, found.facts, found.summary, found.closes)


async def branches_of(replica: Replica) -> list[EventId | None]:
    return [None, *(info.id for info in await replica.context(NAME).branches())]


async def act(rng: random.Random, replica: Replica, other: Replica) -> None:
    with suppress(Conflict):  # the branch was set aside by a revoke: it takes nothing more
        await _act(rng, replica, other)


async def _act(rng: random.Random, replica: Replica, other: Replica) -> None:
    main = replica.context(NAME)
    chat = main.on(rng.choice(await branches_of(replica)))
    page = await chat.page(limit=1000) if await main.frontier() else []
    some = rng.choice(page).id if page else None
    match rng.randrange(13):
        case 0 | 1:
            await chat.append(f"question {rng.randrange(1000)}")
            await chat.append({"content": "answer", "role": "assistant"}, view=await chat.view())
        case 2:
            await chat.append(["one", {"content": "two", "role": "assistant"}, "three"])
        case 3 | 4:
            if page:
                await chat.branch("b", at=rng.choice([some, None]))
        case 5:
            await chat.fact(rng.choice("xy"), rng.randrange(100), rule="union")
        case 6:
            if some is not None:
                await chat.pin(some)
        case 7:
            if some is not None:
                await chat.hide(some)
        case 8 | 9:
            await chat.compact(lambda _: f"summary {rng.randrange(1000)}", keep=rng.choice([0, 20]))
        case 10:
            said = [
                one.id async for one in chat.events() if not isinstance(one.event.body, Message)
            ]
            if said:
                with suppress(NotFound):  # of another branch
                    await chat.revoke(rng.choice(said))
        case 11:
            await chat.import_messages(import_conversation(FILE)[: rng.randint(1, 5)])
        case _:
            await give(other, replica)


async def check(replica: Replica) -> None:
    for branch in await branches_of(replica):
        chat: Context = replica.context(NAME).on(branch)
        found = await marks(replica, branch)
        if not found:
            continue
        assert found == await marks_at(replica, branch, await chat.frontier())
        assert await stands(replica, NAME, branch) == await by_definition(replica, chat)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_branch_has_the_same_marks_everywhere(seed: int) -> None:
    async def run() -> None:
        rng = random.Random(seed)
        with folder() as place:
            clock = Clock()
            async with (
                open_replica(place / "a.db", clock=clock) as one,
                open_replica(place / "b.db", clock=clock) as two,
                open_replica(place / "c.db", clock=clock) as last,
            ):
                pair = [one, two]
                past: list[tuple[EventId | None, Frontier, tuple[object, ...]]] = []
                for _ in range(rng.randint(6, 18)):
                    rng.shuffle(pair)
                    await act(rng, *pair)
                    branch = rng.choice(await branches_of(pair[0]))
                    cut = await pair[0].context(NAME).frontier()
                    if cut:
                        past.append((branch, cut, await marks(pair[0], branch)))
                    if rng.random() < 0.3:
                        await check(pair[0])
                # Each hears of the rest in another order.
                await give(one, last)
                await give(two, one)
                await give(one, two)
                await give(two, last)
                for replica in (one, two, last):
                    await check(replica)
                for branch in await branches_of(one):
                    expected = await marks(one, branch)
                    assert expected == await marks(two, branch) == await marks(last, branch)
                for branch, cut, were in rng.sample(past, min(4, len(past))):
                    assert await marks_at(last, branch, cut) == were
            report = verify(place / "a.db", progress=lambda *_: None)
            assert report.is_sound, report.findings

    asyncio.run(run())

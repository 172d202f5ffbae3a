"""Compactions on several replicas that also write, hide, revoke, erase and meet: the summary that
stands is the one the definition gives, is the same everywhere, and what is remembered of it is what
a fresh look finds."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.erasing import linked
from tests.property.test_replica import FILE
from tests.stores import Clock, all_records, folder, give, open_replica
from tests.summaries import by_definition, stands, stands_at
from weft_engine.events.event import Body, Event, Hide, Revoke, Summary
from weft_engine.formats.openai_chat import import_conversation
from weft_engine.names import EventId
from weft_engine.records.frontier import Frontier
from weft_engine.replica.context import Context
from weft_engine.replica.replica import Replica
from weft_engine.replica.summarizing import ToSummarize
from weft_engine.views.marks import StandingSummary

CONTEXT = "world/chat"


async def put(replica: Replica, chat: Context, body: Body) -> EventId:
    (id_,) = await replica.scribe.append(chat.name, [lambda _: Event("test", body)])
    return id_


async def some_event(rng: random.Random, chat: Context, *kinds: type[Body]) -> EventId | None:
    found = [said.id async for said in chat.events() if isinstance(said.event.body, kinds)]
    return rng.choice(found) if found else None


async def act(rng: random.Random, replica: Replica, other: Replica) -> None:
    chat = replica.context(CONTEXT)
    match rng.randrange(13):
        case 0 | 1:
            await chat.append(f"question {rng.randrange(1000)}")
            await chat.append({"content": "answer", "role": "assistant"}, view=await chat.view())
        case 2:
            view = await chat.view()
            await chat.append("meanwhile")
            await chat.append({"content": "answer", "role": "assistant"}, view=view)
        case 3:
            call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            await chat.append({"content": None, "role": "assistant", "tool_calls": [call]})
            if rng.random() < 0.7:
                await chat.append({"role": "tool", "tool_call_id": "c", "content": "42"})
        case 4:
            await chat.append(["one", {"content": "two", "role": "assistant"}, "three"])
        case 5:
            await chat.import_messages(import_conversation(FILE)[: rng.randint(1, 5)])
        case 6 | 7 | 8:
            await compact(rng, replica, chat)
        case 9:
            await give(other, replica)
        case 10:
            target = await some_event(rng, chat, Summary, Revoke)
            if target is not None:
                await put(replica, chat, Revoke(target))
        case 11:
            page = await chat.page(limit=100)
            if page:
                await put(replica, chat, Hide(rng.choice(page).id))
        case _:
            await give(replica, other)


async def compact(rng: random.Random, replica: Replica, chat: Context) -> None:
    before = {one.record.hash: one.record.payload for one in await all_records(replica)}
    said = [one.event for one in await chat.page(limit=1000)]

    def summarizer(what: ToSummarize) -> str:
        assert what.count
        assert len(what.messages) >= 1
        return f"summary of {what.count}, {rng.randrange(1000)}"

    id_ = await chat.compact(summarizer, keep=rng.choice([0, 5, 20, 60]))
    after = {one.record.hash: one.record.payload for one in await all_records(replica)}
    assert after.items() >= before.items(), "history is as it was"
    assert [one.event for one in await chat.page(limit=1000)] == said
    if id_ is None:
        assert after == before
        return
    (new,) = [one for one in await chat.summaries() if one.id == id_]
    assert new.state.value == "stands", "what was made just now covers more than what stood"
    async for one in chat.events(newest_first=True):
        if one.id == id_:
            assert isinstance(one.event.body, Summary)
            covers = one.event.body.covers
            assert await chat.at(covers).frontier() == covers, "it names no more than it must"
            break


async def check(replica: Replica) -> None:
    chat = replica.context(CONTEXT)
    remembered = await stands(replica, CONTEXT)
    assert remembered == await stands(replica, CONTEXT)
    assert remembered == await stands_at(replica, chat)
    assert remembered == await by_definition(replica, chat)
    if remembered is None:
        return
    order = [said.id for said in await chat.page(limit=1000)]
    end = order.index(remembered.last) + 1
    assert remembered.late < set(order[:end])
    assert remembered.last not in remembered.late
    assert len(order[:end]) - len(remembered.late) == remembered.count


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), erases=st.booleans())
def test_the_summary_that_stands_is_the_one_the_definition_gives(seed: int, erases: bool) -> None:
    async def run() -> None:
        rng = random.Random(seed)
        with folder() as place:
            clock = Clock()
            async with (
                open_replica(place / "a.db", clock=clock) as one,
                open_replica(place / "b.db", clock=clock) as other,
            ):
                pair = [one, other]
                past: list[tuple[Frontier, StandingSummary | None]] = []
                for _ in range(rng.randint(4, 14)):
                    rng.shuffle(pair)
                    await act(rng, *pair)
                    await check(pair[0])
                    cut = await pair[0].context(CONTEXT).frontier()
                    past.append((cut, await stands(pair[0], CONTEXT)))
                if erases:
                    await erase_one(rng, pair[0])
                    await check(pair[0])
                async with linked(one, other) as link:
                    await link.settled()
                await check(one)
                await check(other)
                mine, theirs = await stands(one, CONTEXT), await stands(other, CONTEXT)
                assert mine == theirs
                if not erases:
                    for cut, stood in rng.sample(past, 3):
                        assert await stands_at(one, one.context(CONTEXT), cut) == stood

    asyncio.run(run())


async def erase_one(rng: random.Random, replica: Replica) -> None:
    chat = replica.context(CONTEXT)
    page = await chat.page(limit=1000)
    if not page:
        return
    await chat.erase(event=rng.choice(page).id, reason="test")

"""Answers that two devices gave to the same turns, each without the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial

import pytest

from tests.integration.test_branches import answer, said, texts
from tests.stores import folder, give, open_replica
from weft_engine.errors import NotFound
from weft_engine.events.event import Event, Hide, Revoke
from weft_engine.names import EventId
from weft_engine.replica.replica import Replica


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Replica, Replica]]:
    async with AsyncExitStack() as stack:
        place = stack.enter_context(folder())
        yield (
            await stack.enter_async_context(open_replica(place / "a.db")),
            await stack.enter_async_context(open_replica(place / "b.db")),
        )


async def meet(pair: tuple[Replica, Replica]) -> None:
    await give(pair[0], pair[1])
    await give(pair[1], pair[0])


def call(name: str) -> dict[str, object]:
    function = {"name": "look", "arguments": "{}"}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": name, "type": "function", "function": function}],
    }


def result(name: str) -> dict[str, object]:
    return {"role": "tool", "tool_call_id": name, "content": "found"}


def revoke(target: EventId, _: EventId) -> Event:
    return Event("a", Revoke(target))


async def hidden(replica: Replica) -> set[EventId]:
    return {
        one.event.body.target
        async for one in replica.context("c").events()
        if isinstance(one.event.body, Hide)
    }


async def test_answers_of_two_devices(pair: tuple[Replica, Replica]) -> None:
    here, there = (replica.context("c") for replica in pair)
    await said(here, "q0", "A0", "q1")
    await meet(pair)
    (first,) = await here.append(call("c1"))
    (found,) = await here.append(result("c1"))
    (rest,) = await here.append(answer("A1 here"))
    (second,) = await there.append(answer("A1 there"))
    assert await here.siblings() == []
    await meet(pair)
    expected = [tuple(sorted([first, second]))]
    assert await here.siblings() == expected
    assert await there.siblings() == expected
    # Whoever has seen both goes on; they stay siblings until somebody decides.
    await said(here, "q2", "A2")
    await meet(pair)
    assert await there.siblings() == expected

    with pytest.raises(NotFound):
        await there.choose(rest)
    hides = await there.choose(second)
    await meet(pair)
    assert await hidden(pair[0]) == {first, found, rest}
    assert await here.siblings() == []
    for one in hides:
        await pair[1].scribe.append(there.name, [partial(revoke, one)])
    assert await there.siblings() == expected


async def test_another_turn_between_makes_no_siblings(pair: tuple[Replica, Replica]) -> None:
    here, there = (replica.context("c") for replica in pair)
    await said(here, "q1")
    await meet(pair)
    await said(here, "q2", "A2")
    await said(there, "A1")
    await meet(pair)
    assert await here.siblings() == []
    # Nor do answers of which one has seen the other.
    await said(here, "A3", "A4")
    assert await here.siblings() == []


async def test_answers_that_go_on_from_one_without_a_turn_are_of_its_line(
    pair: tuple[Replica, Replica],
) -> None:
    """Wherever it is known that the first one had seen all before it: where it came in order that
    is, where it came late it is not."""
    here, there = (replica.context("c") for replica in pair)
    await said(here, "q1", "A1")
    await meet(pair)
    await said(here, "A1, continued here")
    await said(there, "A1, continued there")
    await meet(pair)
    assert await here.siblings() == []
    assert await there.siblings() == []
    # Another turn begins another line, on each device.
    (first,) = (await said(here, "q2", "A2 here"))[1:]
    (second,) = (await said(there, "q3", "A2 there"))[1:]
    assert first != second
    await meet(pair)
    assert await here.siblings() == await there.siblings() == []


async def test_later_turns_of_a_sibling_are_not_hidden(pair: tuple[Replica, Replica]) -> None:
    here, there = (replica.context("c") for replica in pair)
    await said(here, "q1")
    await meet(pair)
    first, _, _ = await said(here, "A1 here", "q2", "A2")
    (second,) = await said(there, "A1 there")
    await meet(pair)
    await here.choose(second)
    assert await hidden(pair[0]) == {first}


async def test_merging(pair: tuple[Replica, Replica]) -> None:
    here, there = (replica.context("c") for replica in pair)
    await said(here, "q1")
    await meet(pair)
    (first,) = await said(here, "A1 here")
    (second,) = await said(there, "A1 there")
    await meet(pair)
    merged = await here.merge(first, answer("A1 of both"))
    assert await hidden(pair[0]) == {first, second}
    assert await here.siblings() == []
    assert (await here.page(newest=True, limit=1))[0].id == merged


async def test_setting_aside(pair: tuple[Replica, Replica]) -> None:
    here, there = (replica.context("c") for replica in pair)
    await said(here, "q1")
    await meet(pair)
    (first,) = await here.append(call("c1"))
    (found,) = await here.append(result("c1"))
    await said(there, "A1 there")
    await meet(pair)
    aside = await here.set_aside(first, "the other way")
    assert await hidden(pair[0]) == {first, found}
    assert await here.siblings() == []
    assert [one.id async for one in aside.history()][1:] == [first, found]
    assert [one.name for one in await there.branches()] == []
    await meet(pair)
    assert [one.name for one in await there.branches()] == ["the other way"]


async def test_siblings_of_a_branch(pair: tuple[Replica, Replica]) -> None:
    here, there = (replica.context("c") for replica in pair)
    await said(here, "q1", "A1")
    branch = await here.branch("b")
    await said(branch, "q2")
    await meet(pair)
    (first,) = await said(branch, "A2 here")
    (second,) = await said(there.on(branch.branch_id), "A2 there")
    await meet(pair)
    assert await branch.siblings() == [tuple(sorted([first, second]))]
    assert await here.siblings() == []
    await there.on(branch.branch_id).choose(first)
    assert await there.on(branch.branch_id).siblings() == []
    assert len(await texts(branch)) == 5

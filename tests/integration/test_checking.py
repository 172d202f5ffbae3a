"""What event indexes say is compared between regions: a wrong one is told, found, and made anew."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from tests.integration.test_region_relays import Regions, is_live, regions
from tests.running_relay import until
from weft_engine.names import ContextName
from weft_engine.replica.replica import Replica
from weft_engine.storage.context_digest import ContextDigest
from weft_server.operator_log import LOGGER
from weft_server.relay import Relay

CHAT = ContextName("chat/1")
EVERY_S = 0.05


@asynccontextmanager
async def checking(mesh: Regions) -> AsyncIterator[None]:
    """All regions of the mesh compare, often."""
    tasks = [asyncio.create_task(one.mesh.check(every_s=EVERY_S)) for one in mesh.of.values()]
    try:
        yield
        for task in tasks:
            assert not task.done(), "it goes on"
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def linked(mesh: Regions, *names: str) -> list[Relay]:
    """Regions in a line, each linked with the next one; some of what is there has branches."""
    found = [await mesh.open(name) for name in names]
    for who, whom in pairwise(names):
        link = mesh.dial(who, whom)
        await link.until(partial(is_live, link), timeout=30)
    chat = found[0].mesh.replica.context(CHAT)
    first, *_ = await chat.append(["one", "two", "three"])
    await chat.append("four")
    await found[-1].mesh.replica.context("chat/2").append("other")
    branch = await chat.branch("b", at=first)
    await branch.append("instead")

    async def is_everywhere() -> bool:
        states = [
            [(state.name, state.fingerprint) for state in await one.mesh.replica.contexts()]
            for one in found
        ]
        return len(states[0]) == 2 and all(one == states[0] for one in states)

    await until(is_everywhere, what="all have the same records")
    return found


async def texts(replica: Replica) -> list[str]:
    exported = await replica.context(CHAT).export()
    return [json.loads(message)["content"] for message in exported]


async def digest(replica: Replica) -> bytes:
    await replica.projector.catch_up(CHAT)
    found = ContextDigest(CHAT)
    while (is_done := await replica.journal.read(found.step)) is False:
        pass
    assert is_done
    return found.value


async def spoil(replica: Replica, statement: str) -> None:
    """Change the index of a context behind everybody's back."""
    await replica.projector.catch_up(CHAT)
    await replica.journal.write(lambda c: c.execute(statement))


def kinds(relay: Relay) -> list[str]:
    return [f"{alarm.kind}: {alarm.text}" for alarm in relay.mesh.alarms()]


SPOILT = {
    "order": "UPDATE events SET place = 1000000 - place WHERE branch = x'' AND place IS NOT NULL",
    "text": "UPDATE events SET size = size - 1 WHERE kind = 1",
    "role": "UPDATE events SET role = 4 WHERE kind = 1",
    "missing": "DELETE FROM events WHERE key = (SELECT max(key) FROM events)",
    "branch": "DELETE FROM lines",
    "kind of value": "UPDATE events SET size = 'x', role = 1.5, class = 'y' WHERE kind = 1",
}


@pytest.mark.parametrize("what", SPOILT)
@pytest.mark.parametrize("spoilt", [0, 1])
async def test_a_wrong_index_is_found_and_made_anew(
    tmp_path: Path, what: str, spoilt: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger=LOGGER):
        async with regions(tmp_path) as mesh:
            relays = await linked(mesh, "eu", "us")
            replicas = [relay.mesh.replica for relay in relays]
            right = await digest(replicas[0])
            assert await digest(replicas[1]) == right
            await spoil(replicas[spoilt], SPOILT[what])
            assert await digest(replicas[spoilt]) != right
            async with checking(mesh):

                async def is_mended() -> bool:
                    return await digest(replicas[spoilt]) == right and not kinds(relays[1 - spoilt])

                await until(is_mended, what="the index is made anew")
                other = ("us", "eu")[spoilt]

                async def is_told() -> bool:
                    return kinds(relays[spoilt]) == [
                        "check: chat/1: its index was wrong here and was made anew: it differed"
                        f" from region {other}'s"
                    ]

                await until(is_told, what="the alarm")
            assert await digest(replicas[1 - spoilt]) == right
    said = [record.getMessage() for record in caplog.records if "index" in record.getMessage()]
    assert any("was wrong here" in one for one in said)
    assert len(said) <= 2, "each end says it once"


async def test_who_is_right_keeps_its_order_and_what_is_in_use_is_read_anew(
    tmp_path: Path,
) -> None:
    async with regions(tmp_path) as mesh:
        relays = await linked(mesh, "eu", "us")
        replica = relays[1].mesh.replica
        wanted = await texts(relays[0].mesh.replica)
        await spoil(replica, SPOILT["order"])
        assert await texts(replica) == wanted[::-1]
        async with checking(mesh):

            async def is_read() -> bool:
                return await texts(replica) == wanted

            await until(is_read, what="the order that the records give")


async def test_a_record_that_is_damaged_is_told_and_the_index_stays(tmp_path: Path) -> None:
    async with regions(tmp_path) as mesh:
        relays = await linked(mesh, "eu", "us")
        await spoil(
            relays[1].mesh.replica,
            "UPDATE records SET payload = CAST(replace(payload, 'two', 'owt') AS BLOB)",
        )
        async with checking(mesh):

            async def is_told() -> bool:
                return kinds(relays[1]) == [
                    "check: chat/1: 1 of its records are not what they were when they were"
                    " journaled: its index differs from region eu's"
                ]

            await until(is_told, what="the damage")
            here = relays[0].mesh.replica.checks
            compared = here.compared

            async def is_compared_again() -> bool:
                return here.compared > compared + 6

            await until(is_compared_again, what="more rounds")
        assert len(kinds(relays[0])) <= 1


async def test_an_index_that_can_not_be_read_is_dropped(tmp_path: Path) -> None:
    async with regions(tmp_path) as mesh:
        relays = await linked(mesh, "eu", "us")
        replica = relays[1].mesh.replica
        await spoil(replica, "UPDATE events SET place = 'here' WHERE place IS NOT NULL")
        eu = relays[0].mesh.replica
        # Somebody who does not read it, so that it is not brought up at once.
        replica.projector._is_ahead = False
        await eu.context(CHAT).append("five")

        async def is_equal() -> bool:
            states = [await one.state(CHAT) for one in (eu, replica)]
            return len({state and state.fingerprint for state in states}) == 1

        await until(is_equal, what="the record is there")
        async with checking(mesh):

            async def is_told() -> bool:
                (said,) = kinds(relays[1]) or [""]
                return "could not be brought up to date and was dropped (ValueError" in said

            await until(is_told, what="the alarm")
        assert await texts(replica) == await texts(eu)


async def test_equal_indexes_raise_no_alarm_and_all_contexts_are_compared(tmp_path: Path) -> None:
    async with regions(tmp_path) as mesh:
        relays = await linked(mesh, "eu", "us", "ap")
        eu = relays[0].mesh.replica
        (gone,) = await eu.context("chat/3").append("SECRET")
        async with checking(mesh):
            for number in range(20):
                await eu.context(f"many/{number}").append(f"{number}")
            await eu.context("chat/3").erase(event=gone, reason="private")

            async def are_compared() -> bool:
                return all(relay.mesh.replica.checks.compared > 60 for relay in relays)

            await until(are_compared, what="everything was compared")
        assert [kinds(relay) for relay in relays] == [[], [], []]

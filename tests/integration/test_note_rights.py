"""What a link may bring whose token is for appending only: events and streams, no notes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.test_equivocations import relay_pipe
from tests.stores import all_records, folder, open_replica
from tests.streaming import abandon
from weft_engine.errors import LinkRefused
from weft_engine.names import ContextName
from weft_engine.records.identity import client_id
from weft_engine.replica.context import Context
from weft_engine.replica.replica import Replica
from weft_engine.replica.scribe import Native, Standpoint
from weft_engine.sync.driving.link import Link
from weft_engine.yjs.lib0 import var_uint
from weft_server.door.permission import ANYTHING, Permission
from weft_server.relay import Relay

TIMEOUT_S = 20.0
APPENDS = replace(ANYTHING, is_peer=False, may_edit=False)
NAME = ContextName("a/b")


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as found:
        yield found


@asynccontextmanager
async def linked(
    client: Replica, home: Replica, permission: Permission = APPENDS
) -> AsyncIterator[Link]:
    """The client's end of a link to a relay of `home` that permits so much."""
    relay = Relay(home, region="eu", doorkeeper=lambda *_: permission)
    near, far = relay_pipe()
    link = Link(near, client)
    serving = asyncio.create_task(relay.serve(far, permission))
    running = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        link.close()
        await asyncio.gather(running, serving)
        await relay.close()


async def refusal(link: Link) -> str:
    with pytest.raises(LinkRefused) as caught:
        await link.until_synced(timeout=TIMEOUT_S)
    assert link.session.end is not None
    assert (link.session.end.code, link.session.end.by_peer) == ("denied", True)
    return str(caught.value)


async def events_and_streams(chat: Context) -> None:
    await chat.append("an event")
    async with chat.stream() as stream:
        for number in range(20):
            await stream.write(f"piece {number} ")
            await stream.flush()
            await chat.append("beside it")
    await chat.append("a" * 40_000)


async def test_events_and_streams_come_in(place: Path) -> None:
    async with open_replica(place / "x.db") as x, open_replica(place / "y.db") as y:
        await x.context(NAME).append("before the link")
        async with linked(x, y) as link:
            await events_and_streams(x.context(NAME))
            await link.until_synced(timeout=TIMEOUT_S)
        # Again, all in one message.
        async with open_replica(place / "z.db") as z:
            async with linked(x, z) as link:
                await link.until_synced(timeout=TIMEOUT_S)
            for other in (y, z):
                assert len(await all_records(other)) == len(await all_records(x))


@pytest.mark.parametrize("is_ended_here", [True, False])
async def test_a_stream_that_another_began_is_ended(place: Path, is_ended_here: bool) -> None:
    """Its pieces are deleted by who has not written them."""
    async with open_replica(place / "y.db") as y:
        async with open_replica(place / "x.db") as x:
            abandoned = await abandon(x.context(NAME), "half of ", "an answer")
            if not is_ended_here:
                async with linked(x, y) as link:
                    await link.until_synced(timeout=TIMEOUT_S)
        os.unlink(f"{place / 'x.db'}.lease")
        async with open_replica(place / "x.db", seed=1) as x:
            await x.streams.recovered()
            ends = [one async for one in x.context(NAME).events()]
            assert abandoned not in [str(one.id) for one in ends]
            deletes = [r for r in await all_records(x) if r.record.payload[-1:] != b"\x00"]
            assert deletes, "the end of a stream deletes its pieces"
            async with linked(x, y) as link:
                await link.until_synced(timeout=TIMEOUT_S)
            assert len(await all_records(y)) == len(await all_records(x))


async def raw(replica: Replica, struct: Callable[[Standpoint], bytes]) -> None:
    """A record with one struct that no honest client would write."""

    def make(at: Standpoint) -> Native:
        head = b"\x01\x01" + var_uint(at.client) + var_uint(at.clock)
        return Native(head + struct(at) + b"\x00", 1)

    await replica.scribe.append_native(NAME, make)


async def deleting(replica: Replica, client: int, first: int, length: int) -> None:
    def make(_: Standpoint) -> Native:
        where = var_uint(client) + b"\x01" + var_uint(first) + var_uint(length)
        return Native(b"\x00\x01" + where, 0)

    await replica.scribe.append_native(NAME, make)


async def an_edit(replica: Replica) -> None:
    await replica.context(NAME).note("plan").append("text")


async def another_root(replica: Replica) -> None:
    await raw(replica, lambda at: b"\x28\x01\x05other\x01k\x01\x77\x01v")


async def a_text_in_events(replica: Replica) -> None:
    await raw(replica, lambda at: b"\x04\x01\x06events\x01x")


async def an_overwrite(replica: Replica) -> None:
    """It has an origin instead of a root: it may as well stand in a note."""
    await raw(replica, lambda at: b"\xa8" + var_uint(at.client) + b"\x00\x01\x77\x01v")


@pytest.mark.parametrize("touch", [an_edit, another_root, a_text_in_events, an_overwrite])
@pytest.mark.parametrize("who", ["writer", "peer"])
async def test_a_note_does_not(
    place: Path, touch: Callable[[Replica], Awaitable[None]], who: str
) -> None:
    async with open_replica(place / "x.db") as x, open_replica(place / "y.db") as y:
        async with linked(x, y) as link:
            await x.context(NAME).append("an event")
            await link.until_synced(timeout=TIMEOUT_S)
            await touch(x)
            why = await refusal(link)
            (last,) = (await all_records(x))[-1:]
            assert last.record.hash.hex()[:16] in why
            assert "'a/b' touches a note" in why
            assert "right write" in why
        assert len(await all_records(y)) == len(await all_records(x)) - 1
        # Who may write brings it, and so does a relay.
        writer, peer = (
            replace(APPENDS, may_edit=True),
            replace(APPENDS, may_edit=True, is_peer=True),
        )
        async with linked(x, y, writer if who == "writer" else peer) as link:
            await link.until_synced(timeout=TIMEOUT_S)
        assert len(await all_records(y)) == len(await all_records(x))


@pytest.mark.parametrize("whose", ["own", "another's"])
async def test_what_stands_in_a_note_is_not_deleted(place: Path, whose: str) -> None:
    """A delete says whose elements go and not of what."""
    async with open_replica(place / "x.db") as x, open_replica(place / "y.db") as y:
        writer = x if whose == "own" else y
        await writer.context(NAME).append("an event, as one element")
        await writer.context(NAME).note("plan").append("precious")
        async with linked(x, y, ANYTHING) as link:
            await link.until_synced(timeout=TIMEOUT_S)
        (noted,) = (await all_records(writer))[-1:]
        victim = client_id(noted.record.envelope.origin, NAME)
        async with linked(x, y) as link:
            await deleting(x, victim, 1, 8)
            assert "deletes what stands in no events or streams" in await refusal(link)
        assert await y.context(NAME).note("plan").text() == "precious"
        # The event beside it an overwrite may take away: it stays in the journal.
        async with linked(x, y, ANYTHING) as link:
            await link.until_synced(timeout=TIMEOUT_S)
        await deleting(x, victim, 0, 1)
        async with linked(x, y) as link:
            await link.until_synced(timeout=TIMEOUT_S)

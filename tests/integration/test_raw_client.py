"""The raw client of the relay's benchmark counts what really came: it is believed by figures."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.bench.raw import crowding, ingress
from tests.bench.raw.client import Dialect, RawFailure
from tests.bench.raw.deliveries import fan_out, one_in_flight
from tests.bench.raw.filling import fill_context
from tests.bench.raw.servers import Server, ours
from tests.running_relay import running_relay

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")

STEP_2_OF_NOTHING = b"\x00\x01\x02\x00\x00"


def deliver(server: Server, *, most_s: float = 30.0) -> None:
    done = fan_out(server, readers=3, in_flight=32, seconds=0.1, updates_max=200, most_s=most_s)
    assert done.updates > 0


def test_our_relay_is_driven_over_native_links(tmp_path: Path) -> None:
    with running_relay(tmp_path) as relay:
        server = ours(relay, Dialect.NATIVE)
        deliver(server)
        assert one_in_flight(server, readers=3, rounds=5).each_p50_s > 0
        assert ingress.paced(server, writers=3, per_s=400, seconds=0.2).per_s > 0
        assert ingress.flushed(server, agents=2, event_size=1_000, seconds=0.5).records > 600
        # More than a frame holds, so it comes in fragments or in many messages.
        payloads = fill_context(server, "bench/large", size=500_000, event_size=50_000)
        assert crowding.joined(server, "bench/large", payloads, joiners=3).p50_s > 0


Change = Callable[[int, bytes], list[bytes]]
"""What a server makes of the update with this number."""


@asynccontextmanager
async def room(change: Change) -> AsyncIterator[Server]:
    """A server of one room in the y-websocket dialect, whose updates go through `change`."""
    members: set[ServerConnection] = set()
    count = 0

    async def meet(connection: ServerConnection) -> None:
        nonlocal count
        members.add(connection)
        async for message in connection:
            assert isinstance(message, bytes)
            if message[:2] == b"\x00\x00":
                await connection.send(STEP_2_OF_NOTHING)
            if message[:2] == b"\x00\x02":
                for one in change(count, message):
                    for member in members - {connection}:
                        # In two pieces, as a websocket message may come.
                        await member.send([one[:5], one[5:]])
                count += 1

    async with serve(meet, "127.0.0.1", 0, compression=None) as listening:
        port = listening.sockets[0].getsockname()[1]
        yield Server("a room", Dialect.YJS, port, os.getpid(), "")


def alter(number: int, update: bytes) -> list[bytes]:
    return [update.replace(b"flight", b"fright") if number == 7 else update]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param(lambda _, update: [update], None, id="honest"),
        pytest.param(
            lambda n, update: [] if n == 7 else [update], "not all came", id="one is lost"
        ),
        pytest.param(lambda n, update: [update] * (1 + (n == 7)), "got", id="one comes twice"),
        pytest.param(alter, "other contents", id="one is altered"),
    ],
)
async def test_a_server_that_delivers_something_else_is_found_out(
    change: Change, complaint: str | None
) -> None:
    async with room(change) as server:
        drive = partial(asyncio.to_thread, deliver, server, most_s=2.0)
        if complaint is None:
            await drive()
        else:
            with pytest.raises(RawFailure, match=complaint):
                await drive()

"""The frames of the y-websocket dialect at a relay, byte by byte: what was seen of real clients
goes in, and what comes out is compared as bytes, too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

import weft
from tests.running_relay import RunningRelay, running_relay
from weft_engine.yjs.lib0 import var_uint
from weft_server.door.token_keys import make_key_file, read_keys
from weft_server.door.tokens import mint

TIMEOUT_S = 20.0
STEP_1_OF_NOTHING = "00000100"
STEP_2_OF_NOTHING = "0001020000"
HERE = "0106010100027b7d"
"""Awareness: client 1, clock 0, `{}`."""
LEFT = "0108010100046e756c6c"
EDIT = "00020f010101002801016d016b0177017600"
"""By client 1: m.k = "v"."""
HAS_EDIT = "00000301" + "0101"
"""Step 1 of who has it."""
AFTER_EDIT = "00010f" + EDIT[6:]
"""Step 2 for who has nothing."""
QUERY = "03"
NOBODY = "010100"
IN_V2 = "00021a" + "000001010000012805026d6b4100010100010101010077017600"
"""The same edit in the other encoding, which nobody speaks here."""


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRelay]:
    """A relay that the tests of this file share; each uses contexts of its own."""
    with running_relay(tmp_path_factory.mktemp("relay")) as found:
        yield found


async def say(websocket: ClientConnection, *frames: str) -> None:
    for one in frames:
        await websocket.send(bytes.fromhex(one))


async def hear(websocket: ClientConnection, count: int) -> list[str]:
    async with asyncio.timeout(TIMEOUT_S):
        return [bytes(await websocket.recv(decode=False)).hex() for _ in range(count)]


async def closed(websocket: ClientConnection) -> int | None:
    """The code, after whatever still came."""
    async with asyncio.timeout(TIMEOUT_S):
        try:
            while True:
                await websocket.recv()
        except ConnectionClosed as error:
            return None if error.rcvd is None else error.rcvd.code


async def test_what_real_clients_said_is_answered_and_passed_on_byte_by_byte(
    relay: RunningRelay,
) -> None:
    address = f"{relay.url}/yjs/bytes"
    async with connect(address) as one, connect(address) as other:
        for websocket in (one, other):
            assert await hear(websocket, 1) == [STEP_1_OF_NOTHING], "at once, before anything else"
            await say(websocket, STEP_1_OF_NOTHING)
            assert await hear(websocket, 1) == [STEP_2_OF_NOTHING]
            await say(websocket, STEP_2_OF_NOTHING)
        await say(one, HERE)
        assert await hear(other, 1) == [HERE]
        assert await hear(one, 1) == [HERE], "it comes back, as all that is new does"
        await say(one, EDIT)
        assert await hear(one, 1) == [EDIT], "the echo says that it is on disk"
        assert await hear(other, 1) == [EDIT]
        async with connect(address) as late:
            assert await hear(late, 2) == [HERE, HAS_EDIT]
            await say(late, STEP_1_OF_NOTHING)
            assert await hear(late, 2) == [AFTER_EDIT, HERE]
            await say(late, QUERY)
            assert await hear(late, 1) == [HERE]
        await say(one, LEFT)
        assert await hear(other, 1) == [LEFT], "an equal clock, and null"
        await say(other, QUERY)
        assert await hear(other, 1) == [NOBODY]


async def test_two_who_come_first_at_one_moment_are_both_told_everything(
    relay: RunningRelay, tmp_path: Path
) -> None:
    """Into rooms that are not open yet, of documents that have to be loaded: twenty times."""
    names = [f"first/{number}" for number in range(20)]
    async with weft.open(tmp_path / "store.db") as store:
        link = store.connect(relay.url, prefixes=["first/"])
        for name in names:
            await store.context(name).note("n").append(f"of {name}")
        await link.synced()

    async def come(name: str) -> bytes:
        async with connect(f"{relay.url}/yjs/{name}") as websocket:
            await say(websocket, STEP_1_OF_NOTHING)
            async with asyncio.timeout(TIMEOUT_S):
                while True:
                    frame = bytes(await websocket.recv(decode=False))
                    if frame[:2] == b"\x00\x01":
                        return frame

    for name in names:
        one, other = await asyncio.gather(come(name), come(name))
        assert one == other
        assert f"of {name}".encode() in one


async def test_the_other_encoding_is_refused_and_not_passed_on(relay: RunningRelay) -> None:
    address = f"{relay.url}/yjs/v2"
    async with connect(address) as hears:
        await say(hears, STEP_1_OF_NOTHING)
        assert await hear(hears, 2) == [STEP_1_OF_NOTHING, STEP_2_OF_NOTHING]
        async with connect(address) as speaks:
            await say(speaks, IN_V2)
            assert await closed(speaks) == 4400
        await say(hears, EDIT)
        assert await hear(hears, 1) == [EDIT]


async def test_a_reader_is_denied_in_these_bytes(tmp_path: Path) -> None:
    key_file = tmp_path / "token.key"
    make_key_file(key_file)
    reads = mint(
        read_keys(key_file), prefixes=[""], rights=["read"], expires_s=600, now_s=int(time.time())
    )
    with running_relay(tmp_path / "relay", key=key_file) as relay:
        address = f"{relay.url}/yjs/bytes?token={reads}"
        async with connect(address) as websocket:
            await say(websocket, STEP_1_OF_NOTHING, STEP_2_OF_NOTHING)
            assert await hear(websocket, 2) == [STEP_1_OF_NOTHING, STEP_2_OF_NOTHING]
            await say(websocket, EDIT)
            reason = b"the token may read only, and the client has changed the document"
            denied = b"\x02\x00" + var_uint(len(reason)) + reason
            assert await hear(websocket, 1) == [denied.hex()]
            assert await closed(websocket) == 4403

"""The bad network between two regions, with real sockets: what comes late, what does not come."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests import running_relay
from tests.running_relay import free_port
from weft_engine.limits import KIB, MIB
from weft_server.local_mesh.flow import FLIGHT_BYTES_MAX
from weft_server.local_mesh.proxy import CONNECTIONS_MAX, LinkProxy
from weft_server.local_mesh.topology import Pair, Way
from weft_server.local_mesh.wire import STALL_S, Conditions

PAIR = Pair("a", "b")
THERE, BACK = PAIR.ways
PERFECT = Conditions()
DEADLINE_S = 20.0

Serving = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Target:
    """What listens in region b: keeps what connects."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[Streams] = asyncio.Queue()

    async def taken(self) -> Streams:
        async with asyncio.timeout(DEADLINE_S):
            return await self.arrived.get()


@asynccontextmanager
async def network(
    conditions: Conditions = PERFECT, *, listens: bool = True
) -> AsyncIterator[tuple[LinkProxy, Target]]:
    target = Target()
    kept: list[Streams] = []

    async def arrived(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept.append((reader, writer))
        target.arrived.put_nowait((reader, writer))

    port = free_port()
    server = await asyncio.start_server(arrived, "127.0.0.1", port) if listens else None
    proxy = LinkProxy(
        PAIR, conditions, ports={"a": free_port(), "b": port}, random=random.Random(1).random
    )
    await proxy.open()
    try:
        yield proxy, target
    finally:
        await proxy.close()
        for _, writer in kept:
            writer.close()
        if server is not None:
            server.close()
            await server.wait_closed()


@asynccontextmanager
async def dialled(proxy: LinkProxy, way: Way = THERE) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.listens[way])
    try:
        yield reader, writer
    finally:
        writer.close()


async def read(reader: asyncio.StreamReader, size: int) -> bytes:
    async with asyncio.timeout(DEADLINE_S):
        return await reader.readexactly(size)


async def until(holds: Callable[[], bool]) -> None:
    async def look() -> bool:
        return holds()

    await running_relay.until(look, what="the proxy is so")


async def test_bytes_pass_both_ways_and_are_counted() -> None:
    async with network() as (proxy, target), dialled(proxy) as (reader, writer):
        writer.write(b"to b")
        theirs, answer = await target.taken()
        assert await read(theirs, 4) == b"to b"
        answer.write(b"and back")
        assert await read(reader, 8) == b"and back"
        assert proxy.ways[THERE].bytes_arrived == 4
        assert proxy.ways[BACK].bytes_arrived == 8
        assert proxy.connections == 1
    assert proxy.connections == 0


async def test_each_way_takes_its_time_and_connecting_too() -> None:
    delay_s = 0.06
    loop = asyncio.get_running_loop()
    async with network(Conditions(delay_s=delay_s)) as (proxy, target):
        began_s = loop.time()
        async with dialled(proxy) as (reader, writer):
            writer.write(b"?")
            theirs, answer = await target.taken()
            assert loop.time() - began_s >= delay_s * 0.95
            await read(theirs, 1)
            assert loop.time() - began_s >= 3 * delay_s * 0.95
            answered_s = loop.time()
            answer.write(b"!")
            await read(reader, 1)
            assert loop.time() - answered_s >= delay_s * 0.95


async def test_a_lost_piece_comes_late_and_whole() -> None:
    loop = asyncio.get_running_loop()
    async with network(Conditions(loss=0.9)) as (proxy, target), dialled(proxy) as (_, writer):
        began_s = loop.time()
        # Of some tens of segments, one is lost for sure.
        sent = random.Random(2).randbytes(256 * KIB)
        writer.write(sent)
        theirs, _ = await target.taken()
        assert await read(theirs, len(sent)) == sent
        assert loop.time() - began_s >= STALL_S * 0.95


async def test_a_cut_is_silent_and_what_waited_arrives_when_it_is_healed() -> None:
    async with network() as (proxy, target), dialled(proxy) as (reader, writer):
        writer.write(b"before")
        theirs, answer = await target.taken()
        await read(theirs, 6)
        for way in (THERE, BACK):
            proxy.cut(way)
        writer.write(b"during")
        answer.write(b"answer")
        await until(lambda: proxy.bytes_waiting == 12)
        assert proxy.ways[THERE].bytes_arrived == 6
        assert proxy.ways[BACK].bytes_arrived == 0
        assert not reader.at_eof()
        assert not theirs.at_eof()
        proxy.heal()
        assert await read(theirs, 6) == b"during"
        assert await read(reader, 6) == b"answer"


async def test_a_cut_one_way_lets_the_other_pass() -> None:
    async with network() as (proxy, target), dialled(proxy) as (reader, writer):
        proxy.cut(BACK)
        writer.write(b"heard")
        theirs, answer = await target.taken()
        assert await read(theirs, 5) == b"heard"
        answer.write(b"not heard")
        await until(lambda: proxy.bytes_waiting == 9)
        assert proxy.ways[BACK].bytes_arrived == 0
        # Connections that the other one opens are cut in the same direction.
        proxy.heal()
        assert await read(reader, 9) == b"not heard"


async def test_a_connection_that_is_opened_in_a_cut_comes_to_be_when_it_is_healed() -> None:
    async with network() as (proxy, target):
        proxy.cut(THERE)
        async with dialled(proxy) as (_, writer):
            writer.write(b"patient")
            await until(lambda: proxy.bytes_waiting == 7)
            assert target.arrived.empty()
            proxy.heal()
            theirs, _ = await target.taken()
            assert await read(theirs, 7) == b"patient"


async def test_who_gave_up_in_a_cut_is_never_heard_of() -> None:
    async with network() as (proxy, target):
        proxy.cut(THERE)
        async with dialled(proxy) as (_, writer):
            writer.write(b"impatient")
            await until(lambda: proxy.bytes_waiting == 9)
        await until(lambda: proxy.connections == 0)
        proxy.heal()
        async with dialled(proxy) as (_, writer):
            writer.write(b"later")
            theirs, _ = await target.taken()
            assert await read(theirs, 5) == b"later"
        assert target.arrived.empty()


async def test_a_cut_with_reset_ends_connections_and_refuses_new_ones() -> None:
    async with network() as (proxy, target), dialled(proxy) as (reader, writer):
        writer.write(b"x")
        theirs, _ = await target.taken()
        await read(theirs, 1)
        proxy.cut(THERE, reset=True)
        for one in (reader, theirs):
            with pytest.raises(ConnectionError):
                await read(one, 1)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            async with dialled(proxy) as (refused, _):
                await read(refused, 1)
        assert proxy.connections == 0
        proxy.heal()
        async with dialled(proxy) as (_, again):
            again.write(b"y")
            theirs, _ = await target.taken()
            assert await read(theirs, 1) == b"y"


async def test_a_half_closed_connection_still_answers() -> None:
    async with network(Conditions(delay_s=0.01)) as (proxy, target):
        async with dialled(proxy) as (reader, writer):
            writer.write(b"all I say")
            writer.write_eof()
            theirs, answer = await target.taken()
            async with asyncio.timeout(DEADLINE_S):
                assert await theirs.read() == b"all I say"
                answer.write(b"all you get")
                answer.close()
                assert await reader.read() == b"all you get"
        await until(lambda: proxy.connections == 0)


async def test_where_nobody_listens_connections_are_reset() -> None:
    async with network(listens=False) as (proxy, _), dialled(proxy) as (reader, writer):
        writer.write(b"anybody?")
        with pytest.raises(ConnectionError):
            await read(reader, 1)
        await until(lambda: proxy.connections == 0)


async def test_an_end_that_is_gone_is_heard_of_at_the_other() -> None:
    async with network() as (proxy, target), dialled(proxy) as (reader, writer):
        writer.write(b"x")
        theirs, answer = await target.taken()
        await read(theirs, 1)
        answer.transport.abort()
        async with asyncio.timeout(DEADLINE_S):
            assert await reader.read() == b""
        writer.close()
        await until(lambda: proxy.connections == 0)


@pytest.mark.parametrize("conditions", [PERFECT, Conditions(delay_s=0.02)])
async def test_a_large_transfer_to_a_slow_reader_stays_bounded_and_whole(
    conditions: Conditions,
) -> None:
    piece = random.Random(3).randbytes(256 * KIB)
    pieces = 32 * MIB // len(piece)
    async with network(conditions) as (proxy, target), dialled(proxy) as (_, writer):
        most = 0

        async def send() -> None:
            for _ in range(pieces):
                writer.write(piece)
                await writer.drain()
            writer.write_eof()

        sending = asyncio.create_task(send())
        theirs, _ = await target.taken()
        # The reader's own buffer is small, so it takes nothing until it is read.
        await until(lambda: proxy.bytes_waiting >= FLIGHT_BYTES_MAX)
        digest = hashlib.blake2b()
        size = 0
        async with asyncio.timeout(DEADLINE_S):
            while data := await theirs.read(MIB):
                digest.update(data)
                size += len(data)
                most = max(most, proxy.bytes_waiting)
            await sending
        assert size == pieces * len(piece)
        assert digest.digest() == hashlib.blake2b(piece * pieces).digest()
        assert FLIGHT_BYTES_MAX <= most <= FLIGHT_BYTES_MAX + MIB


async def test_a_cut_holds_no_more_than_a_window() -> None:
    async with network() as (proxy, target), dialled(proxy) as (_, writer):
        writer.write(b"x")
        await target.taken()
        proxy.cut(THERE)
        flood = bytes(32 * MIB)
        writer.write(flood)
        await until(lambda: proxy.bytes_waiting >= FLIGHT_BYTES_MAX)
        assert proxy.bytes_waiting <= FLIGHT_BYTES_MAX + MIB
        writer.transport.abort()
        await until(lambda: proxy.connections <= 1)


async def test_connections_are_bounded() -> None:
    async with network() as (proxy, target):
        taken = []
        for _ in range(CONNECTIONS_MAX):
            taken.append(await asyncio.open_connection("127.0.0.1", proxy.listens[THERE]))
            taken.append(await target.taken())
        assert proxy.connections == CONNECTIONS_MAX
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            async with dialled(proxy) as (reader, _):
                await read(reader, 1)
        for _, writer in taken:
            writer.close()
        await until(lambda: proxy.connections == 0)

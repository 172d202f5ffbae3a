"""Attacks below the protocol: connections that come to nothing, and come slowly.

Must never know: honest clients, what a frame means.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from contextlib import suppress

from tests.hostile.raw_client import hello
from tests.hostile.target import REFUSALS, Stream, Target
from weft_engine.sync.framing.frames import encode
from weft_engine.sync.interest import EVERYTHING

_HELD_S = 3.0
"""How long slow connections are held: those who are honest do all they do meanwhile."""


async def _hold(target: Target, amount: int, slices: list[bytes]) -> int:
    """So many connections on which one slice after the other is written, slowly; all are held at
    the same time."""

    async def one() -> int:
        held: Stream | None = None
        try:
            _, held = await target.stream()
            for piece in slices:
                await held.write(piece)
                await asyncio.sleep(_HELD_S / len(slices))
        except REFUSALS:
            return 1
        finally:
            if held is not None:
                held.abort()
        return 1

    return sum(await asyncio.gather(*(one() for _ in range(amount))))


async def silent_connections(target: Target, _: random.Random, amount: int) -> int:
    """So many connections that say nothing at all."""
    return await _hold(target, amount, [b"", b""])


async def slow_requests(target: Target, _: random.Random, amount: int) -> int:
    """So many requests of which a byte comes now and then."""
    request = target.upgrade()
    return await _hold(target, amount, [request[:40], *(request[n : n + 1] for n in range(40, 60))])


async def slow_frames(target: Target, _: random.Random, amount: int) -> int:
    """So many websockets on which a hello of the greatest size comes byte by byte."""
    head = b"\x82\xff" + (200_000).to_bytes(8, "big") + bytes(4)
    return await _hold(target, amount, [target.upgrade(), head, *(b"\x01" for _ in range(20))])


async def slow_fragments(target: Target, _: random.Random, amount: int) -> int:
    """So many websockets with a message in frames of which each brings nothing."""
    nothing = b"\x00\x80" + bytes(4)
    begun = b"\x02\x80" + bytes(4)
    return await _hold(target, amount, [target.upgrade(), begun, *[nothing * 1000] * 20])


async def large_requests(target: Target, rng: random.Random, amount: int) -> int:
    """So many requests with lines, headers and counts of headers beyond all measure."""
    for number in range(amount):
        match number % 4:
            case 0:
                request = b"GET /" + b"a" * (1 << 20)
            case 1:
                request = b"GET / HTTP/1.1\r\nx: " + b"a" * (1 << 20)
            case 2:
                request = b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 100_000
            case _:
                request = rng.randbytes(1 << 16)
        with suppress(*REFUSALS):
            _, stream = await target.stream()
            try:
                async with asyncio.timeout(2):
                    await stream.write(request)
            finally:
                stream.abort()
    return amount


async def connections(target: Target, _: random.Random, amount: int) -> int:
    """So many websockets, one after the other in a few lanes, with a hello and no more."""

    async def lane(share: int) -> None:
        for _number in range(share):
            async with target.upgraded() as stream:
                await stream.message(encode(hello(EVERYTHING)))

    await asyncio.gather(*(lane(amount // 8) for _lane in range(8)))
    return amount


async def resets(target: Target, _: random.Random, amount: int) -> int:
    """So many websockets that are reset in the middle of a frame."""
    for _number in range(amount):
        with suppress(*REFUSALS):
            plain = socket.create_connection(target.place, timeout=5)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            plain.sendall(target.upgrade() + b"\x82\xfe\x10\x00" + bytes(100))
            plain.close()
        await asyncio.sleep(0)
    return amount

"""Attacks over the y-websocket dialect: what no client says, too much of what they do say, and
clients that do not read.

Must never know: honest clients.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress

from tests.hostile.target import CONTEXT, REFUSALS, Stream, Target, masked
from tests.simulation.mutation import mutated
from tests.simulation.update_hunt import corpus
from tests.unit.yjs_bytes import in_root, string, update_of
from weft_engine.sync.framing.messages import PresenceState
from weft_engine.yjs.lib0 import var_uint
from weft_server.yjs import wire
from weft_server.yjs.awareness import write_awareness

PATH = f"/yjs/{CONTEXT}"
_BEGUN, _CONTINUED = 0x02, 0x00
_MIB = 1 << 20
_LANES = 8
_HELD_S = 1.0
_SAID_S = 0.1
"""What is written is read by the relay in this time; what is cut off before is not."""


def _vector(rng: random.Random) -> bytes:
    clients = rng.sample(range(1, 1 << 40), rng.randrange(4))
    pairs = [var_uint(one) + var_uint(rng.randrange(1 << 20)) for one in clients]
    return var_uint(len(pairs)) + b"".join(pairs)


def _states(rng: random.Random, count: int) -> bytes:
    some = [
        PresenceState(rng.randrange(1, 20_000), rng.randrange(1 << 20), '{"a":"' + "x" * 400 + '"}')
        for _ in range(count)
    ]
    return write_awareness(some)


def _said(rng: random.Random) -> list[bytes]:
    """A message of each kind."""
    update = rng.choice(corpus())
    return [
        wire.step1(_vector(rng)),
        wire.step2(update),
        wire.edited(update),
        wire.aware(_states(rng, 3)),
        b"\x03",
        wire.denied("no"),
        b"\x7f" + rng.randbytes(5),
    ]


async def yjs_mutated(target: Target, rng: random.Random, amount: int) -> int:
    """So many messages: cut off, changed, several in one, in text frames, of no bytes."""
    done = 0
    while done < amount:
        async with target.upgraded(PATH) as stream:
            for _ in range(rng.randrange(1, 8)):
                done += 1
                said = rng.choice(_said(rng))
                match rng.randrange(6):
                    case 0:
                        said = said[: rng.randrange(len(said) + 1)]
                    case 1:
                        said += rng.choice(_said(rng))
                    case 2:
                        said = said[:2] + b"\xff" * rng.randrange(1, 11) + said[2:]
                    case 3:
                        await stream.write(masked(said, head=0x81))
                    case _:
                        said = mutated(rng, said, _said(rng))
                await stream.message(said)
    return done


async def yjs_asking(target: Target, rng: random.Random, amount: int) -> int:
    """So many questions by clients that do not read the answers, hundreds in a message."""

    async def lane(share: int) -> None:
        async with target.upgraded(PATH) as stream:
            await stream.message(wire.aware(_states(rng, 500)))
            for number in range(0, share, 500):
                said = wire.step1(_vector(rng)) * 500 if number % 1000 == 0 else b"\x03" * 500
                await stream.message(said)
            await asyncio.sleep(_HELD_S)

    await asyncio.gather(*(lane(amount // _LANES) for _ in range(_LANES)))
    return amount


async def yjs_crowds(target: Target, rng: random.Random, amount: int) -> int:
    """So many clients that are shown by a few connections, and clients of others that leave."""

    async def lane(share: int) -> None:
        async with target.upgraded(PATH) as stream:
            for _ in range(0, share, 250):
                await stream.message(wire.aware(_states(rng, 250)))
                left = [PresenceState(rng.randrange(1, 20_000), 1 << 21, None) for _ in range(9)]
                await stream.message(wire.aware(write_awareness(left)))
            await asyncio.sleep(_HELD_S)

    await asyncio.gather(*(lane(amount // _LANES) for _ in range(_LANES)))
    return amount


async def yjs_unended(target: Target, _: random.Random, amount: int) -> int:
    """So many mebibytes of messages that never end, in one frame each or in many."""

    async def lane(share: int, *, is_one: bool) -> None:
        async with target.upgraded(PATH) as stream:
            if is_one:
                await stream.write(b"\x82\xff" + (64 * _MIB).to_bytes(8, "big") + bytes(4))
            else:
                await stream.write(masked(b"\x00\x02", head=_BEGUN))
            for _ in range(min(share, 63)):
                piece = bytes(_MIB)
                await stream.write(piece if is_one else masked(piece, head=_CONTINUED))
            await asyncio.sleep(_HELD_S)

    lanes = max(2, amount // 60)
    share = amount // lanes
    await asyncio.gather(*(lane(share, is_one=bool(number % 2)) for number in range(lanes)))
    return amount


async def yjs_waiting(target: Target, rng: random.Random, amount: int) -> int:
    """So many updates that point to what never comes."""

    def updates() -> Iterator[bytes]:
        while True:
            client, other = rng.sample(range(1, 1 << 40), 2)
            yield update_of(b"\x84" + var_uint(other) + b"\x05" + string("x"), client=client)
            yield update_of(in_root(4, string("x")), client=client, clock=1 << 20)
            yield b"\x00\x01" + var_uint(other) + b"\x01\x05\x01"

    await _pour(target, updates(), amount)
    return amount


async def yjs_updates(target: Target, rng: random.Random, amount: int) -> int:
    """So many changed updates, of which each that is refused costs its sender the connection."""
    known = corpus()

    def updates() -> Iterator[bytes]:
        while True:
            yield mutated(rng, rng.choice(known), known)

    await _pour(target, updates(), amount)
    return amount


async def _pour(target: Target, updates: Iterator[bytes], amount: int) -> None:
    done = 0
    while done < amount:
        reader: asyncio.StreamReader | None = None
        stream: Stream | None = None
        with suppress(*REFUSALS):
            reader, stream = await target.stream()
            await stream.write(target.upgrade(PATH))
            await reader.readuntil(b"\r\n\r\n")
            reading = asyncio.create_task(_read_all(reader))
            try:
                for _ in range(100):
                    done += 1
                    await stream.message(wire.edited(next(updates)))
                    if reading.done():
                        break
                    await asyncio.sleep(0)
                await asyncio.wait([reading], timeout=_SAID_S)
            finally:
                stream.abort()
                await asyncio.gather(reading, return_exceptions=True)


async def _read_all(reader: asyncio.StreamReader) -> None:
    while await reader.read(1 << 16):
        pass

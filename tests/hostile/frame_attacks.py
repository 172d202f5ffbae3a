"""Attacks with frames: mutated ones, ones that promise much, and more of them than anybody needs.

Must never know: honest clients.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable

from tests.hostile.raw_client import Pen, as_message, hello
from tests.hostile.target import CONTEXT, PING, REFUSALS, Stream, Target, masked
from tests.simulation.frame_hunt import conversation, sequence
from tests.simulation.mutation import mutated
from weft_engine.limits import FRONTIER_HASHES_MAX, WANTED_PER_FRAME_MAX
from weft_engine.names import ContextName, RecordHash
from weft_engine.sync.framing.fragments import FRAGMENT_BYTES, FRAGMENTS_MAX, cut
from weft_engine.sync.framing.frames import encode
from weft_engine.sync.framing.messages import (
    Contexts,
    Fragment,
    Frontier,
    Heartbeat,
    Message,
    Records,
    Resume,
    Want,
)
from weft_engine.sync.interest import EVERYTHING

_LANES = 4
_HELD_S = 1.0
"""How long a link is kept after a flood, for the relay to drown in it."""


def _greeting() -> bytes:
    return encode(hello(EVERYTHING))


async def _side_by_side(lanes: Iterable[asyncio.Task[int]]) -> int:
    return sum(await asyncio.gather(*lanes))


async def mutated_frames(target: Target, rng: random.Random, amount: int) -> int:
    """So many frames: conversations with changed, lost and repeated ones, and single ones."""
    known = await conversation()
    small = [frame for frame in known if len(frame) < 8192] * 4 + list(known)

    async def lane(share: int) -> int:
        sent = 0
        while sent < share:
            if rng.random() < 0.5:
                frames = sequence(rng, known, small)
            else:
                frames = [_greeting(), mutated(rng, rng.choice(small), known)]
            async with target.socket() as socket:
                for frame in frames:
                    sent += 1
                    await socket.send(frame)
                # In order, so that it is looked at: dropped bytes attack nobody.
                await socket.close()
        return sent

    return await _side_by_side(
        asyncio.ensure_future(lane(-(-amount // _LANES))) for _ in range(_LANES)
    )


def _promising(rng: random.Random) -> list[bytes]:
    """Frames whose counts, sizes and depth are beyond what they hold."""
    name = ContextName(CONTEXT)
    return [
        b"\x01" + b"\x91" * 200_000,
        b"\x01" + b"\xdd\xff\xff\xff\xff" * 40_000,
        b"\x01\x96\x04\x01\xc0\xdd\xff\xff\xff\xff",
        b"\x01\x96\x04\x01\xc0\x91\x92\xc6\xff\xff\xff\xff",
        b"\x01\x92\x06\xdd\xff\xff\xff\xff" + rng.randbytes(1000),
        b"\x01\x93\x02" + b"\xdc\xff\xff" + b"\x92\xdb\xff\xff\xff\xff",
        b"\x01" + b"\x81" * 1000,
        encode(Fragment(1, 0, FRAGMENTS_MAX, bytes(FRAGMENT_BYTES))),
        b"\x01\x95\x08\x01\x00\xce\xff\xff\xff\xff\xc4\x01\x00",
        encode(Frontier(name, (RecordHash(bytes(32)),), ())),
        encode(Records(1, None, ((b"\x99" * 1000, b"\x01" * 100_000),), ())),
        encode(Records(1, None, ((b"\x99" + b"\x91" * 30_000, b""),), ())),
    ]


async def promising_frames(target: Target, rng: random.Random, amount: int) -> int:
    """So many connections, with a frame each that claims what it has not, or is nested deep."""
    frames = _promising(rng)
    heads = [b"\x82\xff" + b"\x7f" + b"\xff" * 7, b"\x82\xff" + b"\xff" * 8, b"\xff\xff" * 10]
    for number in range(amount):
        if number % 4 == 3:
            async with target.upgraded() as stream:
                await stream.message(_greeting())
                await stream.write(rng.choice(heads) + rng.randbytes(64))
        else:
            async with target.socket() as socket:
                await socket.send(_greeting())
                await socket.send(frames[number % len(frames)])
                await socket.close()
    return amount


# ---- floods -------------------------------------------------------------------------------------


async def _pour(stream: Stream, blob: bytes, times: int, patience_s: float = 2.0) -> int:
    """Write it again and again, until the relay takes no more of it for a while."""
    for done in range(times):
        try:
            async with asyncio.timeout(patience_s):
                await stream.write(blob)
        except REFUSALS:
            return done
    return times


async def _flood(target: Target, frame: bytes, amount: int, *lists: Message) -> int:
    """So many of one frame on one link, of which nothing is read."""
    at_once = max(1, min(amount, (1 << 18) // len(frame)))
    async with target.upgraded() as stream:
        await stream.message(_greeting())
        for message in lists:
            await stream.message(encode(message))
        poured = await _pour(stream, frame * at_once, -(-amount // at_once))
        await asyncio.sleep(_HELD_S)
        return at_once * poured
    return 0


async def heartbeats(target: Target, _: random.Random, amount: int) -> int:
    """So many of the smallest frames there are."""
    return await _flood(target, masked(encode(Heartbeat())), amount)


async def pings(target: Target, _: random.Random, amount: int) -> int:
    """So many websocket pings, whose pongs nobody reads."""
    return await _flood(target, masked(bytes(125), head=PING), amount)


async def wants(target: Target, rng: random.Random, amount: int) -> int:
    """So many frames that ask for a thousand records each that nobody has."""
    some = sorted(rng.randbytes(32) for _ in range(WANTED_PER_FRAME_MAX))
    frame = masked(encode(Want(tuple(RecordHash(one) for one in some))))
    return await _flood(target, frame, amount, Resume(None), Contexts((), last=True))


async def repeated_records(target: Target, rng: random.Random, amount: int) -> int:
    """One record again and again, acknowledged each time to somebody who does not read."""
    pen = Pen(f"{CONTEXT}/again", rng.randbytes(32))
    record = pen.say("again")
    sent = 0
    async with target.upgraded() as stream:
        await stream.message(_greeting())
        await stream.message(encode(Resume(None)))
        await stream.message(encode(Contexts((), last=True)))
        for serial in range(1, amount + 1):
            message = as_message(serial, [record], pen.key)
            if not await _pour(stream, masked(encode(message)), 1):
                break
            sent = serial
            if serial % 32 == 0:
                # Beyond the window one is shown out; how far the relay is, a deaf one can't know.
                await asyncio.sleep(0.02)
    return sent


async def long_lists(target: Target, _: random.Random, amount: int) -> int:
    """So many contexts are listed, under the longest names, and the list never ends."""
    listed = 0
    async with target.upgraded() as stream:
        await stream.message(_greeting())
        await stream.message(encode(Resume(None)))
        fingerprint = bytes(32)
        while listed < amount:
            some = (f"{CONTEXT}/" + f"{listed + n:0>240}" for n in range(512))
            entries = tuple((ContextName(name), fingerprint) for name in some)
            if not await _pour(stream, masked(encode(Contexts(entries, last=False))), 1):
                break
            listed += len(entries)
        await asyncio.sleep(_HELD_S)
    return listed


async def long_frontiers(target: Target, rng: random.Random, amount: int) -> int:
    """So many hashes of records that do not exist are announced."""
    name = ContextName(f"{CONTEXT}/frontier")
    announced = 0
    async with target.upgraded() as stream:
        await stream.message(_greeting())
        await stream.message(encode(Resume(None)))
        names = [ContextName(f"{name}/{n}") for n in range(-(-amount // FRONTIER_HASHES_MAX))]
        entries = tuple((one, bytes(32)) for one in sorted(names))
        await stream.message(encode(Contexts(entries, last=True)))
        for number, (one, _) in enumerate(entries, 1):
            count = min(FRONTIER_HASHES_MAX, amount - announced)
            hashes = sorted(rng.randbytes(32) for _ in range(count))
            message = Frontier(one, tuple(RecordHash(hash_) for hash_ in hashes), ())
            for frame in cut(encode(message), id_=number):
                if not await _pour(stream, masked(frame), 1):
                    return announced
            announced += count
        await asyncio.sleep(_HELD_S)
    return announced


async def endless_messages(target: Target, _: random.Random, amount: int) -> int:
    """So many mebibytes in fragments, on links of which none sends its last fragment."""

    async def lane(fragments: int) -> int:
        sent = 0
        async with target.upgraded() as stream:
            await stream.message(_greeting())
            for index in range(fragments):
                piece = encode(Fragment(1, index, FRAGMENTS_MAX, bytes(FRAGMENT_BYTES)))
                sent += await _pour(stream, masked(piece), 1)
            await asyncio.sleep(_HELD_S)
        return sent

    lanes, last = divmod(amount * 4, FRAGMENTS_MAX - 1)
    shares = [FRAGMENTS_MAX - 1] * lanes + [last]
    sent = await _side_by_side(asyncio.ensure_future(lane(share)) for share in shares)
    return sent // 4

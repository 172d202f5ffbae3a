"""Attacks by who has a token for regions: frames between regions out of turn, floods of them, names
without end, and silence. Must never know: honest clients.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterable

from tests.hostile.raw_client import WINDOW, now_ms
from tests.hostile.target import CONTEXT, REFUSALS, Stream, Target, masked
from tests.simulation.mutation import mutated
from weft_engine.limits import (
    FORMAT_VERSION,
    LIVE_REGIONS_MAX,
    TREE_DIGEST_BYTES,
    WANTED_PER_FRAME_MAX,
)
from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.sync.framing.frames import encode
from weft_engine.sync.framing.messages import (
    Branches,
    Clock,
    Compared,
    Frontier,
    Hello,
    Live,
    Message,
    Reach,
    Sample,
    Ticket,
    Tips,
    Tree,
    Want,
    Zoom,
)
from weft_engine.sync.interest import EVERYTHING, Interest

_HELD_S = 1.0
"""How long a link is kept after a flood, for the relay to drown in it."""
_LANES = 8
_EMPTY = Tree(0, bytes(8), bytes(8))
_OTHER = Tree(1000, bytes(8), b"\x01" * 8)


def _greeting(interest: Interest = EVERYTHING) -> bytes:
    """Of a region that nobody has heard of, each time another."""
    name = f"rogue-{os.urandom(8).hex()}"
    return encode(
        Hello(FORMAT_VERSION, os.urandom(16), os.urandom(8), name, now_ms(), interest, WINDOW)
    )


def _hashes(rng: random.Random, count: int) -> tuple[RecordHash, ...]:
    return tuple(sorted(RecordHash(rng.randbytes(32)) for _ in range(count)))


def _any(rng: random.Random) -> Message:
    """Something that regions say, at a moment that nobody knows."""
    name = ContextName(rng.choice((CONTEXT, f"{CONTEXT}/other", "elsewhere")))
    levels = rng.choice((1, 4, 12))
    digests = rng.randbytes(TREE_DIGEST_BYTES << levels)
    leaves = b"".join(sorted(rng.randbytes(TREE_DIGEST_BYTES) for _ in range(9)))
    return rng.choice(
        (
            rng.choice((_EMPTY, _OTHER)),
            Branches(((1, levels, digests),), (), (), more=rng.random() < 0.5),
            Branches((), ((rng.choice((1, 2, 3)), leaves),), (), more=False),
            Branches((), (), ((1, leaves),), more=False),
            Compared(rng.choice((0, 1, 2**40))),
            Tips(1, None, _hashes(rng, 9)),
            Live(("eu", "us")),
            Reach((("us", Position(rng.choice((0, 1, 2**40)))),)),
            Zoom(name, rng.choice((1, 2)), rng.randbytes(rng.choice((0, 1, 4096))), True),
            Sample(name, _hashes(rng, 5), _hashes(rng, 5)),
            Frontier(name, _hashes(rng, 3), ()),
            Clock(rng.randrange(2**40), rng.choice((None, now_ms()))),
        )
    )


async def _pour(stream: Stream, messages: Iterable[Message]) -> int:
    """How many went out."""
    sent = 0
    try:
        for message in messages:
            await stream.message(encode(message))
            sent += 1
    except REFUSALS:
        pass
    return sent


async def region_frames(target: Target, rng: random.Random, amount: int) -> int:
    """So many frames that regions say, at random moments, and every third one is changed."""

    async def lane(share: int) -> int:
        sent = 0
        while sent < share:
            opening: list[Message] = [Ticket(None), rng.choice((_EMPTY, _OTHER))]
            frames = [encode(one) for one in opening[: rng.randrange(3)]]
            for _ in range(rng.randrange(1, 12)):
                frame = encode(_any(rng))
                is_changed = rng.random() < 0.3
                frames.append(mutated(rng, frame, frames or [frame]) if is_changed else frame)
            async with target.socket() as socket:
                await socket.send(_greeting())
                for frame in frames:
                    sent += 1
                    await socket.send(frame)
                    if rng.random() < 0.3:
                        await asyncio.sleep(0.001)
                await socket.close()
            sent += 1
        return sent

    return sum(await asyncio.gather(*(lane(-(-amount // _LANES)) for _ in range(_LANES))))


async def region_frontiers(target: Target, rng: random.Random, amount: int) -> int:
    """So many contexts are announced with a record that nobody has, and every context of the relay
    is said to be lacking; what was asked for never comes."""
    async with target.upgraded() as stream:
        await stream.write(masked(_greeting()))
        await _pour(stream, [Ticket(None), _EMPTY])
        await asyncio.sleep(0.2)
        names = (ContextName(f"{CONTEXT}/{number}") for number in range(amount))
        await _pour(stream, (Frontier(name, _hashes(rng, 1), ()) for name in names))
        await asyncio.sleep(_HELD_S)
    return amount


async def region_promises(target: Target, rng: random.Random, amount: int) -> int:
    """So many messages of records that nobody has: announced, asked for, and no end of who is live
    with whom and who holds what."""
    sent = 0
    others = tuple(sorted(f"r{number}" for number in range(LIVE_REGIONS_MAX)))

    def messages(kind: int) -> Iterable[Message]:
        for serial in range(1, amount // 4 + 2):
            match kind:
                case 0:
                    yield Tips(serial, None, _hashes(rng, 64))
                case 1:
                    yield Want(_hashes(rng, WANTED_PER_FRAME_MAX // 8))
                case 2:
                    yield Live(others if serial % 2 else ())
                case _:
                    yield Reach(tuple((name, Position(0)) for name in others[serial % 2 :]))

    for kind in range(4):
        async with target.upgraded() as stream:
            await stream.write(masked(_greeting()))
            sent += await _pour(stream, [Ticket(None), _EMPTY, *messages(kind)])
    return sent


async def regions_without_end(target: Target, rng: random.Random, amount: int) -> int:
    """So many regions at the same time, each about something else, for which a tree has to be made;
    then they stop in the middle of the comparison."""

    async def one() -> int:
        async with target.upgraded() as stream:
            prefix = f"{CONTEXT}"[: rng.randrange(len(CONTEXT) + 1)]
            await stream.write(masked(_greeting(Interest.of(prefixes=[prefix]))))
            await _pour(stream, [Ticket(None), _OTHER])
            await asyncio.sleep(_HELD_S)
        return 1

    return sum(await asyncio.gather(*(one() for _ in range(amount))))

"""Hostile frames: each at the reader of frames, and in sequences at real sessions with stores."""

from __future__ import annotations

import random
from functools import cache

from tests.linked import End, Store, link, settle, stores
from tests.simulation.mutation import mutated
from weft_engine.errors import MalformedFrame
from weft_engine.names import RecordHash
from weft_engine.sync.framing.frames import decode_frame, encode
from weft_engine.sync.framing.messages import ByeCode, Heartbeat, Message, Want, bye

GROUP = 2000
"""Frames that meet one store."""
_SENT: dict[str, tuple[bytes, ...]] = {}


async def conversation() -> tuple[bytes, ...]:
    """What one end of a real link says, from its hello to its goodbye: every type of frame."""
    if "one" in _SENT:
        return _SENT["one"]
    async with stores(2, seed=5) as (a, b):
        await a.write("one", "first", "second 😀")
        await a.write("two", "x" * 300_000)
        await b.write("one", "theirs")
        pair = (_Recording(a), End(b))
        await settle(pair)
        await a.write("one", "live")
        await settle(pair)
    said = list(dict.fromkeys([*pair[0].said, *_others()]))
    kinds = {type(message) for message in map(_decoded, said) if message is not None}
    assert len(kinds) == 9, kinds
    _SENT["one"] = tuple(said)
    return _SENT["one"]


@cache
def _others() -> tuple[bytes, ...]:
    """What that conversation has no need of."""
    messages: tuple[Message, ...] = (
        Want((RecordHash(b"\x01" * 32),)),
        Heartbeat(),
        bye(ByeCode.CLOSED, "end"),
    )
    return tuple(encode(message) for message in messages)


async def hunt_frames(seed: int, group: int, cases: int) -> int:
    """Hunt through one group; how many frames were accepted. Raises what it finds."""
    rng = random.Random(f"frames-{seed}-{group}")
    known = await conversation()
    small = [frame for frame in known if len(frame) < 8192] * 4 + list(known)
    left = cases
    accepted = 0
    while left > cases // 2:
        frame = mutated(rng, rng.choice(small), known)
        accepted += _decoded(frame) is not None
        left -= 1
    async with stores(2, seed=seed) as (store, fresh):
        await store.write("own", "text")
        while left > 0:
            end = End(store)
            for frame in sequence(rng, known, small):
                end.receive(frame)
                left -= 1
                await end.ask_one()
                await end.admit_one()
                end.session.frames_to_send()
                if end.session.end is not None:
                    break
                accepted += 1
            end.stop()
        # Whatever came, it writes, and gives all it holds to somebody new.
        await store.write("own", "still here")
        pair = link(store, fresh)
        await settle(pair)
        assert await store.fingerprints() == await fresh.fingerprints()
    return accepted


def sequence(rng: random.Random, known: tuple[bytes, ...], small: list[bytes]) -> list[bytes]:
    """A conversation of which some frames are changed, lost, repeated or exchanged."""
    frames = list(known)
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        at = rng.randrange(len(frames))
        match rng.randrange(5):
            case 0:
                del frames[at]
            case 1:
                frames.insert(at, frames[at])
            case 2:
                frames.insert(at, rng.choice(small))
            case _:
                frames[at] = mutated(rng, frames[at], known)
        if not frames:
            break
    return frames


def _decoded(frame: bytes) -> Message | None:
    try:
        return decode_frame(frame)
    except MalformedFrame:
        return None


class _Recording(End):
    """Keeps what it sends."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.said: list[bytes] = []

    def flush(self, to: End) -> bool:
        before = len(to.inbox)
        moved = super().flush(to)
        self.said.extend(list(to.inbox)[before:])
        return moved

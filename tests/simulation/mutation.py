"""Bytes made from sound bytes, nearly sound: what a hunt throws at readers.

Everything follows from the random source that is given. Must never know: what the bytes mean.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from weft_engine.yjs.lib0 import var_uint

_LENGTHS: Final = (
    0, 1, 2, 31, 32, 63, 64, 65, 127, 128, 255, 256, 1023, 1024, 16_383, 16_384, 65_535, 65_536,
    262_144, 262_145, 2**21 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 2**32, 2**53 - 1,
)  # fmt: skip
INTERESTING: Final = (
    *(var_uint(length) for length in _LENGTHS),
    *(length.to_bytes(2, "big") for length in _LENGTHS if length < 2**16),
    *(length.to_bytes(4, "big") for length in _LENGTHS if length < 2**32),
    b"\xff" * 8, b"\x80" * 9 + b"\x01", b"\x80\x00",
    b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xc0\x80", b"\x00\x00",
    b"\xc0", b"\xc2", b"\xc4\xff", b"\xc5\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xcf" + b"\xff" * 8,
    b"\xd9\x20", b"\xdc\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xde\xff\xff", b"\x90", b"\x9f",
)  # fmt: skip
"""Lengths in the forms of lib0 and msgpack, and beginnings of things that are none."""


def mutated(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """`data` after one to four changes; `others` are material to splice in."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        _change(rng, changed, others)
    return bytes(changed)


def _change(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    size = len(data)
    at = rng.randrange(size + 1)
    span = min(size, at + rng.choice((1, 1, 2, 4, 8, 32)))
    match rng.randrange(9):
        case 0 if at < size:
            data[at] ^= 1 << rng.randrange(8)
        case 1 if at < size:
            data[at] = rng.randrange(256)
        case 2 if at < size:
            data[at] = (data[at] + rng.choice((-1, 1))) % 256
        case 3:
            del data[at:span]
        case 4:
            data[at:at] = data[at:span]
        case 5:
            data[at:at] = rng.choice(INTERESTING)
        case 6:
            data[at:span] = rng.choice(INTERESTING)
        case 7:
            other = rng.choice(others)
            begin = rng.randrange(len(other) + 1)
            data[at : rng.choice((at, span))] = other[begin : begin + rng.choice((4, 16, 64, 512))]
        case _:
            del data[at : rng.choice((size, span))]

"""What the links of a relay hold in memory for their peers: bounded for all of them together.

Each link has limits of its own, but ten thousand links times these is more than any machine has.
So when all together hold too much, those that hold most are ended, with the code that says try
again: honest ones hold much for moments only. Must never know: frames, sockets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

T = TypeVar("T")

LOOK_EVERY_S: Final = 0.25
LOOK_OFTEN_S: Final = 0.03
"""While much is held already: a fast network could bring as much again in the time above."""
TRIM_EVERY_S: Final = 1.0
"""What ended links held is in cycles, which the collector of a busy relay finds late; finding them
takes some hundredths of a second."""


@dataclass(frozen=True, slots=True)
class Holding(Generic[T]):
    """Who holds how much."""

    who: T
    held_bytes: int


def too_large(holdings: Iterable[Holding[T]], *, bytes_max: int) -> Sequence[Holding[T]]:
    """Those to end, the largest first, so that the others hold at most `bytes_max`."""
    found = list(holdings)
    left = sum(one.held_bytes for one in found)
    if left <= bytes_max:
        return ()
    ended: list[Holding[T]] = []
    for one in sorted(found, key=lambda one: one.held_bytes, reverse=True):
        if left <= bytes_max:
            break
        ended.append(one)
        left -= one.held_bytes
    return ended

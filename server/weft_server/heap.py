"""Giving memory back to the system after it was let go. Must never know: whose it was."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Final

from weft_engine.limits import MIB

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Of glibc's mallopt."""
_LARGE_BYTES: Final = MIB
"""More than is read from a connection at once."""
_KEPT_BYTES: Final = 4 * MIB
"""What may stay free at the end of the heap."""


def keep_large_apart() -> None:
    """Have what is large mapped by itself, so that it is gone from memory when it is let go. By
    default glibc puts ever larger pieces among the small ones, up to 32 MiB, once such have come
    and gone; what lies behind a hole stays: half of what messages without end had held."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
    # With the one the other does not adapt itself any more either.
    mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


def trim_heap() -> None:
    """Give back what is free. Takes milliseconds; without glibc it does nothing, and what is free
    is used again only."""
    _trimmer()(0)


@cache
def _trimmer() -> Callable[[int], int]:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return lambda _: 0
    return found

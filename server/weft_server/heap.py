"""Giving memory back to the system after much of it was let go. Must never know: whose it was."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


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

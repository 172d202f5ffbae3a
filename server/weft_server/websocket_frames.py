"""What stands before the payload of a websocket frame (RFC 6455, 5.2).

Must never know: connections, what a payload means.
"""

from __future__ import annotations

from functools import lru_cache
from os import urandom
from typing import Final

try:
    from websockets.speedups import apply_mask as apply_mask
except ImportError:
    from websockets.utils import apply_mask as apply_mask

BINARY: Final = 0x82
"""The first byte of a message in one frame."""
FINAL: Final = 0x80
MASKED: Final = 0x80
CONTROL: Final = 0x08
PIECES_MAX: Final = 1024
"""Websocket frames of one message."""
HEAD_MIN: Final = 2
_SHORT_MAX: Final = 125
_MEDIUM: Final = 126
_HEADERS_KEPT: Final = 1024
"""Sizes: what goes to many connections has few."""

_FRAMES_KEPT: Final = 16
"""What goes to many connections goes to one after the other."""


def read_head(data: bytes, at: int) -> tuple[int, int]:
    """How many bytes the payload of the frame at `at` has, and its head, without a mask. Where the
    head is not whole in `data`, which has HEAD_MIN bytes of it, that is longer than what is there,
    and the first number means nothing."""
    size = data[at + 1] & 0x7F
    if size <= _SHORT_MAX:
        return size, HEAD_MIN
    head = HEAD_MIN + (2 if size == _MEDIUM else 8)
    return int.from_bytes(data[at + HEAD_MIN : at + head], "big"), head


@lru_cache(_HEADERS_KEPT)
def binary_header(size: int, *, masked: int = 0) -> bytes:
    """The head of a binary message of `size` bytes in one frame; `masked`: MASKED, if it is."""
    if size <= _SHORT_MAX:
        return bytes((BINARY, masked | size))
    if size < 1 << 16:
        return bytes((BINARY, masked | _MEDIUM)) + size.to_bytes(2, "big")
    return bytes((BINARY, masked | _MEDIUM + 1)) + size.to_bytes(8, "big")


@lru_cache(_FRAMES_KEPT)
def binary_frame(head: bytes, body: bytes) -> bytes:
    """A small binary message of these two in one frame: the same object for many connections."""
    return binary_header(len(head) + len(body)) + head + body


def masked_frame(payload: bytes) -> bytes:
    """A binary message as whoever has dialled sends it."""
    mask = urandom(4)
    return binary_header(len(payload), masked=MASKED) + mask + apply_mask(payload, mask)

"""Websocket frames of a server, built once for all who get them. RFC 6455, section 5.2.

Must never know: what messages mean, connections.
"""

from __future__ import annotations

from typing import Final

from weft_engine.limits import YJS_FRAGMENT_BYTES
from weft_server.websocket_frames import binary_header

PING: Final = b"\x89\x00"
_FINAL: Final = 0x80
_BINARY: Final = 0x02
_CONTINUED: Final = 0x00


def frame(message: bytes) -> bytes:
    """A binary message in one frame."""
    return binary_header(len(message)) + message


def fragments(message: bytes) -> list[bytes]:
    """A binary message in frames of YJS_FRAGMENT_BYTES, to be written one after the other: control
    frames may come between them, other messages may not."""
    pieces: list[bytes] = []
    for start in range(0, len(message), YJS_FRAGMENT_BYTES):
        some = message[start : start + YJS_FRAGMENT_BYTES]
        first = _BINARY if start == 0 else _CONTINUED
        final = _FINAL if start + YJS_FRAGMENT_BYTES >= len(message) else 0
        pieces.append(_header(final | first, len(some)) + some)
    return pieces


def _header(first: int, size: int) -> bytes:
    return bytes((first,)) + binary_header(size)[1:]

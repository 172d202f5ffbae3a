"""The bytes of websocket messages and of Yjs sync messages, as clients send them.

Must never know: what is in them.
"""

from __future__ import annotations

import struct

STEP_1_OF_NOTHING = b"\x00\x00\x01\x00"
UPDATE = b"\x00\x02"


def framed(message: bytes) -> bytes:
    """One binary websocket message. The mask is zeros: a server takes it off like any other."""
    size = len(message)
    if size < 126:
        head = struct.pack("!BB", 0x82, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x82, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x82, 0x80 | 127, size)
    return head + bytes(4) + message


def request(port: int, path: str) -> bytes:
    """What opens a websocket at this machine."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: d2VmdC1iZW5jaC1yZWxheQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def var_bytes(data: bytes) -> bytes:
    """lib0's bytes with their length before them."""
    size, head = len(data), bytearray()
    while size > 127:
        head.append(128 | size & 127)
        size >>= 7
    head.append(size)
    return bytes(head) + data

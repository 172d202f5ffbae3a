"""Portions: a whole document as updates that a slow link carries one by one.

Each is sound behind those before it, and all of them together say what the document says. A long
text, which a document keeps in one struct, is cut as Yjs itself cuts it to insert something: the
second half names the last character of the first as its origin. Must never know: messages.
"""

from __future__ import annotations

from typing import Final

from weft_engine.limits import STRUCTS_PER_MESSAGE_MAX
from weft_engine.names import ClientId
from weft_engine.yjs.lib0 import read_var_uint, var_uint
from weft_engine.yjs.reader import read_struct
from weft_engine.yjs.splitting import split
from weft_engine.yjs.update import Kind, Struct

_HAS_ORIGIN: Final = 0x80
_HAS_RIGHT_ORIGIN: Final = 0x40
_STRING: Final = Kind.STRING.value
_CONTINUED: Final = 0x80
"""The first two bits of every byte of a character but its first, in UTF-8."""


def portions(data: bytes, *, bytes_max: int) -> list[bytes]:
    """`data` as updates of about `bytes_max` bytes each, to be applied in this order; what is one
    value and larger goes in one. MalformedUpdate if it is no sound update, or has more structs
    than we take in one message."""
    if len(data) <= bytes_max:
        return [data]
    return split(
        _with_short_texts(data, bytes_max),
        structs_max=STRUCTS_PER_MESSAGE_MAX,
        woven_max=STRUCTS_PER_MESSAGE_MAX,
        bytes_max=bytes_max,
    )


def _with_short_texts(data: bytes, bytes_max: int) -> bytes:
    """The same update with no text of more bytes than this in one struct."""
    sections, position = read_var_uint(data, 0)
    pieces = [var_uint(sections)]
    for _ in range(sections):
        count, position = read_var_uint(data, position)
        client, position = read_var_uint(data, position)
        clock, position = read_var_uint(data, position)
        head = var_uint(client) + var_uint(clock)
        begin = position
        structs: list[bytes] = []
        for _ in range(count):
            struct, _, _, end = read_struct(data, position, ClientId(client), clock)
            if end - position > bytes_max and struct.kind is Kind.STRING and struct.key is None:
                cut = _cut(data, position, struct, bytes_max)
                structs += (data[begin:position], *cut)
                count += len(cut) - 1
                begin = end
            clock, position = clock + struct.length, end
        pieces += (var_uint(count), head, *structs, data[begin:position])
    return b"".join((*pieces, data[position:]))


def _cut(data: bytes, start: int, struct: Struct, bytes_max: int) -> list[bytes]:
    """One text as several structs, none of which ends within a character."""
    assert struct.content is not None, "a text has content"
    begin, size = struct.content
    end = begin + size
    right = b""
    if struct.right_origin is not None:
        right = b"".join(map(var_uint, struct.right_origin))
    info = _HAS_ORIGIN | (_HAS_RIGHT_ORIGIN if right else 0) | _STRING
    # What stands before the text, without the number of its bytes.
    head = data[start : begin - len(var_uint(size))]
    clock = struct.clock
    found: list[bytes] = []
    while begin < end:
        upto = min(begin + bytes_max, end)
        while upto < end and data[upto] & 0xC0 == _CONTINUED:
            upto -= 1
        text = data[begin:upto]
        found.append(head + var_uint(len(text)) + text)
        clock += len(text.decode().encode("utf-16-le")) // 2
        head = bytes((info,)) + var_uint(struct.client) + var_uint(clock - 1) + right
        begin = upto
    assert clock == struct.clock + struct.length, "its parts are as long as a text"
    return found

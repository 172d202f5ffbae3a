"""The form that nearly every update has, read in one pass: one client sets event ids, each for the
first time and to one string, and deletes nothing (`yjs.encoder` writes it).

What is read here is read by `yjs.reader` as just the same; whatever looks different in the least
is left to it, also to say what is wrong. Must never know: which ids are well formed, what the
strings say.
"""

from __future__ import annotations

from typing import Final

from weft_engine.errors import MalformedUpdate
from weft_engine.limits import CLOCK_END_MAX
from weft_engine.names import ClientId
from weft_engine.yjs.encoder import EVENT_STRUCT, ONE_STRING, client_bytes
from weft_engine.yjs.lib0 import read_var_uint

_KEY_BYTES: Final = 49
_HEAD: Final = EVENT_STRUCT + bytes((_KEY_BYTES,))
_KEY_AT: Final = len(_HEAD)
_CONTENT_AT: Final = _KEY_AT + _KEY_BYTES
_LENGTH_AT: Final = _CONTENT_AT + len(ONE_STRING)
_STRUCTS_MAX: Final = 4096
"""More than that are few updates, and the reader's limits need not be repeated here."""


def read_appends(data: bytes, client: ClientId) -> list[bytes] | None:
    """The keys, 49 bytes of ASCII each and no two alike, that `client` sets in `events` by the
    update `data`; None if it does anything else, or is not sound."""
    if data[:1] != b"\x01":
        return None
    keys: list[bytes] = []
    try:
        count, at = read_var_uint(data, 1)
        whose = client_bytes(client)
        if not data.startswith(whose, at):
            return None
        clock, at = read_var_uint(data, at + len(whose))
        if not 0 < count <= _STRUCTS_MAX or clock + count > CLOCK_END_MAX:
            return None
        for _ in range(count):
            if not data.startswith(_HEAD, at) or not data.startswith(ONE_STRING, at + _CONTENT_AT):
                return None
            key = data[at + _KEY_AT : at + _CONTENT_AT]
            size, begin = read_var_uint(data, at + _LENGTH_AT)
            at = begin + size
            text = data[begin:at]
            if len(text) != size or not key.isascii():
                return None
            if not text.isascii():
                text.decode()
            keys.append(key)
    except (MalformedUpdate, UnicodeDecodeError):
        return None
    if data[at:] != b"\x00" or (count > 1 and len(set(keys)) != count):
        return None
    return keys

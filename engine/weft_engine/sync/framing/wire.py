"""A strict reader of the few msgpack forms that frames are made of.

Only shortest forms are taken, and a count or a size is compared with the bytes that are left before
anything is made for it: a general reader allocates what nested counts promise, gigabytes from one
frame. Must never know: what the values mean.
"""

from __future__ import annotations

from itertools import chain
from operator import ge
from struct import Struct
from typing import Final, cast

from weft_engine.errors import MalformedFrame
from weft_engine.names import RecordHash

UINT_MAX: Final = 2**64 - 1
_HASH_HEAD: Final = b"\xc4\x20"
_HASHES: Final = Struct("2x32s")
_HASH_BYTES: Final = _HASHES.size


class Reader:
    """Reads values one after another; MalformedFrame names the one that is wrong."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def uint(self, what: str, *, least: int = 0, most: int = UINT_MAX) -> int:
        head = self._byte(what)
        if head < 0x80:
            value = head
        elif 0xCC <= head <= 0xCF:
            width = 1 << (head - 0xCC)
            value = self._sized(what, width)
            if value < (0x80 if width == 1 else 1 << (4 * width)):
                raise MalformedFrame(f"{what} is not in its shortest form")
        else:
            raise MalformedFrame(f"{what} is no unsigned integer")
        if not least <= value <= most:
            raise MalformedFrame(f"{what} is {value}, it may be {least} to {most}")
        return value

    def flag(self, what: str) -> bool:
        head = self._byte(what)
        if head not in (0xC2, 0xC3):
            raise MalformedFrame(f"{what} is neither true nor false")
        return head == 0xC3

    def nil(self) -> bool:
        """Whether the next value is nil, which then is read."""
        if self._data[self._at : self._at + 1] == b"\xc0":
            self._at += 1
            return True
        return False

    def text(self, what: str, *, bytes_max: int) -> str:
        head = self._byte(what)
        if 0xA0 <= head <= 0xBF:
            size = head - 0xA0
        elif 0xD9 <= head <= 0xDB:
            size = self._size(what, head - 0xD9, least=32)
        else:
            raise MalformedFrame(f"{what} is no string")
        data = self._take(what, size, size_max=bytes_max)
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise MalformedFrame(f"{what} is no UTF-8") from None

    def blob(self, what: str, *, size_min: int = 0, size_max: int) -> bytes:
        data, at = self._data, self._at
        if at + 1 < len(data) and data[at] == 0xC4:
            # A short one that is as it should be, as nearly all are: in one step.
            size = data[at + 1]
            end = at + 2 + size
            if size_min <= size <= size_max and end <= len(data):
                self._at = end
                return data[at + 2 : end]
        head = self._byte(what)
        if not 0xC4 <= head <= 0xC6:
            raise MalformedFrame(f"{what} is no byte string")
        size = self._size(what, head - 0xC4, least=0)
        if size < size_min:
            raise MalformedFrame(f"{what} has {size} bytes, the least is {size_min}")
        return self._take(what, size, size_max=size_max)

    def array(self, what: str, *, count_min: int = 0, count_max: int, item_bytes: int = 1) -> int:
        """The count of an array whose items take at least `item_bytes` each."""
        if self._at >= len(self._data):
            raise MalformedFrame(f"the frame ends before {what}")
        head = self._data[self._at]
        self._at += 1
        if 0x90 <= head <= 0x9F:
            count = head - 0x90
        elif head in (0xDC, 0xDD):
            count = self._sized(what, 2 if head == 0xDC else 4)
            if count < (16 if head == 0xDC else 1 << 16):
                raise MalformedFrame(f"{what} is not in its shortest form")
        else:
            raise MalformedFrame(f"{what} is no array")
        if not count_min <= count <= count_max:
            raise MalformedFrame(
                f"{what} has {count} items, it may have {count_min} to {count_max}"
            )
        if count * item_bytes > len(self._data) - self._at:
            raise MalformedFrame(f"{what} promises {count} items, more than the frame holds")
        return count

    def hashes(
        self, what: str, *, count_min: int = 0, count_max: int, ascending: bool
    ) -> tuple[RecordHash, ...]:
        """An array of 32-byte hashes without repetition."""
        data, start = self._data, self._at
        head = data[start : start + 1]
        if head == b"\x91" and count_min <= 1 <= count_max:
            # One hash, as most lists have: in one step.
            end = start + 1 + _HASH_BYTES
            if data[start + 1 : start + 3] == _HASH_HEAD and end <= len(data):
                self._at = end
                return (RecordHash(data[start + 3 : end]),)
        elif head == b"\x90" and not count_min:
            self._at = start + 1
            return ()
        count = self.array(what, count_min=count_min, count_max=count_max, item_bytes=_HASH_BYTES)
        start = self._at
        self._at = end = start + count * _HASH_BYTES
        # No step of Python for each: a message may have many thousands.
        heads = (data[start:end:_HASH_BYTES], data[start + 1 : end : _HASH_BYTES])
        if heads != tuple(bytes((byte,)) * count for byte in _HASH_HEAD):
            raise MalformedFrame(f"{what} are not hashes of 32 bytes")
        unpacked = chain.from_iterable(_HASHES.iter_unpack(data[start:end]))
        found = cast("tuple[RecordHash, ...]", tuple(unpacked))
        if ascending and any(map(ge, found, found[1:])):
            raise MalformedFrame(f"{what} do not ascend")
        if not ascending and len(set(found)) != len(found):
            raise MalformedFrame(f"{what} repeat themselves")
        return found

    def end(self, what: str) -> None:
        if self._at != len(self._data):
            raise MalformedFrame(f"{len(self._data) - self._at} bytes follow a {what}")

    def _size(self, what: str, form: int, *, least: int) -> int:
        """A length in 1, 2 or 4 bytes; `least` is the first that needs the one-byte form."""
        size = self._sized(what, 1 << form)
        if size < (least, 1 << 8, 1 << 16)[form]:
            raise MalformedFrame(f"{what} is not in its shortest form")
        return size

    def _sized(self, what: str, width: int) -> int:
        return int.from_bytes(self._take(what, width, size_max=width), "big")

    def _byte(self, what: str) -> int:
        if self._at >= len(self._data):
            raise MalformedFrame(f"the frame ends before {what}")
        self._at += 1
        return self._data[self._at - 1]

    def _take(self, what: str, size: int, *, size_max: int) -> bytes:
        if size > size_max:
            raise MalformedFrame(f"{what} has {size} bytes, the most is {size_max}")
        end = self._at + size
        if end > len(self._data):
            raise MalformedFrame(f"the frame ends inside {what}")
        found = self._data[self._at : end]
        self._at = end
        return found

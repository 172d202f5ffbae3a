"""Stand-ins: an update with some of what it holds taken out, and all of its places kept.

An erased struct keeps its links, its parent, its key and its length; only its content becomes
"deleted". So whatever was written after it or beside it still finds its place in a document, and
the structs of a stand-in are, one by one, those of the original.

A blank keeps the clock ranges alone, as GC structs. Must never know: records, who erases what.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Final, Self

from weft_engine.names import ClientId
from weft_engine.yjs.lib0 import read_string_span, read_var_uint, var_uint
from weft_engine.yjs.reader import read_update, struct_spans
from weft_engine.yjs.update import Kind, Struct, Update

_HAS_ORIGIN: Final = 0x80
_HAS_RIGHT_ORIGIN: Final = 0x40
_FLAGS: Final = 0xE0
_HAS_KEY: Final = 0x20
_BARE: Final = frozenset({Kind.GC, Kind.SKIP})
_EMPTY: Final = frozenset({Kind.GC, Kind.SKIP, Kind.DELETED})


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A sound update, cut into its structs."""

    data: bytes
    update: Update
    spans: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, data: bytes) -> Self:
        """MalformedUpdate if `data` is no sound update."""
        return cls(data, read_update(data), struct_spans(data))

    def is_empty(self, index: int) -> bool:
        """Whether this struct holds nothing that could be taken out."""
        return self.update.structs[index].kind in _EMPTY

    def struct(self, index: int) -> bytes:
        start, end = self.spans[index]
        return self.data[start:end]

    def around(self) -> bytes:
        """All bytes that stand in no struct: a stand-in has the same."""
        pieces: list[bytes] = []
        last = 0
        for start, end in self.spans:
            pieces.append(self.data[last:start])
            last = end
        pieces.append(self.data[last:])
        return b"".join(pieces)

    def emptied(self, index: int) -> bytes:
        """The struct with nothing in it."""
        struct = self.struct(index)
        if self.is_empty(index):
            return struct
        info = (struct[0] & _FLAGS) | Kind.DELETED.value
        links = struct[1 : links_end(struct, 0)]
        return bytes((info,)) + links + var_uint(self.update.structs[index].length)

    def without(self, indices: Collection[int]) -> bytes:
        """The stand-in in which these structs hold nothing."""
        pieces: list[bytes] = []
        last = 0
        for index in sorted(indices):
            start, end = self.spans[index]
            pieces += (self.data[last:start], self.emptied(index))
            last = end
        pieces.append(self.data[last:])
        return b"".join(pieces)

    def blank(self) -> bytes:
        """The same clock ranges and nothing else."""
        sections: list[bytes] = []
        structs = self.update.structs
        at = 0
        while at < len(structs):
            client, clock = structs[at].client, structs[at].clock
            runs: list[tuple[Kind, int]] = []
            while at < len(structs) and structs[at].client == client:
                kind = Kind.SKIP if structs[at].kind is Kind.SKIP else Kind.GC
                length = structs[at].length
                if runs and runs[-1][0] is kind:
                    length += runs.pop()[1]
                runs.append((kind, length))
                at += 1
            sections.append(
                var_uint(len(runs)) + var_uint(client) + var_uint(clock)
                + b"".join(bytes((kind.value,)) + var_uint(length) for kind, length in runs)
            )  # fmt: skip
        return var_uint(len(sections)) + b"".join(sections) + b"\x00"

    def skipping(self, ranges: Mapping[ClientId, Sequence[tuple[int, int]]]) -> bytes:
        """The update without these clocks, (first, end) per client, ascending and apart, where it
        holds nothing: what comes behind them waits for them."""
        sections: list[bytes] = []
        structs = self.update.structs
        for client, indices in groupby(range(len(structs)), lambda index: structs[index].client):
            pieces: list[bytes] = []
            begin = missing = 0
            for index in indices:
                for first, end, is_kept in _cut(structs[index], ranges.get(client, ())):
                    if not is_kept or structs[index].kind is Kind.SKIP:
                        missing += end - first
                        continue
                    if not pieces:
                        begin = first
                    elif missing:
                        pieces.append(bytes((Kind.SKIP.value,)) + var_uint(missing))
                    missing = 0
                    pieces.append(self._part(index, first, end))
            if pieces:
                head = var_uint(len(pieces)) + var_uint(client) + var_uint(begin)
                sections.append(head + b"".join(pieces))
        deletes = self.data[self.spans[-1][1] :] if self.spans else self.data[1:]
        return var_uint(len(sections)) + b"".join(sections) + deletes

    def _part(self, index: int, first: int, end: int) -> bytes:
        """What a struct gives between these clocks: all, or of an empty one, some."""
        struct = self.update.structs[index]
        if end - first == struct.length:
            return self.struct(index)
        if struct.kind is Kind.GC:
            return bytes((Kind.GC.value,)) + var_uint(end - first)
        whole = self.struct(index)
        if first == struct.clock:
            return whole[: links_end(whole, 0)] + var_uint(end - first)
        info = Kind.DELETED.value | _HAS_ORIGIN | (whole[0] & _HAS_RIGHT_ORIGIN)
        links = var_uint(struct.client) + var_uint(first - 1)
        if struct.right_origin is not None:
            links += var_uint(struct.right_origin[0]) + var_uint(struct.right_origin[1])
        return bytes((info,)) + links + var_uint(end - first)


def links_end(data: bytes, at: int) -> int:
    """Where the content begins of the struct that stands at `at` and is no GC or SKIP."""
    info = data[at]
    at += 1
    for flag in (_HAS_ORIGIN, _HAS_RIGHT_ORIGIN):
        if info & flag:
            at = read_var_uint(data, read_var_uint(data, at)[1])[1]
    if not info & (_HAS_ORIGIN | _HAS_RIGHT_ORIGIN):
        if data[at] == 1:
            at = read_string_span(data, at + 1)[1]
        else:
            at = read_var_uint(data, read_var_uint(data, at + 1)[1])[1]
        if info & _HAS_KEY:
            at = read_string_span(data, at)[1]
    return at


def _cut(struct: Struct, ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, bool]]:
    """A struct in pieces, (first clock, end, whether it is outside of `ranges`)."""
    at, end = struct.clock, struct.clock + struct.length
    place = bisect_right(ranges, at, key=itemgetter(1))
    while at < end:
        first, stop = ranges[place] if place < len(ranges) else (end, end)
        if at < first:
            yield at, min(first, end), True
        at = max(at, min(first, end))
        if at < end:
            yield at, min(stop, end), False
            at = min(stop, end)
        place += 1

"""Stand-ins: an update with some of what it holds taken out, and all of its places kept.

An erased struct keeps its links, its parent, its key and its length; only its content becomes
"deleted". So whatever was written after it or beside it still finds its place in a document, and
the structs of a stand-in are, one by one, those of the original.

A blank keeps the clock ranges alone, as GC structs. Must never know: records, who erases what.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Self

from weft_engine.yjs.lib0 import read_string_span, read_var_uint, var_uint
from weft_engine.yjs.reader import read_update, struct_spans
from weft_engine.yjs.update import Kind, Update

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
        links = struct[1 : self._links_end(index) - self.spans[index][0]]
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

    def _links_end(self, index: int) -> int:
        """Where in a struct its content begins."""
        data, at = self.data, self.spans[index][0]
        assert self.update.structs[index].kind not in _BARE, "a bare struct has no links"
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

"""Updates as a document may have them: without types nested too deep or standing in no type.

One update can nest 64 deep, and so can each of the next ones inside it: yrs dies of a chain of
some 50,000 maps when their root is deleted, whoever wrote them and in however many records. And it
panics at a struct whose parent is a letter of a text, or whatever else is no type. One update alone
shows neither. So a struct that stands deeper than NESTING_DEPTH_MAX, or in no type, counts as
collected: a GC struct over the same clocks takes its place in the document.

Invariant: both follow from a struct's own bytes and from the structs that it points to, and those
came before it. So every replica finds the same structs, in whatever order the updates come that do
not point to each other. Must never know: records, documents.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from weft_engine.limits import NESTING_DEPTH_MAX
from weft_engine.names import ClientId
from weft_engine.yjs.lib0 import read_var_uint, var_uint
from weft_engine.yjs.nesting import struct_levels
from weft_engine.yjs.reader import read_struct, read_update
from weft_engine.yjs.update import Id, Kind, Struct, Update

_BARE = frozenset({Kind.GC, Kind.SKIP})


class Levels:
    """The levels of a document's structs; those at level 0, mostly all, are not kept."""

    def __init__(self) -> None:
        self._firsts: dict[ClientId, list[int]] = {}
        self._runs: dict[ClientId, list[tuple[int, int, int]]] = {}
        """Per client (first clock, end, level), ascending and apart."""
        self._types: set[Id] = set()

    @property
    def is_flat(self) -> bool:
        """There are no types but roots."""
        return not self._runs and not self._types

    def has_type(self, client: ClientId, first: int, end: int) -> bool:
        """Whether one of the updates so far had a type between these clocks, deleted or not."""
        if end - first > len(self._types):
            return any(one == client and first <= clock < end for one, clock in self._types)
        return any((client, clock) in self._types for clock in range(first, end))

    def flattened(self, data: bytes, update: Update) -> bytes:
        """`data`, which says `update` and points to nothing that has not come, as a document may
        have it: the very same object if there is nothing to change."""
        structs = update.structs
        self._types.update((s.client, s.clock) for s in structs if s.kind is Kind.TYPE)
        if self.is_flat and not any(struct.parent.__class__ is tuple for struct in structs):
            return data
        levels = struct_levels(structs, end=len(data), known=self._level)
        gone = [False] * len(structs)
        for index, (struct, level) in enumerate(zip(structs, levels, strict=True)):
            if level > 0 and struct.kind not in _BARE:
                self._note(struct, level)
                parent = struct.parent
                gone[index] = level > NESTING_DEPTH_MAX or (
                    isinstance(parent, tuple) and parent not in self._types
                )
        return _collected(data, gone, keep_deletes=True) if any(gone) else data

    def _level(self, wanted: Id) -> int:
        client, clock = wanted
        place = bisect_right(self._firsts.get(client, ()), clock) - 1
        if place < 0:
            return 0
        _, end, level = self._runs[client][place]
        return level if clock < end else 0

    def _note(self, struct: Struct, level: int) -> None:
        firsts = self._firsts.setdefault(struct.client, [])
        runs = self._runs.setdefault(struct.client, [])
        first, end = struct.clock, struct.clock + struct.length
        place = bisect_right(firsts, first)
        if place:
            # An earlier update may have brought a part of it, or all.
            first = max(first, runs[place - 1][1])
        if first >= end:
            return
        if place and runs[place - 1][1:] == (first, level):
            runs[place - 1] = (runs[place - 1][0], end, level)
            return
        firsts.insert(place, first)
        runs.insert(place, (first, end, level))


def stand_in(data: bytes) -> bytes:
    """An update that gives out the clocks of `data` and says nothing."""
    return _collected(data, [True] * len(read_update(data).structs), keep_deletes=False)


def _collected(data: bytes, gone: Sequence[bool], *, keep_deletes: bool) -> bytes:
    """The update `data` with a GC struct in place of each struct that is `gone`."""
    pieces: list[bytes] = []
    copied = index = 0
    sections, position = read_var_uint(data, 0)
    for _ in range(sections):
        count, position = read_var_uint(data, position)
        client, position = read_var_uint(data, position)
        clock, position = read_var_uint(data, position)
        for _ in range(count):
            start = position
            struct, _, _, position = read_struct(data, start, ClientId(client), clock)
            clock += struct.length
            if gone[index] and struct.kind not in _BARE:
                pieces += (data[copied:start], b"\x00", var_uint(struct.length))
                copied = position
            index += 1
    pieces.append(data[copied:] if keep_deletes else data[copied:position] + b"\x00")
    return b"".join(pieces)

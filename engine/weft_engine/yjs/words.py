"""Whether two updates say the same of the same clocks, however their structs are cut.

An editor joins what was typed in a row into one struct, cuts it where somebody else writes, and
cuts off what its reader has. None of that changes what a clock holds, nor what it stands behind and
in front of: a struct's second clock stands behind its first one. What was deleted holds nothing
that could be compared; that it was a type, in which others may stand, is still told.

What can't be compared counts as different: what a document has collected, and values that were
written in another way (the keys of an object in another order). Must never know: records, who is
right.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final

from weft_engine.limits import CLOCK_END_MAX
from weft_engine.names import ClientId
from weft_engine.yjs.lib0 import read_string, read_var_uint, skim_any
from weft_engine.yjs.reader import read_struct
from weft_engine.yjs.stand_in import links_end
from weft_engine.yjs.update import Kind, Struct

_JSON: Final = frozenset({Kind.EMBED, Kind.FORMAT})
_clock: Final = attrgetter("struct.clock")


@dataclass(slots=True)
class _Piece:
    struct: Struct
    start: int
    """Where it stands in the bytes."""
    end: int
    _elements: Sequence[object] | None = None
    """One for each clock of it, of bytes for text two; read once, however small the pieces are
    that it is compared with."""

    def place(self, clock: int) -> object:
        """What it stands behind and in front of from a clock on, or in."""
        struct = self.struct
        if clock > struct.clock:
            return (struct.client, clock - 1), struct.right_origin, None, None
        return struct.origin, struct.right_origin, struct.parent, struct.key

    def words(self, data: bytes, first: int, end: int) -> object:
        """What it holds between clocks."""
        if self._elements is None:
            self._elements = _elements(data, self)
        each = 2 if self.struct.kind is Kind.STRING else 1
        first, end = first - self.struct.clock, end - self.struct.clock
        return self._elements[each * first : each * end]


@dataclass(slots=True)
class Words:
    """What an update says, by client and clock."""

    data: bytes
    size: int = 0
    """How many structs."""
    _pieces: dict[ClientId, list[_Piece]] = field(default_factory=dict)

    @classmethod
    def of(cls, data: bytes, *, end: int = CLOCK_END_MAX, pieces_max: int | None = None) -> Words:
        """Of each client what is below the clock `end`, in the order of the bytes until it is too
        much. MalformedUpdate if it is unsound; whether it is too large for a payload is not asked.
        """
        words = cls(data)
        sections, position = read_var_uint(data, 0)
        for _ in range(sections):
            count, position = read_var_uint(data, position)
            client, position = read_var_uint(data, position)
            clock, position = read_var_uint(data, position)
            pieces = words._pieces.setdefault(ClientId(client), [])
            for _ in range(count):
                if clock >= end or words.size == pieces_max:
                    return words
                start = position
                struct, _, _, position = read_struct(data, start, ClientId(client), clock)
                pieces.append(_Piece(struct, start, position))
                clock += struct.length
                words.size += 1
        return words

    def differ(
        self,
        other: Words,
        client: ClientId,
        spans: Iterable[tuple[int, int]],
        has_type: Callable[[ClientId, int, int], bool],
    ) -> bool:
        """Whether the other says something else between some clocks, (first, end), or one does not
        say what. `has_type`: whether this one had a type between clocks, even if it is deleted."""
        for at, end in spans:
            while at < end:
                mine, theirs = self._at(client, at), other._at(client, at)
                if mine is None or theirs is None:
                    return True
                stop = min(end, _end(mine), _end(theirs))
                kinds = mine.struct.kind, theirs.struct.kind
                if Kind.GC in kinds:
                    is_same = kinds[0] is kinds[1]
                elif mine.place(at) != theirs.place(at):
                    is_same = False
                elif Kind.DELETED in kinds:
                    is_same = has_type(client, at, stop) == (kinds[1] is Kind.TYPE)
                else:
                    is_same = kinds[0] is kinds[1] and (
                        mine.words(self.data, at, stop) == theirs.words(other.data, at, stop)
                    )
                if not is_same:
                    return True
                at = stop
        return False

    def _at(self, client: ClientId, clock: int) -> _Piece | None:
        pieces = self._pieces.get(client, [])
        place = bisect_right(pieces, clock, key=_clock) - 1
        found = pieces[place] if place >= 0 else None
        return found if found is not None and clock < _end(found) else None


def _end(piece: _Piece) -> int:
    return piece.struct.clock + piece.struct.length


def _elements(data: bytes, piece: _Piece) -> Sequence[object]:
    at = links_end(data, piece.start)
    kind = piece.struct.kind
    if kind is Kind.STRING:
        return read_string(data, at)[0].encode("utf-16-le")
    if kind is Kind.ANY:
        return _values(data, at)
    if kind in _JSON:
        key, at = ("", at) if kind is Kind.EMBED else read_string(data, at)
        value = json.loads(read_string(data, at)[0], parse_int=float)
        return ((key, json.dumps(value, sort_keys=True)),)
    return (data[at : piece.end],)


def _values(data: bytes, at: int) -> list[bytes]:
    count, at = read_var_uint(data, at)
    found: list[bytes] = []
    for _ in range(count):
        _, _, end = skim_any(data, at)
        found.append(data[at:end])
        at = end
    return found

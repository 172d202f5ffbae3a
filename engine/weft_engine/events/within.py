"""Which records a branch shares with its parent: those in the past of its cut.

Walks back from the cut no further than it is asked about.
Must never know: orders, what an event says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from weft_engine.events.reorder import Link
from weft_engine.names import Position, RecordHash

_STRIDE: Final = 256
_NOWHERE: Final = Position(0)


class Journal(Protocol):
    def positions(self, hashes: Iterable[RecordHash]) -> Mapping[RecordHash, Position]: ...

    def links(self, first: Position, last: Position | None = None) -> Sequence[Link]: ...


class Within:
    """`cut`: records, with all that is in their past. If it is one record, `upto` (24 bytes) leaves
    out that record's events with a higher id. `whole`: known to have all up to this position."""

    def __init__(
        self,
        journal: Journal,
        cut: Sequence[RecordHash],
        upto: bytes | None,
        whole: Position = _NOWHERE,
    ) -> None:
        self._journal = journal
        self._wanted = set(cut)
        self.positions = frozenset(journal.positions(cut).values())
        self.top: Position = max(self.positions, default=Position(0))
        self.upto = upto if len(cut) == 1 else None
        self._whole = min(whole, self.top)
        self._low = self.top + 1
        self._inside: set[Position] = set()
        self._lowest_gap: int | None = None

    @property
    def whole(self) -> Position:
        """Every record up to this one is known to be in it."""
        return self._whole

    def has(self, position: Position, identity: bytes) -> bool:
        """Whether the event with this id, in the record at `position`, is in it."""
        if position > self.top:
            return False
        if self.upto is not None and position in self.positions:
            return identity <= self.upto
        return self.has_record(position)

    def has_record(self, position: Position) -> bool:
        if position <= self._whole:
            return True
        if position > self.top:
            return False
        if position < self._low:
            self._walk(position)
        return position in self._inside

    def learn(self, position: Position) -> None:
        """The record at `position`, which is in it, has all records before it in its past."""
        self._whole = max(self._whole, position)

    def _walk(self, position: Position) -> None:
        """Look at the records from `position` on. Each walk is at least as long as all before."""
        stride = max(_STRIDE, self.top + 1 - self._low)
        first = max(self._whole + 1, min(position, self._low - stride), 1)
        for link in reversed(self._journal.links(Position(first), Position(self._low - 1))):
            if link.hash in self._wanted:
                self._inside.add(link.position)
                self._wanted.update(link.parents)
                self._wanted.discard(link.hash)
            else:
                self._lowest_gap = link.position
        self._low = Position(first)
        if first <= self._whole + 1:
            whole = self.top if self._lowest_gap is None else self._lowest_gap - 1
            self._whole = Position(max(self._whole, whole))

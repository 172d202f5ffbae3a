"""What folding stands on: the event index as it was, the journal behind it, and what changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from weft_engine.events.event import Event
from weft_engine.events.reorder import Link
from weft_engine.events.row import Problem, Row
from weft_engine.names import Position
from weft_engine.records.envelope import Record


@dataclass(frozen=True, slots=True)
class Journaled:
    """A record and where it stands."""

    position: Position
    record: Record


@dataclass(slots=True)
class Changes:
    """What folding changed: rows to put (by key), keys to remove, problems to list."""

    rows: dict[bytes, Row] = field(default_factory=dict)
    removed: set[bytes] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)


class Table(Protocol):
    """The index of one context as it was before this fold, and the journal behind it."""

    def by_ids(self, ids: Iterable[bytes]) -> Mapping[bytes, Row]:
        """Rows by the 24 bytes of their ids."""

    def by_classes(self, digests: Iterable[bytes]) -> Mapping[bytes, Sequence[Row]]: ...

    def last_place(self) -> int | None: ...

    def placed_after(self, place: int) -> Sequence[Row]:
        """Rows behind `place`, in reading order."""

    def newest(self) -> Iterator[Row]:
        """Rows of the reading order, last first."""

    def waists(self) -> Iterator[Row]:
        """Newest first."""

    def event(self, row: Row) -> Event: ...

    def journaled(self, position: Position) -> Journaled: ...

    def links(self, first: Position) -> Sequence[Link]:
        """The context's records from `first` on, in journal order."""

"""What folding stands on: the event index as it was, the journal behind it, and what changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from weft_engine.events.event import Event
from weft_engine.events.reorder import Link
from weft_engine.events.row import Problem, Row
from weft_engine.names import Incarnation, Position, RecordHash
from weft_engine.records.envelope import Record


@dataclass(frozen=True, slots=True)
class Journaled:
    """A record and where it stands."""

    position: Position
    record: Record


@dataclass(frozen=True, slots=True)
class Line:
    """A branch that stands: its parent stands, too. `id` and `parent` as in `Row.branch`."""

    id: bytes
    parent: bytes
    base: int
    """The reading order begins as its parent's does, up to and including this place (-1: not at
    all). The rest has places of the branch's own, above it."""
    cut: tuple[RecordHash, ...]
    """The records of the field ``from`` that are in the past of the branch event's record."""
    whole: Position
    """Every record up to this position is in the past of `cut`; of later ones that is to be looked
    up."""
    depth: int
    """How many branches lead to main."""


@dataclass(slots=True)
class Changes:
    """What folding changed: rows to put (by key), keys to remove, problems to list."""

    rows: dict[bytes, Row] = field(default_factory=dict)
    removed: set[bytes] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    lines: dict[bytes, Line | None] = field(default_factory=dict)
    """Branches that stand now or stand otherwise; None: no more."""
    borrowed: dict[bytes, dict[bytes, int]] = field(default_factory=dict)
    """By branch, the places (by key) of all messages of its ancestors that stand behind its base,
    in place of those it had."""
    streamed: set[tuple[bytes, Position]] = field(default_factory=set)
    """By the 24 bytes of a stream's id, the records that add to streams which have not ended."""


class Table(Protocol):
    """The index of one context as it was before this fold, and the journal behind it. `branch` as
    in `Row.branch`; what is asked of one is its own part of its order, behind its base."""

    def by_ids(self, ids: Iterable[bytes]) -> Mapping[bytes, Row]:
        """Rows by the 24 bytes of their ids."""

    def by_classes(self, digests: Iterable[bytes]) -> Mapping[bytes, Sequence[Row]]: ...

    def last_place(self, branch: bytes) -> int | None: ...

    def placed_after(
        self,
        place: int,
        branch: bytes,
        *,
        to: int | None = None,
        written_by: Position | None = None,
    ) -> Sequence[Row]:
        """Rows behind `place` and not behind `to`, in reading order. `written_by`: only those in
        records up to it, and those of classes."""

    def newest(self, *, branch: bytes) -> Iterator[Row]:
        """Rows of the reading order, last first."""

    def waists(self, branch: bytes, *, to: int | None = None) -> Iterator[Row]:
        """Newest first, from the place `to` on."""

    def line(self, branch: bytes) -> Line | None:
        """A branch that stands."""

    def lines_above(self, parent: bytes, place: int) -> Sequence[Line]:
        """The branches of `parent` whose base is above `place`."""

    def of_branch(self, branch: bytes) -> Sequence[Row]:
        """The messages and branch events that were written on a branch, placed or not."""

    def borrowed(self, branch: bytes) -> Mapping[bytes, int]:
        """The messages of its ancestors that stand behind its base: places by key."""

    def borrowers(self, keys: Iterable[bytes]) -> set[bytes]:
        """The branches that have borrowed one of these."""

    def event(self, row: Row) -> Event: ...

    def journaled(self, position: Position) -> Journaled: ...

    def positions(self, hashes: Iterable[RecordHash]) -> Mapping[RecordHash, Position]:
        """Where those of these records stand that the context has."""

    def positions_by(self, incarnation: Incarnation) -> Sequence[Position]:
        """Where the records stand that this incarnation wrote."""

    def links(self, first: Position, last: Position | None = None) -> Sequence[Link]:
        """The context's records from `first` on (to `last`), in journal order."""

    def of_kind_anywhere(self, kind: int) -> Sequence[Row]:
        """The events of one kind other than messages, whatever branch they were written on."""

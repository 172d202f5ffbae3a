"""The reading order of a branch, for readers: the same questions as `EventTable` answers for main.

The order is a row of segments, oldest first: of each branch on the way from main, what its places
hold between its own base and the lowest base of those that come after it. Places ascend over all of
it, so a place is a cursor here as it is there, and a page reads no more than it shows.
Must never know: how orders are made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from weft_engine.errors import NotFound
from weft_engine.events.event import Branch, Event
from weft_engine.events.reorder import Link
from weft_engine.events.row import MAIN, Row, branch_bytes, id_bytes
from weft_engine.events.table import Line
from weft_engine.events.within import Within
from weft_engine.names import EventId, Position, RecordHash
from weft_engine.records.frontier import Frontier
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.summary_memory import Memory
from weft_engine.storage.windows import Windows

_BEFORE_ALL: Final = -(1 << 62)


class ReadingOrder(Protocol):
    """What readers ask of the order of a branch: a `Lineage`, or for main the `EventTable` itself.
    Of a `Lineage`, a row has a place if and only if it stands in this order."""

    position: Position
    frontier: Frontier

    def by_ids(self, ids: Iterable[bytes]) -> Mapping[bytes, Row]: ...
    def by_classes(self, digests: Iterable[bytes]) -> Mapping[bytes, Sequence[Row]]: ...
    def last_place(self) -> int | None: ...
    def newest(self, *, before: int | None = None, chunk: int = 8) -> Iterator[Row]: ...
    def oldest(self, *, after: int | None, limit: int) -> list[Row]: ...
    def placed_before(self, place: int | None, limit: int) -> list[Row]: ...
    def placed_after(self, place: int) -> list[Row]: ...
    def placed(self) -> int: ...
    def carried(self) -> list[Row]: ...
    def unsure(self) -> list[Row]: ...
    def of_kind(self, kind: int) -> list[Row]: ...
    def includes(self, row: Row) -> bool: ...
    def event(self, row: Row) -> Event: ...
    def bodies(self, rows: Sequence[Row]) -> dict[bytes, bytes]: ...
    def by_time(self, *, after: bytes | None, before: bytes | None, limit: int) -> list[Row]: ...
    def links(self, first: Position, last: Position | None = None) -> Sequence[Link]: ...
    def positions_of(self, hashes: Iterable[RecordHash]) -> Mapping[RecordHash, Position]: ...

    def outside(self, have: Iterable[RecordHash]) -> frozenset[Position]:
        """The records of this cut that are not in the causal past of `have`, which are."""

    def is_before(self, hashes: Collection[RecordHash], position: Position) -> bool:
        """Whether all of `hashes` are records in the causal past of the one at `position`."""

    def summary_memory(self) -> Memory | None:
        """What was found before of the summary that stands, if that still holds."""

    def weights(self, *, after: int | None, upto: int) -> Iterator[tuple[int, int, int]]: ...

    @property
    def windows(self) -> Windows | None: ...


@dataclass(frozen=True, slots=True)
class Segment:
    """What stands behind `after`, up to `to` (None: to the end), in the places of `branch`."""

    branch: bytes
    after: int
    to: int | None


class Lineage:
    """Of main (None) or of a branch. NotFound if that does not stand."""

    def __init__(self, table: EventTable, branch: EventId | None) -> None:
        self.table = table
        self.position = table.position
        self.frontier = table.frontier
        self.branch = branch
        self._lines = _lines(table, branch)
        self._within: dict[bytes, Within] = {}
        self.segments = _segments(self._lines)
        self.branches = frozenset((MAIN, *(line.id for line in self._lines)))
        """Itself and those it comes from."""

    # ---- rows ---------------------------------------------------------------------------------

    def by_ids(self, ids: Iterable[bytes]) -> Mapping[bytes, Row]:
        found = self.table.by_ids(ids)
        return {identity: self._here(row) for identity, row in found.items()}

    def by_classes(self, digests: Iterable[bytes]) -> Mapping[bytes, Sequence[Row]]:
        found = self.table.by_classes(digests)
        return {digest: [self._here(row) for row in rows] for digest, rows in found.items()}

    def event(self, row: Row) -> Event:
        return self.table.event(row)

    def bodies(self, rows: Sequence[Row]) -> dict[bytes, bytes]:
        return self.table.bodies(rows)

    def by_time(self, *, after: bytes | None, before: bytes | None, limit: int) -> list[Row]:
        return self.table.by_time(after=after, before=before, limit=limit)

    def links(self, first: Position, last: Position | None = None) -> Sequence[Link]:
        return self.table.links(first, last)

    def positions_of(self, hashes: Iterable[RecordHash]) -> Mapping[RecordHash, Position]:
        return self.table.positions_of(hashes)

    def outside(self, have: Iterable[RecordHash]) -> frozenset[Position]:
        return self.table.outside(have)

    def is_before(self, hashes: Collection[RecordHash], position: Position) -> bool:
        return self.table.is_before(hashes, position)

    def summary_memory(self) -> Memory | None:
        return self.table.summary_memory(branch_bytes(self.branch))

    def holds(self, row: Row) -> bool:
        """Whether the place that `row` has on its own branch is one of this order's."""
        return row.place is not None and any(
            segment.branch == row.branch
            and row.place > segment.after
            and (segment.to is None or row.place <= segment.to)
            for segment in self.segments
        )

    def _here(self, row: Row) -> Row:
        """The row with the place it has in this order."""
        place = None
        for segment in self.segments:
            at = row.place
            if row.branch != segment.branch:
                at = self.table.borrowed_place(segment.branch, row.key) if segment.branch else None
            if at is not None and at > segment.after and (segment.to is None or at <= segment.to):
                place = at
        return row if place == row.place else replace(row, place=place)

    # ---- the order ----------------------------------------------------------------------------

    def last_place(self) -> int | None:
        return next((row.place for row in self.newest(chunk=1)), None)

    def newest(self, *, before: int | None = None, chunk: int = 8) -> Iterator[Row]:
        """Messages of the reading order, last first, in growing chunks."""
        limit = chunk
        for segment in reversed(self.segments):
            while segment.after < (_end(segment) if before is None else before):
                rows = self._back(segment, before, limit)
                yield from rows
                if len(rows) < limit:
                    break
                before = rows[-1].place
                limit = min(4 * limit, 4096)

    def oldest(self, *, after: int | None, limit: int) -> list[Row]:
        """Messages of the reading order, oldest first."""
        found: list[Row] = []
        for segment in self.segments:
            low = segment.after if after is None else max(after, segment.after)
            if len(found) == limit:
                break
            if low < _end(segment):
                room = limit - len(found) if limit >= 0 else -1
                found += self.table.placed_after(low, segment.branch, to=segment.to, limit=room)
        return found

    def placed_before(self, place: int | None, limit: int) -> list[Row]:
        """The last messages in front of `place` (None: the last of all), oldest first."""
        found: list[Row] = []
        for segment in reversed(self.segments):
            if len(found) == limit:
                break
            found += self._back(segment, place, limit - len(found))
        return found[::-1]

    def placed_after(self, place: int) -> list[Row]:
        return self.oldest(after=place, limit=-1)

    def placed(self) -> int:
        """Messages in the reading order."""
        return sum(
            self.table.placed_on(segment.branch, after=segment.after, to=segment.to)
            for segment in self.segments
        )

    def carried(self) -> list[Row]:
        """The critical, the persistent and the session messages, in reading order."""
        return [
            row
            for segment in self.segments
            for row in self.table.carried_on(segment.branch, after=segment.after, to=segment.to)
        ]

    def unsure(self) -> list[Row]:
        """The generations that are no waists, in reading order."""
        return [
            row
            for segment in self.segments
            for row in self.table.unsure_on(segment.branch, after=segment.after, to=segment.to)
        ]

    def weights(self, *, after: int | None, upto: int) -> Iterator[tuple[int, int, int]]:
        """(place, role, tokens) of messages behind `after`, up to `upto`, in reading order."""
        for segment in self.segments:
            low = segment.after if after is None else max(after, segment.after)
            high = min(upto, _end(segment))
            if low < high:
                yield from self.table.weights_on(segment.branch, after=low, upto=high)

    @property
    def windows(self) -> Windows | None:
        """Where windows of this order began, if somebody keeps that: of main alone."""
        return self.table.windows if self.branch is None else None

    def _back(self, segment: Segment, before: int | None, limit: int) -> list[Row]:
        if segment.to is not None:
            before = segment.to + 1 if before is None else min(before, segment.to + 1)
        return self.table.placed_back(
            segment.branch, after=segment.after, before=before, limit=limit
        )

    # ---- other events -------------------------------------------------------------------------

    def of_kind(self, kind: int) -> list[Row]:
        """Events of one kind other than messages that have their effect here, by (time, id)."""
        return [row for row in self.table.of_kind_anywhere(kind) if self.includes(row)]

    def includes(self, row: Row) -> bool:
        """Whether an event other than a message has its effect here: it was written on this branch
        or on one that it comes from, there within what they share."""
        for line in self._lines:
            if row.branch == line.id:
                return True
            if not self._shared(line).has(row.position, row.identity):
                return False
        return row.branch == MAIN

    def _shared(self, line: Line) -> Within:
        """What a branch shares with its parent."""
        within = self._within.get(line.id)
        if within is None:
            body = self.table.event(self.table.by_ids([line.id])[line.id]).body
            assert isinstance(body, Branch)
            upto = None if body.upto is None else id_bytes(body.upto)
            within = self._within[line.id] = Within(self.table, line.cut, upto, line.whole)
        return within


def no_branch(branch: str) -> NotFound:
    return NotFound(
        f"the context has no branch {branch}",
        hint="branches() lists those it has; this one may not have arrived yet",
    )


def _lines(table: EventTable, branch: EventId | None) -> list[Line]:
    """The branch and those it comes from, itself first, but not main."""
    found: list[Line] = []
    wanted = branch_bytes(branch)
    while wanted != MAIN:
        line = table.line(wanted)
        if line is None:
            raise no_branch(str(branch))
        found.append(line)
        wanted = line.parent
    return found


def _segments(lines: Sequence[Line]) -> list[Segment]:
    """Oldest first; those that hold nothing are left out."""
    found: list[Segment] = []
    to: int | None = None
    for line in lines:
        if to is None or line.base < to:
            found.append(Segment(line.id, line.base, to))
        to = line.base if to is None else min(to, line.base)
    if to is None or to >= 0:
        found.append(Segment(MAIN, _BEFORE_ALL, to))
    return found[::-1]


def _end(segment: Segment) -> int:
    return (1 << 62) if segment.to is None else segment.to

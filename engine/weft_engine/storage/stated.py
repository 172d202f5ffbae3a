"""The events beside the messages that have effect in a branch, read from its order: those that no
revoke takes back.

Every event of a kind is looked at, so it takes time by their number: about 30 us each, 3 us if a
memo knows them. Must never know: what they amount to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from weft_engine.events.codec import decode_event
from weft_engine.events.event import Body, Event, Revoke
from weft_engine.events.row import KINDS, Row
from weft_engine.events.standing import Revocation, Standing
from weft_engine.names import EventId

_CHUNK_ROWS: Final = 256
_CHUNK_BYTES: Final = 4 * 1024 * 1024

MEMO_BYTES_MAX: Final = 16 * 1024 * 1024
_EVENT_BYTES: Final = 512
"""What an event takes in memory beside its text."""


class MarkTable(Protocol):
    """What is asked of the order of a branch (`storage.lineage`)."""

    def of_kind(self, kind: int) -> Sequence[Row]:
        """Events of one kind that belong to the branch, by (time, id)."""

    def bodies(self, rows: Sequence[Row]) -> Mapping[bytes, bytes]: ...

    def by_ids(self, ids: Iterable[bytes]) -> Mapping[bytes, Row]: ...

    def by_classes(self, digests: Iterable[bytes]) -> Mapping[bytes, Sequence[Row]]: ...


@dataclass(frozen=True, slots=True)
class Stated:
    """An event that stands."""

    row: Row
    event: Event

    @property
    def key(self) -> bytes:
        return self.row.key

    @property
    def id(self) -> EventId:
        return self.row.id


class EventMemo:
    """Events that were read before, by where they stand, so that they need not be decoded again.
    Bounded: what goes beyond is read each time. Used by one thread at a time."""

    __slots__ = ("_bytes", "_events")

    def __init__(self) -> None:
        self._events: dict[tuple[bytes, int, int], Event] = {}
        self._bytes = 0

    def find(self, row: Row) -> Event | None:
        return self._events.get((row.key, row.position, row.start))

    def keep(self, row: Row, event: Event) -> None:
        if self._bytes + row.size + _EVENT_BYTES <= MEMO_BYTES_MAX:
            self._bytes += row.size + _EVENT_BYTES
            self._events[row.key, row.position, row.start] = event


def load_standing(table: MarkTable) -> Standing:
    """What the revokes of a branch leave standing."""
    revokes = []
    for row, event in read_events(table, Revoke):
        assert isinstance(event.body, Revoke)
        revokes.append(Revocation(row.key, row.id, event.body.target))
    return Standing(revokes)


def stated(
    table: MarkTable, kind: type[Body], standing: Standing, memo: EventMemo | None = None
) -> Iterator[Stated]:
    """The events of a kind that have effect in a branch, by (time, id)."""
    for row, event in read_events(table, kind, memo):
        if standing.stands(row.key, row.id):
            yield Stated(row, event)


def read_events(
    table: MarkTable, kind: type[Body], memo: EventMemo | None = None
) -> Iterator[tuple[Row, Event]]:
    """All events of a kind that belong to a branch, by (time, id). In chunks, so that no more than
    some of the bodies are in memory at once."""
    chunk: list[Row] = []
    size = 0
    for row in table.of_kind(KINDS[kind]):
        chunk.append(row)
        size += row.size
        if len(chunk) == _CHUNK_ROWS or size >= _CHUNK_BYTES:
            yield from decoded(table, chunk, memo)
            chunk, size = [], 0
    yield from decoded(table, chunk, memo)


def decoded(
    table: MarkTable, rows: Sequence[Row], memo: EventMemo | None = None
) -> Iterator[tuple[Row, Event]]:
    """These rows with their events."""
    known = {} if memo is None else {r.key: event for r in rows if (event := memo.find(r))}
    new = [row for row in rows if row.key not in known]
    bodies = table.bodies(new) if new else {}
    for row in rows:
        event = known.get(row.key)
        if event is None:
            event = decode_event(bodies[row.key])
            if memo is not None:
                memo.keep(row, event)
        yield row, event

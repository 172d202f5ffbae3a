"""Ordering anew what stands behind a waist.

Picks the newest waist that everything in question has seen, works out from the records' links what
each generation behind it had seen, and puts the messages into reading order.
Must never know: how rows are kept, what a message says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from weft_engine.events.order import reading_order
from weft_engine.events.row import ASSISTANT, Row
from weft_engine.names import Position, RecordHash


@dataclass(frozen=True, slots=True)
class Link:
    """What a record hangs on."""

    position: Position
    hash: RecordHash
    parents: tuple[RecordHash, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A message: the rows of its class, or its one row."""

    members: Sequence[Row]

    @property
    def key(self) -> bytes:
        return min(row.key for row in self.members)

    @property
    def is_generation(self) -> bool:
        return self.members[0].role == ASSISTANT


class Outline(Protocol):
    """The order as it is so far, and what it rests on."""

    def waists(self) -> Sequence[Row]:
        """Newest first."""

    def nodes_from(self, place: int | None) -> Sequence[Node]:
        """The messages at and behind `place` (None: all), and those that have no place yet."""

    def is_unplaced(self, row: Row) -> bool: ...

    def seen_field(self, row: Row) -> tuple[RecordHash, ...] | None:
        """What the event itself says it has seen."""

    def links(self, first: Position) -> Sequence[Link]:
        """The context's records from `first` on, in journal order."""

    def settle(self, nodes: Sequence[Node], base: int) -> None:
        """Take over the order of `nodes`: they follow one another behind the place `base`."""


def reorder(outline: Outline, behind: int) -> None:
    """Order anew everything behind the last usable waist at or before the place `behind`."""
    usable = [row for row in outline.waists() if row.place is not None and row.place <= behind]
    skip = 0
    while skip < len(usable):
        waist = usable[skip]
        if _reorder_from(outline, waist):
            return
        # Each miss looks twice as far back, so the work stays within twice what was needed.
        skip = 2 * skip + 1
    _reorder_from(outline, None)


def _reorder_from(outline: Outline, waist: Row | None) -> bool:
    nodes = outline.nodes_from(None if waist is None else waist.place)
    seen = _seen(outline, nodes)
    order = reading_order([node.key for node in nodes], seen)
    if waist is None:
        outline.settle([nodes[index] for index in order], -1)
        return True
    at = next(i for i, node in enumerate(nodes) if any(m.key == waist.key for m in node.members))
    for index, bits in seen.items():
        fresh = [row for row in nodes[index].members if outline.is_unplaced(row)]
        if fresh and index != at and not (bits >> at & 1 and _saw_through(outline, fresh, waist)):
            return False
    assert order[0] == at, "a waist stands before all that comes after it"
    assert waist.place is not None
    outline.settle([nodes[index] for index in order[1:]], waist.place)
    return True


def _saw_through(outline: Outline, rows: Sequence[Row], waist: Row) -> bool:
    """Whether a generation that has seen the waist has seen all before it, too. Not so if it only
    saw it as an earlier event of its own record, and says itself that it had seen less."""
    return any(row.position != waist.position or outline.seen_field(row) is None for row in rows)


def _seen(outline: Outline, nodes: Sequence[Node]) -> dict[int, int]:
    """For each generation among `nodes`, the bit set of those that it had seen."""
    by_position: dict[Position, list[tuple[int, int, Row]]] = {}
    for index, node in enumerate(nodes):
        for row in node.members:
            by_position.setdefault(row.position, []).append((row.start, index, row))
    seen = {index: 0 for index, node in enumerate(nodes) if node.is_generation}
    if not by_position:
        return seen
    upto: dict[RecordHash, int] = {}
    """What has been said up to and including a record."""
    for link in outline.links(min(by_position)):
        past = 0
        for parent in link.parents:
            past |= upto.get(parent, 0)
        said = 0
        for _, index, row in sorted(by_position.get(link.position, ()), key=lambda item: item[0]):
            if index in seen:
                named = outline.seen_field(row)
                known = past
                if named is not None:
                    known = 0
                    for hash_ in named:
                        known |= upto.get(hash_, 0)
                    known &= past
                seen[index] |= (known | said) & ~(1 << index)
            said |= 1 << index
        upto[link.hash] = past | said
    return seen

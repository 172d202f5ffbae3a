"""Ordering anew what stands behind a waist.

Picks the newest waist that everything in question has seen, works out from the records' links what
each generation behind it had seen, and puts the messages into reading order.
Must never know: how rows are kept, what a message says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    def shown(self) -> Row:
        return min(self.members, key=lambda row: row.key)

    @property
    def is_generation(self) -> bool:
        return self.members[0].role == ASSISTANT


class Past(Protocol):
    """What says what a generation had seen."""

    def seen_field(self, row: Row) -> tuple[RecordHash, ...] | None:
        """What the event itself says it has seen."""

    def links(self, first: Position, last: Position | None = None) -> Sequence[Link]:
        """The context's records from `first` on (to `last`), in journal order."""


class Outline(Past, Protocol):
    """The order as it is so far, and what it rests on."""

    def waists(self) -> Iterator[Row]:
        """Those that may stay where they are, newest first."""

    def nodes_from(self, waist: Row | None) -> Sequence[Node]:
        """The waist and the messages behind it (None: all), and those that have no place yet."""

    def is_settled(self, row: Row, waist: Row) -> bool:
        """Whether it is known already that this generation has seen all up to the waist."""

    def settle(self, nodes: Sequence[Node], waist: Row | None) -> int:
        """Take over the order of `nodes`: they follow one another behind the waist. The place up
        to which nothing has changed."""


def reorder(outline: Outline) -> int:
    """Order anew everything behind the last usable waist; the place up to which nothing changed."""
    wanted = 0
    for number, waist in enumerate(outline.waists()):
        if number == wanted:
            stable = _reorder_from(outline, waist)
            if stable is not None:
                return stable
            # Each miss looks twice as far back, so the work stays within twice what was needed.
            wanted = 2 * wanted + 1
    stable = _reorder_from(outline, None)
    assert stable is not None, "everything can be ordered from the beginning"
    return stable


def _reorder_from(outline: Outline, waist: Row | None) -> int | None:
    nodes = outline.nodes_from(waist)
    seen = seen_among(outline, nodes)
    order = reading_order([node.key for node in nodes], seen)
    if waist is None:
        return outline.settle([nodes[index] for index in order], None)
    at = next(i for i, node in enumerate(nodes) if any(m.key == waist.key for m in node.members))
    for index, bits in seen.items():
        fresh = [row for row in nodes[index].members if not outline.is_settled(row, waist)]
        if fresh and index != at and not (bits >> at & 1 and _saw_through(outline, fresh, waist)):
            return None
    if order[0] != at:
        # A waist of the parent that had seen what was written on the branch before it began.
        return None
    return outline.settle([nodes[index] for index in order[1:]], waist)


def _saw_through(outline: Outline, rows: Sequence[Row], waist: Row) -> bool:
    """Whether a generation that has seen the waist has seen all before it, too. Not so if it only
    saw it as an earlier event of its own record, and says itself that it had seen less."""
    return any(row.position != waist.position or outline.seen_field(row) is None for row in rows)


def seen_among(past: Past, nodes: Sequence[Node]) -> dict[int, int]:
    """For each generation among `nodes`, the bit set of those that it had seen.

    Records that a generation names have bits of their own, behind those of the nodes: what it
    names counts only as far as its record has it in its past.
    """
    seen = {index: 0 for index, node in enumerate(nodes) if node.is_generation}
    if not seen:
        return seen
    by_position: dict[Position, list[tuple[int, int, Row]]] = {}
    last = Position(0)
    named: dict[RecordHash, int] = {}
    for index, node in enumerate(nodes):
        for row in node.members:
            by_position.setdefault(row.position, []).append((row.start, index, row))
            if index in seen:
                last = max(last, row.position)
                for hash_ in past.seen_field(row) or ():
                    named.setdefault(hash_, 1 << (len(nodes) + len(named)))
    everything = (1 << len(nodes)) - 1
    upto: dict[RecordHash, int] = {}
    """What has been said up to and including a record."""
    for link in past.links(min(by_position), last):
        before = 0
        for parent in link.parents:
            before |= upto.get(parent, 0)
        said = 0
        for _, index, row in sorted(by_position.get(link.position, ()), key=lambda item: item[0]):
            if index in seen:
                fields = past.seen_field(row)
                known = before
                if fields is not None:
                    known = 0
                    for hash_ in fields:
                        if before & named[hash_]:
                            known |= upto[hash_]
                seen[index] |= (known & everything | said) & ~(1 << index)
            said |= 1 << index
        upto[link.hash] = before | said | named.get(link.hash, 0)
    return seen

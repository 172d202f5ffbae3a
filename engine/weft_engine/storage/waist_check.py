"""Whether a message marked as a waist of the reading order is one.

A waist is a generation that saw all that precedes it, and that every generation behind it has
seen. Two walks over the context's links: linear in its records, for each waist that is asked about.
Must never know: how the order is made, who asks.
"""

from __future__ import annotations

from collections.abc import Sequence

from weft_engine.events.row import ASSISTANT, MAIN, Row, event_id_of
from weft_engine.names import Position, RecordHash
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.lineage import Lineage


def is_waist(table: EventTable, row: Row) -> bool:
    """`table` is an index that is known to be right but for its waists."""
    if row.place is None:
        return False
    return _Waist(table, row).holds()


class _Waist:
    def __init__(self, table: EventTable, row: Row) -> None:
        self._table = table
        self._row = row
        branch = None if row.branch == MAIN else event_id_of(row.branch)
        self._order = Lineage(table, branch)
        self._own = self._members(row)
        self._links = table.links(Position(0))
        self._at = {link.hash: index for index, link in enumerate(self._links)}
        self._hashes = {link.position: link.hash for link in self._links}

    def holds(self) -> bool:
        place = self._row.place
        if place is None or self._row.role != ASSISTANT:
            return False
        seen = self._seen()
        behind = self._behind()
        for row in self._order.placed_after(-(1 << 62)):
            assert row.place is not None
            if row.place < place:
                if not any(self._is_seen(member, seen) for member in self._members(row)):
                    return False
            elif (
                row.place > place
                and row.role == ASSISTANT
                and not any(self._sees(member, behind) for member in self._members(row))
            ):
                return False
        return True

    def _members(self, row: Row) -> Sequence[Row]:
        if row.digest is None:
            return [row]
        rows = self._order.by_classes([row.digest])[row.digest]
        return [one for one in rows if one.key == row.key or self._order.includes(one)]

    def _seen(self) -> set[RecordHash]:
        """The records that it had seen."""
        seen: set[RecordHash] = set()
        for member in self._own:
            past = self._past(self._links[self._at[self._hashes[member.position]]].parents)
            named = self._table.event(member).seen
            seen |= past if named is None else self._past([h for h in named if h in past])
        return seen

    def _behind(self) -> set[RecordHash]:
        """The records that hold it or have it in their past."""
        behind = {self._hashes[member.position] for member in self._own}
        for link in self._links:
            if any(parent in behind for parent in link.parents):
                behind.add(link.hash)
        return behind

    def _is_seen(self, row: Row, seen: set[RecordHash]) -> bool:
        return self._hashes[row.position] in seen or any(
            own.position == row.position and row.start < own.start for own in self._own
        )

    def _sees(self, row: Row, behind: set[RecordHash]) -> bool:
        if any(own.position == row.position and own.start < row.start for own in self._own):
            return True
        past = self._links[self._at[self._hashes[row.position]]].parents
        named = self._table.event(row).seen
        return not behind.isdisjoint(past) and (named is None or not behind.isdisjoint(named))

    def _past(self, tips: Sequence[RecordHash]) -> set[RecordHash]:
        """The records that `tips` lead back to, themselves included."""
        found: set[RecordHash] = set()
        left = [tip for tip in tips if tip in self._at]
        while left:
            hash_ = left.pop()
            if hash_ not in found:
                found.add(hash_)
                left.extend(self._links[self._at[hash_]].parents)
        return found

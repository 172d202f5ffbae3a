"""The event index as it becomes while records are folded: what was there, and what has changed.

Must never know: why a row changes, SQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from heapq import merge

from weft_engine.events.candidate import candidates
from weft_engine.events.event import Event, Interrupted
from weft_engine.events.row import BRANCH, INTERRUPTED, MESSAGE, Row, id_bytes
from weft_engine.events.table import Changes, Line, Table
from weft_engine.names import EventId, Position, is_event_id
from weft_engine.records.envelope import Kind
from weft_engine.yjs.reader import read_update

_SAID = frozenset({MESSAGE, BRANCH})


class Sheet:
    def __init__(self, table: Table) -> None:
        self.table = table
        self.changes = Changes()
        self._by_id: dict[bytes, Row] = {}
        self._by_class: dict[bytes, list[Row]] = {}
        self._events: dict[bytes, Event] = {}

    # ---- rows ---------------------------------------------------------------------------------

    def load(self, ids: Iterable[bytes]) -> None:
        """Rows that will be asked about."""
        self._by_id.update(self.table.by_ids(ids))

    def find(self, identity: bytes) -> Row | None:
        """The row of an id, whether it was loaded or not."""
        row = self._by_id.get(identity)
        if row is None:
            row = self.table.by_ids([identity]).get(identity)
            if row is not None and row.key in self.changes.removed:
                return None
        return row

    def rival(self, identity: bytes) -> Row | None:
        """The row of an id that was loaded or put."""
        return self._by_id.get(identity)

    def put(self, row: Row) -> None:
        self.changes.rows[row.key] = row
        self.changes.removed.discard(row.key)
        self._by_id[row.identity] = row
        if row.digest is not None:
            members = self.members(row.digest)
            if any(member.key == row.key for member in members):
                members = [row if m.key == row.key else m for m in members]
            else:
                members = [*members, row]
            self._by_class[row.digest] = members

    def remove(self, row: Row) -> None:
        if row.digest is not None:
            left = [m for m in self.members(row.digest) if m.key != row.key]
            self._by_class[row.digest] = left
        self.changes.rows.pop(row.key, None)
        self.changes.removed.add(row.key)
        self._by_id.pop(row.identity, None)

    def members(self, digest: bytes) -> list[Row]:
        """The rows of a class, on whatever branch."""
        members = self._by_class.get(digest)
        if members is None:
            # Another candidate may have taken the id of one of them, and with it its key.
            found = self._now(self.table.by_classes([digest]).get(digest, ()))
            members = self._by_class[digest] = [row for row in found if row.digest == digest]
        return members

    def of_branch(self, branch: bytes) -> list[Row]:
        """The messages and branch events that were written on a branch."""
        found = self._now(self.table.of_branch(branch))
        rows = {row.key: row for row in found if row.branch == branch and row.kind in _SAID}
        for row in self.changes.rows.values():
            if row.branch == branch and row.kind in _SAID:
                rows[row.key] = row
        return list(rows.values())

    def of_kind(self, kind: int) -> list[Row]:
        """The events of one kind other than messages, by (time, id)."""
        rows = {row.key: row for row in self._now(self.table.of_kind_anywhere(kind))}
        rows |= self.changes.rows
        return sorted((row for row in rows.values() if row.kind == kind), key=lambda row: row.key)

    def in_records(self, first: Position, last: Position) -> list[Row]:
        """The messages that records hold, of those between two positions; streams that broke off
        are held by what tells of them."""
        found: list[Row] = []
        for link in self.table.links(first, last):
            record = self.table.journaled(link.position).record
            if record.envelope.kind in (Kind.NATIVE, Kind.FOREIGN):
                for candidate in candidates(read_update(record.payload)):
                    if is_event_id(candidate.key):
                        row = self._held(id_bytes(EventId(candidate.key)), link.position)
                        if row is not None and row.kind == INTERRUPTED:
                            body = self.event(row).body
                            if isinstance(body, Interrupted):
                                row = self._held(id_bytes(body.target), link.position, row.start)
                        if row is not None:
                            found.append(row)
        return [row for row in found if row.kind == MESSAGE]

    def _held(self, identity: bytes, position: Position, start: int | None = None) -> Row | None:
        """The row of an id if it points to a record, and there to `start`."""
        row = self.find(identity)
        if row is None or row.position != position or start not in (None, row.start):
            return None
        return row

    def remember(self, row: Row, event: Event) -> None:
        self._events[row.key] = event

    def event(self, row: Row) -> Event:
        event = self._events.get(row.key)
        if event is None:
            event = self._events[row.key] = self.table.event(row)
        return event

    # ---- orders -------------------------------------------------------------------------------

    def line(self, branch: bytes) -> Line | None:
        if branch in self.changes.lines:
            return self.changes.lines[branch]
        return self.table.line(branch)

    def lines_above(self, parent: bytes, place: int) -> list[Line]:
        """The branches of `parent` whose base is above `place`."""
        found = {line.id: line for line in self.table.lines_above(parent, place)}
        for id_, line in self.changes.lines.items():
            found.pop(id_, None)
            if line is not None and line.parent == parent and line.base > place:
                found[id_] = line
        return [found[id_] for id_ in sorted(found)]

    def borrowed(self, branch: bytes) -> dict[bytes, int]:
        """Places by key; to be changed by what orders this branch."""
        places = self.changes.borrowed.get(branch)
        if places is None:
            places = self.changes.borrowed[branch] = dict(self.table.borrowed(branch))
        return places

    def borrowed_place(self, branch: bytes, key: bytes) -> int | None:
        changed = self.changes.borrowed.get(branch)
        return (self.table.borrowed(branch) if changed is None else changed).get(key)

    def borrowers(self, keys: Sequence[bytes]) -> set[bytes]:
        found = self.table.borrowers(keys) - self.changes.borrowed.keys()
        for branch, places in self.changes.borrowed.items():
            if any(key in places for key in keys):
                found.add(branch)
        return found

    def placed_after(
        self,
        branch: bytes,
        place: int,
        *,
        to: int | None = None,
        written_by: Position | None = None,
    ) -> list[Row]:
        """Rows of one branch's own part of its order, in order."""
        changed = self.changes.borrowed.get(branch)
        rows = {
            row.key: row
            for row in self.table.placed_after(place, branch, to=to, written_by=written_by)
            if row.key not in self.changes.removed
            and (row.key not in self.changes.rows if row.branch == branch else changed is None)
        }
        for row in self.changes.rows.values():
            if row.branch == branch and row.place is not None and _between(row.place, place, to):
                rows[row.key] = row
        for key, at in (changed or {}).items():
            if _between(at, place, to):
                found = self.find(key[8:])
                assert found is not None, "what is borrowed is there"
                rows[key] = replace(found, place=at, waist=0)
        return sorted(rows.values(), key=lambda row: row.place or 0)

    def waists(self, branch: bytes, *, to: int | None = None) -> Iterator[Row]:
        """Of one branch's own part, newest first, from the place `to` on."""
        fresh = [
            row
            for row in self.changes.rows.values()
            if row.waist and row.branch == branch and (to is None or (row.place or 0) <= to)
        ]
        fresh.sort(key=lambda row: -(row.place or 0))
        old = (
            row
            for row in self.table.waists(branch, to=to)
            if row.key not in self.changes.rows and row.key not in self.changes.removed
        )
        return merge(fresh, old, key=lambda row: -(row.place or 0))

    def _now(self, rows: Iterable[Row]) -> list[Row]:
        return [
            self.changes.rows.get(row.key, row)
            for row in rows
            if row.key not in self.changes.removed
        ]


def _between(place: int, after: int, to: int | None) -> bool:
    return place > after and (to is None or place <= to)

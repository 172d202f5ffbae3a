"""The event index of one context over SQLite: questions of the fold and of readers, and saving.

Bodies are not stored here: a row points into the payload of the record that holds its event.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from typing import Final

from weft_engine.events.codec import decode_event, encode_event
from weft_engine.events.event import Event
from weft_engine.events.reorder import Link
from weft_engine.events.row import MAIN, TOLD, Row
from weft_engine.events.streams import as_far_as_it_came
from weft_engine.events.table import Changes, Journaled, Line
from weft_engine.names import Incarnation, Position, RecordHash
from weft_engine.records.envelope import Record, decode_envelope
from weft_engine.records.frontier import EMPTY, Frontier, pack, unpack
from weft_engine.storage import ancestry, reading, summary_memory
from weft_engine.storage.streams import StreamTable
from weft_engine.storage.summary_memory import Memory
from weft_engine.storage.windows import Windows

_COLUMNS: Final = (
    "key, position, start, size, rank, kind, role, tokens, place, waist, class, branch, carry"
)
_BORROWED: Final = (
    "b.key, e.position, e.start, e.size, e.rank, e.kind, e.role, e.tokens, b.place, 0 AS waist,"
    " e.class, e.branch, e.carry"
)
_CHUNK: Final = 256
_IS_EVENT: Final = f"kind > 0 AND rank < {TOLD}"
_BEFORE_ALL: Final = -(1 << 62)
_BEHIND_ALL: Final = 1 << 62
_NOWHERE: Final = Position(0)
_NONE: Final[frozenset[Position]] = frozenset()


class EventTable:
    """Implements `weft_engine.events.table.Table`, and what readers ask of the main branch
    (`Lineage` answers it for others). `schema` is ``main``, or ``temp`` for an index that a
    read-only store completes in memory; `without` are records that such an index leaves out."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        context_id: int,
        *,
        position: Position = _NOWHERE,
        frontier: Frontier = EMPTY,
        schema: str = "main",
        without: frozenset[Position] = _NONE,
    ) -> None:
        self.position = position
        self.frontier = frontier
        """How far the index reaches: in the journal, and in the context's history."""
        self._connection = connection
        self._context = context_id
        self._events = f"{schema}.events"
        self._problems = f"{schema}.problems"
        self._lines = f"{schema}.lines"
        self._borrowed = f"{schema}.borrowed"
        self._without = without
        self._in_store = schema == "main"
        self.streams = StreamTable(connection, context_id, schema)
        """Which records add to streams that have not ended."""

    # ---- what the fold asks -------------------------------------------------------------------

    def by_ids(self, ids: Iterable[bytes]) -> Mapping[bytes, Row]:
        wanted = list(ids)
        found: dict[bytes, Row] = {}
        for start in range(0, len(wanted), _CHUNK):
            some = wanted[start : start + _CHUNK]
            # Nearly every event's time is its id's own; the others have an index of their own.
            keys = [identity[:8] + identity for identity in some]
            for row in self._select(f"key IN ({_marks(keys)})", *keys):
                found[row.key[8:]] = row
            missing = [identity for identity in some if identity not in found]
            if missing:
                for row in self._select(
                    f"substr(key, 9) IN ({_marks(missing)})"
                    " AND substr(key, 1, 8) <> substr(key, 9, 8)",
                    *missing,
                    index="events_early",
                ):
                    found[row.key[8:]] = row
        return found

    def by_classes(self, digests: Iterable[bytes]) -> Mapping[bytes, Sequence[Row]]:
        found: dict[bytes, list[Row]] = {}
        for digest in digests:
            found[digest] = self._select("class = ? ORDER BY key", digest, index="events_by_class")
        return found

    def last_place(self, branch: bytes = MAIN) -> int | None:
        (own,) = self._connection.execute(
            f"SELECT max(place) FROM {self._events} INDEXED BY events_by_place"
            " WHERE context = ? AND branch = ? AND place IS NOT NULL",
            (self._context, branch),
        ).fetchone()
        if branch == MAIN:
            return None if own is None else int(own)
        (other,) = self._connection.execute(
            f"SELECT max(place) FROM {self._borrowed} WHERE context = ? AND branch = ?",
            (self._context, branch),
        ).fetchone()
        return max((place for place in (own, other) if place is not None), default=None)

    def placed_after(
        self,
        place: int,
        branch: bytes = MAIN,
        *,
        to: int | None = None,
        limit: int = -1,
        written_by: Position | None = None,
    ) -> list[Row]:
        """Rows behind `place` and not behind `to`, in reading order: no more than `limit`, if that
        is not negative. `written_by`: only those in records up to it, and those of classes."""
        condition = "place > ?"
        values: list[object] = [place]
        if to is not None:
            condition += " AND place <= ?"
            values.append(to)
        if written_by is not None:
            condition += " AND (position <= ? OR class IS NOT NULL)"
            values.append(written_by)
        return self._placed(branch, f"{condition} ORDER BY place LIMIT ?", (*values, limit))

    def placed_back(
        self, branch: bytes, *, after: int, before: int | None, limit: int
    ) -> list[Row]:
        """Rows behind `after` and in front of `before`, last first: no more than `limit`."""
        if before is None:
            return self._placed(
                branch, "place > ? ORDER BY place DESC LIMIT ?", (after, limit), backwards=True
            )
        return self._placed(
            branch,
            "place > ? AND place < ? ORDER BY place DESC LIMIT ?",
            (after, before, limit),
            backwards=True,
        )

    def newest(
        self, *, before: int | None = None, chunk: int = 8, branch: bytes = MAIN
    ) -> Iterator[Row]:
        """Messages of the reading order, last first, in growing chunks."""
        limit = chunk
        while True:
            rows = self.placed_back(branch, after=_BEFORE_ALL, before=before, limit=limit)
            yield from rows
            if len(rows) < limit:
                return
            before = rows[-1].place
            limit = min(4 * limit, 4096)

    def waists(self, branch: bytes = MAIN, *, to: int | None = None) -> Iterator[Row]:
        """Newest first, from the place `to` on, in growing chunks."""
        limit = 4
        before = _BEHIND_ALL if to is None else to + 1
        while True:
            rows = self._select(
                "branch = ? AND waist = 1 AND place IS NOT NULL AND place < ?"
                " ORDER BY place DESC LIMIT ?",
                branch,
                before,
                limit,
                index="events_waists",
            )
            yield from rows
            if len(rows) < limit or rows[-1].place is None:
                return
            before = rows[-1].place
            limit = min(4 * limit, 4096)

    def line(self, branch: bytes) -> Line | None:
        found = self._lines_where("branch = ?", branch)
        return found[0] if found else None

    def lines_above(self, parent: bytes, place: int) -> list[Line]:
        return self._lines_where("parent = ? AND base > ?", parent, place)

    def of_branch(self, branch: bytes) -> list[Row]:
        return self._select(
            "branch = ? AND branch > x'' AND kind IN (1, 4)", branch, index="events_of_branch"
        )

    def borrowed(self, branch: bytes) -> Mapping[bytes, int]:
        return dict(
            self._connection.execute(
                f"SELECT key, place FROM {self._borrowed} WHERE context = ? AND branch = ?",
                (self._context, branch),
            )
        )

    def borrowers(self, keys: Iterable[bytes]) -> set[bytes]:
        found: set[bytes] = set()
        for key in keys:
            found.update(
                row[0]
                for row in self._connection.execute(
                    f"SELECT branch FROM {self._borrowed} WHERE context = ? AND key = ?",
                    (self._context, key),
                )
            )
        return found

    def borrowed_place(self, branch: bytes, key: bytes) -> int | None:
        """Where a message of its ancestors stands behind the base of a branch."""
        row = self._connection.execute(
            f"SELECT place FROM {self._borrowed} WHERE context = ? AND key = ? AND branch = ?",
            (self._context, key, branch),
        ).fetchone()
        return None if row is None else int(row[0])

    def event(self, row: Row) -> Event:
        return decode_event(self.bodies([row])[row.key])

    def journaled(self, position: Position) -> Journaled:
        row = self._connection.execute(
            "SELECT hash, envelope, payload FROM records WHERE position = ?", (position,)
        ).fetchone()
        record = Record(RecordHash(row[0]), decode_envelope(row[1]), row[1], row[2])
        return Journaled(position, record)

    def positions(self, hashes: Iterable[RecordHash]) -> Mapping[RecordHash, Position]:
        found: dict[RecordHash, Position] = {}
        for hash_ in hashes:
            row = self._connection.execute(
                "SELECT position FROM records WHERE hash = ? AND context = ?",
                (hash_, self._context),
            ).fetchone()
            if row is not None and row[0] not in self._without:
                found[hash_] = Position(row[0])
        return found

    def positions_by(self, incarnation: Incarnation) -> list[Position]:
        """Where the records stand that this incarnation wrote; reads through the whole context."""
        rows = self._connection.execute(
            "SELECT position FROM records WHERE context = ? AND origin ="
            " (SELECT id FROM origins WHERE incarnation = ?) ORDER BY position",
            (self._context, incarnation),
        )
        return [Position(row[0]) for row in rows if row[0] not in self._without]

    def links(self, first: Position, last: Position | None = None) -> Sequence[Link]:
        rows = self._connection.execute(
            "SELECT position, hash, envelope FROM records"
            " WHERE context = ? AND position BETWEEN ? AND ? ORDER BY position",
            (self._context, first, _BEHIND_ALL if last is None else last),
        )
        return [
            Link(Position(row[0]), RecordHash(row[1]), decode_envelope(row[2]).parents)
            for row in rows
        ]

    # ---- what readers ask ---------------------------------------------------------------------

    def oldest(self, *, after: int | None, limit: int) -> list[Row]:
        """Messages of the reading order, oldest first."""
        return self.placed_after(_BEFORE_ALL if after is None else after, limit=limit)

    def placed_before(self, place: int | None, limit: int) -> list[Row]:
        """The last messages in front of `place` (None: the last of all), oldest first."""
        return self.placed_back(MAIN, after=_BEFORE_ALL, before=place, limit=limit)[::-1]

    def of_kind(self, kind: int) -> list[Row]:
        """Events of one kind other than messages that were written on main, by (time, id)."""
        return [row for row in self.of_kind_anywhere(kind) if self.includes(row)]

    def of_kind_anywhere(self, kind: int) -> list[Row]:
        """Events of one kind other than messages on every branch, by (time, id)."""
        return self._select("kind <> 1 AND kind = ? ORDER BY key", kind, index="events_by_kind")

    def includes(self, row: Row) -> bool:
        """Whether an event other than a message has its effect here."""
        return row.branch == MAIN

    def carried(self) -> list[Row]:
        """The critical, the persistent and the session messages, in reading order."""
        return self.carried_on(MAIN, after=_BEFORE_ALL, to=None)

    def carried_on(self, branch: bytes, *, after: int, to: int | None) -> list[Row]:
        """Of a branch's own part of its order, between two places."""
        return self._placed(
            branch,
            "carry > 0 AND place > ? AND place <= ? ORDER BY place LIMIT ?",
            (after, _BEHIND_ALL if to is None else to, -1),
            index="events_carried",
        )

    def unsure(self) -> list[Row]:
        """The generations that are no waists, in reading order."""
        return self.unsure_on(MAIN, after=_BEFORE_ALL, to=None)

    def unsure_on(self, branch: bytes, *, after: int, to: int | None) -> list[Row]:
        """The generations that are no waists, of a branch's own part of its order."""
        return self._placed(
            branch,
            "role = 4 AND waist = 0 AND place > ? AND place <= ? ORDER BY place LIMIT ?",
            (after, _BEHIND_ALL if to is None else to, -1),
            index="events_unsure",
        )

    def by_time(self, *, after: bytes | None, before: bytes | None, limit: int) -> list[Row]:
        """Events of every kind by (time, id), between two keys; the newest if only `before`."""
        if after is not None:
            return self._select(f"key > ? AND {_IS_EVENT} ORDER BY key LIMIT ?", after, limit)
        if before is not None:
            rows = self._select(f"key < ? AND {_IS_EVENT} ORDER BY key DESC LIMIT ?", before, limit)
            return rows[::-1]
        return self._select(f"{_IS_EVENT} ORDER BY key LIMIT ?", limit)

    def bodies(self, rows: Sequence[Row]) -> dict[bytes, bytes]:
        """The JSON of events, by their keys; of a stream that broke off the message it came to
        be."""
        wanted = sorted({row.position for row in rows})
        payloads: dict[int, bytes] = {}
        for start in range(0, len(wanted), _CHUNK):
            some = wanted[start : start + _CHUNK]
            payloads.update(
                self._connection.execute(
                    f"SELECT position, payload FROM records WHERE position IN ({_marks(some)})",
                    some,
                )
            )
        found = {row.key: payloads[row.position][row.start : row.start + row.size] for row in rows}
        for row in rows:
            if row.rank == TOLD:
                found[row.key] = encode_event(as_far_as_it_came(decode_event(found[row.key])))
        return found

    def problems(self) -> list[tuple[Position, str, str]]:
        """(position of the record, key, reason) of every candidate that is no event."""
        rows = self._connection.execute(
            f"SELECT position, key, reason FROM {self._problems} WHERE context = ?"
            " ORDER BY position, client, clock",
            (self._context,),
        )
        return [(Position(row[0]), row[1], row[2]) for row in rows]

    def placed(self) -> int:
        """Messages in the reading order."""
        return self.placed_on(MAIN)

    def placed_on(self, branch: bytes, *, after: int | None = None, to: int | None = None) -> int:
        """Messages in a branch's own part of its reading order, between two places."""
        bounds = (
            self._context,
            branch,
            _BEFORE_ALL if after is None else after,
            _BEHIND_ALL if to is None else to,
        )
        between = "WHERE context = ? AND branch = ? AND place > ? AND place <= ?"
        (own,) = self._connection.execute(
            f"SELECT count(*) FROM {self._events} INDEXED BY events_by_place {between}", bounds
        ).fetchone()
        (other,) = self._connection.execute(
            f"SELECT count(*) FROM {self._borrowed} {between}", bounds
        ).fetchone()
        return int(own) + int(other)

    def written_on(self, branch: bytes) -> int:
        """Messages that were written on a branch, each class of imports once."""
        row = self._connection.execute(
            f"SELECT count(*) FROM {self._events} INDEXED BY events_by_place"
            " WHERE context = ? AND branch = ? AND place IS NOT NULL",
            (self._context, branch),
        ).fetchone()
        return int(row[0])

    def count(self) -> int:
        """Events of every kind, each class of imports once."""
        row = self._connection.execute(
            f"SELECT (SELECT count(*) FROM {self._events}"
            f" WHERE context = ? AND {_IS_EVENT} AND class IS NULL)"
            f" + (SELECT count(DISTINCT class) FROM {self._events}"
            " WHERE context = ? AND class IS NOT NULL)",
            (self._context, self._context),
        ).fetchone()
        return int(row[0])

    # ---- what summaries ask -------------------------------------------------------------------

    def positions_of(self, hashes: Iterable[RecordHash]) -> Mapping[RecordHash, Position]:
        """Where those of the records stand that this context holds."""
        return reading.positions_of(self._connection, hashes, context_id=self._context)

    def outside(self, have: Iterable[RecordHash]) -> frozenset[Position]:
        """The records of this index that are not in the causal past of `have`, which are."""
        return ancestry.outside(self._connection, self._context, self.frontier, have)

    def is_before(self, hashes: Collection[RecordHash], position: Position) -> bool:
        """Whether all of `hashes` are records in the causal past of the one at `position`."""
        return ancestry.is_before(self._connection, self._context, hashes, position)

    def summary_memory(self, branch: bytes = MAIN) -> Memory | None:
        """Which summary stands in a branch, if that is known of the index as it is stored."""
        if not self._in_store:
            return None
        return summary_memory.recall(self._connection, self._context, branch)

    # ---- what views ask -----------------------------------------------------------------------

    def weights(self, *, after: int | None, upto: int) -> Iterator[tuple[int, int, int]]:
        """(place, role, tokens) of messages behind `after`, up to `upto`, in reading order."""
        return self.weights_on(MAIN, after=_BEFORE_ALL if after is None else after, upto=upto)

    def weights_on(self, branch: bytes, *, after: int, upto: int) -> Iterator[tuple[int, int, int]]:
        """The same, of a branch's own part of its order."""
        if branch != MAIN:
            for row in self.placed_after(after, branch, to=upto):
                yield row.place or 0, row.role, row.tokens or 0
            return
        yield from self._connection.execute(
            f"SELECT place, role, coalesce(tokens, 0) FROM {self._events}"
            " INDEXED BY events_by_place"
            " WHERE context = ? AND branch = ? AND place > ? AND place <= ? ORDER BY place",
            (self._context, MAIN, after, upto),
        )

    @property
    def windows(self) -> Windows | None:
        """Where windows of main began; None of an index that is not the store's."""
        return Windows(self._connection, self._context) if self._in_store else None

    # ---- saving -------------------------------------------------------------------------------

    def save(self, changes: Changes, *, upto: Position, frontier: Frontier) -> None:
        """Write `changes` down; the index is complete up to `upto` then."""
        self.position, self.frontier = upto, frontier
        if (windows := self.windows) is not None:
            windows.follow(changes)
        self._connection.executemany(
            f"DELETE FROM {self._events} WHERE context = ? AND key = ?",
            [(self._context, key) for key in changes.removed],
        )
        self._connection.executemany(
            f"INSERT OR REPLACE INTO {self._events} VALUES ({_marks(range(14))})",
            [
                (
                    self._context,
                    row.key,
                    row.position,
                    row.start,
                    row.size,
                    row.rank,
                    row.kind,
                    row.role,
                    row.tokens,
                    row.place,
                    row.waist,
                    row.digest,
                    row.branch,
                    row.carry,
                )
                for row in changes.rows.values()
            ],
        )
        self._connection.executemany(
            f"INSERT OR REPLACE INTO {self._problems} VALUES (?, ?, ?, ?, ?, ?)",
            [
                (self._context, p.position, p.client, p.clock, p.key, p.reason)
                for p in changes.problems
            ],
        )
        self._save_lines(changes)
        self.streams.save(changes)
        if self._in_store:
            self._connection.execute(
                "UPDATE contexts SET projected = ?, projected_frontier = ? WHERE id = ?",
                (upto, pack(frontier), self._context),
            )

    def _save_lines(self, changes: Changes) -> None:
        for branch, line in changes.lines.items():
            self._connection.execute(
                f"DELETE FROM {self._lines} WHERE context = ? AND branch = ?",
                (self._context, branch),
            )
            if line is not None:
                self._connection.execute(
                    f"INSERT INTO {self._lines} VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        self._context,
                        branch,
                        line.parent,
                        line.base,
                        pack(line.cut),
                        line.whole,
                        line.depth,
                    ),
                )
        for branch, places in changes.borrowed.items():
            self._connection.execute(
                f"DELETE FROM {self._borrowed} WHERE context = ? AND branch = ?",
                (self._context, branch),
            )
            self._connection.executemany(
                f"INSERT INTO {self._borrowed} VALUES (?, ?, ?, ?)",
                [(self._context, branch, place, key) for key, place in places.items()],
            )

    def _placed(
        self,
        branch: bytes,
        condition: str,
        values: Sequence[object],
        *,
        backwards: bool = False,
        index: str = "events_by_place",
    ) -> list[Row]:
        """Rows of a branch's own part of its order; `condition` ends in a limit."""
        own = self._select(
            f"branch = ? AND place IS NOT NULL AND {condition}",
            branch,
            *values,
            index=index,
        )
        if branch == MAIN:
            return own
        found = self._connection.execute(
            f"SELECT {_COLUMNS} FROM (SELECT {_BORROWED} FROM {self._borrowed} AS b"
            f" CROSS JOIN {self._events} AS e ON e.context = b.context AND e.key = b.key"
            f" WHERE b.context = ? AND b.branch = ?) WHERE {condition}",
            (self._context, branch, *values),
        ).fetchall()
        if not found:
            return own
        sign = -1 if backwards else 1
        rows = merge(own, (Row(*row) for row in found), key=lambda row: sign * (row.place or 0))
        limit = values[-1]
        assert isinstance(limit, int)
        return list(rows) if limit < 0 else list(rows)[:limit]

    def _lines_where(self, condition: str, *values: object) -> list[Line]:
        rows = self._connection.execute(
            f"SELECT branch, parent, base, cut, whole, depth FROM {self._lines}"
            f" WHERE context = ? AND {condition}",
            (self._context, *values),
        )
        return [
            Line(row[0], row[1], row[2], unpack(row[3]), Position(row[4]), row[5]) for row in rows
        ]

    def _select(self, condition: str, *values: object, index: str | None = None) -> list[Row]:
        # Named where SQLite, which guesses that a context has ten rows, would read all of it.
        by = "" if index is None else f" INDEXED BY {index}"
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM {self._events}{by} WHERE context = ? AND {condition}",
            (self._context, *values),
        )
        return [Row(*row) for row in rows.fetchall()]


def _marks(values: Sequence[object] | range) -> str:
    return ",".join("?" * len(values))

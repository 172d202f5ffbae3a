"""The event index of one context over SQLite: questions of the fold and of readers, and saving.

Bodies are not stored here: a row points into the payload of the record that holds its event.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from weft_engine.events.codec import decode_event
from weft_engine.events.event import Event
from weft_engine.events.reorder import Link
from weft_engine.events.row import Row
from weft_engine.events.table import Changes, Journaled
from weft_engine.names import Position, RecordHash
from weft_engine.records.envelope import Record, decode_envelope
from weft_engine.records.frontier import EMPTY, Frontier, pack
from weft_engine.storage import ancestry, reading, summary_memory
from weft_engine.storage.summary_memory import Memory

_COLUMNS: Final = "key, position, start, size, rank, kind, role, tokens, place, waist, class"
_CHUNK: Final = 256
_NOWHERE: Final = Position(0)


class EventTable:
    """Implements `weft_engine.events.table.Table`. `schema` is ``main``, or ``temp`` for an index
    that a read-only store completes in memory."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        context_id: int,
        *,
        position: Position = _NOWHERE,
        frontier: Frontier = EMPTY,
        schema: str = "main",
    ) -> None:
        self.position = position
        self.frontier = frontier
        """How far the index reaches: in the journal, and in the context's history."""
        self._connection = connection
        self._context = context_id
        self._events = f"{schema}.events"
        self._problems = f"{schema}.problems"
        self._in_store = schema == "main"

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

    def last_place(self) -> int | None:
        row = self._connection.execute(
            f"SELECT max(place) FROM {self._events} WHERE context = ? AND place IS NOT NULL",
            (self._context,),
        ).fetchone()
        place: int | None = row[0]
        return place

    def placed_after(self, place: int) -> Sequence[Row]:
        return self._select("place > ? ORDER BY place", place)

    def newest(self, *, before: int | None = None, chunk: int = 8) -> Iterator[Row]:
        """Messages of the reading order, last first, in growing chunks."""
        limit = chunk
        while True:
            if before is None:
                rows = self._select("place IS NOT NULL ORDER BY place DESC LIMIT ?", limit)
            else:
                rows = self._select("place < ? ORDER BY place DESC LIMIT ?", before, limit)
            yield from rows
            if len(rows) < limit:
                return
            before = rows[-1].place
            limit = min(4 * limit, 4096)

    def waists(self) -> Iterator[Row]:
        yield from self._select("waist = 1 AND place IS NOT NULL ORDER BY place DESC")

    def event(self, row: Row) -> Event:
        return decode_event(self.bodies([row])[row.key])

    def journaled(self, position: Position) -> Journaled:
        row = self._connection.execute(
            "SELECT hash, envelope, payload FROM records WHERE position = ?", (position,)
        ).fetchone()
        record = Record(RecordHash(row[0]), decode_envelope(row[1]), row[1], row[2])
        return Journaled(position, record)

    def links(self, first: Position) -> Sequence[Link]:
        rows = self._connection.execute(
            "SELECT position, hash, envelope FROM records"
            " WHERE context = ? AND position >= ? ORDER BY position",
            (self._context, first),
        )
        return [
            Link(Position(row[0]), RecordHash(row[1]), decode_envelope(row[2]).parents)
            for row in rows
        ]

    # ---- what readers ask ---------------------------------------------------------------------

    def oldest(self, *, after: int | None, limit: int) -> list[Row]:
        """Messages of the reading order, oldest first."""
        if after is None:
            return self._select("place IS NOT NULL ORDER BY place LIMIT ?", limit)
        return self._select("place > ? ORDER BY place LIMIT ?", after, limit)

    def placed_before(self, place: int | None, limit: int) -> list[Row]:
        """The last messages in front of `place` (None: the last of all), oldest first."""
        if place is None:
            rows = self._select("place IS NOT NULL ORDER BY place DESC LIMIT ?", limit)
        else:
            rows = self._select("place < ? ORDER BY place DESC LIMIT ?", place, limit)
        return rows[::-1]

    def of_kind(self, kind: int) -> list[Row]:
        """Events of one kind other than messages, by (time, id)."""
        return self._select("kind <> 1 AND kind = ? ORDER BY key", kind, index="events_by_kind")

    def by_time(self, *, after: bytes | None, before: bytes | None, limit: int) -> list[Row]:
        """Events of every kind by (time, id), between two keys; the newest if only `before`."""
        if after is not None:
            return self._select("key > ? AND kind > 0 ORDER BY key LIMIT ?", after, limit)
        if before is not None:
            rows = self._select("key < ? AND kind > 0 ORDER BY key DESC LIMIT ?", before, limit)
            return rows[::-1]
        return self._select("kind > 0 ORDER BY key LIMIT ?", limit)

    def bodies(self, rows: Sequence[Row]) -> dict[bytes, bytes]:
        """The JSON of events, by their keys."""
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
        return {row.key: payloads[row.position][row.start : row.start + row.size] for row in rows}

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
        row = self._connection.execute(
            f"SELECT count(*) FROM {self._events} WHERE context = ? AND place IS NOT NULL",
            (self._context,),
        ).fetchone()
        return int(row[0])

    def count(self) -> int:
        """Events of every kind, each class of imports once."""
        row = self._connection.execute(
            f"SELECT count(*) - (SELECT count(*) FROM {self._events} WHERE context = ?1"
            " AND class IS NOT NULL AND place IS NULL)"
            f" FROM {self._events} WHERE context = ?1 AND kind > 0",
            (self._context,),
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

    def summary_memory(self) -> Memory | None:
        """Which summary stands, if that is known of the index as it is stored."""
        return summary_memory.recall(self._connection, self._context) if self._in_store else None

    # ---- saving -------------------------------------------------------------------------------

    def save(self, changes: Changes, *, upto: Position, frontier: Frontier) -> None:
        """Write `changes` down; the index is complete up to `upto` then."""
        self.position, self.frontier = upto, frontier
        self._connection.executemany(
            f"DELETE FROM {self._events} WHERE context = ? AND key = ?",
            [(self._context, key) for key in changes.removed],
        )
        self._connection.executemany(
            f"INSERT OR REPLACE INTO {self._events} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
        if self._in_store:
            self._connection.execute(
                "UPDATE contexts SET projected = ?, projected_frontier = ? WHERE id = ?",
                (upto, pack(frontier), self._context),
            )

    def _select(self, condition: str, *values: object, index: str | None = None) -> list[Row]:
        # Named where SQLite, which guesses that a context has ten rows, would read all of it.
        by = "" if index is None else f" INDEXED BY {index}"
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM {self._events}{by} WHERE context = ? AND {condition}",
            (self._context, *values),
        )
        return [Row(*row) for row in rows.fetchall()]


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))

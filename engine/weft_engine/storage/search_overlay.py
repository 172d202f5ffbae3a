"""The full-text index of a store that is open for reading only: what the store has, and in the
memory of a connection what it lacks.

It is kept while nothing is erased and the store's own part loses nothing; else it is made anew.
Must never know: queries, who asks.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from weft_engine.storage import search_tables
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.reading import ContextState
from weft_engine.storage.schema import connect
from weft_engine.storage.search_finding import Source
from weft_engine.storage.search_steps import next_step
from weft_engine.storage.search_tables import SearchTables

_ROWS: Final = """
CREATE TABLE temp.search_rows (
    context INTEGER NOT NULL,
    id BLOB NOT NULL,
    key BLOB NOT NULL,
    position INTEGER NOT NULL,
    start INTEGER NOT NULL,
    size INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    role INTEGER NOT NULL,
    class BLOB,
    branch BLOB NOT NULL,
    PRIMARY KEY (context, id)
);
CREATE UNIQUE INDEX temp.search_rows_by_key ON search_rows (context, key);
CREATE INDEX temp.search_rows_by_class ON search_rows (context, class) WHERE class IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class _Ground:
    """What it stands on: erasures known and done, the generation of the store's part (-1: there is
    none), and while one is known and not done, any commit in the store."""

    erasures: tuple[int, int]
    generation: int
    commits: int


@dataclass(slots=True)
class Overlay:
    """Made by `opened`. Used by one thread at a time."""

    connection: sqlite3.Connection
    ground: _Ground
    notes_taken: set[int] = field(default_factory=set)
    """Contexts whose notes are in memory."""

    @property
    def is_good(self) -> bool:
        """Whether it still stands on what is in the store."""
        return _ground(self.connection) == self.ground

    @property
    def sources(self) -> list[Source]:
        own = Source("temp", is_completed=True)
        if self.ground.generation < 0:
            return [own]
        without = frozenset(self.notes_taken)
        return [own, Source("main", is_completed=True, without_notes=without)]

    def begin(self) -> None:
        """Start from what the store's part has of contexts that are not in memory yet."""
        if self.ground.generation >= 0:
            self.connection.execute(
                "INSERT OR IGNORE INTO temp.search_contexts SELECT * FROM main.search_contexts"
            )

    def take_step(self, table: EventTable, state: ContextState) -> bool:
        """Index what is lacking next of a context; whether there was anything."""
        # What is erased in the store changes the ground, not this.
        generation = search_tables.generation(self.connection, "temp")
        step = next_step(self.connection, "temp", table, state, generation=generation)
        if step is None:
            return False
        self.connection.executemany(
            "INSERT OR REPLACE INTO temp.search_rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    state.id,
                    row.key[8:],
                    row.key,
                    row.position,
                    row.start,
                    row.size,
                    row.kind,
                    row.role,
                    row.digest,
                    row.branch,
                )
                for row in step.rows
            ],
        )
        is_good = SearchTables(self.connection, "temp").save([step.batch])
        assert is_good, "nobody else writes in this memory"
        return True

    def close(self) -> None:
        self.connection.close()


def opened(path: Path) -> Overlay:
    """An empty one. StoreError without FTS5."""
    connection = connect(path, readonly=True)
    try:
        search_tables.create(connection, "temp")
        for statement in _ROWS.split(";\n"):
            connection.execute(statement)
        return Overlay(connection, _ground(connection))
    except BaseException:
        connection.close()
        raise


def _ground(connection: sqlite3.Connection) -> _Ground:
    known, done = connection.execute(
        "SELECT count(*), coalesce(sum(is_done), 0) FROM main.erasures"
    ).fetchone()
    has_part = search_tables.exists(connection, "main")
    generation = search_tables.generation(connection, "main") if has_part else -1
    (commits,) = connection.execute("PRAGMA main.data_version").fetchone()
    return _Ground((known, done), generation, 0 if known == done else commits)

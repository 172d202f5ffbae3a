"""Streams in the store: which records add to those that have not ended, and which of them are this
store's own, so that whoever opens it after a crash finds them without looking for them.

Must never know: what a stream says.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from weft_engine.events.table import Changes
from weft_engine.names import ContextName, EventId, Position, is_event_id

OWN_STREAM_TABLE: Final = """
CREATE TABLE own_streams (      -- opened here and not ended; written with the records that do it
    id TEXT PRIMARY KEY,
    context TEXT NOT NULL
) WITHOUT ROWID
"""


class StreamTable:
    """The part of one context's event index that says which records add to which open stream."""

    def __init__(self, connection: sqlite3.Connection, context_id: int, schema: str) -> None:
        self._connection = connection
        self._context = context_id
        self._table = f"{schema}.streams"

    def listed(self, id_: bytes | None = None) -> list[tuple[bytes, Position]]:
        """(stream, position of a record that adds to it) of streams that have not ended, or of
        one of them, in the order in which they were opened."""
        rows = self._connection.execute(
            f"SELECT id, position FROM {self._table}"
            " WHERE context = ? AND (? IS NULL OR id = ?) ORDER BY id, position",
            (self._context, id_, id_),
        )
        return [(row[0], Position(row[1])) for row in rows]

    def save(self, changes: Changes) -> None:
        """List what adds to streams; what has a row now has ended."""
        self._connection.executemany(
            f"INSERT OR IGNORE INTO {self._table} VALUES (?, ?, ?)",
            [(self._context, id_, position) for id_, position in changes.streamed],
        )
        is_any_open = self._connection.execute(
            f"SELECT 1 FROM {self._table} WHERE context = ? LIMIT 1", (self._context,)
        ).fetchone()
        if changes.rows and is_any_open:
            self._connection.executemany(
                f"DELETE FROM {self._table} WHERE context = ? AND id = ?",
                [(self._context, row.identity) for row in changes.rows.values()],
            )


def note_opened(connection: sqlite3.Connection, context: ContextName, id_: EventId) -> None:
    connection.execute("INSERT OR IGNORE INTO own_streams VALUES (?, ?)", (id_, context))


def note_ended(connection: sqlite3.Connection, id_: EventId) -> None:
    connection.execute("DELETE FROM own_streams WHERE id = ?", (id_,))


def own_open(connection: sqlite3.Connection) -> list[tuple[ContextName, EventId]]:
    """The streams of this store that were opened and have not ended."""
    rows = connection.execute("SELECT context, id FROM own_streams ORDER BY id")
    # What can't be one was damaged: it says nothing about any stream.
    return [(ContextName(row[0]), EventId(row[1])) for row in rows if is_event_id(str(row[1]))]

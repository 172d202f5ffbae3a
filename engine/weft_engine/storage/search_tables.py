"""The full-text index: tables that come with the first search of a store, and what is in them.

The index holds words and where they come from, no text: that stays in the records. It is made of
shards, FTS5 tables without content, each closed when it is full. Nothing is ever taken out of a
shard: FTS5 leaves what is deleted in its segments. So where something of a shard is erased, the
whole shard is dropped, in the same commit, and the journal is read again from where it began. An
entry counts only while the event index has its event in the record that was indexed; what lost
since, or was indexed twice, is passed over by whoever finds it.

All of it is a cache. Must never know: queries, texts of events.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from weft_engine.errors import StoreError
from weft_engine.limits import SEARCH_SHARD_CHARS, SEARCH_SHARD_ENTRIES
from weft_engine.names import NoteName, Position
from weft_engine.storage.search_words import VERSION, indexed

PREFIX: Final = "search_"
"""Of the names of all its tables."""
WORDS: Final = "search_words_"
SHARD_BITS: Final = 20
"""An entry's id is the number of its shard, then its number there."""
_STALE_CHARS: Final = 64 * 1024
_CHUNK: Final = 256

_TABLES: Final = """
CREATE TABLE {schema}.search_state (
    words TEXT NOT NULL,            -- the definition of words it was made by
    generation INTEGER NOT NULL,    -- rises when something is dropped
    shard INTEGER NOT NULL          -- the highest number given; never given twice
);
CREATE TABLE {schema}.search_contexts (
    context INTEGER PRIMARY KEY,
    upto INTEGER NOT NULL,          -- position up to which its events are indexed
    notes_changed INTEGER NOT NULL, -- position of its newest record that is not only events
    notes_upto INTEGER NOT NULL     -- position up to which its notes are indexed
);
CREATE TABLE {schema}.search_shards (
    shard INTEGER PRIMARY KEY,
    is_notes INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    chars INTEGER NOT NULL,
    stale INTEGER NOT NULL          -- characters of entries that were replaced
);
CREATE TABLE {schema}.search_entries (
    id INTEGER PRIMARY KEY,         -- of the row of words
    context INTEGER NOT NULL,
    position INTEGER NOT NULL,      -- the record that holds the event
    key BLOB NOT NULL               -- as in `events`
);
CREATE INDEX {schema}.search_entries_by_position ON search_entries (context, position);
CREATE TABLE {schema}.search_notes (
    id INTEGER PRIMARY KEY,
    context INTEGER NOT NULL,
    name TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    digest BLOB NOT NULL,
    chars INTEGER NOT NULL,
    is_current INTEGER NOT NULL     -- 0: its text has changed since
);
CREATE INDEX {schema}.search_notes_by_context ON search_notes (context, is_current)
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """An event to index: `labels` are words that filters look for."""

    key: bytes
    position: Position
    labels: str
    text: str


@dataclass(frozen=True, slots=True)
class Batch:
    """The next entries of a context. Good while nothing was dropped since it was read, and only
    behind `after`."""

    context: int
    generation: int
    after: Position
    upto: Position
    notes_changed: Position
    entries: tuple[Entry, ...]


def exists(connection: sqlite3.Connection, schema: str) -> bool:
    """Whether there is an index, and by which words it was made is what we make of them."""
    if not _has_state(connection, schema):
        return False
    row = connection.execute(f"SELECT words FROM {schema}.search_state").fetchone()
    return row is not None and row[0] == VERSION


def create(connection: sqlite3.Connection, schema: str) -> None:
    """Make an empty index, in place of one that is of no use. StoreError without FTS5."""
    if exists(connection, schema):
        return
    check_available(connection)
    clear(connection, schema)
    for statement in _TABLES.split(";\n"):
        connection.execute(statement.replace("{schema}", schema))
    connection.execute(f"INSERT INTO {schema}.search_state VALUES (?, 0, 0)", (VERSION,))


def clear(connection: sqlite3.Connection, schema: str) -> None:
    """Drop all of it."""
    catalog = "sqlite_temp_schema" if schema == "temp" else f"{schema}.sqlite_schema"
    names = [
        row[0]
        for row in connection.execute(
            f"SELECT name FROM {catalog} WHERE type = 'table' AND name GLOB '{PREFIX}*'"
            " ORDER BY sql NOT LIKE 'CREATE VIRTUAL%'"
        )
    ]
    for name in names:  # those of FTS5 go with theirs
        connection.execute(f'DROP TABLE IF EXISTS {schema}."{name}"')


def check_available(connection: sqlite3.Connection) -> None:
    """StoreError if this Python's SQLite can't do it."""
    found = connection.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").fetchone()
    if found is None:
        raise StoreError(
            f"search needs FTS5, and SQLite {sqlite3.sqlite_version} of this Python is built"
            " without it",
            hint="use a Python whose sqlite3 module has FTS5, such as those of python.org",
        )


def of_store(connection: sqlite3.Connection) -> SearchTables | None:
    """The index of a store, whoever made it; None if it has none. StoreError if there is one
    that this Python could not change."""
    if not _has_state(connection, "main"):
        return None
    check_available(connection)
    return SearchTables(connection)


def _has_state(connection: sqlite3.Connection, schema: str) -> bool:
    catalog = "sqlite_temp_schema" if schema == "temp" else f"{schema}.sqlite_schema"
    found = connection.execute(f"SELECT 1 FROM {catalog} WHERE name = 'search_state'").fetchone()
    return found is not None


def generation(connection: sqlite3.Connection, schema: str) -> int:
    row = connection.execute(f"SELECT generation FROM {schema}.search_state").fetchone()
    return int(row[0])


def reached(connection: sqlite3.Connection, schema: str, context: int) -> tuple[int, int, int]:
    """Of a context: up to where its events are indexed, where its notes changed last, and up to
    where these are indexed."""
    row = connection.execute(
        f"SELECT upto, notes_changed, notes_upto FROM {schema}.search_contexts WHERE context = ?",
        (context,),
    ).fetchone()
    return (0, 0, 0) if row is None else (row[0], row[1], row[2])


def held(
    connection: sqlite3.Connection, schema: str, context: int, positions: Sequence[Position]
) -> set[bytes]:
    """The keys of the entries that these records have already."""
    found: set[bytes] = set()
    for start in range(0, len(positions), _CHUNK):
        some = positions[start : start + _CHUNK]
        found.update(
            row[0]
            for row in connection.execute(
                f"SELECT key FROM {schema}.search_entries WHERE context = ?"
                f" AND position IN ({','.join('?' * len(some))})",
                (context, *some),
            )
        )
    return found


class SearchTables:
    """Writes an index: in the store (``main``) or in a connection's memory (``temp``)."""

    def __init__(self, connection: sqlite3.Connection, schema: str = "main") -> None:
        self._connection = connection
        self._schema = schema

    def save(self, batches: Iterable[Batch]) -> bool:
        """Write entries down; False, and nothing of that batch, if they are out of date."""
        is_good = True
        for batch in batches:
            upto, notes_changed, _ = reached(self._connection, self._schema, batch.context)
            if (
                not exists(self._connection, self._schema)
                or batch.generation != generation(self._connection, self._schema)
                or batch.after != upto
            ):
                is_good = False
                continue
            for entry in batch.entries:
                text = indexed(entry.text)
                id_ = self._put(False, f"c{batch.context} {entry.labels}", text)
                self._connection.execute(
                    f"INSERT INTO {self._schema}.search_entries VALUES (?, ?, ?, ?)",
                    (id_, batch.context, entry.position, entry.key),
                )
            self._connection.execute(
                f"INSERT INTO {self._schema}.search_contexts VALUES (?, ?, ?, 0)"
                " ON CONFLICT (context) DO UPDATE SET upto = excluded.upto,"
                " notes_changed = excluded.notes_changed",
                (batch.context, batch.upto, max(batch.notes_changed, notes_changed)),
            )
        return is_good

    def save_notes(
        self,
        context: int,
        texts: Mapping[NoteName, str],
        *,
        labels: str,
        time_ms: int,
        upto: Position,
        generation_then: int,
    ) -> bool:
        """Index the notes of a context as they are at `upto`; False if that is out of date."""
        if generation_then != generation(self._connection, self._schema):
            return False
        current = {
            NoteName(name): (id_, digest, chars)
            for id_, name, digest, chars in self._connection.execute(
                f"SELECT id, name, digest, chars FROM {self._schema}.search_notes"
                " WHERE context = ? AND is_current = 1",
                (context,),
            )
        }
        for name in sorted({*texts, *current}):
            text = texts.get(name, "")
            digest = blake2b(text.encode(), digest_size=16).digest()
            known = current.get(name)
            if known is not None and known[1] == digest:
                continue
            if known is not None:
                self._connection.execute(
                    f"UPDATE {self._schema}.search_notes SET is_current = 0 WHERE id = ?",
                    (known[0],),
                )
                self._connection.execute(
                    f"UPDATE {self._schema}.search_shards SET stale = stale + ? WHERE shard = ?",
                    (known[2], known[0] >> SHARD_BITS),
                )
            if text:
                id_ = self._put(True, f"c{context} {labels}", indexed(text))
                self._connection.execute(
                    f"INSERT INTO {self._schema}.search_notes VALUES (?, ?, ?, ?, ?, ?, 1)",
                    (id_, context, name, time_ms, digest, len(text)),
                )
        self._connection.execute(
            f"UPDATE {self._schema}.search_contexts SET notes_upto = ? WHERE context = ?",
            (upto, context),
        )
        self._drop_stale()
        return True

    def forget(self, context: int, positions: Iterable[Position]) -> None:
        """Something of these records is erased: drop what was made of it."""
        if not exists(self._connection, self._schema):
            clear(self._connection, self._schema)
            return
        shards: set[int] = set()
        wanted = sorted(positions)
        for start in range(0, len(wanted), _CHUNK):
            some = wanted[start : start + _CHUNK]
            shards.update(
                row[0]
                for row in self._connection.execute(
                    f"SELECT DISTINCT id >> {SHARD_BITS} FROM {self._schema}.search_entries"
                    f" WHERE context = ? AND position IN ({','.join('?' * len(some))})",
                    (context, *some),
                )
            )
        # A note may have held what was erased at any time.
        shards.update(
            row[0]
            for row in self._connection.execute(
                f"SELECT DISTINCT id >> {SHARD_BITS} FROM {self._schema}.search_notes"
                " WHERE context = ?",
                (context,),
            )
        )
        for shard in sorted(shards):
            self._drop(shard)
        # What was read before and is not saved yet holds it, too.
        self._next_generation()

    # ---- inside -------------------------------------------------------------------------------

    def _put(self, is_notes: bool, labels: str, text: str) -> int:
        shard, entries = self._open_shard(is_notes)
        id_ = (shard << SHARD_BITS) | entries
        self._connection.execute(
            f"INSERT INTO {self._schema}.{WORDS}{shard} (rowid, labels, text) VALUES (?, ?, ?)",
            (id_, labels, text),
        )
        self._connection.execute(
            f"UPDATE {self._schema}.search_shards SET entries = entries + 1, chars = chars + ?"
            " WHERE shard = ?",
            (len(text), shard),
        )
        return id_

    def _open_shard(self, is_notes: bool) -> tuple[int, int]:
        """The shard that takes the next entry, and how many it has."""
        row = self._connection.execute(
            f"SELECT shard, entries, chars FROM {self._schema}.search_shards WHERE is_notes = ?"
            " ORDER BY shard DESC LIMIT 1",
            (is_notes,),
        ).fetchone()
        if row is not None and row[1] < SEARCH_SHARD_ENTRIES and row[2] < SEARCH_SHARD_CHARS:
            return row[0], row[1]
        (shard,) = self._connection.execute(
            f"UPDATE {self._schema}.search_state SET shard = shard + 1 RETURNING shard"
        ).fetchone()
        self._connection.execute(
            f"CREATE VIRTUAL TABLE {self._schema}.{WORDS}{shard}"
            " USING fts5 (labels, text, content='', tokenize='ascii')"
        )
        self._connection.execute(
            f"INSERT INTO {self._schema}.{WORDS}{shard} ({WORDS}{shard}, rank)"
            " VALUES ('rank', 'bm25(0.0, 1.0)')"
        )
        self._connection.execute(
            f"INSERT INTO {self._schema}.search_shards VALUES (?, ?, 0, 0, 0)", (shard, is_notes)
        )
        return shard, 0

    def _drop_stale(self) -> None:
        """Drop shards of notes that hold more of what they were than of what they are."""
        for (shard,) in self._connection.execute(
            f"SELECT shard FROM {self._schema}.search_shards WHERE stale > ? AND stale * 2 > chars",
            (_STALE_CHARS,),
        ).fetchall():
            self._drop(shard)
            self._next_generation()

    def _next_generation(self) -> None:
        self._connection.execute(
            f"UPDATE {self._schema}.search_state SET generation = generation + 1"
        )

    def _drop(self, shard: int) -> None:
        """Drop a shard; what is in it and still stands is read from the journal again."""
        ids = (shard << SHARD_BITS, ((shard + 1) << SHARD_BITS) - 1)
        self._connection.execute(
            f"UPDATE {self._schema}.search_contexts AS c SET upto = min(upto, e.first - 1)"
            " FROM (SELECT context, min(position) AS first"
            f" FROM {self._schema}.search_entries WHERE id BETWEEN ? AND ? GROUP BY context) AS e"
            " WHERE e.context = c.context",
            ids,
        )
        self._connection.execute(
            f"UPDATE {self._schema}.search_contexts SET notes_upto = 0 WHERE context IN"
            f" (SELECT context FROM {self._schema}.search_notes WHERE id BETWEEN ? AND ?)",
            ids,
        )
        for table in ("search_entries", "search_notes"):
            self._connection.execute(
                f"DELETE FROM {self._schema}.{table} WHERE id BETWEEN ? AND ?", ids
            )
        self._connection.execute(
            f"DELETE FROM {self._schema}.search_shards WHERE shard = ?", (shard,)
        )
        self._connection.execute(f"DROP TABLE {self._schema}.{WORDS}{shard}")

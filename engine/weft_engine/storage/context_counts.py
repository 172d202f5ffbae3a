"""How many contexts there are, and which are new. Must never know: who asks."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from weft_engine.limits import CONTEXT_NAME_BYTES_MAX
from weft_engine.names import ContextName

_AFTER_ALL = "\U0010ffff" * CONTEXT_NAME_BYTES_MAX


def newest(connection: sqlite3.Connection) -> int:
    """The id of the context that was made last; 0 if there is none."""
    row = connection.execute("SELECT max(id) FROM contexts").fetchone()
    return int(row[0] or 0)


def made(connection: sqlite3.Connection, after: int, upto: int) -> list[ContextName]:
    """The contexts with ids behind `after` up to and including `upto`."""
    rows = connection.execute("SELECT name FROM contexts WHERE id > ? AND id <= ?", (after, upto))
    return [ContextName(row[0]) for row in rows]


def count(
    connection: sqlite3.Connection,
    *,
    prefixes: Collection[str],
    names: Collection[ContextName],
    upto: int,
    most: int,
) -> int:
    """How many have an id up to `upto` and one of these prefixes, or one of these names, none of
    which a prefix covers; `most` if there are more."""
    found = 0
    for prefix in prefixes:
        row = connection.execute(
            "SELECT count(*) FROM (SELECT 1 FROM contexts"
            " WHERE name >= ? AND name < ? AND id <= ? LIMIT ?)",
            (prefix, prefix + _AFTER_ALL, upto, most - found),
        ).fetchone()
        found += int(row[0])
    for name in names:
        if found >= most:
            break
        known = connection.execute("SELECT id FROM contexts WHERE name = ?", (name,)).fetchone()
        found += known is not None and known[0] <= upto
    return found

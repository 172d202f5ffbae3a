"""The rows of contexts for trees over them: by their ids, which rise and stay.

Functions over a connection of the store. Must never know: trees, links.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from weft_engine.limits import CONTEXT_NAME_BYTES_MAX
from weft_engine.names import ContextName, Position
from weft_engine.records.digest import fingerprint_digest
from weft_engine.records.frontier import Frontier, unpack

ContextRow: TypeAlias = tuple[int, str, bytes]
"""Id, name, fingerprint."""
_CHUNK: Final = 256
_AFTER_ALL: Final = "\U0010ffff" * CONTEXT_NAME_BYTES_MAX
_ROW: Final = "SELECT id, name, frontier FROM contexts WHERE records > 0"


def rows_after(connection: sqlite3.Connection, after: int, *, limit: int) -> list[ContextRow]:
    """Contexts with ids behind `after`, in order of ids."""
    return _read(connection, f"{_ROW} AND id > ? ORDER BY id LIMIT ?", (after, limit))


def rows_below(
    connection: sqlite3.Connection, prefix: str, after: str, *, limit: int
) -> list[ContextRow]:
    """Contexts whose names start with `prefix` and come after `after`, in order of names."""
    # One lower bound: with two of them every page would be looked for from the first name.
    begins = "name > ?" if after > prefix else "name >= ?"
    return _read(
        connection,
        f"{_ROW} AND {begins} AND name < ? ORDER BY name LIMIT ?",
        (max(prefix, after), prefix + _AFTER_ALL, limit),
    )


def rows_named(connection: sqlite3.Connection, names: Sequence[str]) -> list[ContextRow]:
    """Those of `names` that the store has."""
    found: list[ContextRow] = []
    for some in _chunks(names):
        found += _read(connection, f"{_ROW} AND name IN ({_marks(some)})", some)
    return found


def names_of(
    connection: sqlite3.Connection, rows: Sequence[int]
) -> list[tuple[ContextName, Position]]:
    """The names of contexts by their ids, with the positions of their newest records."""
    found: list[tuple[ContextName, Position]] = []
    for some in _chunks(rows):
        read = connection.execute(
            f"SELECT name, position FROM contexts WHERE id IN ({_marks(some)})", some
        )
        found += [(ContextName(name), Position(position)) for name, position in read]
    return found


def ids_of(connection: sqlite3.Connection, names: Sequence[ContextName]) -> dict[ContextName, int]:
    """The ids of those of `names` that the store has."""
    found: dict[ContextName, int] = {}
    for some in _chunks(names):
        found.update(
            connection.execute(
                f"SELECT name, id FROM contexts WHERE records > 0 AND name IN ({_marks(some)})",
                some,
            )
        )
    return found


def frontiers_of(
    connection: sqlite3.Connection, names: Sequence[ContextName]
) -> dict[ContextName, Frontier]:
    """The frontiers of those of `names` that the store has."""
    found: dict[ContextName, Frontier] = {}
    for some in _chunks(names):
        rows = connection.execute(
            f"SELECT name, frontier FROM contexts WHERE name IN ({_marks(some)})", some
        )
        found.update((name, unpack(frontier)) for name, frontier in rows)
    return found


def _read(
    connection: sqlite3.Connection, question: str, values: Sequence[object]
) -> list[ContextRow]:
    # A frontier is kept sorted, so it need not be unpacked for its fingerprint.
    rows = connection.execute(question, tuple(values))
    return [(row[0], row[1], fingerprint_digest(row[2])) for row in rows]


def _chunks(values: Sequence[object]) -> Iterator[Sequence[object]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))

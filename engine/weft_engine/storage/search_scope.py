"""Which contexts a search is about, and what its index lacks of them.

Must never know: queries, texts.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from weft_engine.limits import CONTEXT_NAME_BYTES_MAX
from weft_engine.names import ContextName

_AFTER_ALL: Final = "\U0010ffff" * CONTEXT_NAME_BYTES_MAX
"""Sorts behind whatever can follow a prefix in a name."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One context, or all whose names start with `prefix`."""

    context: ContextName | None = None
    prefix: str = ""

    @property
    def condition(self) -> tuple[str, tuple[str, ...]]:
        if self.context is not None:
            return "c.name = ?", (self.context,)
        return "c.name >= ? AND c.name < ?", (self.prefix, self.prefix + _AFTER_ALL)


@dataclass(frozen=True, slots=True)
class Lag:
    """What the index lacks of a context."""

    id: int
    name: ContextName
    events: bool
    notes: bool


def contexts(connection: sqlite3.Connection, scope: Scope) -> frozenset[int] | None:
    """Their ids; None for all that there are."""
    if scope == Scope():
        return None
    condition, values = scope.condition
    rows = connection.execute(f"SELECT id FROM main.contexts AS c WHERE {condition}", values)
    return frozenset(row[0] for row in rows)


def names(connection: sqlite3.Connection, ids: frozenset[int]) -> dict[int, ContextName]:
    """Of up to a thousand contexts."""
    rows = connection.execute(
        f"SELECT id, name FROM main.contexts WHERE id IN ({','.join('?' * len(ids))})", tuple(ids)
    )
    return {row[0]: ContextName(row[1]) for row in rows}


def lagging(connection: sqlite3.Connection, schema: str, scope: Scope) -> list[Lag]:
    """Contexts of which the index in `schema` lacks something, by name."""
    condition, values = scope.condition
    rows = connection.execute(
        "SELECT c.id, c.name, coalesce(s.upto, 0) < c.position,"
        " coalesce(s.notes_upto < s.notes_changed, 0)"
        f" FROM main.contexts AS c LEFT JOIN {schema}.search_contexts AS s ON s.context = c.id"
        f" WHERE c.records > 0 AND {condition} AND (coalesce(s.upto, 0) < c.position"
        " OR s.notes_upto < s.notes_changed) ORDER BY c.name",
        values,
    )
    return [Lag(row[0], ContextName(row[1]), bool(row[2]), bool(row[3])) for row in rows]

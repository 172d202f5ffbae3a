"""Hints where the windows of main's views began, so that nobody lays milestones from the first
message on.

Only ever a shortcut: what they say follows from the event index. They are written a moment after
the view, so each is of a number of *moves*: whatever changes the index otherwise than at its end
counts one and deletes what it may have touched. Must never know: views, budgets.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from weft_engine.events.event import Role
from weft_engine.events.row import MAIN, ROLES
from weft_engine.events.table import Changes

_CHUNK: Final = 256
_TOOL: Final = ROLES[Role.TOOL]
KEPT_MAX: Final = 4
"""Of one grid the last few are kept: a hidden message lets a window begin earlier than the last."""


@dataclass(frozen=True, slots=True)
class Hint:
    """A milestone of `grid` stands at `place`; `opening` is that of the last user message before
    it. It was found when the index had moved `moves` times."""

    grid: str
    place: int
    opening: int | None
    moves: int


class Windows:
    """The hints of one context, over a connection."""

    def __init__(self, connection: sqlite3.Connection, context_id: int) -> None:
        self._connection = connection
        self._context = context_id

    def moves(self) -> int:
        row = self._connection.execute(
            "SELECT count FROM moves WHERE context = ?", (self._context,)
        ).fetchone()
        return 0 if row is None else int(row[0])

    def find(self, grid: str, *, upto: int) -> Hint | None:
        """The last milestone at or before the place `upto`."""
        row = self._connection.execute(
            "SELECT place, opening FROM windows WHERE context = ? AND grid = ? AND place <= ?"
            " ORDER BY place DESC LIMIT 1",
            (self._context, grid, upto),
        ).fetchone()
        return None if row is None else Hint(grid, row[0], row[1], self.moves())

    def keep(self, hint: Hint) -> None:
        """Write `hint` down, unless the index has moved since."""
        if hint.moves != self.moves():
            return
        self._connection.execute(
            "INSERT OR REPLACE INTO windows VALUES (?, ?, ?, ?)",
            (self._context, hint.grid, hint.place, hint.opening),
        )
        self._connection.execute(
            "DELETE FROM windows WHERE context = ? AND grid = ? AND place < ("
            "SELECT min(place) FROM (SELECT place FROM windows WHERE context = ? AND grid = ?"
            " ORDER BY place DESC LIMIT ?))",
            (self._context, hint.grid, self._context, hint.grid, KEPT_MAX),
        )

    def follow(self, changes: Changes) -> None:
        """The index is about to be changed: forget what may not hold then."""
        first = self._first_move(changes)
        if first is None:
            return
        # The row-unit that begins at a milestone may have ended before the move, or not.
        before = self._connection.execute(
            "SELECT max(place) FROM events INDEXED BY events_by_place"
            " WHERE context = ? AND branch = ? AND place < ? AND role <> ?",
            (self._context, MAIN, first, _TOOL),
        ).fetchone()[0]
        least = first if before is None else min(first, before)
        self._connection.execute(
            "DELETE FROM windows WHERE context = ? AND place >= ?", (self._context, least)
        )
        self._moved()

    def clear(self) -> None:
        """The index is dropped."""
        self._connection.execute("DELETE FROM windows WHERE context = ?", (self._context,))
        self._moved()

    def _moved(self) -> None:
        self._connection.execute(
            "INSERT INTO moves VALUES (?, 1) ON CONFLICT (context) DO UPDATE SET count = count + 1",
            (self._context,),
        )

    def _first_move(self, changes: Changes) -> int | None:
        """The first place at which something changes, if that is not behind all that stands."""
        (last,) = self._connection.execute(
            "SELECT max(place) FROM events INDEXED BY events_by_place"
            " WHERE context = ? AND branch = ? AND place IS NOT NULL",
            (self._context, MAIN),
        ).fetchone()
        if last is None:
            return None
        before: dict[bytes, tuple[int, int, int | None]] = {}
        rows = {key: row for key, row in changes.rows.items() if row.branch == MAIN}
        keys = [*rows, *changes.removed]
        for start in range(0, len(keys), _CHUNK):
            before.update(self._standing(keys[start : start + _CHUNK]))
        touched: list[int] = [
            old[0]
            for key, old in before.items()
            if (row := rows.get(key)) is None or (row.place, row.role, row.tokens) != old
        ]
        touched.extend(
            row.place
            for key, row in rows.items()
            if row.place is not None
            and row.place <= last
            and before.get(key) != (row.place, row.role, row.tokens)
        )
        return min(touched, default=None)

    def _standing(self, keys: Sequence[bytes]) -> dict[bytes, tuple[int, int, int | None]]:
        """Place, role and tokens of those of the rows that stand in the order."""
        rows = self._connection.execute(
            "SELECT key, place, role, tokens FROM events"
            f" WHERE context = ? AND key IN ({','.join('?' * len(keys))})"
            " AND branch = ? AND place IS NOT NULL",
            (self._context, *keys, MAIN),
        )
        return {key: (place, role, tokens) for key, place, role, tokens in rows}

"""Checking the orders of branches: those of a stored index against those of one made anew.

Where a branch leaves its parent's places may differ, for it depends on when the index was brought
up; the order that comes of it may not.
Must never know: how orders are made.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from weft_engine.events.event import Branch
from weft_engine.events.row import MAIN, id_bytes
from weft_engine.events.within import Within
from weft_engine.names import Position
from weft_engine.storage.event_table import EventTable

_LINES: Final = (
    "SELECT branch, parent, depth, cut, base, whole FROM {}.lines WHERE context = ?"
    " ORDER BY depth, branch"
)
_PART: Final = (
    "SELECT place, key FROM {0}.events WHERE context = ? AND branch = ? AND place IS NOT NULL"
    " UNION ALL SELECT place, key FROM {0}.borrowed WHERE context = ? AND branch = ?"
    " ORDER BY 1, 2"
)
_STRAYS: Final = (
    "SELECT count(*) FROM main.{} WHERE context = ? AND branch <> x'' AND place IS NOT NULL AND"
    " branch NOT IN (SELECT branch FROM main.lines WHERE context = ?)"
)


@dataclass(slots=True)
class _Order:
    """One order: what it shares with its parent, and its own part."""

    parent: _Order | None
    base: int
    places: list[int]
    keys: list[bytes]
    shared: int = 0

    def __post_init__(self) -> None:
        self.shared = 0 if self.parent is None else self.parent.upto(self.base)

    def upto(self, place: int) -> int:
        """How many messages stand at or before a place."""
        if self.parent is not None and place <= self.base:
            return self.parent.upto(place)
        return self.shared + bisect_right(self.places, place)

    def has_place(self, place: object) -> bool:
        """Whether a message stands at a place; or it is the one before all."""
        if type(place) is not int:
            return False
        if self.parent is not None and place <= self.base:
            return self.parent.has_place(place)
        return place == -1 or place in self.places

    def at(self, index: int) -> bytes:
        order = self
        while order.parent is not None and index < order.shared:
            order = order.parent
        return order.keys[index - order.shared]

    def __len__(self) -> int:
        return self.shared + len(self.keys)


def check_lines(
    connection: sqlite3.Connection, anew: EventTable, context: int, find: Callable[[str], None]
) -> None:
    """Main is known to be right in both; `find` is told what is wrong."""
    stored_rows = connection.execute(_LINES.format("main"), (context,)).fetchall()
    anew_rows = connection.execute(_LINES.format("temp"), (context,)).fetchall()
    if [row[:4] for row in stored_rows] != [row[:4] for row in anew_rows]:
        find("its branches are not those of its records")
        return
    for table in ("events", "borrowed"):
        (strays,) = connection.execute(_STRAYS.format(table), (context, context)).fetchone()
        if strays:
            find(f"{strays} messages have places on branches that it has not")
    main_stored = _part(connection, "main", context, MAIN)
    main_anew = _part(connection, "temp", context, MAIN)
    assert main_anew is not None, "what was just made is sound"
    if main_stored is None:
        return
    stored = {MAIN: _Order(None, -1, *main_stored)}
    fresh = {MAIN: _Order(None, -1, *main_anew)}
    for old, new in zip(stored_rows, anew_rows, strict=True):
        branch, parent = new[0], new[1]
        shown = branch.hex()
        fresh_part = _part(connection, "temp", context, branch)
        assert fresh_part is not None, "what was just made is sound"
        fresh[branch] = _Order(fresh[parent], new[4], *fresh_part)
        part = _part(connection, "main", context, branch)
        if (
            part is None
            or not stored[parent].has_place(old[4])
            or (part[0] and part[0][0] <= old[4])
        ):
            find(f"the places of its branch {shown} are wrong")
            return
        stored[branch] = _Order(stored[parent], old[4], *part)
        if not _is_same(stored[branch], fresh[branch]):
            find(f"the reading order of its branch {shown} is wrong")
            return
        if old[5] != new[5] and not _is_whole(anew, branch, old[5]):
            find(f"what its branch {shown} is said to share with its parent is wrong")


def _part(
    connection: sqlite3.Connection, schema: str, context: int, branch: bytes
) -> tuple[list[int], list[bytes]] | None:
    """Places and keys of a branch's own part; None if two messages share a place."""
    rows: list[Any] = connection.execute(
        _PART.format(schema), (context, branch, context, branch)
    ).fetchall()
    places = [row[0] for row in rows]
    if any(type(place) is not int for place in places) or len(set(places)) < len(places):
        return None
    return places, [row[1] for row in rows]


def _is_same(one: _Order, other: _Order) -> bool:
    """Their parents' orders are the same."""
    return len(one) == len(other) and all(
        one.at(index) == other.at(index) for index in range(min(one.shared, other.shared), len(one))
    )


def _is_whole(table: EventTable, branch: bytes, whole: object) -> bool:
    """Whether a branch shares every record up to a position."""
    line = table.line(branch)
    if type(whole) is not int or line is None:
        return False
    body = table.event(table.by_ids([branch])[branch]).body
    assert isinstance(body, Branch)
    within = Within(table, line.cut, None if body.upto is None else id_bytes(body.upto))
    return whole <= within.top and all(
        within.has_record(link.position)
        for link in reversed(table.links(Position(0), Position(whole)))
    )

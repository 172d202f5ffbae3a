"""What the event index of one context says, in 32 bytes, made in bounded steps.

Two stores that hold the same records come to the same digest, however the records came: it is
over each event with its text, over the order of main and of what was written on each branch, and
over which branches stand. What depends on the store or on when its index was brought up (positions,
places, bases of branches) or on a tokenizer is not in it. Must never know: who compares.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any, Final

from weft_engine.errors import MalformedRecord
from weft_engine.limits import CHECK_STEP_BYTES, CHECK_STEP_ROWS
from weft_engine.names import ContextName, Position
from weft_engine.records.digest import record_digest
from weft_engine.storage import reading
from weft_engine.storage.reading import ContextState

_EVENTS: Final = (
    "SELECT key, rank, kind, role, class, branch, carry, position, start, size FROM events"
    " WHERE context = ? AND key > ? ORDER BY key LIMIT ?"
)
_ORDER: Final = (
    "SELECT branch, place, key FROM events INDEXED BY events_by_place"
    " WHERE context = ? AND place IS NOT NULL AND (branch, place) > (?, ?)"
    " ORDER BY branch, place LIMIT ?"
)
_LINES: Final = (
    "SELECT branch, parent, depth FROM lines WHERE context = ? AND branch > ?"
    " ORDER BY branch LIMIT ?"
)
_BEFORE_ALL: Final = -(1 << 62)


def checkable(connection: sqlite3.Connection, name: str) -> ContextState | None:
    """The context, if what its index says can be compared with what another store's says: None if
    there is nothing, or something of it is erased, which stores do at different times."""
    state = reading.context(connection, name)
    if state is None or not state.records:
        return None
    (is_erased,) = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM erasures WHERE context = ?)"
        " OR EXISTS (SELECT 1 FROM early_erasers WHERE context = ?)",
        (state.id, name),
    ).fetchone()
    return None if is_erased else state


class ContextDigest:
    """Of the context `name`, whose frontier and index stay as they are meanwhile: else there is
    none. Call `step` until it says that it is done."""

    def __init__(self, name: ContextName) -> None:
        self.name = name
        self.events = 0
        """That were read so far."""
        self._hash = blake2b(digest_size=32, person=b"weft-check")
        self._began: ContextState | None = None
        self._phases: list[Callable[[sqlite3.Connection], bool]] = [
            self._add_events,
            self._add_order,
            self._add_lines,
        ]
        self._after: Any = b""

    @property
    def fingerprint(self) -> bytes:
        """Of what was read."""
        assert self._began is not None, "a step was made"
        return self._began.fingerprint

    @property
    def value(self) -> bytes:
        """32 bytes, once it is done."""
        assert not self._phases, "all was read"
        return self._hash.digest()

    def step(self, connection: sqlite3.Connection) -> bool | None:
        """Read some more. Whether that was the last; None: there is none, for the context can't be
        compared, its index is not complete, or they have changed."""
        connection.execute("BEGIN")  # all of it is of one moment
        try:
            state = checkable(connection, self.name)
            if state is None or state.projected < state.position:
                return None
            if self._began is None:
                self._began = state
            elif self._began != state:
                return None
            while self._phases and self._phases[0](connection):
                self._hash.update(b".")
                del self._phases[0]
                self._after = (b"", _BEFORE_ALL) if len(self._phases) == 2 else b""
            return not self._phases
        finally:
            connection.execute("ROLLBACK")

    # ---- inside: each adds some, and says whether that was all of its kind ----------------------

    def _add_events(self, connection: sqlite3.Connection) -> bool:
        rows = self._page(connection, _EVENTS, self._after)
        size, count = 0, 0
        for row in rows:
            count += 1
            size += row[9] if type(row[9]) is int else 0
            if size >= CHECK_STEP_BYTES:
                break
        some = rows[:count]
        bodies = _bodies(connection, some)
        for row in some:
            self._add((*row[:7], bodies.get(row[0], b"")))
        self.events += count
        if some:
            self._after = some[-1][0]
        return count == len(rows) < CHECK_STEP_ROWS

    def _add_order(self, connection: sqlite3.Connection) -> bool:
        rows = self._page(connection, _ORDER, *self._after)
        for branch, _, key in rows:
            self._add((branch, key))
        if rows:
            self._after = rows[-1][:2]
        return len(rows) < CHECK_STEP_ROWS

    def _add_lines(self, connection: sqlite3.Connection) -> bool:
        rows = self._page(connection, _LINES, self._after)
        for row in rows:
            self._add(row)
        if rows:
            self._after = rows[-1][0]
        return len(rows) < CHECK_STEP_ROWS

    def _page(self, connection: sqlite3.Connection, question: str, *after: object) -> list[Any]:
        assert self._began is not None, "a step has begun"
        return connection.execute(question, (self._began.id, *after, CHECK_STEP_ROWS)).fetchall()

    def _add(self, values: Iterable[object]) -> None:
        """Whatever stands in a row, which need not be what belongs there."""
        for value in values:
            packed = value if type(value) is bytes else repr(value).encode()
            kind = b"b" if type(value) is bytes else b"r"
            self._hash.update(b"%b%d:%b" % (kind, len(packed), packed))


def damaged_records(
    connection: sqlite3.Connection, name: str, after: Position
) -> tuple[int, Position | None]:
    """How many of the records behind `after` are not what their names say, as far as one step goes,
    and where the next begins; None: that was the last. Of a context in which nothing is erased."""
    state = reading.context(connection, name)
    if state is None:
        return 0, None
    try:
        some = reading.records_after(
            connection,
            state.id,
            after,
            records_max=CHECK_STEP_ROWS,
            bytes_max=CHECK_STEP_BYTES,
        )
    except MalformedRecord:
        return 1, None
    if not some:
        return 0, None
    damaged = [
        one
        for one in some
        if one.record.is_erased or record_digest(one.record.envelope_bytes) != one.record.hash
    ]
    return len(damaged), some[-1].position


def _bodies(connection: sqlite3.Connection, rows: list[Any]) -> dict[bytes, bytes]:
    """The JSON of events by their keys; each payload is read once, one after the other."""
    of: dict[object, list[Any]] = {}
    for row in rows:
        of.setdefault(row[7], []).append(row)
    found: dict[bytes, bytes] = {}
    for position, some in of.items():
        stored = connection.execute(
            "SELECT payload FROM records WHERE position = ?", (position,)
        ).fetchone()
        for row in some:
            start, size = row[8], row[9]
            if stored is not None and type(start) is int and type(size) is int:
                found[row[0]] = bytes(stored[0][start : start + size])
    return found

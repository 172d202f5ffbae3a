"""What is remembered of the summary that stands in a context's main branch.

To find it costs a look at every message's row, so it is kept, and followed while the index grows.
It is dropped where following it would take more than looking at what came: then it is found anew.
Must never know: what a summary says.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from weft_engine.events.event import Revoke, Summary
from weft_engine.events.row import KINDS, Row, id_bytes
from weft_engine.names import EventId, Position

if TYPE_CHECKING:
    from weft_engine.storage.projection import Step

SUMMARY: Final = KINDS[Summary]
_DECISIVE: Final = frozenset({KINDS[Summary], KINDS[Revoke]})
_ID_BYTES: Final = 24


@dataclass(frozen=True, slots=True)
class Memory:
    """`key` of the summary whose messages are all there and that goes before all others of that
    kind, empty if there is none; `place` of the last message it covers; the ids of messages in
    front of that which it does not cover."""

    key: bytes
    place: int
    late: frozenset[EventId]

    @property
    def is_none(self) -> bool:
        return not self.key


NONE_APPLIES: Final = Memory(b"", 0, frozenset())


def recall(connection: sqlite3.Connection, context_id: int) -> Memory | None:
    found = connection.execute(
        "SELECT key, place, late FROM main.summaries WHERE context = ?", (context_id,)
    ).fetchone()
    if found is None:
        return None
    key, place, late = found
    ids = (late[start : start + _ID_BYTES] for start in range(0, len(late), _ID_BYTES))
    return Memory(key, place, frozenset(EventId(f"{i[:8].hex()}-{i[8:].hex()}") for i in ids))


def has_summaries(connection: sqlite3.Connection, context_id: int) -> bool:
    found = connection.execute(
        "SELECT 1 FROM main.events INDEXED BY events_by_kind"
        " WHERE context = ? AND kind <> 1 AND kind = ? LIMIT 1",
        (context_id, SUMMARY),
    ).fetchone()
    return found is not None


def keep(
    connection: sqlite3.Connection, context_id: int, memory: Memory, *, upto: Position
) -> None:
    """Remember what was found when the index reached `upto`; not if it reaches further by now."""
    connection.execute(
        "INSERT OR REPLACE INTO summaries SELECT id, ?, ?, ? FROM contexts"
        " WHERE id = ? AND projected = ?",
        (memory.key, memory.place, packed(memory.late), context_id, upto),
    )


def follow(connection: sqlite3.Connection, step: Step, known: Iterable[Row]) -> None:
    """Before `step` is saved: take in what it does to what is remembered. `known`: the rows that
    stand there so far of events that it puts anew."""
    memory = recall(connection, step.context_id)
    if memory is None:
        return
    changes = step.changes
    before = {row.key: row for row in known}
    moved = [
        place
        for row in before.values()
        for place in (row.place, changes.rows[row.key].place)
        if place is not None and changes.rows[row.key].place != row.place
    ]
    if (
        changes.removed
        or any(row.kind in _DECISIVE for row in changes.rows.values())
        or any(changes.rows[key].position != row.position for key, row in before.items())
        or min(moved, default=memory.place + 1) <= memory.place
    ):
        connection.execute("DELETE FROM summaries WHERE context = ?", (step.context_id,))
        return
    late = [
        row.id
        for row in changes.rows.values()
        if row.place is not None and row.place <= memory.place and row.key not in before
    ]
    if late:
        connection.execute(
            "UPDATE summaries SET late = ? WHERE context = ?",
            (packed(memory.late.union(late)), step.context_id),
        )


def packed(ids: Iterable[EventId]) -> bytes:
    """As they are stored: 24 bytes each."""
    return b"".join(map(id_bytes, sorted(ids)))

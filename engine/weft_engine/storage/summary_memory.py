"""What is remembered of the summary that stands in a branch: in main, and in branches in use.

To find it costs a look at every message's row, so it is kept, and followed while the index grows.
It is dropped where following it would take more than looking at what came: then it is found anew.
Must never know: what a summary says.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from weft_engine.events.event import Revoke, Summary
from weft_engine.events.row import KINDS, MAIN, Row, event_id_of, id_bytes
from weft_engine.events.table import Changes
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


class Reach(Protocol):
    """What the order of a branch is made of, before a step (`storage.lineage.Lineage`)."""

    branches: frozenset[bytes]
    """Itself and those it comes from."""

    def holds(self, row: Row) -> bool:
        """Whether the place of `row` is one of this order's."""


def recall(connection: sqlite3.Connection, context_id: int, branch: bytes = MAIN) -> Memory | None:
    """What is remembered of a branch."""
    return recall_all(connection, context_id, branch).get(branch)


def recall_all(
    connection: sqlite3.Connection, context_id: int, branch: bytes | None = None
) -> dict[bytes, Memory]:
    """What is remembered of every branch of a context, or of one."""
    found = connection.execute(
        "SELECT branch, key, place, late FROM main.summaries WHERE context = ?"
        " AND (? IS NULL OR branch = ?)",
        (context_id, branch, branch),
    )
    return {of: Memory(key, place, frozenset(_ids(late))) for of, key, place, late in found}


def has_summaries(connection: sqlite3.Connection, context_id: int) -> bool:
    found = connection.execute(
        "SELECT 1 FROM main.events INDEXED BY events_by_kind"
        " WHERE context = ? AND kind <> 1 AND kind = ? LIMIT 1",
        (context_id, SUMMARY),
    ).fetchone()
    return found is not None


def keep(
    connection: sqlite3.Connection,
    context_id: int,
    memory: Memory,
    *,
    upto: Position,
    branch: bytes = MAIN,
) -> None:
    """Remember what was found when the index reached `upto`; not if it reaches further by now."""
    connection.execute(
        "INSERT OR REPLACE INTO summaries SELECT id, ?, ?, ?, ? FROM contexts"
        " WHERE id = ? AND projected = ?",
        (branch, memory.key, memory.place, packed(memory.late), context_id, upto),
    )


def follow(
    connection: sqlite3.Connection,
    step: Step,
    known: Iterable[Row],
    reach: Callable[[bytes], Reach],
) -> None:
    """Before `step` is saved: take in what it does to what is remembered. `known`: the rows that
    stand there so far of events that it puts anew; `reach` of a branch, as it is so far."""
    before = {row.key: row for row in known}
    for branch, memory in recall_all(connection, step.context_id).items():
        followed = _followed(memory, step.changes, before, reach(branch))
        if followed is None:
            connection.execute(
                "DELETE FROM summaries WHERE context = ? AND branch = ?",
                (step.context_id, branch),
            )
        elif followed != memory:
            connection.execute(
                "UPDATE summaries SET late = ? WHERE context = ? AND branch = ?",
                (packed(followed.late), step.context_id, branch),
            )


def _followed(
    memory: Memory, changes: Changes, before: Mapping[bytes, Row], reach: Reach
) -> Memory | None:
    """None if it does not follow any more."""
    if (
        changes.removed
        or not reach.branches.isdisjoint(changes.lines)
        or not reach.branches.isdisjoint(changes.borrowed)
        or any(
            row.kind in _DECISIVE and row.branch in reach.branches for row in changes.rows.values()
        )
        or any(changes.rows[key].position != row.position for key, row in before.items())
    ):
        return None

    if memory.is_none:
        return memory  # Nothing is covered, wherever it stands.

    def is_covered(row: Row) -> bool:
        return row.place is not None and row.place <= memory.place and reach.holds(row)

    for key, row in before.items():
        now = changes.rows[key]
        if now.place != row.place and (is_covered(row) or is_covered(now)):
            return None
    late = [row.id for row in changes.rows.values() if is_covered(row) and row.key not in before]
    return replace(memory, late=memory.late.union(late)) if late else memory


def packed(ids: Iterable[EventId]) -> bytes:
    """As they are stored: 24 bytes each."""
    return b"".join(map(id_bytes, sorted(ids)))


def _ids(late: bytes) -> Iterator[EventId]:
    for start in range(0, len(late), _ID_BYTES):
        yield event_id_of(late[start : start + _ID_BYTES])

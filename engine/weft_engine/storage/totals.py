"""What a store holds in all, as far as that can be said without reading it: for whoever watches it.

Must never know: who asks.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from weft_engine.names import Position
from weft_engine.storage import context_counts, quarantine
from weft_engine.storage.reading import last_position


@dataclass(frozen=True, slots=True)
class Totals:
    """`position`: of the newest record, which is how many there are. `waiting`: records whose past
    has not come."""

    position: Position
    contexts: int
    waiting: int
    waiting_bytes: int
    quarantined: int
    quarantined_bytes: int


def totals(connection: sqlite3.Connection) -> Totals:
    """Some ten microseconds, whatever its size."""
    waiting, waiting_bytes = connection.execute(
        "SELECT coalesce(sum(records), 0), coalesce(sum(bytes), 0) FROM waiting_room"
    ).fetchone()
    refused = quarantine.count(connection)
    return Totals(
        last_position(connection),
        context_counts.newest(connection),
        waiting,
        waiting_bytes,
        refused.entries,
        refused.evidence_bytes,
    )

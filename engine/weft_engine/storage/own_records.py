"""What was written in this store, behind a position. Functions over a connection of the store.

Must never know: links, what a relay holds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from weft_engine.names import ContextName, Position
from weft_engine.storage.ledger import Stored
from weft_engine.storage.reading import records_at

_OWN = (
    " FROM records AS r JOIN origins AS o ON o.id = r.origin AND o.seed IS NOT NULL"
    " JOIN contexts AS c ON c.id = r.context"
)


@dataclass(frozen=True, slots=True)
class OwnRecords:
    """`count` records, of which the first ones are here."""

    count: int
    first: tuple[Stored, ...]


def own_records(
    connection: sqlite3.Connection,
    context: ContextName,
    *,
    after: Position,
    records_max: int,
    bytes_max: int,
) -> OwnRecords:
    """What was written here in one context."""
    where = " WHERE c.name = ? AND r.position > ?"
    (count,) = connection.execute(f"SELECT count(*){_OWN}{where}", (context, after)).fetchone()
    rows = connection.execute(
        f"SELECT r.position{_OWN}{where} ORDER BY r.position LIMIT ?",
        (context, after, records_max),
    )
    positions = [Position(position) for (position,) in rows]
    return OwnRecords(count, tuple(records_at(connection, positions, bytes_max=bytes_max)))


def count_own(
    connection: sqlite3.Connection, *, after: Position, behind: Mapping[ContextName, Position]
) -> dict[ContextName, int]:
    """How many records were written here behind `after`, and in the contexts of `behind` behind the
    position there, which is before it; by context, none where there are none."""
    rows = connection.execute(
        f"SELECT c.name, count(*){_OWN} WHERE r.position > ? GROUP BY c.id", (after,)
    )
    found = {ContextName(name): int(count) for name, count in rows if name not in behind}
    for context, upto in behind.items():
        (count,) = connection.execute(
            f"SELECT count(*){_OWN} WHERE c.name = ? AND r.position > ?", (context, upto)
        ).fetchone()
        if count:
            found[context] = count
    return found

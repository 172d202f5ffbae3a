"""What was refused, with evidence: table `quarantine`, bounded in rows and bytes, oldest go first.

Written off the path of records, for people who want to know why a link ended. What comes faster
than a limit per minute is not written down. A store in which something was erased keeps no
evidence: what was refused may hold it, whatever context it says it is of. Must never know: links,
why things are refused.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from weft_engine.limits import (
    QUARANTINE_BYTES_MAX,
    QUARANTINE_ENTRIES_MAX,
    QUARANTINE_ENTRY_BYTES_MAX,
    QUARANTINE_PER_MINUTE_MAX,
    REASON_BYTES_MAX,
)

_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that was refused. `sender`: the peer's store, or what a relay knows it by.
    `context` and `hash` where it is a record that could be read so far. `evidence` is all of it,
    or its beginning when it was read from a store, where something was erased nothing; `size` is of
    all of it."""

    at_ms: int
    sender: bytes
    context: str | None
    hash: bytes | None
    reason: str
    size: int
    evidence: bytes


@dataclass(frozen=True, slots=True)
class Count:
    entries: int
    evidence_bytes: int
    newest_ms: int | None


def keep(connection: sqlite3.Connection, refused: Sequence[Refused]) -> int:
    """Write down what was refused, inside the caller's transaction; how many entries that made."""
    kept = 0
    (has_erased,) = connection.execute("SELECT EXISTS (SELECT 1 FROM erasures)").fetchone()
    for one in refused:
        if _is_flood(connection, one.at_ms):
            break
        connection.execute(
            "INSERT INTO quarantine (at_ms, sender, context, hash, reason, size, evidence)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                one.at_ms,
                one.sender,
                one.context,
                one.hash,
                one.reason.encode(errors="replace")[:REASON_BYTES_MAX].decode(errors="ignore"),
                one.size,
                b"" if has_erased else one.evidence[:QUARANTINE_ENTRY_BYTES_MAX],
            ),
        )
        kept += 1
    if kept:
        _trim(connection)
    return kept


def entries(connection: sqlite3.Connection, *, limit: int = 100) -> list[Refused]:
    """The newest entries, newest first."""
    rows = connection.execute(
        "SELECT at_ms, sender, context, hash, reason, size, evidence FROM quarantine"
        " ORDER BY id DESC LIMIT ?",
        (limit,),
    )
    return [Refused(*row) for row in rows]


def count(connection: sqlite3.Connection) -> Count:
    row = connection.execute(
        "SELECT count(*), coalesce(sum(length(evidence)), 0), max(at_ms) FROM quarantine"
    ).fetchone()
    return Count(*row)


def _is_flood(connection: sqlite3.Connection, now_ms: int) -> bool:
    """Whether as many entries as a minute may bring were made within one around `now_ms`."""
    row = connection.execute(
        "SELECT at_ms FROM quarantine ORDER BY id DESC LIMIT 1 OFFSET ?",
        (QUARANTINE_PER_MINUTE_MAX - 1,),
    ).fetchone()
    # A clock that was set back may not shut it for good.
    return row is not None and abs(now_ms - int(row[0])) < _MINUTE_MS


def _trim(connection: sqlite3.Connection) -> None:
    connection.execute(
        "DELETE FROM quarantine WHERE id IN (SELECT id FROM (SELECT id,"
        " row_number() OVER newest AS place, sum(length(evidence)) OVER newest AS total"
        " FROM quarantine WINDOW newest AS (ORDER BY id DESC)) WHERE place > ? OR total > ?)",
        (QUARANTINE_ENTRIES_MAX, QUARANTINE_BYTES_MAX),
    )

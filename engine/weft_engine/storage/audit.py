"""Which contexts hold equivocations, and which records of clocks that were far ahead.

There is no index for either, as there are hardly any: so it is looked for context by context, a few
at a time. Must never know: who asks, how often.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from weft_engine.names import Position
from weft_engine.storage.ledger import SKEWED


@dataclass(frozen=True, slots=True)
class Audited:
    """Ids of contexts. `last`: behind this the next look begins; None if there is nothing more."""

    forked: frozenset[int]
    skewed: frozenset[int]
    last: int | None


def audit(
    connection: sqlite3.Connection,
    *,
    after: int,
    since: Position,
    contexts_max: int,
    records_max: int,
) -> Audited:
    """Look at the next contexts, by id behind `after`, that have records behind the position
    `since`: at all their records. So many contexts, and so many records; one context at least."""
    forked: set[int] = set()
    skewed: set[int] = set()
    records = 0
    rows = connection.execute(
        "SELECT id, position, records FROM contexts WHERE id > ? ORDER BY id LIMIT ?",
        (after, contexts_max),
    ).fetchall()
    for context, position, count in rows:
        if position <= since:
            continue
        if records and records + count > records_max:
            return Audited(frozenset(forked), frozenset(skewed), context - 1)
        records += count
        sides, flagged = connection.execute(
            "SELECT max(sides), max(flagged) FROM (SELECT count(*) AS sides, max(flags & ?) AS"
            " flagged FROM records WHERE context = ? GROUP BY origin, seq)",
            (SKEWED, context),
        ).fetchone()
        if (sides or 0) > 1:
            forked.add(context)
        if flagged:
            skewed.add(context)
    last = rows[-1][0] if len(rows) == contexts_max else None
    return Audited(frozenset(forked), frozenset(skewed), last)

"""Bringing a store of an earlier format up to this one, step by step.

A step is SQL that leaves every record as it is. A new store is made by the same steps, so that
there is one way to each format; `tests/data` keeps a store of each earlier one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

from weft_engine.storage.event_schema import INDEX_TABLES, index_statements
from weft_engine.storage.streams import OWN_STREAM_TABLE

STORE_FORMAT: Final = 3

_STEPS: Final = {
    1: """
-- the region's key (32) and its signature (64)
ALTER TABLE origins ADD COLUMN certificate BLOB;

-- up to here foreign records came before there were certificates
INSERT INTO meta SELECT 'uncertified_upto', coalesce(max(position), 0) FROM records;

-- What waits is not acknowledged: it comes again.
DROP TABLE waiting_for;
DROP TABLE waiting;

CREATE TABLE waiting (
    hash BLOB NOT NULL UNIQUE,
    context TEXT NOT NULL,
    envelope BLOB NOT NULL,
    payload BLOB NOT NULL,
    session BLOB NOT NULL,      -- who offered it, for the quota
    covered INTEGER NOT NULL,   -- 1: a signature at it or behind it in its chain is known
    lacks INTEGER NOT NULL,     -- how many of its parents are neither journaled nor ready
    public_key BLOB,
    signature BLOB              -- if it is itself a signed tip
);

CREATE TABLE waiting_for (      -- parked records by their parents that are not journaled
    missing BLOB NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (missing, hash)
) WITHOUT ROWID;
CREATE INDEX waiting_for_by_hash ON waiting_for (hash);

CREATE TABLE waiting_room (     -- what each session has in `waiting`
    session BLOB PRIMARY KEY,
    records INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE own_heads (        -- where the present incarnation's chains stand, as of a clean close
    context TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    clock INTEGER NOT NULL      -- its next Yjs clock
) WITHOUT ROWID;

CREATE TABLE tickets (          -- handed out to us at the last hello, by the store of the peer
    id INTEGER PRIMARY KEY,     -- rises with every hello
    peer BLOB NOT NULL UNIQUE,
    ticket BLOB NOT NULL
);

CREATE TABLE issued_tickets (   -- handed out by us: `current` is known to be kept
    id INTEGER PRIMARY KEY,     -- rises with every hello
    store BLOB NOT NULL UNIQUE,
    current BLOB,
    offered BLOB NOT NULL
);

CREATE TABLE checkpoints (      -- documents as of a position; `digest` is over all the rest
    context INTEGER NOT NULL,
    position INTEGER NOT NULL,
    state BLOB NOT NULL,
    tips BLOB NOT NULL,
    digest BLOB NOT NULL,
    UNIQUE (context, position)
);

CREATE TABLE quarantine (       -- what was refused, with evidence
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    sender BLOB NOT NULL,
    context TEXT,
    hash BLOB,
    reason TEXT NOT NULL,
    size INTEGER NOT NULL,      -- of all of it; `evidence` may be its beginning
    evidence BLOB NOT NULL
);

CREATE TABLE erasures (
    position INTEGER PRIMARY KEY,   -- of the erasing record
    context INTEGER NOT NULL,
    is_done INTEGER NOT NULL        -- 1: what it names is gone from this file
);

CREATE TABLE confirmations (    -- replicas that have erased what a record names
    id INTEGER PRIMARY KEY,
    eraser BLOB NOT NULL,       -- its hash
    store BLOB NOT NULL,
    UNIQUE (eraser, store)
);

CREATE TABLE stand_ins (        -- which erasers prove the payload of a replaced record
    record BLOB NOT NULL,
    eraser BLOB NOT NULL,
    PRIMARY KEY (record, eraser)
) WITHOUT ROWID;

CREATE TABLE early_erasers (    -- that came beside a stand-in, and are not journaled yet
    hash BLOB PRIMARY KEY,
    context TEXT NOT NULL,
    envelope BLOB NOT NULL,
    payload BLOB NOT NULL,
    public_key BLOB NOT NULL,
    signature BLOB NOT NULL
);

-- What may be erased stands in the leaves of tables with a rowid only: the inner pages of others
-- hold copies of their rows, which secure_delete has been seen to leave behind.
CREATE TABLE problems_2 (
    context INTEGER NOT NULL,
    position INTEGER NOT NULL,
    client INTEGER NOT NULL,
    clock INTEGER NOT NULL,
    key TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (context, position, client, clock)
);
INSERT INTO problems_2 SELECT * FROM problems;
DROP TABLE problems;
ALTER TABLE problems_2 RENAME TO problems;
""",
    2: ";\n".join(
        [
            # The event index, which is rebuilt when it is asked for next.
            *(f"DROP TABLE IF EXISTS {table}" for table in INDEX_TABLES),
            *index_statements("main"),
            "UPDATE contexts SET projected = 0, projected_frontier = x''",
            """CREATE TABLE summaries (  -- the one that stands in a branch, as found last
    context INTEGER NOT NULL,
    branch BLOB NOT NULL,       -- id (24) of the branch event, empty for main
    key BLOB NOT NULL,          -- of its event; empty: of those that are there none applies
    place INTEGER NOT NULL,     -- in the reading order, of the last message that it covers
    late BLOB NOT NULL,         -- ids (24 bytes each) of messages before that which it does not
    PRIMARY KEY (context, branch)
)""",
            OWN_STREAM_TABLE,
            """CREATE TABLE windows (    -- milestones of the main branch that views began by
    context INTEGER NOT NULL,
    grid TEXT NOT NULL,         -- what they are laid by, and behind which summary
    place INTEGER NOT NULL,
    opening INTEGER,            -- the place of the last user message before it
    PRIMARY KEY (context, grid, place)
) WITHOUT ROWID""",
            """CREATE TABLE moves (      -- how often an index changed otherwise than at its end
    context INTEGER PRIMARY KEY,
    count INTEGER NOT NULL
)""",
        ]
    ),
}
"""By the format that a step starts from."""


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring a store of format `version` to STORE_FORMAT, inside the caller's transaction."""
    for statement in _statements(version):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {STORE_FORMAT}")


def _statements(version: int) -> Iterator[str]:
    for step in range(version, STORE_FORMAT):
        yield from (s for s in _STEPS[step].split(";\n") if s.strip())

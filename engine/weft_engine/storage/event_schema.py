"""The tables of the event index, which can be dropped at any time and rebuilt from the journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

INDEX_TABLES: Final = ("events", "problems", "lines", "borrowed", "streams")
"""What is cleared together when an index is dropped."""

_TABLES: Final = """
CREATE TABLE {schema}.events (
    context INTEGER NOT NULL,
    key BLOB NOT NULL,          -- time (8), id's hlc (8) and incarnation (16)
    position INTEGER NOT NULL,  -- the record that holds it,
    start INTEGER NOT NULL,     -- and where its JSON stands in the payload
    size INTEGER NOT NULL,
    rank INTEGER NOT NULL,      -- 0 its own incarnation, 1 foreign, 2 any other, 3 none
    kind INTEGER NOT NULL,
    role INTEGER NOT NULL,      -- of a message, else 0
    tokens INTEGER,             -- of a message, in the default tokenizer
    place INTEGER,              -- in the reading order of its branch
    waist INTEGER NOT NULL,     -- 1: a generation that all before it precede and all later ones saw
    class BLOB,                 -- of an imported message
    branch BLOB NOT NULL,       -- id (24) of the branch event, empty for main
    carry INTEGER NOT NULL,     -- of a message: 1 critical, 2 persistent, 3 session, else 0
    PRIMARY KEY (context, key)
) WITHOUT ROWID;
CREATE INDEX {schema}.events_by_place ON events (context, branch, place) WHERE place IS NOT NULL;
CREATE INDEX {schema}.events_waists ON events (context, branch, place)
    WHERE waist = 1 AND place IS NOT NULL;
CREATE INDEX {schema}.events_unsure ON events (context, branch, place)
    WHERE role = 4 AND waist = 0 AND place IS NOT NULL;
CREATE INDEX {schema}.events_carried ON events (context, branch, place)
    WHERE carry > 0 AND place IS NOT NULL;
CREATE INDEX {schema}.events_by_kind ON events (context, kind, key) WHERE kind <> 1;
CREATE INDEX {schema}.events_by_class ON events (context, class) WHERE class IS NOT NULL;
CREATE INDEX {schema}.events_of_branch ON events (context, branch, key) WHERE branch > x'';
CREATE INDEX {schema}.events_early ON events (context, substr(key, 9))
    WHERE substr(key, 1, 8) <> substr(key, 9, 8);

-- What may be erased stands in the leaves of tables with a rowid only: the inner pages of others
-- hold copies of their rows, which secure_delete has been seen to leave behind.
CREATE TABLE {schema}.problems (
    context INTEGER NOT NULL,
    position INTEGER NOT NULL,  -- the record, and the struct in it,
    client INTEGER NOT NULL,    -- that is no event
    clock INTEGER NOT NULL,
    key TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (context, position, client, clock)
);

CREATE TABLE {schema}.lines (   -- branches that stand
    context INTEGER NOT NULL,
    branch BLOB NOT NULL,       -- id of the branch event
    parent BLOB NOT NULL,       -- of its parent, empty for main
    base INTEGER NOT NULL,      -- the place up to which its order is its parent's
    cut BLOB NOT NULL,          -- hashes of the records that lead to all it shares with its parent
    whole INTEGER NOT NULL,     -- up to this position it shares all records
    depth INTEGER NOT NULL,     -- branches on the way to main
    PRIMARY KEY (context, branch)
) WITHOUT ROWID;
CREATE INDEX {schema}.lines_by_parent ON lines (context, parent, base);

CREATE TABLE {schema}.borrowed (    -- of ancestors, and behind the base
    context INTEGER NOT NULL,
    branch BLOB NOT NULL,
    place INTEGER NOT NULL,     -- in the order of this branch
    key BLOB NOT NULL,
    PRIMARY KEY (context, branch, place)
) WITHOUT ROWID;
CREATE INDEX {schema}.borrowed_by_key ON borrowed (context, key);

CREATE TABLE {schema}.streams (
    context INTEGER NOT NULL,
    id BLOB NOT NULL,           -- of a stream that has not ended: hlc (8) and incarnation (16)
    position INTEGER NOT NULL,  -- of a record that adds to it
    PRIMARY KEY (context, id, position)
) WITHOUT ROWID;
"""


def index_statements(schema: str) -> Iterator[str]:
    """SQL that makes the tables."""
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            yield statement.replace("{schema}", schema)


def create_event_tables(connection: sqlite3.Connection, schema: str) -> None:
    """The event index, empty: in the store (``main``) or in a connection's memory (``temp``)."""
    for statement in index_statements(schema):
        connection.execute(statement)

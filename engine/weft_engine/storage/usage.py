"""What the bytes of a store are used for: of the whole file by use, and by context.

Exact where SQLite tells how many pages each table has (its `dbstat`); without that, what is not
content is one remainder, and the figures say that they are estimates. No payload is read.
Must never know: who asks, how it is shown.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from weft_engine.errors import NotFound
from weft_engine.events.row import TOLD
from weft_engine.storage import search_tables
from weft_engine.storage.draft import beside, kept_files
from weft_engine.storage.event_schema import INDEX_TABLES
from weft_engine.storage.lease import LEASE_SUFFIX
from weft_engine.storage.ledger import ERASED
from weft_engine.storage.schema import check_header, connect, damaged

TABLES: Final = {
    "signatures": ("signatures",),
    "event index": (*INDEX_TABLES, "summaries", "windows", "moves"),
    "receipts and specs": ("receipts", "specs"),
    "document checkpoints": ("checkpoints",),
    "waiting room": ("waiting", "waiting_for", "waiting_room"),
    "quarantine": ("quarantine",),
    "erasers and proofs of them": ("erasures", "confirmations", "stand_ins", "early_erasers"),
    "who and where": (
        "meta",
        "origins",
        "contexts",
        "own_heads",
        "own_streams",
        "tickets",
        "issued_tickets",
        "cursors",
    ),
}
"""Uses that have tables of their own; the indexes of a table go with it. All tables but `records`,
which is counted by what stands in it."""
_CONTENT: Final = {
    "signatures": "SELECT sum(length(signature)) FROM signatures",
    "event index": "SELECT sum(length(key) + coalesce(length(class), 0)) FROM events",
    "receipts and specs": "SELECT (SELECT coalesce(sum(length(trace) + length(context)"
    " + length(cut) + length(fingerprint)), 0) FROM receipts)"
    " + (SELECT coalesce(sum(length(json)), 0) FROM specs)",
    "document checkpoints": "SELECT sum(length(state) + length(tips) + length(digest))"
    " FROM checkpoints",
    "waiting room": "SELECT sum(length(envelope) + length(payload)) FROM waiting",
    "quarantine": "SELECT sum(length(evidence) + length(reason)) FROM quarantine",
}
_RECORDS: Final = f"""
SELECT c.name, count(*), sum(length(envelope)),
    sum(iif(flags & {ERASED}, length(payload) - coalesce(e.size, 0), 0)),
    sum(iif(flags & {ERASED} OR r.position <= projected, 0, length(payload))),
    sum(iif(flags & {ERASED} OR r.position > projected OR e.size IS NULL, 0,
        length(payload) - e.size)),
    sum(iif(flags & {ERASED} OR r.position > projected OR e.size IS NOT NULL, 0, length(payload))),
    coalesce(sum(e.size), 0),
    coalesce(sum(e.events), 0),
    count(s.signature)
FROM records AS r JOIN contexts AS c ON c.id = r.context
LEFT JOIN (SELECT position, sum(size) AS size, count(*) AS events FROM events
    WHERE kind > 0 AND rank < {TOLD} GROUP BY position) AS e USING (position)
LEFT JOIN signatures AS s USING (position)
GROUP BY r.context ORDER BY sum(length(envelope) + length(payload)) DESC, c.name
"""
PAGES_OF_TREES: Final = "SELECT name, pgsize FROM dbstat WHERE aggregate = TRUE"
_SIGNATURE_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class ContextUsage:
    """Bytes of one context's content. `json` stands in the payloads of records, `framing` is what
    is around it there; `updates` are payloads without an event: notes and what is overwritten;
    `unindexed` are payloads of which it is not known yet, because the event index is behind;
    `erased` is what is left of payloads of which something was erased, but for the JSON of events
    that stay."""

    name: str
    records: int
    events: int
    json: int
    framing: int
    updates: int
    unindexed: int
    erased: int
    envelopes: int
    signatures: int

    @property
    def total(self) -> int:
        payloads = self.json + self.framing + self.updates + self.unindexed + self.erased
        return payloads + self.envelopes + self.signatures


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of a store. `uses` add up to `file`, which is what all that is committed takes in the
    file; `on_disk`, `log` and `lease` are the files as they lie there, and `kept` those that were
    replaced and stay. Contexts: the largest first."""

    file: int
    on_disk: int
    log: int
    lease: int
    kept: int
    is_estimate: bool
    uses: dict[str, int]
    contexts: tuple[ContextUsage, ...]

    @property
    def events(self) -> int:
        return sum(context.events for context in self.contexts)

    @property
    def json(self) -> int:
        return sum(context.json for context in self.contexts)

    @property
    def unindexed(self) -> int:
        return sum(context.unindexed for context in self.contexts)


def measure(store: Path, *, context: str | None = None) -> Usage:
    """Measure one moment of a store, which may be in use; with `context`, of the contexts that one
    only. Raises NotFound, NotAStore, OlderFormat, NewerFormat, StoreError."""
    check_header(store)
    with closing(connect(store, readonly=True)) as connection:
        try:
            connection.execute("BEGIN")
            return _measure(connection, store, context)
        except sqlite3.Error as error:
            raise damaged(store, error) from error


def _measure(connection: sqlite3.Connection, store: Path, context: str | None) -> Usage:
    pages, page_bytes, free = (
        _one(connection, f"PRAGMA {name}") for name in ("page_count", "page_size", "freelist_count")
    )
    file = pages * page_bytes
    contexts = tuple(_contexts(connection))
    uses = {
        "event JSON": sum(c.json for c in contexts),
        "around the JSON": sum(c.framing for c in contexts),
        "notes and other updates": sum(c.updates for c in contexts),
        "payloads not indexed yet": sum(c.unindexed for c in contexts),
        "erased, stand-ins": sum(c.erased for c in contexts),
        "envelopes": sum(c.envelopes for c in contexts),
    }
    trees = _trees(connection)
    if trees is not None:
        in_records = sum(uses.values())
        uses["rows of records, unfilled pages"] = trees.pop("records", 0) - in_records
        uses["finding records"] = sum(trees.pop(name) for name in _indexes(connection, "records"))
        for use, tables in TABLES.items():
            names = [name for table in tables for name in (table, *_indexes(connection, table))]
            uses[use] = sum(trees.pop(name, 0) for name in names)
        search = [name for name in trees if name.startswith(search_tables.PREFIX)]
        uses["search index"] = sum(trees.pop(name) for name in search)
        uses["all else"] = sum(trees.values())
    else:
        uses |= {use: _one(connection, question) for use, question in _CONTENT.items()}
    uses["free pages"] = free * page_bytes
    if trees is None:
        uses["rows, indexes, unfilled pages"] = file - sum(uses.values())
    if context is not None:
        contexts = tuple(one for one in contexts if one.name == context)
        if not contexts:
            raise NotFound(f"the store has no context {context!r}", hint="see `weft contexts`")
    return Usage(
        file=file,
        on_disk=_size(store),
        log=_size(beside(store, "-wal")),
        lease=_size(beside(store, LEASE_SUFFIX)),
        kept=sum(_size(path) + _size(beside(path, "-wal")) for path in kept_files(store)),
        is_estimate=trees is None,
        uses=uses,
        contexts=contexts,
    )


def _contexts(connection: sqlite3.Connection) -> list[ContextUsage]:
    return [
        ContextUsage(
            name=name,
            records=records,
            events=events,
            json=json,
            framing=framing,
            updates=without,
            unindexed=unindexed,
            erased=erased,
            envelopes=envelopes,
            signatures=signatures * _SIGNATURE_BYTES,
        )
        for (
            name,
            records,
            envelopes,
            erased,
            unindexed,
            framing,
            without,
            json,
            events,
            signatures,
        ) in connection.execute(_RECORDS)
    ]


def _trees(connection: sqlite3.Connection) -> dict[str, int] | None:
    """Bytes of each table and index in whole pages; None if this SQLite can't tell."""
    try:
        return dict(connection.execute(PAGES_OF_TREES))
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise


def _indexes(connection: sqlite3.Connection, table: str) -> list[str]:
    """Those that have pages of their own: of a table WITHOUT ROWID the first is the table."""
    rows = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND rootpage > 0",
        (table,),
    )
    return [row[0] for row in rows]


def _one(connection: sqlite3.Connection, question: str) -> int:
    found: Any = connection.execute(question).fetchone()[0]
    return int(found or 0)


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0

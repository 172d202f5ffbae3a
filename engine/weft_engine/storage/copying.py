"""A copy of a store that is a store of its own: same records, another identity, no secrets.

What is to be in the copy is named table by table and written into an empty file; so what is not
named, the private seeds above all, was never in it, not even in pages that are free again.
Must never know: where the copy goes, who asked.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from weft_engine.names import Incarnation, Position, RecordHash
from weft_engine.records.envelope import decode_envelope
from weft_engine.records.identity import WriterKey
from weft_engine.storage.identity import Identity
from weft_engine.storage.schema import make_tables

COPIED: Final = {
    "origins": "id, incarnation, public_key, certificate",
    "contexts": "*",
    "records": "*",
    "signatures": "*",
    "waiting": "*",
    "waiting_for": "*",
    "waiting_room": "*",
    "specs": "*",
    "receipts": "*",
    "checkpoints": "*",
    "quarantine": "*",
    "erasures": "*",
    "confirmations": "*",
    "stand_ins": "*",
    "early_erasers": "*",
    "events": "*",
    "problems": "*",
    "summaries": "*",
    "lines": "*",
    "borrowed": "*",
    "streams": "*",
}
"""Tables by name, with their columns. Erased records keep their flag and stand-in: rows are taken
as they are."""
LEFT_OUT: Final = frozenset(
    {
        "meta",
        "own_heads",
        "own_streams",
        "tickets",
        "issued_tickets",
        "cursors",
        "windows",
        "moves",
    }
)
"""They say which store it is, and where its own writer and its links stand."""

_TIPS: Final = (
    "SELECT r.context, r.origin, o.incarnation, o.seed, count(*), max(r.seq), r.position, r.hash"
    " FROM source.records AS r JOIN source.origins AS o ON o.id = r.origin"
    " WHERE o.seed IS NOT NULL GROUP BY r.context, r.origin"
)


def source_uri(path: Path, *, is_still: bool) -> str:
    """How SQLite opens a store to copy it. One that is still, with no log beside it, is read as it
    lies there: that needs no right to write in its folder and leaves nothing behind."""
    as_it_lies = is_still and not path.with_name(path.name + "-wal").exists()
    return f"{path.absolute().as_uri()}?mode=ro" + ("&immutable=1" if as_it_lies else "")


def copy_store(
    source: Path, draft: Path, identity: Identity, *, created_ms: int, is_still: bool
) -> None:
    """Fill the empty file `draft` with a copy of one moment of `source`, which may be in use
    unless it `is_still`.

    Own records that nothing has signed yet are signed in the copy: it has no seeds to do so later.
    Raises sqlite3.Error.
    """
    with closing(
        sqlite3.connect(f"{draft.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)
    ) as connection:
        # Nobody sees the draft before it is synced as a whole.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")
        make_tables(
            connection,
            store_id=identity.store,
            epoch=identity.epoch,
            created_ms=created_ms,
        )
        connection.execute("ATTACH ? AS source", (source_uri(source, is_still=is_still),))
        # One transaction, so that all of it is of one moment.
        connection.execute("BEGIN")
        for table, columns in COPIED.items():
            names = "" if columns == "*" else f" ({columns})"
            connection.execute(
                f"INSERT INTO main.{table}{names} SELECT {columns} FROM source.{table}"
            )
        connection.execute(
            "INSERT OR REPLACE INTO main.meta SELECT key, value FROM source.meta"
            " WHERE key = 'uncertified_upto'"
        )
        connection.executemany(
            "INSERT INTO main.signatures VALUES (?, ?)", list(_fresh_signatures(connection))
        )
        connection.execute("COMMIT")
        connection.execute("DETACH source")
        connection.execute("PRAGMA journal_mode = WAL")


def _fresh_signatures(connection: sqlite3.Connection) -> Iterator[tuple[Position, bytes]]:
    """Over the end of every own chain that has none."""
    signed = (
        "SELECT 1 FROM source.signatures WHERE position = ?"  # a signature covers all before it
    )
    for context, origin, incarnation, seed, count, newest, position, hash_ in connection.execute(
        _TIPS
    ).fetchall():
        key = WriterKey(seed)
        if key.incarnation != Incarnation(incarnation):
            continue  # a damaged seed signs nothing; the check of the copy will say so
        ends = [(position, hash_)]
        if count != newest:
            ends = _ends(connection, context, origin)
        for end, tip in ends:
            if connection.execute(signed, (end,)).fetchone() is None:
                yield Position(end), key.sign(RecordHash(tip)).signature


def _ends(connection: sqlite3.Connection, context: int, origin: int) -> list[tuple[int, bytes]]:
    """Of a chain that was forked, by a clone of the store: all its ends."""
    rows = connection.execute(
        "SELECT position, hash, envelope FROM source.records WHERE context = ? AND origin = ?",
        (context, origin),
    ).fetchall()
    continued = {decode_envelope(envelope).prev for _, _, envelope in rows}
    return [(position, hash_) for position, hash_, _ in rows if hash_ not in continued]

"""What a repair carries over beside the journal: parked records, receipts, refusals, erasures.

Read through SQLite as far as it can be read, from both ends of each table. Nothing here is needed
for the records to be whole, so what can't be read is named and left behind.
Must never know: the journal, how it is rebuilt.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from weft_engine.errors import MalformedRecord
from weft_engine.names import RecordHash
from weft_engine.records.envelope import Kind, Record, decode_envelope
from weft_engine.records.identity import SignatureItem
from weft_engine.records.sound import read_record
from weft_engine.storage.proofs import Proofs

_READ: Final = {
    "meta": ("key, value", "key"),
    "waiting": ("hash, envelope, payload, public_key, signature", "hash"),
    "specs": ("id, json", "id"),
    "receipts": ("trace, context, cut, spec, fingerprint", "trace"),
    "quarantine": ("id, at_ms, sender, context, hash, reason, size, evidence", "id"),
    "erasures": ("position, is_done", "position"),
    "confirmations": ("eraser, store", "eraser, store"),
    "stand_ins": ("record, eraser", "record, eraser"),
    "early_erasers": ("hash, envelope, payload, public_key, signature", "hash"),
}
"""Tables with the columns that are read and those that order them."""
_LATER: Final = frozenset({"quarantine", "erasures", "confirmations", "stand_ins", "early_erasers"})
"""Tables that stores of an earlier format do not have."""

Row = tuple[Any, ...]
Parked = tuple[Record, tuple[RecordHash, ...]]
"""A record, and the erasers that prove its payload if that is a stand-in."""
Reading = Callable[[bytes, bytes], Parked]
"""A record from its envelope and payload, or MalformedRecord."""


@dataclass(slots=True)
class SideTables:
    """Rows as they stand, not trusted; text that is not UTF-8 is left out. `unreadable`: tables
    that were not read to their end."""

    store_id: bytes | None = None
    rows: dict[str, list[Row]] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()

    def waiting(self, read: Reading) -> Iterator[tuple[Parked, list[SignatureItem]]]:
        """The sound ones of the records that were parked, with their own signatures."""
        for hash_, envelope, payload, public_key, signature in self.rows.get("waiting", ()):
            if type(envelope) is not bytes or type(payload) is not bytes:
                continue
            try:
                record, erasers = read(envelope, payload)
            except MalformedRecord:
                continue
            items = _item(record, public_key, signature)
            # A damaged envelope may still be one, of a record that never was.
            if record.hash == hash_ or items:
                yield (record, erasers), items

    def find_erasers(self, proofs: Proofs) -> None:
        """Add the sound erasers that are not journaled, and what is said of which prove what."""
        for table in ("waiting", "early_erasers"):
            for hash_, envelope, payload, public_key, signature in self.rows.get(table, ()):
                if type(envelope) is not bytes or type(payload) is not bytes:
                    continue
                try:
                    if decode_envelope(envelope).kind is not Kind.ERASE:
                        continue
                    record = read_record(envelope, payload)
                except MalformedRecord:
                    continue
                items = _item(record, public_key, signature)
                if record.hash == hash_ or items:
                    proofs.add(record, items)
        for record_hash, eraser in self.rows.get("stand_ins", ()):
            if type(record_hash) is bytes and type(eraser) is bytes:
                proofs.tell(RecordHash(record_hash), RecordHash(eraser))

    def done(self, hashes: Mapping[int, RecordHash]) -> frozenset[RecordHash]:
        """The erasers of which nothing was left in the damaged file. `hashes` are those of the
        records by their positions."""
        return frozenset(
            hashes[position]
            for position, is_done in self.rows.get("erasures", ())
            if is_done == 1 and position in hashes
        )


def _item(record: Record, public_key: Any, signature: Any) -> list[SignatureItem]:
    if type(public_key) is not bytes or type(signature) is not bytes:
        return []
    item = SignatureItem(public_key, record.hash, signature)
    try:
        item.verify()
    except MalformedRecord:
        return []
    return [item] if item.incarnation == record.envelope.origin else []


def read_side_tables(store: Path) -> SideTables:
    """Never fails: what can't be read is not there."""
    side = SideTables()
    unreadable: list[str] = []
    try:
        with closing(
            sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", uri=True)
        ) as connection:
            connection.text_factory = bytes
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            for table, (columns, key) in _READ.items():
                if version == 1 and table in _LATER:
                    continue
                side.rows[table], is_whole = _rows(connection, table, columns, key)
                if not is_whole:
                    unreadable.append(table)
    except sqlite3.Error:
        unreadable = list(_READ)
    meta = {row[0]: row[1] for row in side.rows.get("meta", ())}
    store_id = meta.get(b"store")
    if type(store_id) is bytes and len(store_id) == 16:
        side.store_id = store_id
    side.unreadable = tuple(unreadable)
    return side


def _rows(
    connection: sqlite3.Connection, table: str, columns: str, key: str
) -> tuple[list[Row], bool]:
    """The rows of a table as far as they can be read from either end, and whether that is all."""
    found: dict[Row, None] = {}
    for direction in ("ASC", "DESC"):
        order = ", ".join(f"{column} {direction}" for column in key.split(", "))
        try:
            for row in connection.execute(f"SELECT {columns} FROM {table} ORDER BY {order}"):
                found[row] = None
        except sqlite3.Error:
            continue
        return list(found), True
    return list(found), False


def write_side_tables(connection: sqlite3.Connection, side: SideTables) -> None:
    """Write down what is well formed."""
    _write_receipts(connection, side)
    for id_, at_ms, sender, context, hash_, reason, size, evidence in side.rows.get(
        "quarantine", ()
    ):
        why, where = _text(reason), _text(context)
        if (
            why is not None
            and type(at_ms) is int
            and type(size) is int
            and type(sender) is bytes
            and type(evidence) is bytes
        ):
            connection.execute(
                "INSERT OR IGNORE INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (id_, at_ms, sender, where, hash_, why, size, evidence),
            )
    for eraser, store in side.rows.get("confirmations", ()):
        # What this very file is rid of is found out anew.
        if type(eraser) is bytes and type(store) is bytes and store != side.store_id:
            connection.execute(
                "INSERT OR IGNORE INTO confirmations (eraser, store) SELECT ?, ?"
                " WHERE EXISTS (SELECT 1 FROM records WHERE hash = ?)",
                (eraser, store, eraser),
            )


def _write_receipts(connection: sqlite3.Connection, side: SideTables) -> None:
    specs = {id_: _text(json) for id_, json in side.rows.get("specs", ())}
    for trace, context, cut, spec, fingerprint in side.rows.get("receipts", ()):
        name, where, json = _text(trace), _text(context), specs.get(spec)
        if (
            name is not None
            and where is not None
            and json is not None
            and type(cut) is bytes
            and len(cut) % 32 == 0
            and type(fingerprint) is bytes
            and len(fingerprint) == 32
        ):
            connection.execute("INSERT OR IGNORE INTO specs (json) VALUES (?)", (json,))
            connection.execute(
                "INSERT OR IGNORE INTO receipts SELECT ?, ?, ?, id, ? FROM specs WHERE json = ?",
                (name, where, cut, fingerprint, json),
            )


def _text(value: Any) -> str | None:
    """Text was read as bytes, so that one damaged character costs its row alone."""
    if type(value) is not bytes:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None

"""The gate's shelf over SQLite: the waiting room, and the journal behind it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from weft_engine.limits import CLOCK_SKEW_MS_MAX, WAITING_BYTES_MAX, WAITING_RECORDS_MAX
from weft_engine.names import Position, RecordHash
from weft_engine.records.clock import hlc_ms
from weft_engine.records.envelope import Envelope, Record, decode_envelope
from weft_engine.records.erasure import Eraser
from weft_engine.records.gate import Parked
from weft_engine.records.identity import SignatureItem
from weft_engine.storage.ledger import SKEWED, Ledger, Stored


class SqliteShelf:
    """One admission's access to the tables. `session` names who offers, `now_ms` is our clock,
    which flags and never refuses."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        ledger: Ledger,
        *,
        session: bytes,
        now_ms: int,
        proofs: Mapping[RecordHash, Sequence[Eraser]] | None = None,
    ) -> None:
        self._connection = connection
        self._ledger = ledger
        self._session = session
        self._proofs = proofs or {}
        """The erasers that came beside stand-ins, by the records these stand for."""
        self._skewed_from_ms = now_ms + CLOCK_SKEW_MS_MAX
        self._positions: dict[RecordHash, Position] = {}
        self._nothing_waits = connection.execute("SELECT 1 FROM waiting LIMIT 1").fetchone() is None
        count, size = connection.execute(
            "SELECT count(*), coalesce(sum(length(envelope) + length(payload)), 0)"
            " FROM waiting WHERE session = ?",
            (session,),
        ).fetchone()
        self._waiting_records = int(count)
        self._waiting_bytes = int(size)
        self.stored: list[Stored] = []
        self.items: list[tuple[Position, SignatureItem]] = []

    def held(self, hashes: Iterable[RecordHash]) -> Mapping[RecordHash, Envelope]:
        return self._ledger.held(hashes)

    def waiting(self, hash_: RecordHash) -> Parked | None:
        if self._nothing_waits:
            return None
        row = self._connection.execute(
            "SELECT envelope, payload, covered, public_key, signature FROM waiting WHERE hash = ?",
            (hash_,),
        ).fetchone()
        if row is None:
            return None
        record = Record(hash_, decode_envelope(row[0]), row[0], row[1])
        item = None if row[4] is None else SignatureItem(row[3], hash_, row[4])
        return Parked(record, bool(row[2]), item)

    def waiting_on(self, hash_: RecordHash) -> Sequence[RecordHash]:
        if self._nothing_waits:
            return []
        rows = self._connection.execute("SELECT hash FROM waiting_for WHERE missing = ?", (hash_,))
        return [RecordHash(row[0]) for row in rows]

    def park(self, parked: Parked, missing: Sequence[RecordHash]) -> bool:
        record = parked.record
        if self.waiting(record.hash) is None and not self._make_room(record):
            return False
        self._keep_proofs(record.hash)
        record, _ = self._ledger.erasers.arriving(record)
        item = parked.item
        self._connection.execute(
            "INSERT INTO waiting VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (hash) DO UPDATE SET covered = max(covered, excluded.covered),"
            " public_key = coalesce(public_key, excluded.public_key),"
            " signature = coalesce(signature, excluded.signature)",
            (
                record.hash,
                record.envelope.context,
                record.envelope_bytes,
                record.payload,
                self._session,
                parked.covered,
                None if item is None else item.public_key,
                None if item is None else item.signature,
            ),
        )
        self._connection.executemany(
            "INSERT OR IGNORE INTO waiting_for VALUES (?, ?)",
            [(hash_, record.hash) for hash_ in missing],
        )
        self._nothing_waits = False
        return True

    def unpark(self, hash_: RecordHash) -> None:
        if not self._nothing_waits:
            self._connection.execute("DELETE FROM waiting WHERE hash = ?", (hash_,))
            self._connection.execute("DELETE FROM waiting_for WHERE hash = ?", (hash_,))

    def append(self, record: Record) -> None:
        self._keep_proofs(record.hash)
        skewed = hlc_ms(record.envelope.hlc) > self._skewed_from_ms
        stored = self._ledger.append(record, flags=SKEWED if skewed else 0)
        self._positions[record.hash] = stored.position
        self.stored.append(stored)

    def sign(self, item: SignatureItem) -> None:
        position = self._positions.get(item.tip)
        if position is None:
            row = self._connection.execute(
                "SELECT position FROM records WHERE hash = ?", (item.tip,)
            ).fetchone()
            position = Position(row[0])
        self.items.append((position, item))

    def _keep_proofs(self, hash_: RecordHash) -> None:
        erasers = self._proofs.get(hash_)
        if erasers:
            self._ledger.erasers.came_early(hash_, erasers)

    def _make_room(self, record: Record) -> bool:
        self._waiting_records += 1
        self._waiting_bytes += record.size
        return (
            self._waiting_records <= WAITING_RECORDS_MAX
            and self._waiting_bytes <= WAITING_BYTES_MAX
        )

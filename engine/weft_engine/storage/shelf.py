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
        self.is_empty = ledger.nothing_waits
        self.stored: list[Stored] = []
        self.items: list[tuple[Position, SignatureItem]] = []

    def held(self, hashes: Iterable[RecordHash]) -> Mapping[RecordHash, Envelope]:
        return self._ledger.held(hashes)

    def maximal(self, hash_: RecordHash) -> Envelope | None:
        return self._ledger.maximal(hash_)

    def waiting(self, hash_: RecordHash) -> Parked | None:
        if self.is_empty:
            return None
        row = self._connection.execute(
            "SELECT envelope, public_key, signature, covered, lacks FROM waiting WHERE hash = ?",
            (hash_,),
        ).fetchone()
        if row is None:
            return None
        item = None if row[2] is None else SignatureItem(row[1], hash_, row[2])
        return Parked(decode_envelope(row[0]), item, bool(row[3]), row[4])

    def waiting_on(self, hash_: RecordHash) -> Sequence[RecordHash]:
        if self.is_empty:
            return ()
        rows = self._connection.execute(
            "SELECT hash FROM waiting_for WHERE missing = ? ORDER BY hash", (hash_,)
        )
        return [RecordHash(row[0]) for row in rows]

    def ready_on(self, hash_: RecordHash) -> Sequence[RecordHash]:
        if self.is_empty:
            return ()
        rows = self._connection.execute(
            "SELECT hash FROM waiting_for JOIN waiting USING (hash)"
            " WHERE missing = ? AND covered = 1 AND lacks = 0 ORDER BY hash",
            (hash_,),
        )
        return [RecordHash(row[0]) for row in rows]

    def has_room(self, records: Sequence[Record]) -> bool:
        if not records:
            return True
        row = self._connection.execute(
            "SELECT records, bytes FROM waiting_room WHERE session = ?", (self._session,)
        ).fetchone()
        count, size = (0, 0) if row is None else row
        return (
            count + len(records) <= WAITING_RECORDS_MAX
            and size + sum(record.size for record in records) <= WAITING_BYTES_MAX
        )

    def park(self, record: Record, parked: Parked, parents: Sequence[RecordHash]) -> None:
        self._keep_proofs(record.hash)
        record, _ = self._ledger.erasers.arriving(record)
        item = parked.item
        self._connection.execute(
            "INSERT INTO waiting VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                record.hash,
                record.envelope.context,
                record.envelope_bytes,
                record.payload,
                self._session,
                parked.is_covered,
                parked.lacks,
                None if item is None else item.public_key,
                None if item is None else item.signature,
            ),
        )
        self._connection.executemany(
            "INSERT INTO waiting_for VALUES (?, ?)",
            [(parent, record.hash) for parent in parents],
        )
        self._connection.execute(
            "INSERT INTO waiting_room VALUES (?, 1, ?) ON CONFLICT (session) DO UPDATE"
            " SET records = records + 1, bytes = bytes + excluded.bytes",
            (self._session, record.size),
        )
        self._ledger.parked()
        self.is_empty = False

    def change(self, hash_: RecordHash, parked: Parked) -> None:
        item = parked.item
        self._connection.execute(
            "UPDATE waiting SET covered = ?, lacks = ?, public_key = ?, signature = ?"
            " WHERE hash = ?",
            (
                parked.is_covered,
                parked.lacks,
                None if item is None else item.public_key,
                None if item is None else item.signature,
                hash_,
            ),
        )

    def unpark(self, hash_: RecordHash) -> Record:
        envelope, payload, session = self._connection.execute(
            "DELETE FROM waiting WHERE hash = ? RETURNING envelope, payload, session", (hash_,)
        ).fetchone()
        self._connection.execute("DELETE FROM waiting_for WHERE hash = ?", (hash_,))
        record = Record(hash_, decode_envelope(envelope), envelope, payload)
        self._connection.execute(
            "UPDATE waiting_room SET records = records - 1, bytes = bytes - ? WHERE session = ?",
            (record.size, session),
        )
        self._connection.execute(
            "DELETE FROM waiting_room WHERE session = ? AND records = 0", (session,)
        )
        return record

    def append(self, record: Record) -> None:
        if not self.is_empty:
            self._connection.execute("DELETE FROM waiting_for WHERE missing = ?", (record.hash,))
        self._keep_proofs(record.hash)
        skewed = hlc_ms(record.envelope.hlc) > self._skewed_from_ms
        stored = self._ledger.append(record, flags=SKEWED if skewed else 0)
        self._positions[record.hash] = stored.position
        self.stored.append(stored)

    def certify(self, item: SignatureItem) -> None:
        self._ledger.certify(item)

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

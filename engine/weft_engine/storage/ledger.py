"""The writing side of the journal tables: positions, context heads, rows of the open batch.

Lives on the writer thread. Records are gathered and written with one statement per power of two,
because every SQLite call gives the interpreter lock away and has to win it back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from weft_engine.names import ContextName, Hlc, Incarnation, Position, RecordHash
from weft_engine.records.envelope import Envelope, Kind, Record, decode_envelope
from weft_engine.records.frontier import EMPTY, Frontier, advance, pack, unpack
from weft_engine.records.identity import SignatureItem
from weft_engine.storage.erasers import Erasers

SKEWED = 1
"""Flag: the record was stamped too far ahead of this replica's clock and moves no clock."""
ERASED = 2
"""Flag: the payload is a stand-in for the one that the envelope names."""

_HEADS_MAX = 4096
_ROWS_PER_STATEMENT = (256, 128, 64, 32, 16, 8, 4, 2, 1)
_COLUMNS = 8
_INSERT = {
    rows: "INSERT INTO records VALUES " + ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?)"] * rows)
    for rows in _ROWS_PER_STATEMENT
}


@dataclass(frozen=True, slots=True)
class Stored:
    """A record and where it stands in this store's journal."""

    position: Position
    record: Record
    flags: int


@dataclass(slots=True)
class Head:
    """The newest state of one context, as the writer sees it."""

    id: int
    frontier: Frontier
    records: int
    position: Position
    hlc: Hlc


class Ledger:
    """Appends to the journal. `flush` before the commit; `reset` after a rollback."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rows: list[object] = []
        self._heads: dict[str, Head] = {}
        self._changed: dict[int, Head] = {}
        self._origins: dict[Incarnation, int] = {}
        self._last: Position | None = None
        self.erasers = Erasers(connection)

    def reset(self) -> None:
        self._rows = []
        self._heads = {}
        self._changed = {}
        self._origins = {}
        # Read again when it is needed: what failed just now may well fail once more.
        self._last = None
        self.erasers.reset()

    def append(self, record: Record, *, flags: int = 0) -> Stored:
        """Give `record` its position. All its parents are held already."""
        envelope = record.envelope
        head = self.head(envelope.context)
        if self._last is None:
            row = self._connection.execute("SELECT max(position) FROM records").fetchone()
            self._last = Position(row[0] or 0)
        self._last = position = Position(self._last + 1)
        if self.erasers.has_any:
            record, is_erased = self.erasers.arriving(record)
            flags |= ERASED if is_erased else 0
        if envelope.kind is Kind.ERASE:
            self.erasers.journaled(record, position, head.id)
        self._rows += (
            position,
            head.id,
            self.origin(envelope.origin),
            envelope.seq,
            record.hash,
            record.envelope_bytes,
            record.payload,
            flags,
        )
        head.frontier = advance(head.frontier, envelope.parents, record.hash)
        head.records += 1
        head.position = position
        if not flags & SKEWED and envelope.hlc > head.hlc:
            head.hlc = envelope.hlc
        self._changed[head.id] = head
        return Stored(position, record, flags)

    def flush(self) -> None:
        rows = self._rows
        start = 0
        for size in _ROWS_PER_STATEMENT:
            width = size * _COLUMNS
            while len(rows) - start >= width:
                self._connection.execute(_INSERT[size], rows[start : start + width])
                start += width
        self._rows = []
        for head in self._changed.values():
            self._connection.execute(
                "UPDATE contexts SET frontier = ?, records = ?, position = ?, hlc = ? WHERE id = ?",
                (
                    pack(head.frontier),
                    head.records,
                    head.position,
                    head.hlc.to_bytes(8, "big"),
                    head.id,
                ),
            )
        self._changed.clear()
        if len(self._heads) > _HEADS_MAX:
            self._heads.clear()

    def head(self, context: ContextName) -> Head:
        head = self._heads.get(context)
        if head is None:
            row = self._connection.execute(
                "SELECT id, frontier, records, position, hlc FROM contexts WHERE name = ?",
                (context,),
            ).fetchone()
            if row is None:
                cursor = self._connection.execute(
                    "INSERT INTO contexts (name, frontier, records, position, hlc)"
                    " VALUES (?, x'', 0, 0, zeroblob(8)) RETURNING id",
                    (context,),
                )
                head = Head(cursor.fetchone()[0], EMPTY, 0, Position(0), Hlc(0))
            else:
                hlc = Hlc(int.from_bytes(row[4], "big"))
                head = Head(row[0], unpack(row[1]), row[2], Position(row[3]), hlc)
            self._heads[context] = head
        return head

    def origin(self, incarnation: Incarnation) -> int:
        found = self._origins.get(incarnation)
        if found is None:
            row = self._connection.execute(
                "SELECT id FROM origins WHERE incarnation = ?", (incarnation,)
            ).fetchone()
            if row is None:
                row = self._connection.execute(
                    "INSERT INTO origins (incarnation) VALUES (?) RETURNING id", (incarnation,)
                ).fetchone()
            found = self._origins[incarnation] = int(row[0])
        return found

    def held(self, hashes: Iterable[RecordHash]) -> dict[RecordHash, Envelope]:
        """The envelopes of those records that are journaled, this batch included."""
        self._write_rows()
        wanted = list(set(hashes))
        found: dict[RecordHash, Envelope] = {}
        for start in range(0, len(wanted), 256):
            some = wanted[start : start + 256]
            marks = ",".join("?" * len(some))
            found.update(
                (RecordHash(row[0]), decode_envelope(row[1]))
                for row in self._connection.execute(
                    f"SELECT hash, envelope FROM records WHERE hash IN ({marks})", some
                )
            )
        return found

    def sign(self, items: Sequence[tuple[Position, SignatureItem]]) -> None:
        """Keep signatures of tips that are journaled."""
        self._write_rows()
        self._connection.executemany(
            "INSERT OR IGNORE INTO signatures VALUES (?, ?)",
            [(position, item.signature) for position, item in items],
        )
        for key in {item.public_key: item for _, item in items}.values():
            self._connection.execute(
                "UPDATE origins SET public_key = ? WHERE id = ? AND public_key IS NULL",
                (key.public_key, self.origin(key.incarnation)),
            )

        for _, item in items:
            if item.certificate is not None:
                self.certify(item)

    def certify(self, item: SignatureItem) -> None:
        """Keep the verified certificate of an item's incarnation; the first one is as good."""
        assert item.certificate is not None, "there is one"
        self._connection.execute(
            "UPDATE origins SET certificate = ? WHERE id = ? AND certificate IS NULL",
            (item.certificate.pack(), self.origin(item.incarnation)),
        )

    def _write_rows(self) -> None:
        if self._rows:
            self.flush()

"""The writing side of the journal tables: positions, context heads, rows of the open batch.

Lives on the writer thread. Rows are gathered and written with one statement, because every SQLite
call gives the interpreter lock away and has to win it back from a busy event loop. So that there
are few statements to keep prepared, rows of nothing fill them up.
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
_MAXIMAL_MAX = 8192
_NOTED_MAX = 65_536
_ROWS_PER_STATEMENT = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)


@dataclass(frozen=True, slots=True)
class _Statements:
    """One statement for each number of rows that are written together. It passes over rows that
    begin with NULL, but for that of one row, which needs no list of rows and is half as
    expensive."""

    columns: int
    by_rows: dict[int, str]

    @classmethod
    def of(cls, text: str, one: str, columns: int) -> _Statements:
        """`text` has {rows} where the rows go; `one` writes a single one."""
        row = "(" + ", ".join("?" * columns) + ")"
        some = {rows: text.format(rows=", ".join([row] * rows)) for rows in _ROWS_PER_STATEMENT}
        return cls(columns, {**some, 1: one})

    def run(self, connection: sqlite3.Connection, values: Sequence[object]) -> None:
        width = _ROWS_PER_STATEMENT[-1] * self.columns
        for start in range(0, len(values), width):
            some = values[start : start + width]
            wanted = len(some) // self.columns
            rows = next(rows for rows in _ROWS_PER_STATEMENT if rows >= wanted)
            nothing = (None,) * ((rows - wanted) * self.columns)
            connection.execute(self.by_rows[rows], (*some, *nothing))


_RECORDS = _Statements.of(
    "INSERT INTO records SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL",
    "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    8,
)
_SIGNATURES = _Statements.of(
    "INSERT OR IGNORE INTO signatures SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL",
    "INSERT OR IGNORE INTO signatures VALUES (?, ?)",
    2,
)
_CONTEXTS = _Statements.of(
    "WITH new (frontier, records, position, hlc, id) AS (VALUES {rows})"
    " UPDATE contexts SET frontier = new.frontier, records = new.records,"
    " position = new.position, hlc = new.hlc FROM new WHERE contexts.id = new.id",
    "UPDATE contexts SET frontier = ?, records = ?, position = ?, hlc = ? WHERE id = ?",
    5,
)


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
        self._signatures: list[object] = []
        self._heads: dict[str, Head] = {}
        self._changed: dict[int, Head] = {}
        self._origins: dict[Incarnation, int] = {}
        self._keyed: set[Incarnation] = set()
        """Whose public keys are kept."""
        self._certified: set[Incarnation] = set()
        self._maximal: dict[RecordHash, Envelope] = {}
        self._last: Position | None = None
        self._nothing_waits: bool | None = None
        self.erasers = Erasers(connection)

    def reset(self) -> None:
        self._rows = []
        self._signatures = []
        self._heads = {}
        self._changed = {}
        self._origins = {}
        self._keyed = set()
        self._certified = set()
        self._maximal = {}
        self._nothing_waits = None
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
        parents = envelope.parents
        head.frontier = advance(head.frontier, parents, record.hash)
        for parent in parents:
            self._maximal.pop(parent, None)
        if len(self._maximal) >= _MAXIMAL_MAX:
            self._maximal.clear()
        self._maximal[record.hash] = envelope
        head.records += 1
        head.position = position
        if not flags & SKEWED and envelope.hlc > head.hlc:
            head.hlc = envelope.hlc
        self._changed[head.id] = head
        return Stored(position, record, flags)

    def maximal(self, hash_: RecordHash) -> Envelope | None:
        """The envelope of a journaled record that no journaled record builds on; None if it is not
        known to be one. Reads nothing."""
        return self._maximal.get(hash_)

    @property
    def nothing_waits(self) -> bool:
        """Whether no record is parked; read once in a batch."""
        if self._nothing_waits is None:
            found = self._connection.execute("SELECT 1 FROM waiting LIMIT 1").fetchone()
            self._nothing_waits = found is None
        return self._nothing_waits

    def parked(self) -> None:
        """A record was parked."""
        self._nothing_waits = False

    def flush(self) -> None:
        """Write what is buffered."""
        self._nothing_waits = None
        if self._rows:
            rows, self._rows = self._rows, []
            _RECORDS.run(self._connection, rows)
        if self._signatures:
            signatures, self._signatures = self._signatures, []
            _SIGNATURES.run(self._connection, signatures)
        if self._changed:
            heads: list[object] = []
            for head in self._changed.values():
                hlc = head.hlc.to_bytes(8, "big")
                heads += (pack(head.frontier), head.records, head.position, hlc, head.id)
            self._changed.clear()
            _CONTEXTS.run(self._connection, heads)
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
        self.flush()
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
        for position, item in items:
            self._signatures += (position, item.signature)
            incarnation = item.incarnation
            if incarnation not in self._keyed:
                self._connection.execute(
                    "UPDATE origins SET public_key = ? WHERE id = ? AND public_key IS NULL",
                    (item.public_key, self.origin(incarnation)),
                )
                _note(self._keyed, incarnation)
            if item.certificate is not None:
                self.certify(item)

    def certify(self, item: SignatureItem) -> None:
        """Keep the verified certificate of an item's incarnation; the first one is as good."""
        assert item.certificate is not None, "there is one"
        incarnation = item.incarnation
        if incarnation in self._certified:
            return
        self._connection.execute(
            "UPDATE origins SET certificate = ? WHERE id = ? AND certificate IS NULL",
            (item.certificate.pack(), self.origin(incarnation)),
        )
        _note(self._certified, incarnation)


def _note(known: set[Incarnation], incarnation: Incarnation) -> None:
    if len(known) >= _NOTED_MAX:
        known.clear()
    known.add(incarnation)

"""Questions about erasures: what was erased here, who confirmed it, which erasers go with records.

Plain functions over a connection, like `reading`; `keep_confirmations` alone writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from weft_engine.limits import CONFIRMATIONS_MAX
from weft_engine.names import ContextName, EventId, Incarnation, NoteName, Position, RecordHash
from weft_engine.records.clock import hlc_ms
from weft_engine.records.envelope import Record, decode_envelope
from weft_engine.records.erasure import Eraser, decode_erasure
from weft_engine.records.identity import SignatureItem
from weft_engine.storage import ancestry, reading
from weft_engine.storage.ledger import ERASED

_ERASER = (
    "SELECT r.hash, r.envelope, r.payload, o.public_key, s.signature FROM records AS r"
    " JOIN origins AS o ON o.id = r.origin JOIN signatures AS s USING (position)"
    " WHERE r.hash = ? UNION ALL"
    " SELECT hash, envelope, payload, public_key, signature FROM early_erasers WHERE hash = ?"
)
_ERASURES = (
    "SELECT erasures.position, is_done, hash, envelope, payload FROM erasures"
    " JOIN records USING (position)"
)


@dataclass(frozen=True, slots=True)
class ErasureRow:
    """One erasing record that this store holds. `events`, or `note`, or neither for the whole
    context. `by`: the incarnation that wrote it, at `time_ms` by its clock; `is_done`: nothing of
    it is left in this file; `confirmed`: ids of the stores that say so of theirs."""

    eraser: RecordHash
    context: ContextName
    events: tuple[EventId, ...]
    note: NoteName | None
    reason: str
    by: Incarnation
    time_ms: int
    is_done: bool
    confirmed: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Confirmation:
    """`store` has erased what the record `eraser` names, which stands at `position` here."""

    id: int
    eraser: RecordHash
    store: bytes
    context: ContextName
    position: Position


def erasures(
    connection: sqlite3.Connection, *, after: Position, limit: int
) -> list[tuple[Position, ErasureRow]]:
    """Erasing records behind the position `after`, in journal order."""
    rows = connection.execute(
        f"{_ERASURES} WHERE erasures.position > ? ORDER BY erasures.position LIMIT ?",
        (after, limit),
    ).fetchall()
    return [(Position(row[0]), _row(connection, row)) for row in rows]


def erased_before(
    connection: sqlite3.Connection, context: ContextName, cut: Sequence[RecordHash]
) -> list[ErasureRow]:
    """The journaled erasers because of which something in the past of `cut` is gone."""
    state = reading.context(connection, context)
    if state is None:
        return []
    later = frozenset(ancestry.lacking(connection, state, cut))
    hashes: set[bytes] = set()
    for position, eraser_hash in connection.execute(
        "SELECT position, eraser FROM records JOIN stand_ins ON record = hash"
        " WHERE context = ? AND flags & ? <> 0",
        (state.id, ERASED),
    ):
        if Position(position) not in later:
            hashes.add(eraser_hash)
    rows = connection.execute(
        f"{_ERASURES} WHERE erasures.context = ? ORDER BY erasures.position", (state.id,)
    ).fetchall()
    return [_row(connection, row) for row in rows if row[2] in hashes]


def _row(connection: sqlite3.Connection, row: tuple[int, int, bytes, bytes, bytes]) -> ErasureRow:
    _, is_done, hash_, envelope_bytes, payload = row
    envelope = decode_envelope(envelope_bytes)
    erasure = decode_erasure(payload, envelope.origin)
    stores = connection.execute(
        "SELECT store FROM confirmations WHERE eraser = ? ORDER BY store", (hash_,)
    )
    return ErasureRow(
        RecordHash(hash_),
        envelope.context,
        erasure.events,
        erasure.note,
        erasure.reason,
        envelope.origin,
        hlc_ms(envelope.hlc),
        bool(is_done),
        tuple(store for (store,) in stores),
    )


def eraser_hashes(connection: sqlite3.Connection, record: RecordHash) -> list[RecordHash]:
    """The erasers that prove the stand-in of a record."""
    rows = connection.execute(
        "SELECT eraser FROM stand_ins WHERE record = ? ORDER BY eraser", (record,)
    )
    return [RecordHash(row[0]) for row in rows]


def eraser(connection: sqlite3.Connection, hash_: RecordHash) -> Eraser | None:
    """A journaled eraser, or one that came beside a stand-in before its turn."""
    row = connection.execute(_ERASER, (hash_, hash_)).fetchone()
    if row is None:
        return None
    envelope = decode_envelope(row[1])
    return Eraser(
        Record(hash_, envelope, row[1], row[2]),
        decode_erasure(row[2], envelope.origin),
        SignatureItem(row[3], hash_, row[4]),
    )


def confirmations(connection: sqlite3.Connection, *, after: int, limit: int) -> list[Confirmation]:
    """Confirmations of journaled erasers, in the order in which they came here."""
    rows = connection.execute(
        "SELECT c.id, c.eraser, c.store, x.name, r.position FROM confirmations AS c"
        " JOIN records AS r ON r.hash = c.eraser JOIN contexts AS x ON x.id = r.context"
        " WHERE c.id > ? ORDER BY c.id LIMIT ?",
        (after, limit),
    )
    return [
        Confirmation(row[0], RecordHash(row[1]), row[2], ContextName(row[3]), Position(row[4]))
        for row in rows
    ]


def keep_confirmations(
    told: Iterable[tuple[RecordHash, Sequence[bytes]]], connection: sqlite3.Connection
) -> int:
    """Keep what is new, of erasers that are journaled; how many that were."""
    new = 0
    for hash_, stores in told:
        (is_held, count) = connection.execute(
            "SELECT EXISTS (SELECT 1 FROM records JOIN erasures USING (position) WHERE hash = ?),"
            " (SELECT count(*) FROM confirmations WHERE eraser = ?)",
            (hash_, hash_),
        ).fetchone()
        if is_held:
            for store in stores[: max(0, CONFIRMATIONS_MAX - count)]:
                cursor = connection.execute(
                    "INSERT OR IGNORE INTO confirmations (eraser, store) VALUES (?, ?)",
                    (hash_, store),
                )
                new += cursor.rowcount
    return new

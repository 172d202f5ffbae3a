"""The work that a journaled eraser leaves for what stands in the file.

Done in steps, each of them whole and harmless when repeated, so that it can end and begin again
anywhere: replace payloads and drop what was made of them, clear the side rooms, cut the log, say
that it is done. Must never know: who asked, other replicas.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.records.envelope import Record, decode_envelope
from weft_engine.records.erasure import Erasure, decode_erasure, erased, original_of, untouched
from weft_engine.storage import ancestry, reading, search_tables
from weft_engine.storage.erasers import EVENT_ID, UPDATES, Erasers
from weft_engine.storage.ledger import ERASED
from weft_engine.storage.projection import drop_index
from weft_engine.yjs.stand_in import Anatomy


@dataclass(frozen=True, slots=True)
class Plan:
    """What an eraser may change in the file. `known`: where the records stand that it lists and
    that are in its past; `positions`: those and all others to look at, ascending."""

    position: Position
    hash: RecordHash
    context: int
    name: ContextName
    erasure: Erasure
    known: frozenset[Position]
    positions: tuple[Position, ...]


def pending(connection: sqlite3.Connection) -> list[Position]:
    """The erasers whose work is not done, in journal order."""
    rows = connection.execute("SELECT position FROM erasures WHERE is_done = 0 ORDER BY position")
    return [Position(row[0]) for row in rows]


def plan(connection: sqlite3.Connection, position: Position) -> Plan:
    """What there is to do for the eraser at `position`. Only reads. StoreError if words of it may
    stand in a search index that this SQLite can't change."""
    search_tables.of_store(connection)
    hash_, envelope_bytes, payload, context = connection.execute(
        "SELECT hash, envelope, payload, context FROM records WHERE position = ?", (position,)
    ).fetchone()
    envelope = decode_envelope(envelope_bytes)
    erasure = decode_erasure(payload, envelope.origin)
    state = reading.context(connection, envelope.context)
    assert state is not None, "a context with records stays"
    outside = frozenset(ancestry.lacking(connection, state, [RecordHash(hash_)]))
    rows = connection.execute(
        "SELECT position FROM records WHERE context = ? AND position < ?", (context, position)
    )
    if erasure.is_everything:
        known = found = frozenset(Position(row[0]) for row in rows).difference(outside)
    else:
        listed = reading.positions_of(connection, erasure.records)
        known = frozenset(listed.values()).difference(outside)
        found = known
        if erasure.events:
            found = known.union(_mentioning(connection, context, position, erasure))
    return Plan(
        position, RecordHash(hash_), context, envelope.context, erasure, known,
        tuple(sorted(found)),
    )  # fmt: skip


def step(connection: sqlite3.Connection, work: Plan, positions: Sequence[Position]) -> int:
    """Replace the payloads of some records; how many changed."""
    search = search_tables.of_store(connection)
    altered: list[Position] = []
    for position in positions:
        hash_, envelope, payload, flags = connection.execute(
            "SELECT hash, envelope, payload, flags FROM records WHERE position = ?", (position,)
        ).fetchone()
        if decode_envelope(envelope).kind not in UPDATES:
            continue
        new, proves = _replaced(connection, work, position, RecordHash(hash_), payload, flags)
        if proves:
            connection.execute("INSERT OR IGNORE INTO stand_ins VALUES (?, ?)", (hash_, work.hash))
        if new != payload:
            altered.append(position)
            connection.execute(
                "UPDATE records SET payload = ?, flags = flags | ? WHERE position = ?",
                (new, ERASED, position),
            )
    if altered:
        drop_index(connection, work.context)
        connection.execute("DELETE FROM checkpoints WHERE context = ?", (work.context,))
        if search is not None:
            search.forget(work.context, altered)
    return len(altered)


def clear_rooms(connection: sqlite3.Connection, erasers: Erasers, work: Plan) -> None:
    """Replace what waits of this context and shows what is erased, and drop what was refused; of
    what says that it is of other contexts, the evidence."""
    for hash_, envelope, payload in connection.execute(
        "SELECT hash, envelope, payload FROM waiting WHERE context = ?", (work.name,)
    ).fetchall():
        record = Record(RecordHash(hash_), decode_envelope(envelope), envelope, payload)
        new, _ = erasers.arriving(record)
        if new.payload != payload:
            connection.execute(
                "UPDATE waiting SET payload = ? WHERE hash = ?", (new.payload, hash_)
            )
            connection.execute(
                "UPDATE waiting_room SET bytes = bytes + ? WHERE session ="
                " (SELECT session FROM waiting WHERE hash = ?)",
                (len(new.payload) - len(payload), hash_),
            )
    connection.execute("DELETE FROM quarantine WHERE context = ? OR context IS NULL", (work.name,))
    # Damaged on the way, or by a liar: what was refused may well be of this one.
    connection.execute("UPDATE quarantine SET evidence = x'' WHERE evidence <> x''")


def finish(connection: sqlite3.Connection, work: Plan, store: bytes) -> None:
    """What the eraser names is gone from every file: say so."""
    connection.execute("UPDATE erasures SET is_done = 1 WHERE position = ?", (work.position,))
    connection.execute(
        "INSERT OR IGNORE INTO confirmations (eraser, store) VALUES (?, ?)", (work.hash, store)
    )


def _replaced(
    connection: sqlite3.Connection,
    work: Plan,
    position: Position,
    hash_: RecordHash,
    payload: bytes,
    flags: int,
) -> tuple[bytes, bool]:
    anatomy = Anatomy.of(payload)
    if work.erasure.is_everything:
        return anatomy.blank(), True
    if flags & ERASED:
        original = original_of(
            anatomy,
            [
                erasure.records[hash_]
                for erasure in proving(connection, hash_)
                if hash_ in erasure.records
            ],
        )
    else:
        original = untouched(anatomy)
        # What came with other copies of it says nothing any more.
        connection.execute("DELETE FROM stand_ins WHERE record = ?", (hash_,))
    said = work.erasure.records.get(hash_) if position in work.known else None
    return erased(payload, work.erasure, said, original)


def proving(connection: sqlite3.Connection, record: RecordHash) -> list[Erasure]:
    rows = connection.execute(
        "SELECT r.envelope, r.payload FROM stand_ins JOIN records AS r ON r.hash = eraser"
        " WHERE record = ? UNION ALL"
        " SELECT e.envelope, e.payload FROM stand_ins JOIN early_erasers AS e ON e.hash = eraser"
        " WHERE record = ? UNION"
        " SELECT w.envelope, w.payload FROM stand_ins JOIN waiting AS w ON w.hash = eraser"
        " WHERE record = ?",
        (record, record, record),
    )
    return [decode_erasure(row[1], decode_envelope(row[0]).origin) for row in rows]


def _mentioning(
    connection: sqlite3.Connection, context: int, before: Position, erasure: Erasure
) -> Iterable[Position]:
    """Records of a context in which the text of a named id stands, in whatever place."""
    wanted = {event.encode() for event in erasure.events}
    for position, payload in connection.execute(
        "SELECT position, payload FROM records WHERE context = ? AND position < ?",
        (context, before),
    ):
        if not wanted.isdisjoint(EVENT_ID.findall(payload)):
            yield Position(position)

"""Checking what was erased in one context: each stand-in is proved, and nothing erased is left.

Fed from the newest record to the oldest, so that the past of an eraser is known when it is met.
Must never know: findings, who asks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from weft_engine.errors import MalformedRecord, MalformedUpdate
from weft_engine.names import RecordHash
from weft_engine.records.envelope import Kind, Record, decode_envelope
from weft_engine.records.erasure import Erasure, decode_erasure
from weft_engine.storage.ledger import ERASED
from weft_engine.yjs.encoder import EVENTS_ROOT
from weft_engine.yjs.stand_in import Anatomy

_CACHED_MAX = 64


class ErasureCheck:
    def __init__(self, connection: sqlite3.Connection, context: int, name: str) -> None:
        self._connection = connection
        rows = connection.execute(
            "SELECT position, is_done, hash FROM erasures JOIN records USING (position)"
            " WHERE erasures.context = ?",
            (context,),
        ).fetchall()
        self.journaled = len(rows)
        self.pending = sum(1 for row in rows if not row[1])
        self._done = {row[0] for row in rows if row[1]}
        self._events: set[str] = set()
        """Erased ones."""
        self._blank: set[RecordHash] = set()
        """Records that are not met yet, in the past of an eraser of the whole context."""
        self._is_mentioned = bool(rows)
        erasures = [_erasure(connection, row[2]) for row in rows if row[1]]
        for erasure in erasures:
            if erasure is not None:
                self._events.update(erasure.events)

    def proofs(self, hash_: Any, flags: Any) -> Sequence[Erasure]:
        """What may prove the payload of a record that is marked as erased."""
        if type(flags) is not int or not flags & ERASED:
            return ()
        return proofs_of(self._connection, hash_)

    def left_over(self, record: Record, position: int) -> Iterator[str]:
        """What should be gone from this record and is not. Call once for each, newest first."""
        must_be_blank = record.hash in self._blank
        self._blank.discard(record.hash)
        kind = record.envelope.kind
        if kind is Kind.ERASE and position in self._done:
            erasure = decode_erasure(record.payload, record.envelope.origin)
            must_be_blank = must_be_blank or erasure.is_everything
        if must_be_blank:
            self._blank.update(record.envelope.parents)
        if not self._is_mentioned or kind not in (Kind.NATIVE, Kind.FOREIGN):
            return
        anatomy = Anatomy.of(record.payload)
        if must_be_blank and record.payload != anatomy.blank():
            yield "its context was erased after it, and it still holds something"
            return
        for index, struct in enumerate(anatomy.update.structs):
            if (
                struct.key in self._events
                and struct.parent == EVENTS_ROOT
                and not anatomy.is_empty(index)
            ):
                yield f"event {struct.key} was erased, and is still in it"
        if record.payload == anatomy.blank():
            return  # It holds nothing, and its structs are not those that erasers list.
        for erasure in proofs_of(self._connection, record.hash):
            if not is_gone(erasure, record.hash, anatomy):
                yield "an eraser lists some of it, and that is still there"


def is_gone(erasure: Erasure, record: RecordHash, anatomy: Anatomy) -> bool:
    """Whether nothing is left in a record's payload of what this erasure lists of it."""
    said = erasure.records.get(record)
    if said is None or anatomy.data == anatomy.blank():
        return True  # A blank has other structs than those that are listed.
    return all(index < len(anatomy.spans) and anatomy.is_empty(index) for index in said.originals)


def proofs_of(connection: sqlite3.Connection, record: Any) -> list[Erasure]:
    """The erasers that are said to prove the stand-in of a record, journaled, waiting or come
    before their turn, as far as they can be read."""
    rows = connection.execute("SELECT eraser FROM stand_ins WHERE record = ?", (record,)).fetchall()
    found = [_erasure(connection, row[0]) for row in rows]
    return [erasure for erasure in found if erasure is not None]


@lru_cache(maxsize=_CACHED_MAX)
def _decoded(envelope: bytes, payload: bytes) -> Erasure | None:
    try:
        decoded = decode_envelope(envelope)
        return decode_erasure(payload, decoded.origin) if decoded.kind is Kind.ERASE else None
    except (MalformedRecord, MalformedUpdate):
        return None  # It is found damaged where it stands itself.


def _erasure(connection: sqlite3.Connection, hash_: Any) -> Erasure | None:
    for table in ("records", "early_erasers", "waiting"):
        row = connection.execute(
            f"SELECT envelope, payload FROM {table} WHERE hash = ?", (hash_,)
        ).fetchone()
        if row is not None and type(row[0]) is bytes and type(row[1]) is bytes:
            return _decoded(row[0], row[1])
    return None

"""What the journal's writer knows of erasures: what arrives is replaced before it is written.

Lives on the writer thread. Asked for every record that goes into the file, so that content which
was erased already never touches it, not even the log.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from weft_engine.events.streams import event_of, told_by
from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.records.envelope import Kind, Record, decode_envelope
from weft_engine.records.erasure import Eraser, decode_erasure
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.stand_in import Anatomy

UPDATES: Final = frozenset({Kind.NATIVE, Kind.FOREIGN})
_CONTEXTS_MAX: Final = 256
_EARLY_MAX: Final = 4096
EVENT_ID: Final = re.compile(rb"[0-9a-f]{16}-[0-9a-f]{32}")
"""As it stands in an update. In front of a key stands no hexadecimal digit but the key's length,
and none in front of a target in JSON, so that no match can end within it."""


def named_events(connection: sqlite3.Connection, context: ContextName) -> dict[str, RecordHash]:
    """The erased events of a context, each with a journaled eraser that names it."""
    named: dict[str, RecordHash] = {}
    for hash_, envelope, payload in connection.execute(
        "SELECT hash, envelope, payload FROM erasures JOIN records USING (position)"
        " WHERE erasures.context = (SELECT id FROM contexts WHERE name = ?)",
        (context,),
    ):
        erasure = decode_erasure(payload, decode_envelope(envelope).origin)
        named.update((event, RecordHash(hash_)) for event in erasure.events)
    return named


class Erasers:
    """What the writer knows of the erasures in the file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._named: dict[ContextName, dict[str, RecordHash]] = {}
        self._early: set[RecordHash] = set()
        """Erasers that were kept already, or are journaled; forgotten now and then."""
        self._has_any: bool | None = None

    @property
    def has_any(self) -> bool:
        """Whether there is anything to ask `arriving` for."""
        if self._has_any is None:
            (found,) = self._connection.execute(
                "SELECT EXISTS (SELECT 1 FROM erasures) OR EXISTS (SELECT 1 FROM early_erasers)"
                " OR EXISTS (SELECT 1 FROM stand_ins)"
            ).fetchone()
            self._has_any = bool(found)
        return self._has_any

    def reset(self) -> None:
        """Forget what was cached; after a rollback too. Reads nothing: on a disk that fails that
        would fail as well, and the writer with it."""
        self._named = {}
        self._early = set()
        self._has_any = None

    def arriving(self, record: Record) -> tuple[Record, bool]:
        """The record as it may be written, and whether its payload is a stand-in. What shows an
        erased event was not known to its eraser, or it would be in the journal already."""
        if not self.has_any or record.envelope.kind not in UPDATES:
            return record, False
        named = self._events(record.envelope.context)
        if named:
            eraser = _shown(record.payload, named)
            if eraser is not None:
                blank = Anatomy.of(record.payload).blank()
                self._prove(record.hash, eraser)
                record = replace(record, payload=blank)
        return record, record.is_erased

    def journaled(self, record: Record, position: Position, context: int) -> None:
        """An eraser has its place in the journal, and its work to do."""
        named = self._events(record.envelope.context)
        erasure = decode_erasure(record.payload, record.envelope.origin)
        named.update((event, record.hash) for event in erasure.events)
        self._connection.execute("INSERT INTO erasures VALUES (?, ?, 0)", (position, context))
        self._connection.execute(
            "INSERT OR IGNORE INTO signatures SELECT ?, signature FROM early_erasers"
            " WHERE hash = ?",
            (position, record.hash),
        )
        self._connection.execute("DELETE FROM early_erasers WHERE hash = ?", (record.hash,))
        # Its row may not be written yet.
        self._early.add(record.hash)
        self._has_any = True

    def came_early(self, hash_: RecordHash, erasers: Iterable[Eraser]) -> None:
        """A record comes as a stand-in, with the erasers that prove it."""
        for eraser in erasers:
            record, item = eraser.record, eraser.item
            self._prove(hash_, record.hash)
            if record.hash in self._early:
                continue
            if len(self._early) >= _EARLY_MAX:
                self._early.clear()
            self._early.add(record.hash)
            self._connection.execute(
                "INSERT OR IGNORE INTO early_erasers SELECT ?, ?, ?, ?, ?, ?"
                " WHERE NOT EXISTS (SELECT 1 FROM records WHERE hash = ?)",
                (
                    record.hash,
                    record.envelope.context,
                    record.envelope_bytes,
                    record.payload,
                    item.public_key,
                    item.signature,
                    record.hash,
                ),
            )
        self._has_any = True

    def _prove(self, record: RecordHash, eraser: RecordHash) -> None:
        self._connection.execute("INSERT OR IGNORE INTO stand_ins VALUES (?, ?)", (record, eraser))

    def _events(self, context: ContextName) -> dict[str, RecordHash]:
        """The erased events of a context, each with an eraser that names it."""
        named = self._named.get(context)
        if named is None:
            named = named_events(self._connection, context)
            if len(self._named) >= _CONTEXTS_MAX:
                self._named.clear()
            self._named[context] = named
        return named


def _shown(payload: bytes, named: dict[str, RecordHash]) -> RecordHash | None:
    """The eraser of an event that stands in this update, if there is one."""
    if all(found.decode() not in named for found in EVENT_ID.findall(payload)):
        return None
    update = read_update(payload)
    for id_ in (told_by(update, payload), *map(event_of, update.structs)):
        if id_ is not None and id_ in named:
            return named[id_]
    return None

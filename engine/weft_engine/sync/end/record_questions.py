"""Reading records to send: those that come next on a link, and those that a peer asked for.

Must never know: frames, what was sent.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from weft_engine.limits import (
    ERASERS_BYTES,
    MESSAGE_BYTES_MAX,
    RECORDS_PER_FRAME,
    WITHHELD_RECORDS_MAX,
)
from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.records.erasure import Eraser
from weft_engine.records.identity import SignatureItem
from weft_engine.storage import erasures, reading
from weft_engine.storage.ledger import ERASED, Stored
from weft_engine.sync.end.live import Whole


@dataclass(frozen=True, slots=True)
class Part:
    """Of a context: the records at these ascending positions, then those after `after` up to and
    including `upto`. `again` is read whole and beside the limits."""

    context: ContextName
    again: tuple[Position, ...]
    positions: tuple[Position, ...]
    after: Position
    upto: Position


@dataclass(frozen=True, slots=True)
class ReadRecords:
    """Records of several contexts, one after the other, within limits over all of them."""

    parts: tuple[Part, ...]
    records_max: int
    bytes_max: int


@dataclass(frozen=True, slots=True)
class ReadWanted:
    """The records of these hashes, as far as they are held."""

    hashes: tuple[RecordHash, ...]
    bytes_max: int


@dataclass(frozen=True, slots=True)
class RecordsRead:
    question: ReadRecords | ReadWanted
    stored: tuple[tuple[Stored, ...], ...]
    """For ReadRecords one tuple for each part that was reached, for ReadWanted one."""
    left: tuple[RecordHash, ...] = ()
    """Held, but beyond the limit."""
    items: tuple[SignatureItem, ...] = ()
    """Signatures of tips among the records: not part of `answer`, added by who can sign."""

    erasers: Mapping[RecordHash, tuple[Eraser, ...]] = field(default_factory=dict)
    """Those that prove stand-ins among the records, by the records that need them."""
    whole: Whole | None = None
    """All of this in one message, if it is closed as it is (`sync.end.pages`)."""

    @property
    def all(self) -> list[Stored]:
        return [stored for part in self.stored for stored in part]


Beside = dict[RecordHash, tuple[Eraser, ...]]


def read_records(connection: sqlite3.Connection, question: ReadRecords) -> RecordsRead:
    parts: list[tuple[Stored, ...]] = []
    records_left, bytes_left = question.records_max, question.bytes_max
    erasers = _Erasers(connection)
    for part in question.parts:
        # A read gives one record at least, so it is not begun where there is no room.
        if records_left <= 0 or bytes_left <= 0:
            break
        again = reading.records_at(connection, part.again, bytes_max=MESSAGE_BYTES_MAX)
        stored = reading.records_at(connection, part.positions[:records_left], bytes_max=bytes_left)
        bytes_left -= sum(one.record.size for one in stored)
        records_left -= len(stored)
        if len(stored) == len(part.positions) and records_left > 0 and bytes_left > 0:
            later = _after(connection, part, records_left, bytes_left)
            bytes_left -= sum(one.record.size for one in later)
            records_left -= len(later)
            stored += later
        # What was withheld is read again as a whole.
        erasers.whole(again, bytes_max=MESSAGE_BYTES_MAX)
        whole = erasers.whole(stored, bytes_max=ERASERS_BYTES)
        parts.append((*again, *stored[:whole]))
        if whole < len(stored):
            break
    return RecordsRead(question, tuple(parts), erasers=erasers.beside)


def read_wanted(connection: sqlite3.Connection, question: ReadWanted) -> RecordsRead:
    where = reading.positions_of(connection, question.hashes)
    chosen: dict[Position, Stored] = {}
    size = 0
    asked = reading.records_at(connection, sorted(where.values()), bytes_max=question.bytes_max)
    for one in asked:
        if size > question.bytes_max or len(chosen) >= RECORDS_PER_FRAME:
            break
        # Without the tip that covers it, it would wait there again.
        ahead = reading.up_to_tip(connection, one, records_max=WITHHELD_RECORDS_MAX)
        for stored in (one, *ahead):
            if stored.position not in chosen:
                chosen[stored.position] = stored
                size += stored.record.size
    erasers = _Erasers(connection)
    wanted = [chosen[at] for at in sorted(chosen)]
    wanted = wanted[: erasers.whole(wanted, bytes_max=ERASERS_BYTES)]
    read = {one.record.hash for one in wanted}
    left = tuple(hash_ for hash_ in where if hash_ not in read)
    return RecordsRead(question, (tuple(wanted),), left, erasers=erasers.beside)


def _after(
    connection: sqlite3.Connection, part: Part, records_max: int, bytes_max: int
) -> list[Stored]:
    state = reading.context(connection, part.context)
    assert state is not None, "a context with records stays"
    if state.position <= part.after:
        return []
    found = reading.records_after(
        connection, state.id, part.after, records_max=records_max, bytes_max=bytes_max
    )
    return [one for one in found if one.position <= part.upto]


class _Erasers:
    """The erasers that go beside the records of one message, each read once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[RecordHash, Eraser] = {}
        self.size = 0
        self.beside: Beside = {}

    def whole(self, stored: Sequence[Stored], *, bytes_max: int) -> int:
        """How many of the records, one at least, go with so many bytes of erasers in all."""
        for index, one in enumerate(stored):
            if one.flags & ERASED:
                if index and self.size > bytes_max:
                    return index
                self.beside[one.record.hash] = self._of(one.record.hash)
        return len(stored)

    def _of(self, record: RecordHash) -> tuple[Eraser, ...]:
        found: list[Eraser] = []
        for hash_ in erasures.eraser_hashes(self._connection, record):
            eraser = self._known.get(hash_) or erasures.eraser(self._connection, hash_)
            if eraser is not None:
                if hash_ not in self._known:
                    self._known[hash_] = eraser
                    self.size += eraser.record.size
                found.append(eraser)
        return tuple(found)

"""Which of the records that a peer announced are journaled here.

Must never know: frames, who announced them.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from weft_engine.names import Position, RecordHash
from weft_engine.storage import reading


@dataclass(frozen=True, slots=True)
class ReadHeld:
    hashes: tuple[RecordHash, ...]


@dataclass(frozen=True, slots=True)
class HeldRead:
    question: ReadHeld
    held: frozenset[RecordHash]
    position: Position
    """Of the journal's newest record, in the same reading: it may be ahead of what links were told
    of."""


def read_held(connection: sqlite3.Connection, question: ReadHeld) -> HeldRead:
    held = frozenset(reading.positions_of(connection, question.hashes))
    return HeldRead(question, held, reading.last_position(connection))

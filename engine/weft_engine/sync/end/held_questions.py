"""Which of the records that a peer announced are journaled here.

Must never know: frames, who announced them.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from weft_engine.names import RecordHash
from weft_engine.storage import reading


@dataclass(frozen=True, slots=True)
class ReadHeld:
    hashes: tuple[RecordHash, ...]


@dataclass(frozen=True, slots=True)
class HeldRead:
    question: ReadHeld
    held: frozenset[RecordHash]


def read_held(connection: sqlite3.Connection, question: ReadHeld) -> HeldRead:
    return HeldRead(question, frozenset(reading.positions_of(connection, question.hashes)))

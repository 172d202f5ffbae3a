"""Documents as of a position of the journal: table `checkpoints`, so that opening one is quick.

A checkpoint is never needed and never trusted: one whose digest, position or form is wrong is the
same as none. Deleting a context's rows is enough to be rid of them: what is written later is made
of the journal as it then is, and `save` refuses what was made before an erasure.
Must never know: what is in a document.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from hashlib import blake2b
from importlib.metadata import version
from typing import Any, Final

import msgpack

from weft_engine.names import Incarnation, Position, RecordHash
from weft_engine.storage.reading import ContextState

_DIGEST_BYTES: Final = 32
_INCARNATION_BYTES: Final = 16
_HASH_BYTES: Final = 32
_FORMAT: Final = 1
_PYCRDT: Final = version("pycrdt")
"""Its behaviour is part of what a document is: a checkpoint of another one is made anew."""
_COLUMNS: Final = (
    "c.position, CAST(c.state AS BLOB), CAST(c.tips AS BLOB), CAST(c.digest AS BLOB), r.hash"
)
"""Cast, because text that is no UTF-8 can't even be read as what is wrong."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`state`: the document as one update. `tips`: the end of each chain in it."""

    position: Position
    state: bytes
    tips: dict[Incarnation, RecordHash]


@dataclass(frozen=True, slots=True)
class Erasures:
    """How many erasures a context has had, and how many of them are done."""

    known: int
    done: int

    @property
    def is_settled(self) -> bool:
        """Whether no payload is about to be replaced."""
        return self.known == self.done


def load(connection: sqlite3.Connection, state: ContextState) -> Checkpoint | None:
    """The newest sound checkpoint of a context that its journal reaches."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM checkpoints AS c"
        " JOIN records AS r ON r.position = c.position AND r.context = c.context"
        " WHERE c.context = ? AND c.position <= ? ORDER BY c.position DESC",
        (state.id, state.position),
    )
    for row in rows:
        found = _sound(state.name, *row)
        if found is not None:
            return found
    return None


def every(
    connection: sqlite3.Connection, context_id: int, name: str
) -> list[tuple[Any, Checkpoint | None]]:
    """Every row of a context by position; None instead of a checkpoint that is not sound. What has
    no integer for a position, or one where no record of the context stands, is not sound."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM checkpoints AS c"
        " LEFT JOIN records AS r ON r.position = c.position AND r.context = c.context"
        " WHERE c.context = ? ORDER BY c.position",
        (context_id,),
    )
    return [(row[0], _sound(name, *row)) for row in rows]


def save(
    connection: sqlite3.Connection, state: ContextState, made: Checkpoint, before: Erasures
) -> bool:
    """Write a checkpoint and delete the older ones, inside the caller's transaction. False, and
    nothing is written, if something is being erased, or was since `before`, or the position is
    none."""
    row = connection.execute(
        "SELECT hash FROM records WHERE position = ? AND context = ?", (made.position, state.id)
    ).fetchone()
    if row is None or not before.is_settled or erasures(connection, state.id) != before:
        return False
    tips = _pack(made.tips)
    digest = _digest(state.name, made.position, row[0], made.state, tips)
    connection.execute(
        "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?)",
        (state.id, made.position, made.state, tips, digest),
    )
    connection.execute(
        "DELETE FROM checkpoints WHERE context = ? AND position <> ?", (state.id, made.position)
    )
    return True


def erasures(connection: sqlite3.Connection, context_id: int) -> Erasures:
    row = connection.execute(
        "SELECT count(*), coalesce(sum(is_done), 0) FROM erasures WHERE context = ?", (context_id,)
    ).fetchone()
    return Erasures(*row)


def _sound(
    name: str, position: Any, state: Any, tips: Any, digest: Any, record: Any
) -> Checkpoint | None:
    if any(type(part) is not bytes for part in (state, tips, digest, record)):
        return None
    if digest != _digest(name, position, record, state, tips):
        return None
    unpacked = _unpack(tips)
    return None if unpacked is None else Checkpoint(Position(position), state, unpacked)


def _digest(name: str, position: int, record: bytes, state: bytes, tips: bytes) -> bytes:
    """Over all the rest of the row, what it is of, and what made it."""
    head = msgpack.packb([_FORMAT, _PYCRDT, name, position, record, len(state)])
    digest = blake2b(head, digest_size=_DIGEST_BYTES, person=b"weft-checkpoint")
    digest.update(state)
    digest.update(tips)
    return digest.digest()


def _pack(tips: dict[Incarnation, RecordHash]) -> bytes:
    return b"".join(incarnation + tips[incarnation] for incarnation in sorted(tips))


def _unpack(data: bytes) -> dict[Incarnation, RecordHash] | None:
    size = _INCARNATION_BYTES + _HASH_BYTES
    if len(data) % size:
        return None
    return {
        Incarnation(data[at : at + _INCARNATION_BYTES]): RecordHash(
            data[at + _INCARNATION_BYTES : at + size]
        )
        for at in range(0, len(data), size)
    }

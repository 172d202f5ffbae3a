"""Who a store is, kept in its table `meta`: decided when it is opened for writing, noted when it is
closed.

    store        16 bytes; another one once the file is another one (a copy, a restored file)
    epoch        8 bytes; another one after every close that is not proven to be clean
    machine      where the file was when its store id was given or confirmed,
    inode        and which file it was
    lease        what is kept of the lease file
    incarnation  who wrote last and may go on, if the lease is valid,
    clock        8 bytes, the highest HLC it gave

Must never know: records, links.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from weft_engine.names import ContextName, Hlc, Incarnation, RecordHash
from weft_engine.storage import cursors
from weft_engine.storage.lease import NONCE_BYTES, Lease, is_valid, write_lease
from weft_engine.storage.machine import Machine

_STORE_BYTES: Final = 16
_EPOCH_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Identity:
    """Which store this is. Positions and cursors mean something within one epoch only."""

    store: bytes
    epoch: bytes


@dataclass(frozen=True, slots=True)
class Resumable:
    """An incarnation of an earlier session that may go on: its private seed, and the highest HLC
    it gave. Its chains stand in `own_heads`."""

    incarnation: Incarnation
    seed: bytes
    clock: Hlc


@dataclass(frozen=True, slots=True)
class OwnHead:
    """Where a chain of our own stands. `clock`: its next Yjs clock."""

    context: ContextName
    seq: int
    hash: RecordHash
    clock: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What a session leaves behind: the incarnation that may go on (None: the next one begins
    anew), the highest HLC that was given, and the chains that were in use."""

    incarnation: Incarnation | None
    clock: Hlc
    heads: Sequence[OwnHead]


NOBODY: Final = Standing(None, Hlc(0), ())


def take_up(
    path: Path,
    connection: sqlite3.Connection,
    machine: Machine,
    *,
    random: Callable[[int], bytes],
) -> tuple[Identity, Resumable | None, bool]:
    """The identity of a store that is opened for writing, who may go on writing in it, and whether
    a valid lease lies beside it. Writes only if something is another than it was."""
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    inode = str(os.stat(path).st_ino)
    is_elsewhere = (
        meta.get("machine", machine.id) != machine.id or meta.get("inode", inode) != inode
    )
    incarnation = meta.get("incarnation")
    lease = Lease.of(meta.get("lease"))
    if (
        not is_elsewhere
        and lease is not None
        and is_valid(lease, path, machine, incarnation=incarnation)
    ):
        return (
            Identity(meta["store"], meta["epoch"]),
            _resumable(connection, incarnation, meta.get("clock")),
            True,
        )
    has_records = connection.execute("SELECT 1 FROM records LIMIT 1").fetchone() is not None
    changes: dict[str, object] = {}
    if has_records:
        changes["epoch"] = random(_EPOCH_BYTES)
    if is_elsewhere:
        changes["store"] = random(_STORE_BYTES)
    if is_elsewhere or "inode" not in meta:
        changes |= {"machine": machine.id, "inode": inode}
    if changes:
        connection.execute("BEGIN IMMEDIATE")
        _put(connection, changes)
        connection.execute("DELETE FROM meta WHERE key IN ('lease', 'incarnation', 'clock')")
        connection.execute("DELETE FROM own_heads")
        if is_elsewhere:
            _forget_tickets(connection)
        connection.execute("COMMIT")
        meta |= changes
    return Identity(meta["store"], meta["epoch"]), None, False


def place_of(descriptor: int, machine: Machine) -> dict[str, object]:
    """What a new store notes of where it is."""
    return {"machine": machine.id, "inode": str(os.fstat(descriptor).st_ino)}


def leave(
    path: Path,
    connection: sqlite3.Connection,
    machine: Machine,
    standing: Standing,
    *,
    random: Callable[[int], bytes],
) -> None:
    """Note what the session leaves behind, with a lease; inside the last transaction. A crash
    before its commit leaves a lease that the store does not know."""
    if connection.execute("SELECT 1 FROM records LIMIT 1").fetchone() is None:
        return
    before = connection.execute("SELECT value FROM meta WHERE key = 'incarnation'").fetchone()
    if before is None or before[0] != standing.incarnation:
        connection.execute("DELETE FROM own_heads")
    connection.executemany(
        "INSERT OR REPLACE INTO own_heads VALUES (?, ?, ?, ?)",
        [(head.context, head.seq, head.hash, head.clock) for head in standing.heads],
    )
    connection.execute("DELETE FROM meta WHERE key IN ('lease', 'incarnation', 'clock')")
    lease = write_lease(path, machine, nonce=random(NONCE_BYTES), incarnation=standing.incarnation)
    if lease is None:
        return
    _put(connection, {"lease": str(lease), "clock": standing.clock.to_bytes(8, "big")})
    if standing.incarnation is not None:
        _put(connection, {"incarnation": standing.incarnation})


def renew(connection: sqlite3.Connection, *, random: Callable[[int], bytes]) -> Identity:
    """Another store id and epoch, inside the caller's transaction: a peer has met a store of ours
    that is further than this one."""
    identity = Identity(random(_STORE_BYTES), random(_EPOCH_BYTES))
    _put(connection, {"store": identity.store, "epoch": identity.epoch})
    _forget_tickets(connection)
    return identity


def own_head(connection: sqlite3.Connection, name: ContextName) -> OwnHead | None:
    """Where the chain of the incarnation that goes on stands in a context."""
    row = connection.execute(
        "SELECT seq, hash, clock FROM own_heads WHERE context = ?", (name,)
    ).fetchone()
    return None if row is None else OwnHead(name, row[0], RecordHash(row[1]), row[2])


def _resumable(
    connection: sqlite3.Connection, incarnation: bytes | None, clock: bytes | None
) -> Resumable | None:
    row = connection.execute(
        "SELECT seed FROM origins WHERE incarnation = ? AND seed IS NOT NULL", (incarnation,)
    ).fetchone()
    if row is None or incarnation is None or clock is None:
        return None
    return Resumable(Incarnation(incarnation), row[0], Hlc(int.from_bytes(clock, "big")))


def _forget_tickets(connection: sqlite3.Connection) -> None:
    """Both were handed out for another store id than ours is now, or by one; so were cursors."""
    connection.execute("DELETE FROM tickets")
    connection.execute("DELETE FROM issued_tickets")
    cursors.forget(connection)


def _put(connection: sqlite3.Connection, values: dict[str, object]) -> None:
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))

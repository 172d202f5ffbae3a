"""Growing the write-ahead log ahead of its use.

A commit that makes the log longer has the file system commit the new length, too: that made it
half as expensive again on the test machine (243 us against 150 us). SQLite writes over what is
there once the log has been checkpointed, so only the first 4 MB of a session are slow, but many
sessions never get further. Zeros behind the last frame are no frames: recovery stops at them.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

AFTER_COMMITS: Final = 16
"""A session this long is worth the growing; a single append from a shell is not."""
_BYTES: Final = 4 * 1024 * 1024
"""As far as SQLite's log grows before it is checkpointed: 1,000 pages and their headers."""


def grow_log(store: Path) -> None:
    """Fill the log of the store up with zeros. Call between two commits, as its only writer.

    It is only meant to save time: where the disk has no room for it, or fails, it is left out. A
    commit that the disk fails says so itself.
    """
    with suppress(OSError):
        _grow(store.with_name(store.name + "-wal"))


def _grow(log: Path) -> None:
    descriptor = os.open(log, os.O_RDWR | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        if size < _BYTES and os.pwrite(descriptor, bytes(_BYTES - size), size) < _BYTES - size:
            # A full disk: give back what was taken.
            os.ftruncate(descriptor, size)
    finally:
        os.close(descriptor)


def truncate_log(connection: sqlite3.Connection) -> bool:
    """Write the log into the store and cut it to nothing, outside of a transaction. False, and
    nothing is waited for, if a reader still needs it."""
    (timeout_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {timeout_ms}")
    return not busy

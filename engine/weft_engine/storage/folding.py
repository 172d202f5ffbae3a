"""Folding a store's write-ahead log into its file, before the file gets another name."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from weft_engine.errors import StoreError

_PATIENCE_S = 5.0


def fold_log(store: Path) -> bool:
    """Whether all that is committed stands in the file itself now; False if SQLite can't read the
    file, so that there is nothing to fold. The caller holds the store's lock.

    StoreError if a reader is at work on an earlier state, or the disk fails.
    """
    with closing(
        sqlite3.connect(
            f"{store.absolute().as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            timeout=_PATIENCE_S,
        )
    ) as connection:
        try:
            _, in_log, folded = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError as error:
            raise StoreError(
                f"the log of {store} can't be folded into it: {error}",
                hint="close what reads it, check the disk; nothing was changed",
            ) from error
        except sqlite3.DatabaseError:
            return False
    if in_log != folded:
        raise StoreError(
            f"the log of {store} can't be folded into it: another process reads an earlier state",
            hint="close what reads it and try again; nothing was changed",
        )
    return True

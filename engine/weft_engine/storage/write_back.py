"""Writing SQLite's log back into the store beside the commits.

SQLite does this within the commit that makes its log long, and whoever waits for that commit waits
some milliseconds more. A connection and a lane of their own do most of it while commits go on, so
that little is left for SQLite to do; and where this falls behind or fails, SQLite does all of it as
ever. Must never know: what is written.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from weft_engine.errors import StoreError
from weft_engine.storage.lane import Lane
from weft_engine.storage.schema import connect

_COMMITS: Final = 16
"""It is worth while after so many commits,"""
_BYTES: Final = 1024 * 1024
"""or after so many bytes of records,"""
_PAUSE_S: Final = 0.025
"""but not before this is over: a page that is written often need not reach the store each time."""


class WriteBack:
    """Of the store at `path`, in which there is a writer as long as this is open. Its methods are
    called on the loop."""

    def __init__(self, path: Path, lane: Lane) -> None:
        self._path = path
        self._lane = lane
        self._loop = asyncio.get_running_loop()
        self._connection: sqlite3.Connection | None = None
        self._commits = 0
        self._bytes = 0
        self._is_working = False
        self._next_s = 0.0

    def committed(self, size: int) -> None:
        """A batch of so many bytes is in the log."""
        self._commits += 1
        self._bytes += size
        if self._is_working or (self._commits < _COMMITS and self._bytes < _BYTES):
            return
        now_s = self._loop.time()
        if now_s < self._next_s:
            return
        self._next_s = now_s + _PAUSE_S
        self._commits = self._bytes = 0
        self._is_working = True
        self._lane.run(self._work)

    async def close(self) -> None:
        """Return when nothing is under way; nothing may be committed after that."""
        self._is_working = True
        await self._lane.end()
        if self._connection is not None:
            self._connection.close()

    def _work(self) -> None:
        # What fails here fails in a commit, too, which says so to whoever waits for it; and SQLite
        # goes on by itself meanwhile.
        with suppress(sqlite3.Error, StoreError):
            if self._connection is None:
                self._connection = connect(self._path, readonly=False)
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._lane.answer(self._done)

    def _done(self) -> None:
        self._is_working = False

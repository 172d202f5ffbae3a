"""The hints of this store's views, written a moment after the view, off its path.

Losing one costs time, never anything else; so nobody waits for them, and none is tried twice.
"""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Final

from weft_engine.errors import MachineError
from weft_engine.names import ContextName
from weft_engine.storage import reading
from weft_engine.storage.journal import SqliteJournal
from weft_engine.storage.windows import Hint, Windows

_DELAY_S: Final = 0.25
_PENDING_MAX: Final = 256


class HintBook:
    """The newest hint of each context and grid; a readonly store writes none."""

    def __init__(self, journal: SqliteJournal) -> None:
        self._journal = journal
        self._pending: dict[tuple[ContextName, str], Hint] = {}
        self._writing: asyncio.Task[None] | None = None
        self._closed = False

    def keep(self, context: ContextName, hint: Hint) -> None:
        if self._journal.readonly or self._closed or len(self._pending) >= _PENDING_MAX:
            return
        self._pending[context, hint.grid] = hint
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write_soon())

    async def close(self) -> None:
        """Write what is left to write, if the disk lets us."""
        self._closed = True
        await self.flush()

    async def flush(self) -> None:
        """Write what is left to write now."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
            self._writing = None
        await self._write()

    async def _write_soon(self) -> None:
        await asyncio.sleep(_DELAY_S)
        self._writing = None
        await self._write()

    async def _write(self) -> None:
        pending, self._pending = self._pending, {}
        if not pending:
            return

        def write(connection: sqlite3.Connection) -> None:
            for (name, _), hint in pending.items():
                state = reading.context(connection, name)
                if state is not None:
                    Windows(connection, state.id).keep(hint)

        try:
            await self._journal.write(write)
        except MachineError:
            # A hint is a shortcut; whoever writes what matters is told of the disk.
            return

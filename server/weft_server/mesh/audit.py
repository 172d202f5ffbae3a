"""Looks through a relay's journal, slowly and for ever, for what nothing else would notice:
equivocations, and records of clocks that were far ahead.

On a thread and a connection of its own, and at rest for most of the time. Must never know: links,
what is done about what it finds.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from weft_engine.errors import StoreError
from weft_engine.names import Position
from weft_engine.storage.audit import Audited, audit
from weft_engine.storage.context_counts import newest
from weft_engine.storage.reading import last_position
from weft_engine.storage.schema import connect
from weft_server.operator_log import LOGGER

T = TypeVar("T")
_LOG: Final = logging.getLogger(LOGGER)
SLICE_CONTEXTS: Final = 2_000
SLICE_RECORDS: Final = 10_000
"""What is looked at without a pause: some 20 ms."""
REST: Final = 19
"""It rests for so many times what a look has taken,"""
REST_S_MIN: Final = 1.0
"""and for no less than this."""
AGAIN_S: Final = 60.0
"""After a fault of the disk."""


class Audit:
    """Of the store at `path`. `forked` and `skewed` are ids of contexts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.forked: set[int] = set()
        self.skewed: set[int] = set()
        self.looked_at = 0.0
        """The share of the contexts, in the first pass through all of them; then 1."""

    async def keep(self) -> None:
        """Look again and again, until this is cancelled: at all contexts, then at those that have
        changed."""
        since = Position(0)
        while True:
            try:
                with closing(connect(self._path, readonly=True)) as connection:
                    since = await self._pass(connection, since)
            except (StoreError, sqlite3.Error) as error:
                _LOG.warning("the journal can't be looked through: %s", error)
                await asyncio.sleep(AGAIN_S)

    async def _pass(self, connection: sqlite3.Connection, since: Position) -> Position:
        """Look at all contexts that have changed since; where the next pass begins."""
        began = await _apart(connection, partial(last_position, connection))
        after: int | None = 0
        while after is not None:
            began_s = time.monotonic()
            found, most = await _apart(connection, partial(_look, connection, after, since))
            self.forked |= found.forked
            self.skewed |= found.skewed
            after = found.last
            if self.looked_at < 1:
                self.looked_at = 1.0 if after is None else after / max(1, most)
            await asyncio.sleep(max(REST_S_MIN, REST * (time.monotonic() - began_s)))
        return began


async def _apart(connection: sqlite3.Connection, question: Callable[[], T]) -> T:
    """Its answer, from another thread. Who is cancelled leaves no thread at the connection."""
    asking = asyncio.ensure_future(asyncio.to_thread(question))
    try:
        return await asyncio.shield(asking)
    except asyncio.CancelledError:
        connection.interrupt()
        await asyncio.wait([asking])
        raise


def _look(connection: sqlite3.Connection, after: int, since: Position) -> tuple[Audited, int]:
    found = audit(
        connection,
        after=after,
        since=since,
        contexts_max=SLICE_CONTEXTS,
        records_max=SLICE_RECORDS,
    )
    return found, newest(connection)

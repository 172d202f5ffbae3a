"""Writing checkpoints of a context's document in the background, once they are proved right.

A checkpoint is written only if three documents agree: the live one, one made anew from the journal,
and one loaded from the very bytes of the checkpoint. The work has a thread of its own for as long
as it takes: a document must be made, used and dropped on one thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from weft_engine.names import Position
from weft_engine.records.envelope import Record
from weft_engine.replica.pages import page
from weft_engine.storage import checkpoints
from weft_engine.storage.checkpoints import Checkpoint, Erasures
from weft_engine.storage.journal import SqliteJournal
from weft_engine.storage.reading import ContextState

if TYPE_CHECKING:
    from weft_engine.document.rebuild import Rebuild


async def write_checkpoint(journal: SqliteJournal, state: ContextState, live: bytes) -> bool:
    """Write a checkpoint of the context as of `state`, whose live document is encoded as `live`.
    False if there is nothing that may be written."""
    before: Erasures = await journal.read(
        lambda connection: checkpoints.erasures(connection, state.id)
    )
    loop = asyncio.get_running_loop()
    thread = ThreadPoolExecutor(1, thread_name_prefix="weft-checkpoint")
    work = _Work()
    try:
        after = Position(0)
        while after < state.position:
            some = await journal.read(partial(page, state.id, after))
            records = [stored.record for stored in some if stored.position <= state.position]
            await loop.run_in_executor(thread, work.take, records)
            after = some[-1].position
        made = await loop.run_in_executor(thread, work.made, state, live)
    finally:
        thread.submit(work.end)
        thread.shutdown(wait=False)
    if made is None:
        return False

    def save(connection: sqlite3.Connection) -> bool:
        return checkpoints.save(connection, state, made, before)

    return await journal.write(save)


class _Work:
    """What happens on the thread."""

    def __init__(self) -> None:
        self._rebuild: Rebuild | None = None

    def take(self, records: list[Record]) -> None:
        from weft_engine.document.rebuild import Rebuild  # pycrdt is loaded for notes only

        if self._rebuild is None:
            self._rebuild = Rebuild()
        self._rebuild.take(records)

    def made(self, state: ContextState, live: bytes) -> Checkpoint | None:
        rebuild = self._rebuild
        if rebuild is None or not rebuild.is_sound or not rebuild.agrees(live):
            return None
        encoded = rebuild.encoded()
        if not rebuild.agrees(encoded):
            return None
        return Checkpoint(state.position, encoded, dict(rebuild.tips))

    def end(self) -> None:
        self._rebuild = None

"""Bringing the full-text index of one open store up with its journal, in small steps.

A store that may be written keeps it in its file; one that is open for reading only completes it in
memory. `connection` is used with `guard` held, by whichever thread. Must never know: queries.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from weft_engine.errors import StoreClosed
from weft_engine.limits import SEARCH_STEP_BYTES
from weft_engine.names import ContextName, NoteName, Position
from weft_engine.storage import search_scope, search_tables
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.reading import ContextState
from weft_engine.storage.schema import connect, damaged
from weft_engine.storage.search_finding import Source
from weft_engine.storage.search_overlay import Overlay, opened
from weft_engine.storage.search_scope import Lag, Scope
from weft_engine.storage.search_steps import NOTE, label_of_kind, next_step, time_of
from weft_engine.storage.search_tables import Batch, SearchTables

if TYPE_CHECKING:
    from weft_engine.replica.replica import Replica

_BATCHES_MAX: Final = 64
"""Contexts whose next steps share a commit."""

T = TypeVar("T")


class SearchIndexing:
    """Used by one task at a time; ends with `close`."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._journal = replica.journal
        self._schema = "temp" if replica.journal.readonly else "main"
        self._thread: ThreadPoolExecutor | None = None
        self._guard = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._overlay: Overlay | None = None
        self._closed = False

    async def begin(self) -> None:
        """See that there is an index. StoreError if this SQLite has no FTS5."""
        if self._schema == "temp":
            await self.run(self._begin_in_memory)
        elif not await self.run(_exists):
            await self._journal.write(lambda connection: search_tables.create(connection, "main"))

    async def catch_up(self, scope: Scope, *, notes: bool) -> None:
        """Index what was committed before this was called."""
        lags = await self.run(
            lambda connection: search_scope.lagging(connection, self._schema, scope)
        )
        await self._index_events([lag.name for lag in lags if lag.events])
        while notes:
            lags = await self.run(
                lambda connection: search_scope.lagging(connection, self._schema, scope)
            )
            changed = [lag for lag in lags if lag.notes]
            for lag in changed:
                await self._index_notes(lag)
            # What was indexed may be dropped again, with what it had been before.
            notes = bool(changed)

    async def step(self, name: ContextName) -> bool:
        """Index the next events of a context, in one commit; whether there were any."""
        found = await self.next_batch(name, await self._generation())
        if found is None:
            return False
        await self._save([found[0]])
        return True

    def sources(self, connection: sqlite3.Connection) -> list[Source] | None:
        """What to ask, now that a transaction is begun; None if it is not good any more."""
        if self._overlay is not None:
            return self._overlay.sources if self._overlay.is_good else None
        return [Source()] if search_tables.exists(connection, "main") else None

    async def run(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """What `question` answers, on the thread of searches."""
        self._journal.check_process()
        if self._closed:
            raise StoreClosed("the store is closed")
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="weft-search")
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, partial(self._guarded, question)
        )

    async def close(self) -> None:
        """Let go of the file; nothing is answered after that."""
        self._closed = True
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._let_go)
            self._thread.shutdown()
            self._thread = None

    # ---- events -------------------------------------------------------------------------------

    async def _index_events(self, names: Sequence[ContextName]) -> None:
        if self._schema == "temp":
            for name in names:
                while await self._replica.ask(name, self._take_step):
                    pass
            return
        left = list(names)
        while left:
            again: list[ContextName] = []
            batches: dict[ContextName, Batch] = {}
            size = 0
            generation = await self._generation()
            for name in left:
                found = await self.next_batch(name, generation)
                if found is not None:
                    batches[name], is_last = found
                    size += sum(len(entry.text) for entry in found[0].entries)
                    if not is_last:
                        again.append(name)
                if size >= SEARCH_STEP_BYTES or len(batches) == _BATCHES_MAX:
                    again += await self._saved(batches)
                    batches, size = {}, 0
            left = sorted({*again, *await self._saved(batches)})

    async def _saved(self, batches: dict[ContextName, Batch]) -> list[ContextName]:
        """Write `batches` down; if one of them was out of date, the contexts of all."""
        if not batches or await self._save(list(batches.values())):
            return []
        await self.begin()
        return list(batches)

    async def _save(self, batches: Sequence[Batch]) -> bool:
        return await self._journal.write(lambda connection: SearchTables(connection).save(batches))

    async def next_batch(self, name: ContextName, generation: int) -> tuple[Batch, bool] | None:
        """What to write down next of a context, and whether that is all; None if nothing."""

        def asked(table: EventTable, state: ContextState) -> tuple[Batch, bool] | None:
            return self._guarded(partial(question, table, state))

        def question(
            table: EventTable, state: ContextState, connection: sqlite3.Connection
        ) -> tuple[Batch, bool] | None:
            if not search_tables.exists(connection, "main"):
                return None
            step = next_step(connection, "main", table, state, generation=generation)
            return None if step is None else (step.batch, step.batch.upto >= table.position)

        return await self._replica.ask(name, asked)

    async def _generation(self) -> int:
        """That of the index now; before anything is read that may be erased meanwhile."""
        return await self.run(
            lambda connection: (
                search_tables.generation(connection, "main")
                if search_tables.exists(connection, "main")
                else -1
            )
        )

    def _take_step(self, table: EventTable, state: ContextState) -> bool:
        """On the reader's thread, into memory."""

        def question(_: sqlite3.Connection) -> bool:
            return self._overlay is not None and self._overlay.take_step(table, state)

        return self._guarded(question)

    # ---- notes --------------------------------------------------------------------------------

    async def _index_notes(self, lag: Lag) -> None:
        generation, changed = await self.run(partial(self._notes_before, lag.id))
        texts, upto = await self._replica.context(lag.name).note_texts()
        time_ms = await self.run(lambda connection: time_of(connection, changed))
        save = partial(_save_notes, lag.id, texts, time_ms, upto, generation, self._schema)
        if self._schema == "temp":
            await self.run(save)
            if self._overlay is not None:
                self._overlay.notes_taken.add(lag.id)
        else:
            await self._journal.write(save)

    def _notes_before(self, context: int, connection: sqlite3.Connection) -> tuple[int, Position]:
        generation = search_tables.generation(connection, self._schema)
        return generation, Position(search_tables.reached(connection, self._schema, context)[1])

    # ---- the connection -----------------------------------------------------------------------

    def _guarded(self, question: Callable[[sqlite3.Connection], T]) -> T:
        with self._guard:
            try:
                return question(self._own())
            except sqlite3.Error as error:
                raise damaged(self._journal.path, error) from error

    def _own(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreClosed("the store is closed")
        if self._overlay is not None:
            return self._overlay.connection
        if self._connection is None:
            self._connection = connect(self._journal.path, readonly=True)
        return self._connection

    def _begin_in_memory(self, _: sqlite3.Connection) -> None:
        if self._overlay is not None and not self._overlay.is_good:
            self._overlay.close()
            self._overlay = None
        if self._overlay is None:
            self._overlay = opened(self._journal.path)
        self._overlay.begin()

    def _let_go(self) -> None:
        with self._guard:
            if self._overlay is not None:
                self._overlay.close()
            if self._connection is not None:
                self._connection.close()
            self._overlay = self._connection = None


def _exists(connection: sqlite3.Connection) -> bool:
    """StoreError, before the writer is troubled, if there can be none."""
    search_tables.check_available(connection)
    return search_tables.exists(connection, "main")


def _save_notes(
    context: int,
    texts: dict[NoteName, str],
    time_ms: int,
    upto: Position,
    generation: int,
    schema: str,
    connection: sqlite3.Connection,
) -> bool:
    if not search_tables.exists(connection, schema):
        return False
    return SearchTables(connection, schema).save_notes(
        context,
        texts,
        labels=label_of_kind(NOTE),
        time_ms=time_ms,
        upto=upto,
        generation_then=generation,
    )

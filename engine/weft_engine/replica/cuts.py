"""What is kept in memory of past cuts of contexts: their event indexes and their documents.

Making one costs a walk through the history up to its cut, so those used last are kept, few of
each. They never change, nothing of the past does, until something of the context is erased: then
they are made anew, whoever erased it, be it another process.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from weft_engine.document.assembly import Assembly
from weft_engine.errors import MissingRecords, StoreClosed
from weft_engine.names import ClientId, ContextName
from weft_engine.records.envelope import Record
from weft_engine.records.frontier import Frontier
from weft_engine.replica.pace import Pace, take, take_all
from weft_engine.storage import reading
from weft_engine.storage.checkpoints import Erasures, erasures
from weft_engine.storage.cut import nothing, records_of
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.journal import SqliteJournal
from weft_engine.storage.projection import Count, at_cut
from weft_engine.storage.reading import ContextState
from weft_engine.storage.schema import connect

if TYPE_CHECKING:
    from weft_engine.document.document import Document

_KEPT_MAX: Final = 4
_NO_WRITER: Final = ClientId(0)

T = TypeVar("T")
_Key = tuple[ContextName, Frontier]


@dataclass(frozen=True, slots=True)
class _Index:
    connection: sqlite3.Connection
    table: EventTable
    state: ContextState
    erasures: Erasures


class Cuts:
    """The past of one store's contexts. Its indexes belong to the reader's thread, its documents
    to the event loop."""

    def __init__(self, journal: SqliteJournal, *, count: Count) -> None:
        self._journal = journal
        self._count = count
        self._indexes: dict[_Key, _Index] = {}
        self._documents: dict[_Key, tuple[Document, Erasures]] = {}
        self._closed = False

    async def ask(
        self, name: ContextName, cut: Frontier, question: Callable[[EventTable, ContextState], T]
    ) -> T:
        """What `question` answers from the event index as it is for the causal past of `cut`.
        MissingRecords if a record of it is not held."""

        def asked(_: sqlite3.Connection) -> T:
            index = self._begin(name, cut)
            try:
                return question(index.table, index.state)
            finally:
                index.connection.execute("COMMIT")

        return await self._journal.read(asked)

    async def document(self, name: ContextName, cut: Frontier) -> Document:
        """The document as it is for the causal past of `cut`; for reading. MissingRecords if a
        record of it is not held."""
        # pycrdt is loaded for notes only
        from weft_engine.document.document import Document, is_panic

        def asked(connection: sqlite3.Connection) -> tuple[list[Record], Erasures]:
            connection.execute("BEGIN")  # all of it is of one moment
            try:
                state = state_at(connection, name, cut)
                records = list(records_of(connection, state, cut))
                return records, erasures(connection, state.id)
            finally:
                connection.execute("ROLLBACK")

        while True:
            # Asked for what was just made as well: something may have been erased meanwhile.
            now = await self._journal.read(
                lambda connection: erasures(connection, state_at(connection, name, cut).id)
            )
            kept = self._documents.pop((name, cut), None)
            if kept is not None and kept[1] == now:
                break
            records, made_of = await self._journal.read(asked)
            assembly = Assembly(partial(Document, _NO_WRITER), is_panic)
            pace = Pace()
            if not await take(assembly, records, pace):
                await take_all(assembly, records, pace)
            if not made_of.is_settled:
                return assembly.document
            self._documents[name, cut] = (assembly.document, made_of)
        self._documents[name, cut] = kept
        while len(self._documents) > _KEPT_MAX:
            del self._documents[next(iter(self._documents))]
        return kept[0]

    async def forget(self, name: ContextName, cut: Frontier | None = None) -> None:
        """Let go of what is kept of a cut, or of all of a context."""
        for key in [key for key in self._documents if _names(key, name, cut)]:
            del self._documents[key]
        await self._journal.read(lambda _: self._drop(lambda key: _names(key, name, cut)))

    async def close(self) -> None:
        """Let go of everything, before the journal closes; nothing is answered after that."""
        self._documents.clear()
        if self._indexes:
            await self._journal.read(lambda _: self._end())
        self._closed = True

    # ---- on the reader's thread ---------------------------------------------------------------

    def _begin(self, name: ContextName, cut: Frontier) -> _Index:
        """The index, with a transaction begun: what it points to is of the same moment."""
        if self._closed:
            raise StoreClosed("the store is closed")
        index = self._indexes.pop((name, cut), None)
        if index is not None:
            index.connection.execute("BEGIN")
            now = erasures(index.connection, index.state.id)
            if now != index.erasures or not now.is_settled:
                index.connection.close()
                index = None
        if index is None:
            while len(self._indexes) >= _KEPT_MAX:
                self._indexes.pop(next(iter(self._indexes))).connection.close()
            own = connect(self._journal.path, readonly=True)
            try:
                own.execute("BEGIN")
                state = state_at(own, name, cut)
                table = at_cut(own, state, cut, self._count)
                index = _Index(own, table, state, erasures(own, state.id))
            except BaseException:
                own.close()
                raise
        self._indexes[name, cut] = index
        return index

    def _end(self) -> None:
        self._closed = True
        self._drop(lambda _: True)

    def _drop(self, chosen: Callable[[_Key], bool]) -> None:
        for key in [key for key in self._indexes if chosen(key)]:
            self._indexes.pop(key).connection.close()


def state_at(connection: sqlite3.Connection, name: ContextName, cut: Frontier) -> ContextState:
    """The context that a cut is of. MissingRecords if it names records of one that is not here."""
    state = reading.context(connection, name) if cut else nothing(name)
    if state is None:
        raise MissingRecords(f"this store has no context {name!r}", missing=cut)
    return state


def _names(key: _Key, name: ContextName, cut: Frontier | None) -> bool:
    return key[0] == name and cut in (None, key[1])

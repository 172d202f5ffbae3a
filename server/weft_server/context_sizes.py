"""How many bytes the records of each context have, for those that are asked about.

A context is no larger than the file of the journal, so as long as that is smaller than the limit
nothing is counted. After that a context is counted once, and followed from commit to commit.
Erasing makes a context smaller here only when it is counted anew. Must never know: links, rights.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, TypeVar

from weft_engine.names import ContextName
from weft_engine.records.envelope import Record
from weft_engine.storage.journal import Listener
from weft_engine.storage.ledger import Stored

T = TypeVar("T")

_KEPT_MAX: Final = 10_000
"""Contexts whose size is followed; the one that was asked about longest ago is forgotten."""


class Journal(Protocol):
    async def read(self, question: Callable[[sqlite3.Connection], T], /) -> T: ...

    def listen(self, listener: Listener, /) -> Callable[[], None]: ...


class ContextSizes:
    def __init__(self, journal: Journal, *, bytes_max: int) -> None:
        self._journal = journal
        self._bytes_max = bytes_max
        self._spare: int | None = None
        """Bytes that may be committed before any context can be too large; None if unknown."""
        self._sizes: OrderedDict[ContextName, int] = OrderedDict()
        self._stop = journal.listen(self._committed)

    def close(self) -> None:
        self._stop()

    def surely_fit(self, records: Sequence[Record]) -> bool:
        """Whether no context can be too large with these records, as far as is known without
        asking."""
        return self._spare is not None and sum(record.size for record in records) <= self._spare

    async def first_full(self, records: Sequence[Record]) -> ContextName | None:
        """A context that would be larger than the limit with these records; None if none is."""
        added: dict[ContextName, int] = {}
        for record in records:
            context = record.envelope.context
            added[context] = added.get(context, 0) + record.size
        return await self.first_full_with(added)

    async def first_full_with(self, added: Mapping[ContextName, int]) -> ContextName | None:
        """The same, for so many bytes more in each."""
        if self._spare is None:
            self._spare = self._bytes_max - await self._journal.read(_file_bytes)
        if sum(added.values()) <= self._spare:
            return None
        for context, size in added.items():
            if await self._size(context) + size > self._bytes_max:
                return context
        return None

    async def _size(self, context: ContextName) -> int:
        size = self._sizes.get(context)
        if size is None:
            size = await self._journal.read(lambda connection: _context_bytes(connection, context))
            self._sizes[context] = size
            if len(self._sizes) > _KEPT_MAX:
                self._sizes.popitem(last=False)
        self._sizes.move_to_end(context)
        return size

    def _committed(self, stored: Sequence[Stored], _: bytes) -> None:
        if self._spare is not None:
            self._spare -= sum(one.record.size for one in stored)
        if self._sizes:
            for one in stored:
                context = one.record.envelope.context
                if context in self._sizes:
                    self._sizes[context] += one.record.size


def _file_bytes(connection: sqlite3.Connection) -> int:
    pages, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
    )
    return int(pages * size)


def _context_bytes(connection: sqlite3.Connection, context: ContextName) -> int:
    row = connection.execute(
        "SELECT sum(length(envelope) + length(payload)) FROM records"
        " WHERE context = (SELECT id FROM contexts WHERE name = ?)",
        (context,),
    ).fetchone()
    return int(row[0] or 0)

"""A note: text of a context that people and agents edit together, merged letter by letter."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from weft_engine.document.replay import replayed
from weft_engine.errors import InvalidMessage
from weft_engine.names import ClientId, ContextName, Incarnation, NoteName, Position, RecordHash
from weft_engine.records.envelope import Record
from weft_engine.records.identity import client_id
from weft_engine.storage import reading
from weft_engine.storage.ledger import Stored
from weft_engine.storage.reading import ContextState

if TYPE_CHECKING:
    from weft_engine.document.document import Document
    from weft_engine.replica.replica import Replica

_READ_BYTES: Final = 8 * 1024 * 1024
_READ_RECORDS: Final = 4096


class Note:
    """Positions and lengths are counted in Unicode code points."""

    def __init__(self, notes: Notes, name: NoteName) -> None:
        self.name = name
        self._notes = notes

    async def text(self) -> str:
        return await self._notes.text(self.name)

    async def insert(self, at: int, text: str) -> None:
        """Insert `text` in front of the character `at`, durably."""
        await self._notes.edit(self.name, at, 0, text)

    async def delete(self, at: int, count: int) -> None:
        """Delete `count` characters from `at` on, durably."""
        await self._notes.edit(self.name, at, count, "")

    async def append(self, text: str) -> None:
        """Add `text` at the end, durably."""
        await self._notes.edit(self.name, None, 0, text)


class Notes:
    """The notes of one context. Its document is loaded at the first use and follows the journal
    from then on; it is thrown away when an edit of it could not be committed."""

    def __init__(self, replica: Replica, context: ContextName) -> None:
        self._replica = replica
        self._context = context
        self._loaded: _Loaded | None = None
        self._using = asyncio.Lock()

    async def text(self, name: NoteName) -> str:
        async with self._using:
            writer = None if self._replica.journal.readonly else self._replica.scribe.incarnation
            return (await self._follow(writer)).text(name)

    async def edit(self, name: NoteName, at: int | None, delete: int, insert: str) -> None:
        async with self._using:
            while True:
                # Our own events are written without the document: it must have them all before
                # it gives out Yjs clocks itself.
                clock = await self._replica.scribe.settled_clock(self._context)
                document = await self._follow(self._replica.scribe.incarnation)
                if document.clock == clock == self._replica.scribe.clock_now(self._context):
                    break
            try:
                start = len(document.text(name)) if at is None else at
                payload = document.edit(name, start, delete, insert)
                if payload is not None:
                    structs = document.clock - clock
                    await self._replica.scribe.append_update(self._context, payload, structs)
            except InvalidMessage:
                raise
            except BaseException:
                # Whatever went wrong, the document may be ahead of the journal now.
                self._loaded = None
                raise

    def let_go(self) -> None:
        """Forget the document, unless it is in use."""
        if not self._using.locked():
            self._loaded = None

    async def forget(self) -> None:
        """Forget the document as soon as nobody uses it: what it holds may have been erased."""
        async with self._using:
            self._loaded = None

    async def _follow(self, writer: Incarnation | None) -> Document:
        """The document with everything that is committed, for edits by `writer`."""
        from weft_engine.document.document import Document  # pycrdt is loaded for notes only

        state = await self._replica.state(self._context)
        loaded = self._loaded
        if loaded is None or loaded.writer != writer:
            client = ClientId(0) if writer is None else client_id(writer, self._context)
            loaded = _Loaded(writer, Document(client))
        if state is not None and loaded.position < state.position:
            new = await self._records(state, loaded.position)
            if not loaded.take(new):
                loaded = _Loaded(writer, Document(loaded.document.client))
                loaded.take_all(await self._records(state, Position(0)))
            loaded.position = state.position
        self._loaded = loaded
        return loaded.document

    async def _records(self, state: ContextState, after: Position) -> list[Record]:
        """The context's records behind `after`, up to `state`."""
        found: list[Record] = []
        while after < state.position:
            some = await self._replica.journal.read(partial(_page, state.id, after))
            found.extend(stored.record for stored in some if stored.position <= state.position)
            after = some[-1].position
        return found


@dataclass(slots=True)
class _Loaded:
    """A document, and how far it has followed the journal. `tips`: the end of each chain in it."""

    writer: Incarnation | None
    document: Document
    position: Position = Position(0)  # noqa: RUF009 - an int
    tips: dict[Incarnation, RecordHash] = field(default_factory=dict)
    is_forked: bool = False

    def take(self, records: Sequence[Record]) -> bool:
        """Apply records that continue their chains; False, and nothing is applied, if one of them
        is a side of an equivocation: that can reach back."""
        tips = dict(self.tips)
        for record in records:
            if self.is_forked or record.envelope.prev != tips.get(record.envelope.origin):
                return False
            tips[record.envelope.origin] = record.hash
        self.document.apply(records)
        self.tips = tips
        return True

    def take_all(self, records: Sequence[Record]) -> None:
        """Apply a whole context, equivocations and all."""
        self.document.apply(replayed(records))
        self.is_forked = True


def _page(context_id: int, after: Position, connection: sqlite3.Connection) -> list[Stored]:
    return reading.records_after(
        connection, context_id, after, records_max=_READ_RECORDS, bytes_max=_READ_BYTES
    )

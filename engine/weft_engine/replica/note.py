"""A note: text of a context that people and agents edit together, merged letter by letter."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from weft_engine.document.assembly import Assembly
from weft_engine.errors import InvalidMessage, StoreClosed, StoreError
from weft_engine.limits import CHECKPOINT_BYTES, CHECKPOINT_RECORDS
from weft_engine.names import ClientId, ContextName, Incarnation, NoteName, Position, RecordHash
from weft_engine.records.envelope import Record
from weft_engine.records.identity import client_id
from weft_engine.replica.checkpointing import write_checkpoint
from weft_engine.replica.pace import Pace, take, take_all
from weft_engine.replica.pages import page
from weft_engine.storage import checkpoints, reading
from weft_engine.storage.checkpoints import Erasures
from weft_engine.storage.reading import ContextState

if TYPE_CHECKING:
    from weft_engine.document.document import Document
    from weft_engine.replica.replica import Replica

_NONE: Final = Erasures(0, 0)
Make = Callable[[ClientId], "Document"]


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
    from then on; it is thrown away when an edit of it could not be committed. `make` gives an empty
    document for a Yjs client."""

    def __init__(self, replica: Replica, context: ContextName, *, make: Make | None = None) -> None:
        self._replica = replica
        self._context = context
        self._loaded: _Loaded | None = None
        self._using = asyncio.Lock()
        self._make = make
        self._checkpoint: asyncio.Task[None] | None = None

    async def text(self, name: NoteName) -> str:
        async with self._using:
            return (await self._follow(self._writer())).text(name)

    async def texts(self) -> tuple[dict[NoteName, str], Position]:
        """Every note that holds some text, and the position in the journal they are as of."""
        async with self._using:
            document = await self._follow(self._writer())
            assert self._loaded is not None, "it was just followed"
            return document.texts(), self._loaded.position

    async def problems(self) -> dict[RecordHash, str]:
        """What the document leaves out of the journal, and why."""
        async with self._using:
            await self._follow(self._writer())
            return {} if self._loaded is None else dict(self._loaded.assembly.problems)

    async def close(self) -> None:
        """Let go of the document; a checkpoint that is being written is given up."""
        if self._checkpoint is not None:
            self._checkpoint.cancel()
            await asyncio.gather(self._checkpoint, return_exceptions=True)
        self._loaded = None

    async def settled(self) -> None:
        """Wait for the checkpoint that is being written, if one is."""
        if self._checkpoint is not None:
            await asyncio.shield(self._checkpoint)

    async def edit(self, name: NoteName, at: int | None, delete: int, insert: str) -> None:
        async with self._using:
            while True:
                # Our own events are written without the document: it must have them all before
                # it gives out Yjs clocks itself.
                clock = await self._replica.scribe.settled_clock(self._context)
                document = await self._follow(self._replica.scribe.incarnation)
                if document.clock == clock == self._replica.scribe.clock_now(self._context):
                    break
                if clock == self._replica.scribe.clock_now(self._context):
                    # What we wrote is left out of the document, with the losing side of an
                    # equivocation: under these clocks nothing that we write would ever be in it.
                    # Or somebody else has written under our Yjs client id, as relays may.
                    self._replica.scribe.retire()
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

    def _writer(self) -> Incarnation | None:
        return None if self._replica.journal.readonly else self._replica.scribe.incarnation

    async def _follow(self, writer: Incarnation | None) -> Document:
        """The document with everything that is committed, for edits by `writer`."""
        state, erasures = await self._replica.journal.read(partial(_state, self._context))
        loaded = self._loaded
        # Another process may have erased something of what a read-only store has loaded.
        if loaded is None or loaded.writer != writer or loaded.erasures != erasures:
            loaded = self._loaded = None
            loaded = await self._begin(writer, state)
            loaded.erasures = erasures
        if state is not None and loaded.position < state.position:
            new = await self._records(state, loaded.position)
            # If this is given up halfway, or fails, it is no document of anything.
            self._loaded, pace = None, Pace()
            if await take(loaded.assembly, new, pace):
                loaded.since += len(new)
                loaded.since_bytes += sum(len(record.payload) for record in new)
            else:
                loaded = _Loaded.empty(writer, partial(self._document, writer))
                loaded.erasures = erasures
                await take_all(loaded.assembly, await self._records(state, Position(0)), pace)
            loaded.position = state.position
            self._consider_checkpoint(state, loaded)
        self._loaded = loaded
        self._replica.used(self._replica.context(self._context))
        return loaded.assembly.document

    async def _begin(self, writer: Incarnation | None, state: ContextState | None) -> _Loaded:
        """An empty document, or the one of a checkpoint."""
        make = partial(self._document, writer)
        loaded = _Loaded.empty(writer, make)
        if state is None:
            return loaded
        found = await self._replica.journal.read(
            lambda connection: checkpoints.load(connection, state)
        )
        if found is not None:
            if loaded.assembly.restore(found.state, found.tips):
                loaded.position = found.position
            else:
                loaded = _Loaded.empty(writer, make)
        return loaded

    def _document(self, writer: Incarnation | None) -> Document:
        from weft_engine.document.document import Document  # pycrdt is loaded for notes only

        client = ClientId(0) if writer is None else client_id(writer, self._context)
        return (self._make or Document)(client)

    def _consider_checkpoint(self, state: ContextState, loaded: _Loaded) -> None:
        if (
            (loaded.since > CHECKPOINT_RECORDS or loaded.since_bytes > CHECKPOINT_BYTES)
            and loaded.assembly.is_plain
            and not self._replica.journal.readonly
            and self._checkpoint is None
        ):
            loaded.since = loaded.since_bytes = 0
            self._checkpoint = asyncio.create_task(
                self._write_checkpoint(state, loaded.assembly.document.encoded()),
                name="weft-checkpoint",
            )

    async def _write_checkpoint(self, state: ContextState, live: bytes) -> None:
        try:
            await write_checkpoint(self._replica.journal, state, live)
        except (StoreClosed, StoreError):
            # The disk's fault, or the store is closing: who writes records will hear of it, and
            # a checkpoint that is not there costs time, nothing else.
            pass
        finally:
            self._checkpoint = None

    async def _records(self, state: ContextState, after: Position) -> list[Record]:
        """The context's records behind `after`, up to `state`."""
        found: list[Record] = []
        while after < state.position:
            some = await self._replica.journal.read(partial(page, state.id, after))
            found.extend(stored.record for stored in some if stored.position <= state.position)
            after = some[-1].position
        return found


def _state(
    name: ContextName, connection: sqlite3.Connection
) -> tuple[ContextState | None, Erasures]:
    state = reading.context(connection, name)
    if state is None:
        return None, _NONE
    return state, checkpoints.erasures(connection, state.id)


@dataclass(slots=True)
class _Loaded:
    """A document and how far it has followed the journal. `since`: what it had to apply since its
    last checkpoint, in records and bytes."""

    writer: Incarnation | None
    assembly: Assembly[Document]
    position: Position = Position(0)  # noqa: RUF009 - an int
    erasures: Erasures = _NONE
    """Those of the context when it was read."""
    since: int = 0
    since_bytes: int = 0

    @classmethod
    def empty(cls, writer: Incarnation | None, make: Callable[[], Document]) -> Self:
        from weft_engine.document.document import is_panic

        return cls(writer, Assembly(make, is_panic))

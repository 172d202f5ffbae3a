"""A context's document made anew from its journal, to hold a checkpoint against.

Compared are the clocks of all clients and what each root holds, never encodings: two equal
documents need not be encoded alike, and equal clocks do not make equal documents. What still waits
for something (structs or deletes of what is not there yet) is in no checkpoint.
Must be used and dropped on one thread. Must never know: storage, tasks.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from weft_engine.document.assembly import Assembly
from weft_engine.document.document import Document, is_panic
from weft_engine.names import ClientId, Incarnation, RecordHash
from weft_engine.records.envelope import Kind, Record
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.update import ranges

_UPDATES = (Kind.NATIVE, Kind.FOREIGN)


class Rebuild:
    """Give it a context's records in journal order, then ask."""

    def __init__(self) -> None:
        self._assembly = Assembly(partial(Document, ClientId(0)), is_panic)
        self._is_whole = True
        self._ends: dict[ClientId, int] = {}
        self._deleted_ends: dict[ClientId, int] = {}

    @property
    def tips(self) -> dict[Incarnation, RecordHash]:
        return self._assembly.tips

    def take(self, records: Iterable[Record]) -> None:
        for record in records:
            self._is_whole = self._is_whole and self._assembly.take([record])
            if not self._is_whole or record.envelope.kind not in _UPDATES:
                continue
            update = read_update(record.payload)
            for client, of_client in ranges(update).items():
                self._ends[client] = max(self._ends.get(client, 0), of_client[-1][1])
            for client, clock, length in update.deletes:
                end = clock + length
                self._deleted_ends[client] = max(self._deleted_ends.get(client, 0), end)

    @property
    def is_sound(self) -> bool:
        """Whether a checkpoint can stand for these records: no equivocation, nothing left out,
        nothing that waits, no root but Weft's."""
        return (
            self._is_whole
            and self._assembly.is_plain
            and self._assembly.document.clocks() == self._ends
            and all(end <= self._ends.get(c, 0) for c, end in self._deleted_ends.items())
            and self._assembly.document.content() is not None
        )

    def agrees(self, state: bytes) -> bool:
        """Whether a document loaded from `state` is the same as the rebuilt one."""
        loaded = Assembly(partial(Document, ClientId(0)), is_panic)
        if not loaded.restore(state, {}):
            return False
        mine, other = self._assembly.document, loaded.document
        return mine.clocks() == other.clocks() and mine.content() == other.content()

    def encoded(self) -> bytes:
        return self._assembly.document.encoded()

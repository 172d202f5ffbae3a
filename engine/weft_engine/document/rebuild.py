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
from weft_engine.records.envelope import Record


class Rebuild:
    """Give it a context's records in journal order, then ask."""

    def __init__(self) -> None:
        self._assembly = Assembly(partial(Document, ClientId(0)), is_panic)
        self._is_whole = True

    @property
    def tips(self) -> dict[Incarnation, RecordHash]:
        return self._assembly.tips

    def take(self, records: Iterable[Record]) -> None:
        self._is_whole = self._is_whole and self._assembly.take(records)

    @property
    def is_sound(self) -> bool:
        """Whether a checkpoint can stand for these records: no equivocation, nothing left out,
        nothing that waits, no root but Weft's."""
        assembly = self._assembly
        return (
            self._is_whole
            and assembly.is_plain
            and assembly.document.clocks() == assembly.clocks
            and assembly.document.content() is not None
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

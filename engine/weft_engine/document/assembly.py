"""Putting a context's document together from its records, whatever they do to it.

Two things are left out of a document that stand in the journal: types nested too deep over several
records, and records at which pycrdt panics. For either, GC structs take the clocks, so that what
builds on them finds its place. What was left out is listed under `problems`.

Invariant: as long as nothing panics, the document is that of the records in the order of their
journal. Once one has panicked, it is made anew from all records in an order that follows from the
records alone, and the culprits are those at which that panics: so replicas with the same records
and the same pycrdt leave the same out. Must never know: storage, tasks.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from weft_engine.document.replay import replayed
from weft_engine.errors import StoreError
from weft_engine.names import Incarnation, RecordHash
from weft_engine.records.envelope import Kind, Record
from weft_engine.yjs.levels import Levels, stand_in

TOO_DEEP: Final = "types nest too deep: left out of the document"
_UPDATES: Final = (Kind.NATIVE, Kind.FOREIGN)
PANICKED: Final = "the document failed at it: left out of the document"


class Appliable(Protocol):
    """A document; what it raises poisons it."""

    def apply(self, update: bytes, /) -> None: ...


D = TypeVar("D", bound=Appliable)


class Assembly(Generic[D]):
    """`make` gives an empty document; `is_panic` tells a document's failure from ours."""

    def __init__(self, make: Callable[[], D], is_panic: Callable[[BaseException], bool]) -> None:
        self._make = make
        self._is_panic = is_panic
        self.document = make()
        self.tips: dict[Incarnation, RecordHash] = {}
        """The end of each chain in it."""
        self.problems: dict[RecordHash, str] = {}
        self.is_whole_only = False
        """It holds an equivocation or a culprit: what comes next can reach back, so it has to be
        made anew each time."""
        self._levels = Levels()

    @property
    def is_plain(self) -> bool:
        """It is the document of all its records, and nothing has to be known beside it."""
        return not self.is_whole_only and not self.problems and self._levels.is_flat

    def take(self, records: Iterable[Record]) -> bool:
        """Apply records that continue their chains. False if one of them is a side of an
        equivocation or makes the document fail: then make it anew, with `take_all`."""
        if self.is_whole_only:
            return False
        for record in records:
            if record.envelope.prev != self.tips.get(record.envelope.origin):
                self.is_whole_only = True
                return False
            self.tips[record.envelope.origin] = record.hash
            if not self._try(record):
                self.is_whole_only = True
                return False
        return True

    def take_all(self, records: Sequence[Record]) -> None:
        """Make it anew from a whole context, equivocations, culprits and all."""
        self.is_whole_only = True
        held = replayed(records)
        self._begin()
        if all(self._try(record) for record in held):
            return
        wanted = {record.hash for record in held}
        ordered = [record for record in _in_own_order(records) if record.hash in wanted]
        culprits: set[RecordHash] = set()
        while (found := self._first_failing(ordered, culprits)) is not None:
            culprits.add(found)

    def restore(self, state: bytes, tips: dict[Incarnation, RecordHash]) -> bool:
        """Begin with what a checkpoint says. False if that fails; then begin with another."""
        try:
            self.document.apply(state)
        except BaseException as error:
            if not self._is_panic(error):
                raise
            return False
        self.tips = tips
        return True

    # ---- inside -------------------------------------------------------------------------------

    def _begin(self) -> None:
        self.document = self._make()
        self.problems = {}
        self._levels = Levels()

    def _try(self, record: Record) -> bool:
        try:
            self._apply(record)
        except BaseException as error:
            if not self._is_panic(error):
                raise
            return False
        return True

    def _apply(self, record: Record) -> None:
        if record.envelope.kind not in _UPDATES:
            return
        update = self._levels.flattened(record.payload)
        if update is not record.payload:
            self.problems[record.hash] = TOO_DEEP
        self.document.apply(update)

    def _first_failing(
        self, records: Sequence[Record], culprits: set[RecordHash]
    ) -> RecordHash | None:
        """The first of `records`, with stand-ins for `culprits`, that the document fails at."""
        self._begin()
        for record in records:
            if record.hash in culprits:
                self.problems[record.hash] = PANICKED
                self._stand_in(record)
            elif not self._try(record):
                return record.hash
        return None

    def _stand_in(self, record: Record) -> None:
        try:
            self.document.apply(stand_in(record.payload))
        except BaseException as error:
            if not self._is_panic(error):
                raise
            # It gives out clocks and says nothing: no such failure is known.
            raise StoreError(
                f"the document of context {record.envelope.context!r} can't be made:"
                f" it fails even without record {record.hash.hex()[:16]}",
                hint="events and views of the context are not touched by this",
            ) from None


def _in_own_order(records: Sequence[Record]) -> list[Record]:
    """In causal order, and among what is concurrent by hash: the same for the same records."""
    held = {record.hash: record for record in records}
    children: dict[RecordHash, list[RecordHash]] = {}
    missing: dict[RecordHash, int] = {}
    ready: list[RecordHash] = []
    for record in records:
        parents = [parent for parent in record.envelope.parents if parent in held]
        missing[record.hash] = len(parents)
        if not parents:
            ready.append(record.hash)
        for parent in parents:
            children.setdefault(parent, []).append(record.hash)
    heapq.heapify(ready)
    ordered: list[Record] = []
    while ready:
        hash_ = heapq.heappop(ready)
        ordered.append(held[hash_])
        for child in children.get(hash_, ()):
            missing[child] -= 1
            if missing[child] == 0:
                heapq.heappush(ready, child)
    return ordered

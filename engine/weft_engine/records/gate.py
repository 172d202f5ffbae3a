"""The causal gate: a record enters the journal after everything it depends on, or it waits.

Invariant: what is journaled is always the causal past of its frontier, and every journaled record
is covered by a verified signature of its chain. A record that comes before its past, or beyond the
last signed tip, is parked; parked is not acknowledged and has no position. Equal sets of records
offered in any order, split over any number of calls, end in the same journaled set.

Must never know: where records are stored, who sent them, what time it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from weft_engine.errors import MalformedRecord
from weft_engine.names import Incarnation, RecordHash
from weft_engine.records.envelope import Envelope, Record
from weft_engine.records.identity import SignatureItem
from weft_engine.records.sound import check_link


@dataclass(frozen=True, slots=True)
class Parked:
    """A record that waits. `covered`: a verified signature vouches for it. `item`: that signature,
    if this very record is the signed tip."""

    record: Record
    covered: bool
    item: SignatureItem | None


class Shelf(Protocol):
    """What the gate needs to know and may do, all inside one transaction."""

    def held(self, hashes: Iterable[RecordHash]) -> Mapping[RecordHash, Envelope]:
        """Those of the records that are journaled."""

    def waiting(self, hash_: RecordHash) -> Parked | None: ...

    def waiting_on(self, hash_: RecordHash) -> Sequence[RecordHash]:
        """Parked records that miss this one."""

    def park(self, parked: Parked, missing: Sequence[RecordHash]) -> bool:
        """Keep, or add to, a record that can't be journaled yet. False if there is no room."""

    def unpark(self, hash_: RecordHash) -> None: ...

    def append(self, record: Record) -> None: ...

    def sign(self, item: SignatureItem) -> None:
        """Keep the signature of a journaled tip."""


@dataclass(slots=True)
class Outcome:
    """What became of the offered records."""

    applied: list[Record] = field(default_factory=list)
    parked: list[RecordHash] = field(default_factory=list)
    missing: set[RecordHash] = field(default_factory=set)
    """Neither journaled nor parked: ask for them."""
    dropped: list[RecordHash] = field(default_factory=list)
    """Neither: the waiting room was full."""
    refused: list[tuple[RecordHash, MalformedRecord]] = field(default_factory=list)


def admit(shelf: Shelf, records: Sequence[Record], items: Sequence[SignatureItem]) -> Outcome:
    """Journal what can be journaled of sound `records`, with what waited for it; park the rest.

    `items` are verified signatures. Records that are known already are ignored.
    """
    return _Admission(shelf, records, items).run()


class _Admission:
    def __init__(
        self, shelf: Shelf, records: Sequence[Record], items: Sequence[SignatureItem]
    ) -> None:
        self._shelf = shelf
        self._items = {item.tip: item for item in items}
        named = {h for record in records for h in (record.hash, *record.envelope.parents)}
        named.update(self._items)
        self._held = dict(shelf.held(named))
        self._offered = {r.hash: r for r in records if r.hash not in self._held}
        self._covered: set[RecordHash] = set()
        self._outcome = Outcome()

    def run(self) -> Outcome:
        woken = self._cover()
        queue = deque(self._offered)
        queue.extend(h for h in woken if h not in self._offered)
        refused: set[RecordHash] = set()
        while queue:
            hash_ = queue.popleft()
            if hash_ in self._held or hash_ in refused:
                continue
            parked = self._find(hash_)
            if parked is None:
                continue
            missing = self._missing(parked.record)
            if missing or not parked.covered:
                if not self._shelf.park(parked, missing):
                    self._outcome.dropped.append(hash_)
                continue
            try:
                self._apply(parked)
            except MalformedRecord as error:
                refused.add(hash_)
                self._shelf.unpark(hash_)
                self._outcome.refused.append((hash_, error))
                continue
            queue.extend(self._shelf.waiting_on(hash_))
        for hash_, record in self._offered.items():
            if self._shelf.waiting(hash_) is not None:
                self._outcome.parked.append(hash_)
                self._outcome.missing.update(
                    h for h in self._missing(record) if self._shelf.waiting(h) is None
                )
        return self._outcome

    def _cover(self) -> list[RecordHash]:
        """Mark what the signatures vouch for; returns what they reach, tips last."""
        reached: list[RecordHash] = []
        for item in self._items.values():
            incarnation = item.incarnation
            tip = self._held.get(item.tip)
            if tip is not None:
                if tip.origin == incarnation:
                    self._shelf.sign(item)
                continue
            path: list[RecordHash] = []
            hash_: RecordHash | None = item.tip
            while hash_ is not None and hash_ not in self._covered:
                record = self._offered.get(hash_)
                if record is None:
                    waiting = self._shelf.waiting(hash_)
                    record = waiting.record if waiting is not None else None
                # A key vouches for its own chain only.
                if record is None or record.envelope.origin != incarnation:
                    break
                self._covered.add(hash_)
                path.append(hash_)
                hash_ = record.envelope.prev
            reached.extend(reversed(path))
        # A signature also reaches what comes after the covered record that it has to go through.
        reached_behind = {
            (record.envelope.prev, record.envelope.origin)
            for hash_, record in self._offered.items()
            if hash_ in self._covered
        }
        for hash_, record in reversed(self._offered.items()):
            chain = (hash_, record.envelope.origin)
            if hash_ not in self._covered and (
                chain in reached_behind or self._is_followed(*chain)
            ):
                self._covered.add(hash_)
                reached_behind.add((record.envelope.prev, record.envelope.origin))
        return reached

    def _is_followed(self, hash_: RecordHash, origin: Incarnation) -> bool:
        """Whether a covered record that waits stands behind it in its chain. Its origin has to be
        the same: a writer's signature vouches for no other writer's record."""
        children = [self._shelf.waiting(child) for child in self._shelf.waiting_on(hash_)]
        return any(
            child is not None
            and child.covered
            and child.record.envelope.prev == hash_
            and child.record.envelope.origin == origin
            for child in children
        )

    def _find(self, hash_: RecordHash) -> Parked | None:
        waiting = self._shelf.waiting(hash_)
        record = self._offered.get(hash_) or (waiting.record if waiting is not None else None)
        if record is None:
            return None
        item = self._items.get(hash_) or (waiting.item if waiting is not None else None)
        if item is not None and item.incarnation != record.envelope.origin:
            item = None
        covered = hash_ in self._covered or (waiting is not None and waiting.covered)
        return Parked(record, covered, item)

    def _missing(self, record: Record) -> list[RecordHash]:
        absent = [h for h in record.envelope.parents if h not in self._held]
        if absent:
            found = self._shelf.held(absent)
            self._held.update(found)
            absent = [h for h in absent if h not in found]
        return absent

    def _apply(self, parked: Parked) -> None:
        record = parked.record
        prev = record.envelope.prev
        check_link(record, self._held[prev] if prev is not None else None)
        for dep in record.envelope.deps:
            if self._held[dep].context != record.envelope.context:
                raise MalformedRecord(
                    f"record {record.hash.hex()[:16]} depends on a record of another context"
                )
        self._shelf.append(record)
        self._shelf.unpark(record.hash)
        if parked.item is not None:
            self._shelf.sign(parked.item)
        self._held[record.hash] = record.envelope
        self._outcome.applied.append(record)

"""The causal gate: a record enters the journal after everything it depends on, with the signature
that covers it, or it waits.

What is journaled of the records that are known (offered now, or parked before) is the greatest set
in which each record

 1. properly continues its chain, and depends on records of its own context only;
 2. has each of its parents in the journal or in the set;
 3. is a signed tip, or is followed in its chain by a record of the set. So the tip that covers it
    is journaled with it, with its signature, and whoever forwards it has what to vouch with.

That says nothing of order, so equal sets of records and signatures, offered in any order and split
over any number of calls, end in the same journaled set. Parked is not acknowledged and has no
position.

Finding that set must cost what a message brings, not what is parked. A parked record is *ready* if
a signature at it or behind it in its chain is known and each of its parents is journaled or ready.
Only ready records can be in the set, and how many of its parents keep a record from being ready is
counted as they come: each edge is walked once. What has changed is then looked for among ready
records only, from those that became ready or were signed just now, along the two ways in which one
can help another: to its children, and to the record before it in its chain. A record that is not
reached so has all its supports among others that are not reached, so nothing has changed for it.

Must never know: where records are stored, who sent them, what time it is.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from weft_engine.errors import MalformedRecord
from weft_engine.names import RecordHash
from weft_engine.records.envelope import Envelope, Record
from weft_engine.records.identity import SignatureItem
from weft_engine.records.sound import check_dependency, check_link


@dataclass(slots=True)
class Parked:
    """A record that waits; its payload stays where it is."""

    envelope: Envelope
    item: SignatureItem | None
    """A verified signature, if this very record is the signed tip."""
    is_covered: bool
    """A signature at it or behind it in its chain is known."""
    lacks: int
    """How many of its parents are neither journaled nor ready."""

    @property
    def is_ready(self) -> bool:
        return self.is_covered and self.lacks == 0


class Shelf(Protocol):
    """What the gate needs to know and may do, all inside one transaction."""

    @property
    def is_empty(self) -> bool:
        """Nothing is parked."""

    def held(self, hashes: Iterable[RecordHash]) -> Mapping[RecordHash, Envelope]:
        """Those of the records that are journaled."""

    def maximal(self, hash_: RecordHash) -> Envelope | None:
        """The envelope of a record that is journaled and that no journaled record has as a parent;
        None if it is not known, without looking far, to be one."""

    def waiting(self, hash_: RecordHash) -> Parked | None: ...

    def waiting_on(self, hash_: RecordHash) -> Sequence[RecordHash]:
        """Parked records that have this one, which is not journaled, as a parent."""

    def ready_on(self, hash_: RecordHash) -> Sequence[RecordHash]:
        """Those of them that were ready when they were kept."""

    def has_room(self, records: Sequence[Record]) -> bool:
        """Whether all these may be parked."""

    def park(self, record: Record, parked: Parked, parents: Sequence[RecordHash]) -> None:
        """Keep a record; `parents` are those that are not journaled."""

    def change(self, hash_: RecordHash, parked: Parked) -> None:
        """Keep what is known of a parked record now."""

    def unpark(self, hash_: RecordHash) -> Record:
        """Give a record back and forget that it waited."""

    def append(self, record: Record) -> None:
        """Journal a record that is not parked (any more)."""

    def sign(self, item: SignatureItem) -> None:
        """Keep the signature of a journaled tip, with its certificate."""

    def certify(self, item: SignatureItem) -> None:
        """Keep the certificate of a parked tip's incarnation: what it covers may be journaled by
        another signature."""


@dataclass(slots=True)
class Outcome:
    """What became of the offered records."""

    applied: list[Record] = field(default_factory=list)
    parked: list[RecordHash] = field(default_factory=list)
    missing: set[RecordHash] = field(default_factory=set)
    """Neither journaled nor parked: ask for them."""
    dropped: list[RecordHash] = field(default_factory=list)
    """Neither: the waiting room has no place for all that would have to wait."""
    refused: list[tuple[RecordHash, MalformedRecord]] = field(default_factory=list)


def admit(shelf: Shelf, records: Sequence[Record], items: Sequence[SignatureItem]) -> Outcome:
    """Journal what can be journaled of sound `records`, with what waited for it; park the rest.

    `items` are verified signatures, of records that are offered, parked or journaled. Records that
    are known already are ignored.
    """
    held: Mapping[RecordHash, Envelope] | None = _built_upon(shelf, records, items)
    if held is None:
        named = {h for record in records for h in (record.hash, *record.envelope.parents)}
        named.update(item.tip for item in items)
        held = shelf.held(named)
    offered = {record.hash: record for record in records if record.hash not in held}
    if shelf.is_empty:
        signed = _signed(offered, items)
        if _is_closed(held, offered, signed):
            outcome = Outcome()
            for record in offered.values():
                _append(shelf, record, signed.get(record.hash), outcome)
            _sign_held(shelf, held, items)
            return outcome
    admission = _Admission(shelf, held, offered, items)
    admission.find()
    if any(hash_ in offered for hash_, _ in admission.outcome.refused):
        # Of a message with something wrong in it nothing is stored.
        return Outcome(refused=admission.outcome.refused)
    dropped: list[RecordHash] = []
    if not shelf.has_room(admission.to_park):
        # Nothing that was concluded from them may be kept, so it is concluded without them.
        dropped = [record.hash for record in admission.to_park]
        left = {hash_: record for hash_, record in offered.items() if hash_ in admission.found}
        admission = _Admission(shelf, held, left, items)
        admission.find()
    admission.outcome.dropped = dropped
    admission.settle()
    _sign_held(shelf, held, items)
    return admission.outcome


def _built_upon(
    shelf: Shelf, records: Sequence[Record], items: Sequence[SignatureItem]
) -> dict[RecordHash, Envelope] | None:
    """What is journaled of all that a message names, if it only goes on from maximal records, as
    most do; None if that has to be looked up. A journaled record has its parents journaled, so
    what builds on a maximal record, or on what is not journaled, is not journaled."""
    held: dict[RecordHash, Envelope] = {}
    fresh: set[RecordHash] = set()
    for record in records:
        parents = record.envelope.parents
        if not parents or record.hash in fresh:
            return None
        for parent in parents:
            if parent not in fresh and parent not in held:
                maximal = shelf.maximal(parent)
                if maximal is None:
                    return None
                held[parent] = maximal
        fresh.add(record.hash)
    if any(item.tip not in fresh for item in items):
        return None
    return held


def _sign_held(
    shelf: Shelf, held: Mapping[RecordHash, Envelope], items: Sequence[SignatureItem]
) -> None:
    for item in items:
        tip = held.get(item.tip)
        if tip is not None and tip.origin == item.incarnation:
            shelf.sign(item)


def _signed(
    offered: Mapping[RecordHash, Record], items: Sequence[SignatureItem]
) -> dict[RecordHash, SignatureItem]:
    """By its tip each signature of an offered record by its own writer."""
    found: dict[RecordHash, SignatureItem] = {}
    for item in items:
        tip = offered.get(item.tip)
        if tip is not None and tip.envelope.origin == item.incarnation:
            found[item.tip] = item
    return found


def _is_closed(
    held: Mapping[RecordHash, Envelope],
    offered: Mapping[RecordHash, Record],
    signed: Mapping[RecordHash, SignatureItem],
) -> bool:
    """Whether all that is offered can be journaled as it comes: the usual case, found quickly."""
    covered: set[RecordHash | None] = set()
    for hash_, record in reversed(tuple(offered.items())):
        if hash_ not in signed and hash_ not in covered:
            return False
        covered.add(record.envelope.prev)
    known = dict(held)
    try:
        for hash_, record in offered.items():
            envelope = record.envelope
            if any(parent not in known for parent in envelope.parents):
                return False
            for parent in envelope.parents:
                _check(record.hash, envelope, parent, known[parent])
            known[hash_] = envelope
    except MalformedRecord:
        return False
    return True


def _check(hash_: RecordHash, envelope: Envelope, parent: RecordHash, of: Envelope) -> None:
    """MalformedRecord unless a record may have this parent."""
    if parent == envelope.prev:
        check_link(hash_, envelope, of)
    else:
        check_dependency(hash_, envelope, of)


def _append(shelf: Shelf, record: Record, item: SignatureItem | None, outcome: Outcome) -> None:
    shelf.append(record)
    if item is not None:
        shelf.sign(item)
    outcome.applied.append(record)


class _Admission:
    """One round: `find` decides and changes nothing on the shelf, `settle` does what was found."""

    def __init__(
        self,
        shelf: Shelf,
        held: Mapping[RecordHash, Envelope],
        offered: Mapping[RecordHash, Record],
        items: Sequence[SignatureItem],
    ) -> None:
        self._shelf = shelf
        self._held = held
        self._offered = offered
        self._items = items
        self._known: dict[RecordHash, Parked | None] = {}
        self._new: dict[RecordHash, Record] = {}
        """Offered, sound with all that is known, and not parked before."""
        self._followed_by: dict[RecordHash, list[RecordHash]] = defaultdict(list)
        """New records by their parents that are not journaled."""
        self._changed: set[RecordHash] = set()
        self._refused: list[RecordHash] = []
        self._certified: list[SignatureItem] = []
        self._begun: deque[RecordHash] = deque()
        """Signed just now, or ready just now and their children not told."""
        self._fresh: dict[RecordHash, None] = {}
        self.found: dict[RecordHash, Parked] = {}
        """What is journaled now, parents first."""
        self.outcome = Outcome()

    @property
    def to_park(self) -> list[Record]:
        return [record for hash_, record in self._new.items() if hash_ not in self.found]

    def find(self) -> None:
        for record in self._offered.values():
            self._register(record)
        for hash_ in tuple(self._new):
            self._check_links(hash_)
        for hash_, record in self._new.items():
            self._count(hash_, record)
        for item in self._items:
            if item.tip not in self._held:
                self._attach(item)
        for hash_ in self._new:
            self._inherit_cover(hash_)
        self._spread()
        self._choose(self._reach())

    def settle(self) -> None:
        for hash_ in self._refused:
            self._shelf.unpark(hash_)
        for item in self._certified:
            self._shelf.certify(item)
        for hash_, parked in self.found.items():
            record = self._new.get(hash_) or self._shelf.unpark(hash_)
            _append(self._shelf, record, parked.item, self.outcome)
        for record in self.to_park:
            kept = self._known[record.hash]
            assert kept is not None, "what is new is known"
            open_ = [h for h in self._open_parents(record.envelope) if h not in self.found]
            self._shelf.park(record, kept, open_)
        for hash_ in self._changed.difference(self.found, self._new):
            changed = self._known[hash_]
            if changed is not None:
                self._shelf.change(hash_, changed)
        for hash_, record in self._offered.items():
            if hash_ not in self.found and self._find(hash_) is not None:
                self.outcome.parked.append(hash_)
                self.outcome.missing.update(
                    h for h in self._open_parents(record.envelope) if self._find(h) is None
                )

    # ---- what is known ------------------------------------------------------------------------

    def _find(self, hash_: RecordHash) -> Parked | None:
        """A record that is parked, or new and going to be."""
        if hash_ not in self._known:
            self._known[hash_] = self._shelf.waiting(hash_)
        return self._known[hash_]

    def _children(self, hash_: RecordHash) -> Iterable[tuple[RecordHash, Parked]]:
        """Known records that have it as a parent."""
        for child in (*self._shelf.waiting_on(hash_), *self._followed_by.get(hash_, ())):
            parked = self._find(child)
            if parked is not None:
                yield child, parked

    def _open_parents(self, envelope: Envelope) -> list[RecordHash]:
        return [parent for parent in envelope.parents if parent not in self._held]

    def _register(self, record: Record) -> None:
        if self._find(record.hash) is None:
            self._new[record.hash] = record
            self._known[record.hash] = Parked(record.envelope, None, False, 0)
            for parent in self._open_parents(record.envelope):
                self._followed_by[parent].append(record.hash)

    def _check_links(self, hash_: RecordHash) -> None:
        """Refuse what does not fit to a record that has just become known, or this one."""
        parked = self._find(hash_)
        if parked is None:
            return
        envelope = parked.envelope
        for parent in envelope.parents:
            of = self._held.get(parent)
            known = self._find(parent) if of is None else None
            if of is not None or known is not None:
                self._check(hash_, envelope, parent, known.envelope if known else of)
        for child in self._shelf.waiting_on(hash_):
            waits = self._find(child)
            if waits is not None:
                self._check(child, waits.envelope, hash_, envelope)

    def _check(
        self, hash_: RecordHash, envelope: Envelope, parent: RecordHash, of: Envelope | None
    ) -> None:
        assert of is not None, "it was found"
        if self._known[hash_] is None:
            return
        try:
            _check(hash_, envelope, parent, of)
        except MalformedRecord as error:
            self.outcome.refused.append((hash_, error))
            self._known[hash_] = None
            # It waited for this parent, so nobody counts on it.
            if self._new.pop(hash_, None) is None:
                self._refused.append(hash_)

    # ---- ready --------------------------------------------------------------------------------

    def _count(self, hash_: RecordHash, record: Record) -> None:
        parked = self._known[hash_]
        assert parked is not None, "what is new is known"
        for parent in self._open_parents(record.envelope):
            of = self._find(parent)
            parked.lacks += of is None or not of.is_ready

    def _attach(self, item: SignatureItem) -> None:
        parked = self._find(item.tip)
        # A key vouches for its own chain only.
        if parked is None or item.incarnation != parked.envelope.origin:
            return
        if item.certificate is not None:
            self._certified.append(item)
        if parked.item is not None:
            return
        parked.item = item
        self._changed.add(item.tip)
        if parked.is_ready:
            self._fresh[item.tip] = None
        self._cover(item.tip)

    def _inherit_cover(self, hash_: RecordHash) -> None:
        """A new record may be what a signature that is known already has to go through."""
        for child in self._shelf.waiting_on(hash_):
            parked = self._find(child)
            if parked is not None and parked.is_covered and parked.envelope.prev == hash_:
                self._cover(hash_)
                return

    def _cover(self, at: RecordHash | None) -> None:
        """Walk a chain back from a signed record, to where another signature has come before."""
        while at is not None:
            parked = self._find(at)
            if parked is None or parked.is_covered:
                return
            parked.is_covered = True
            self._changed.add(at)
            if parked.is_ready:
                self._begun.append(at)
            at = parked.envelope.prev

    def _spread(self) -> None:
        """Tell the children of what is ready, and theirs."""
        while self._begun:
            hash_ = self._begun.popleft()
            self._fresh[hash_] = None
            for child, parked in self._children(hash_):
                parked.lacks -= 1
                self._changed.add(child)
                if parked.is_ready:
                    self._begun.append(child)

    # ---- the set ------------------------------------------------------------------------------

    def _reach(self) -> dict[RecordHash, Parked]:
        """The ready records for which something may have changed."""
        reached: dict[RecordHash, Parked] = {}
        queue = deque(self._fresh)
        while queue:
            hash_ = queue.popleft()
            parked = self._find(hash_)
            if hash_ in reached or parked is None:
                continue
            reached[hash_] = parked
            # Those that became ready just now stand in the queue already.
            queue.extend(self._shelf.ready_on(hash_))
            prev = parked.envelope.prev
            before = self._find(prev) if prev is not None and prev not in self._held else None
            if prev is not None and before is not None and before.item is None:
                queue.append(prev)
        return reached

    def _choose(self, reached: dict[RecordHash, Parked]) -> None:
        """The greatest set within what was reached: take away what can't be in it, and what that
        leaves without a parent or a cover, until nothing changes."""
        supports = {hash_: int(parked.item is not None) for hash_, parked in reached.items()}
        children: dict[RecordHash, list[RecordHash]] = defaultdict(list)
        parents: dict[RecordHash, int] = {}
        out: deque[RecordHash] = deque()
        for hash_, parked in reached.items():
            # A parent of a ready record that is not known here is journaled.
            open_ = [h for h in self._open_parents(parked.envelope) if self._find(h) is not None]
            parents[hash_] = len(open_)
            for parent in open_:
                children[parent].append(hash_)
            prev = parked.envelope.prev
            if prev is not None and prev in supports:
                supports[prev] += 1
            if any(parent not in reached for parent in open_):
                out.append(hash_)
        out.extend(hash_ for hash_, count in supports.items() if count == 0)
        gone: set[RecordHash] = set()
        while out:
            hash_ = out.popleft()
            if hash_ in gone:
                continue
            gone.add(hash_)
            out.extend(children[hash_])
            prev = reached[hash_].envelope.prev
            if prev is not None and prev in supports:
                supports[prev] -= 1
                if supports[prev] == 0:
                    out.append(prev)
        ready = deque(hash_ for hash_ in reached if hash_ not in gone and parents[hash_] == 0)
        while ready:
            hash_ = ready.popleft()
            self.found[hash_] = reached[hash_]
            for child in children[hash_]:
                parents[child] -= 1
                if parents[child] == 0 and child not in gone:
                    ready.append(child)

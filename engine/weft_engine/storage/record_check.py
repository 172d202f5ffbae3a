"""Checking the journal of one context: every record, every signature, and what is said of them.

One pass from the newest record to the oldest. Going backwards every child comes before its
parents, so what is still open at any moment (parents not met yet, chains not seen signed yet) is
as small as the context is wide, however long it is.
Must never know: events, indexes, who asks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from weft_engine.errors import MalformedRecord
from weft_engine.names import Incarnation, RecordHash
from weft_engine.records.digest import payload_digest
from weft_engine.records.envelope import Envelope, Kind, Record
from weft_engine.records.frontier import pack
from weft_engine.records.identity import SignatureItem
from weft_engine.records.sound import check_link, read_record
from weft_engine.storage.erasure_check import ErasureCheck
from weft_engine.storage.findings import Findings
from weft_engine.storage.ledger import ERASED, SKEWED

_ROWS = (
    "SELECT position, hash, envelope, payload, seq, flags, incarnation, public_key, signature"
    " FROM records LEFT JOIN origins ON origins.id = records.origin"
    " LEFT JOIN signatures USING (position)"
    " WHERE context = ? ORDER BY position DESC"
)


@dataclass(frozen=True, slots=True)
class ContextRow:
    """A row of `contexts` as it stands, not trusted: fields may hold anything."""

    id: int
    name: str
    frontier: Any
    records: Any
    position: Any
    hlc: Any
    projected: Any
    projected_frontier: Any


@dataclass(slots=True)
class Tally:
    """What was met so far, over all contexts."""

    records: int = 0
    signatures: int = 0
    unsigned: int = 0
    """Records of our own that no signature covers yet: the next link signs them."""
    erasures: int = 0
    erasures_pending: int = 0
    """Of these, what they name may still be in the file: the next open for writing removes it."""


def check_records(
    connection: sqlite3.Connection,
    row: ContextRow,
    own: frozenset[Incarnation],
    certified: frozenset[Incarnation],
    *,
    uncertified_upto: int,
    tally: Tally,
    findings: Findings,
    step: Callable[[], None],
) -> bool:
    """Whether the journal of this context is sound; what is wrong goes to `findings`. `own` are
    the incarnations whose seeds the store holds: the end of such a chain may be unsigned. Foreign
    records behind the position `uncertified_upto` are for `certified` ones. `step` is called for
    each record."""
    erased = ErasureCheck(connection, row.id, row.name)
    tally.erasures += erased.journaled
    tally.erasures_pending += erased.pending
    return _RecordCheck(row, own, certified, uncertified_upto, tally, findings, erased).run(
        connection, step
    )


@dataclass(slots=True)
class _RecordCheck:
    row: ContextRow
    own: frozenset[Incarnation]
    certified: frozenset[Incarnation]
    uncertified_upto: int
    tally: Tally
    findings: Findings
    erased: ErasureCheck
    wanted: dict[RecordHash, int] = field(default_factory=dict)
    """Parents not met yet, with the position of a child."""
    children: dict[RecordHash, list[Record]] = field(default_factory=dict)
    """By the hash of their prev; without their payloads."""
    covered: set[RecordHash] = field(default_factory=set)
    """Records not met yet that a signature further on in their chain vouches for."""
    frontier: list[RecordHash] = field(default_factory=list)
    count: int = 0
    newest: int = 0
    hlc: int = 0
    readable: bool = True

    def run(self, connection: sqlite3.Connection, step: Callable[[], None]) -> bool:
        before = self.findings.total
        for row in connection.execute(_ROWS, (self.row.id,)):
            self.tally.records += 1
            self.count += 1
            self.newest = max(self.newest, row[0])
            self._check(*row)
            step()
        if self.readable:
            self._check_end()
        else:
            self._find("frontier, signatures and index can't be checked: a record is unreadable")
        return self.findings.total == before

    def _check(
        self,
        position: int,
        hash_: Any,
        envelope_bytes: Any,
        payload: Any,
        seq: Any,
        flags: Any,
        origin: Any,
        public_key: Any,
        signature: Any,
    ) -> None:
        try:
            if type(envelope_bytes) is not bytes or type(payload) is not bytes:
                raise MalformedRecord("its envelope or payload is no blob")
            # Whatever the flag says: what an eraser proves is right, nothing else is.
            record = read_record(envelope_bytes, payload, erasures=self.erased.proofs(hash_, flags))
        except MalformedRecord as error:
            # What it depends on is not known now, so nothing can be said of its past.
            self.readable = False
            self._find(f"the record at position {position} is damaged: {error.message}", hash_)
            return
        envelope = record.envelope
        if hash_ != record.hash:
            self._find(
                f"the record at position {position} is stored under another hash", record.hash
            )
        if envelope.context != self.row.name:
            self._find(f"it belongs to context {envelope.context!r}", record.hash)
        if envelope.origin != origin:
            self._find("it is listed under another origin than its envelope names", record.hash)
        if envelope.seq != seq:
            self._find(f"it is listed as seq {seq!r}, its envelope says {envelope.seq}", hash_)
        self._check_erased(record, position, flags)
        if type(flags) is not int or not 0 <= flags <= SKEWED | ERASED:
            self._find(f"it has the unknown flags {flags!r}", record.hash)
        elif not flags & SKEWED:
            self.hlc = max(self.hlc, envelope.hlc)
        self._follow_links(record, position)
        self._follow_chain(record, position, public_key, signature)

    def _check_erased(self, record: Record, position: int, flags: Any) -> None:
        is_flagged = type(flags) is int and bool(flags & ERASED)
        is_original = payload_digest(record.payload) == record.envelope.payload_hash
        if is_flagged == is_original:
            said = "is" if is_flagged else "is not"
            self._find(f"it {said} marked as erased, and its payload says otherwise", record.hash)
        for what in self.erased.left_over(record, position):
            self._find(what, record.hash)

    def _follow_links(self, record: Record, position: int) -> None:
        if self.wanted.pop(record.hash, None) is None:
            self.frontier.append(record.hash)
        for child in self.children.pop(record.hash, ()):
            try:
                check_link(child.hash, child.envelope, record.envelope)
            except MalformedRecord as error:
                self._find(error.message, child.hash)
        for parent in record.envelope.parents:
            self.wanted.setdefault(parent, position)
        prev = record.envelope.prev
        if prev is not None:
            light = Record(record.hash, record.envelope, b"", b"")
            self.children.setdefault(prev, []).append(light)

    def _follow_chain(self, record: Record, position: int, public_key: Any, signature: Any) -> None:
        envelope = record.envelope
        covered = record.hash in self.covered
        self.covered.discard(record.hash)
        if signature is not None:
            self.tally.signatures += 1
            covered = self._is_signed(record.hash, envelope, public_key, signature) or covered
        needs = envelope.kind is Kind.FOREIGN and covered and position > self.uncertified_upto
        # Whoever wrote it gives its certificate with what it sends.
        if needs and envelope.origin not in self.certified and envelope.origin not in self.own:
            self._find("it is foreign, and no region has certified its writer", record.hash)
        if covered:
            if envelope.prev is not None:
                self.covered.add(envelope.prev)
        elif envelope.origin in self.own:
            self.tally.unsigned += 1
        else:
            self._find("no signature covers it", record.hash)

    def _is_signed(
        self, tip: RecordHash, envelope: Envelope, public_key: Any, signature: Any
    ) -> bool:
        if type(public_key) is not bytes or type(signature) is not bytes:
            self._find("its signature or the key of its origin is no blob", tip)
            return False
        item = SignatureItem(public_key, tip, signature)
        if item.incarnation != envelope.origin:
            self._find("the key of its origin is not the one its origin was made from", tip)
            return False
        try:
            item.verify()
        except MalformedRecord as error:
            self._find(error.message, tip)
            return False
        return True

    def _check_end(self) -> None:
        for parent, position in self.wanted.items():
            self._find(
                f"the record at position {position} depends on one that is not journaled before"
                " it in this context",
                parent,
            )
        row = self.row
        if row.frontier != pack(tuple(sorted(self.frontier))):
            self._find("its stored frontier is not that of its records")
        if row.records != self.count:
            self._find(f"it is said to have {row.records!r} records and has {self.count}")
        if row.position != self.newest:
            self._find(
                f"its newest record is said to be at {row.position!r} and is at {self.newest}"
            )
        if row.hlc != self.hlc.to_bytes(8, "big"):
            self._find("its stored hlc is not the highest of its records")

    def _find(self, what: str, record: Any = None) -> None:
        self.findings.add(
            what, context=self.row.name, record=record if type(record) is bytes else None
        )

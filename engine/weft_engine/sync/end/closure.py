"""Which records a message may hold, and which signatures it needs.

A message is closed if one of its signatures covers each of its records and nothing in it depends on
something that was left out. Must never know: peers, positions, bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from weft_engine.limits import RECORDS_PER_FRAME
from weft_engine.names import RecordHash
from weft_engine.records.envelope import Kind, Record
from weft_engine.records.identity import SignatureItem
from weft_engine.storage.ledger import Stored


def closed(stored: Sequence[Stored], items: Sequence[SignatureItem]) -> list[Stored]:
    """The most of `stored`, in its order, in which each record is covered by one of `items` whose
    tip is in it too, and no record depends on one that was left out."""
    left = list(stored)
    while True:
        covered = _covered(left, items)
        out: set[RecordHash] = {one.record.hash for one in stored if one.record.hash not in covered}
        kept: list[Stored] = []
        for one in left:
            if one.record.hash in out or not out.isdisjoint(one.record.envelope.parents):
                out.add(one.record.hash)
            else:
                kept.append(one)
        if len(kept) == len(left):
            return kept
        left = kept


def needed(stored: Sequence[Stored], items: Sequence[SignatureItem]) -> tuple[SignatureItem, ...]:
    """Of `items` those whose tips no later one covers within a frame's records: one for each
    chain, as a rule. So what one hop joins together no later hop finds too long to send. And that
    of each eraser, which later goes by itself beside what it erased."""
    by_tip = {item.tip: item for item in items}
    records = {one.record.hash: one.record for one in stored}
    covered: set[RecordHash] = set()
    found: list[SignatureItem] = []
    # Backwards: a chain's later tip stands behind the earlier ones.
    for one in reversed(stored):
        item = by_tip.get(one.record.hash)
        if item is None:
            continue
        if one.record.hash not in covered or one.record.envelope.kind is Kind.ERASE:
            found.append(item)
            _walk(item.tip, records, covered, records_max=RECORDS_PER_FRAME)
    return tuple(found)


def _covered(stored: Sequence[Stored], items: Sequence[SignatureItem]) -> set[RecordHash]:
    records = {one.record.hash: one.record for one in stored}
    covered: set[RecordHash] = set()
    for item in items:
        if item.tip in records:
            _walk(item.tip, records, covered, records_max=len(records))
    return covered


def _walk(
    tip: RecordHash,
    records: dict[RecordHash, Record],
    covered: set[RecordHash],
    *,
    records_max: int,
) -> None:
    hash_: RecordHash | None = tip
    while hash_ is not None and hash_ in records and hash_ not in covered and records_max > 0:
        records_max -= 1
        covered.add(hash_)
        hash_ = records[hash_].envelope.prev

"""An order of records that follows from the records alone: whatever way they came, it is the same.
Must never know: what records say.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from weft_engine.names import RecordHash
from weft_engine.records.envelope import Record


def in_own_order(records: Sequence[Record]) -> list[Record]:
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

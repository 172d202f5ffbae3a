"""Which records make up a context's document.

All of them, in causal order, but for the losing sides of equivocations. Of two records with one
(origin, seq) the one with the lower hash holds; the other is left out, with everything of its chain
behind it and every record that builds on its structs. Must never know: Yjs documents.
"""

from __future__ import annotations

from collections.abc import Sequence

from weft_engine.names import Incarnation, RecordHash
from weft_engine.records.envelope import Kind, Record
from weft_engine.records.identity import client_id
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.update import first_clocks, references


def replayed(records: Sequence[Record]) -> list[Record]:
    """Those of a context's `records`, in journal order, whose payloads the document holds."""
    losers = _losing_firsts(records)
    updates = [record for record in records if record.envelope.kind in (Kind.NATIVE, Kind.FOREIGN)]
    if not losers:
        return updates
    left_out: set[RecordHash] = set()
    tainted: dict[int, int] = {}
    """Client -> first clock that a left-out record gave out."""
    built_on_losers: set[RecordHash] = set()
    kept: list[Record] = []
    for record in records:
        envelope = record.envelope
        if not built_on_losers.isdisjoint(envelope.parents):
            built_on_losers.add(record.hash)
        loses = record.hash in losers or envelope.prev in left_out
        is_update = envelope.kind in (Kind.NATIVE, Kind.FOREIGN)
        if not loses and record.hash in built_on_losers and is_update:
            loses = _refers_to(record, tainted)
        if loses:
            left_out.add(record.hash)
            built_on_losers.add(record.hash)
            _taint(record, tainted)
        elif is_update:
            kept.append(record)
    return kept


def _losing_firsts(records: Sequence[Record]) -> set[RecordHash]:
    by_index: dict[tuple[Incarnation, int], list[RecordHash]] = {}
    for record in records:
        index = (record.envelope.origin, record.envelope.seq)
        by_index.setdefault(index, []).append(record.hash)
    return {hash_ for hashes in by_index.values() for hash_ in sorted(hashes)[1:]}


def _refers_to(record: Record, tainted: dict[int, int]) -> bool:
    """Whether it builds on what was left out. Its own chain is judged by `prev` alone."""
    own = client_id(record.envelope.origin, record.envelope.context)
    return any(
        client != own and client in tainted and clock >= tainted[client]
        for client, clock in references(read_update(record.payload))
    )


def _taint(record: Record, tainted: dict[int, int]) -> None:
    if record.envelope.kind in (Kind.NATIVE, Kind.FOREIGN):
        for client, clock in first_clocks(read_update(record.payload)).items():
            tainted[client] = min(clock, tainted.get(client, clock))

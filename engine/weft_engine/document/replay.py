"""Which records make up a context's document.

All of them, in causal order, but for the losing sides of equivocations. Of two records that follow
the same one in its chain the one with the lower hash holds; the other is left out, with everything
of its chain behind it and every record that builds on its structs. What stands behind them on
either side is not compared: one side holds whole. Both sides give out the same ids; who had the
side that holds in his past saw that one, as every replica does, and means its structs.
Must never know: Yjs documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from weft_engine.names import Incarnation, RecordHash
from weft_engine.records.envelope import Kind, Record
from weft_engine.records.identity import client_id
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.update import first_clocks, ranges, references


def replayed(records: Sequence[Record]) -> list[Record]:
    """Those of a context's `records`, in journal order, whose payloads the document holds."""
    losers = _losing_firsts(records)
    updates = [record for record in records if record.envelope.kind in (Kind.NATIVE, Kind.FOREIGN)]
    if not losers:
        return updates
    left_out: set[RecordHash] = set()
    tainted: dict[int, int] = {}
    """Client -> first clock that a left-out record gave out."""
    seen = _Seen({r.envelope.origin for r in records if r.hash in losers})
    built_on_losers: set[RecordHash] = set()
    kept: list[Record] = []
    for record in records:
        envelope = record.envelope
        if not built_on_losers.isdisjoint(envelope.parents):
            built_on_losers.add(record.hash)
        loses = record.hash in losers or envelope.prev in left_out
        is_update = envelope.kind in (Kind.NATIVE, Kind.FOREIGN)
        if not loses and record.hash in built_on_losers and is_update:
            loses = _refers_to(record, tainted, seen.by(record))
        if loses:
            left_out.add(record.hash)
            built_on_losers.add(record.hash)
            _taint(record, tainted)
        elif is_update:
            kept.append(record)
        seen.note(record, is_kept=not loses)
    return kept


class _Seen:
    """How much of the holding sides each record had in its past. Of an origin's chain the records
    that hold follow one another, so that is told by the clock where the last one ends."""

    def __init__(self, origins: set[Incarnation]) -> None:
        self._origins = origins
        self._ends: dict[RecordHash, dict[int, int]] = {}

    def by(self, record: Record) -> dict[int, int]:
        """By Yjs client, where it ends."""
        ends: dict[int, int] = {}
        for parent in record.envelope.parents:
            for client, end in self._ends.get(parent, _NOTHING).items():
                ends[client] = max(end, ends.get(client, 0))
        return ends

    def note(self, record: Record, *, is_kept: bool) -> None:
        ends = self.by(record)
        envelope = record.envelope
        if is_kept and envelope.kind is Kind.NATIVE and envelope.origin in self._origins:
            for client, spans in ranges(read_update(record.payload)).items():
                ends[client] = max(spans[-1][1], ends.get(client, 0))
        if ends:
            self._ends[record.hash] = ends


_NOTHING: Mapping[int, int] = {}


def _losing_firsts(records: Sequence[Record]) -> set[RecordHash]:
    following: dict[tuple[Incarnation, RecordHash | None], list[RecordHash]] = {}
    for record in records:
        place = (record.envelope.origin, record.envelope.prev)
        following.setdefault(place, []).append(record.hash)
    return {hash_ for hashes in following.values() for hash_ in sorted(hashes)[1:]}


def _refers_to(record: Record, tainted: dict[int, int], seen: Mapping[int, int]) -> bool:
    """Whether it builds on what was left out. Its own chain is judged by `prev` alone."""
    own = client_id(record.envelope.origin, record.envelope.context)
    return any(
        client != own and client in tainted and clock >= max(tainted[client], seen.get(client, 0))
        for client, clock in references(read_update(record.payload))
    )


def _taint(record: Record, tainted: dict[int, int]) -> None:
    if record.envelope.kind in (Kind.NATIVE, Kind.FOREIGN):
        for client, clock in first_clocks(read_update(record.payload)).items():
            tainted[client] = min(clock, tainted.get(client, clock))

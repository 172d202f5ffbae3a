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
from typing import Final

from weft_engine.names import Incarnation, RecordHash
from weft_engine.records.envelope import Kind, Record
from weft_engine.records.identity import client_id
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.update import first_clocks, ranges, references


def replayed(records: Sequence[Record]) -> list[Record]:
    """Those of a context's `records`, in journal order, whose payloads the document holds."""
    return Replay().begin(records)


class Replay:
    """Judges a context's records in journal order: `begin` with those that are there, `holds` for
    each that comes behind them."""

    def __init__(self) -> None:
        self._places: set[tuple[Incarnation, RecordHash | None]] = set()
        """Of all records: whose chain, and behind which of its records."""
        self._losers: set[RecordHash] = set()
        self._left_out: set[RecordHash] = set()
        self._tainted: dict[int, int] = {}
        """Client -> first clock that a left-out record gave out."""
        self._seen = _Seen(set())
        self._built_on_losers: set[RecordHash] = set()

    def begin(self, records: Sequence[Record]) -> list[Record]:
        """Those whose payloads the document holds."""
        self._losers = _losing_firsts(records)
        self._seen = _Seen({r.envelope.origin for r in records if r.hash in self._losers})
        self._places.update(map(_place, records))
        return [one for one in records if self._judge(one) and one.envelope.kind in _UPDATES]

    def holds(self, record: Record) -> bool | None:
        """Whether the next one holds. None if it is a side of an equivocation: this may reach back,
        so begin again, with it."""
        place = _place(record)
        if place in self._places:
            return None
        self._places.add(place)
        return self._judge(record)

    def leaves_out(self, record: RecordHash) -> bool:
        """Whether the document does not hold this one, nor whatever follows it in its chain."""
        return record in self._left_out

    def _judge(self, record: Record) -> bool:
        if not self._losers:
            return True
        envelope = record.envelope
        if not self._built_on_losers.isdisjoint(envelope.parents):
            self._built_on_losers.add(record.hash)
        loses = record.hash in self._losers or envelope.prev in self._left_out
        if not loses and record.hash in self._built_on_losers and envelope.kind in _UPDATES:
            loses = _refers_to(record, self._tainted, self._seen.by(record))
        if loses:
            self._left_out.add(record.hash)
            self._built_on_losers.add(record.hash)
            _taint(record, self._tainted)
        self._seen.note(record, is_kept=not loses)
        return not loses


_UPDATES: Final = (Kind.NATIVE, Kind.FOREIGN)


def _place(record: Record) -> tuple[Incarnation, RecordHash | None]:
    return record.envelope.origin, record.envelope.prev


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
        following.setdefault(_place(record), []).append(record.hash)
    return {hash_ for hashes in following.values() for hash_ in sorted(hashes)[1:]}


def _refers_to(record: Record, tainted: dict[int, int], seen: Mapping[int, int]) -> bool:
    """Whether it builds on what was left out. Its own chain is judged by `prev` alone."""
    own = client_id(record.envelope.origin, record.envelope.context)
    return any(
        client != own and client in tainted and clock >= max(tainted[client], seen.get(client, 0))
        for client, clock in references(read_update(record.payload))
    )


def _taint(record: Record, tainted: dict[int, int]) -> None:
    if record.envelope.kind in _UPDATES:
        for client, clock in first_clocks(read_update(record.payload)).items():
            tainted[client] = min(clock, tainted.get(client, clock))

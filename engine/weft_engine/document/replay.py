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
from dataclasses import dataclass
from typing import Final

from weft_engine.names import ClientId, Incarnation, RecordHash
from weft_engine.records.envelope import UPDATES, Kind, Record
from weft_engine.records.identity import client_id
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.update import first_clocks, ranges, references


def replayed(records: Sequence[Record]) -> list[Record]:
    """Those of a context's `records`, in journal order, whose payloads the document holds."""
    return Replay().begin(records)


@dataclass(frozen=True, slots=True)
class _Past:
    """By Yjs client, of a record and what it has in its past: the first clock that is given by what
    is left out, and where the last one ends of what holds."""

    left: Mapping[int, int]
    held: Mapping[int, int]


_NOTHING: Final = _Past({}, {})


class Replay:
    """Judges a context's records in journal order: `begin` with those that are there, `holds` for
    each that comes behind them."""

    def __init__(self) -> None:
        self._places: set[tuple[Incarnation, RecordHash | None]] = set()
        """Of all records: whose chain, and behind which of its records."""
        self._losers: set[RecordHash] = set()
        self._left_out: set[RecordHash] = set()
        self._contested: set[int] = set()
        """The Yjs clients of which something is left out: only of these is known what holds."""
        self._found: set[int] = set()
        """Those that the records so far give."""
        self._pasts: dict[RecordHash, _Past] = {}

    def begin(self, records: Sequence[Record]) -> list[Record]:
        """Those whose payloads the document holds."""
        self._losers = _losing_firsts(records)
        self._places.update(map(_place, records))
        if self._losers:
            # Without knowing what holds, too much is left out: so no other client can follow.
            for record in records:
                self._judge(record)
            self._contested = self._found
            self._found, self._left_out, self._pasts = set(), set(), {}
        return [one for one in records if self._judge(one) and one.envelope.kind in UPDATES]

    def holds(self, record: Record) -> bool | None:
        """Whether the next one holds. None if it is a side of an equivocation, or the first of a
        Yjs client that is left out: this may reach back, so begin again, with it."""
        place = _place(record)
        if place in self._places:
            return None
        self._places.add(place)
        is_held = self._judge(record)
        return is_held if self._found <= self._contested else None

    def leaves_out(self, record: RecordHash) -> bool:
        """Whether the document does not hold this one, nor whatever follows it in its chain."""
        return record in self._left_out

    def _judge(self, record: Record) -> bool:
        if not self._losers:
            return True
        envelope = record.envelope
        past = self._past(record)
        is_update = envelope.kind in UPDATES
        loses = record.hash in self._losers or envelope.prev in self._left_out
        if not loses and is_update and past.left:
            loses = _refers_to(record, past)
        if loses:
            self._left_out.add(record.hash)
        if is_update:
            past = self._with(past, record, is_left=loses)
        if past is not _NOTHING:
            self._pasts[record.hash] = past
        return not loses

    def _past(self, record: Record) -> _Past:
        found = {id(past): past for p in record.envelope.parents if (past := self._pasts.get(p))}
        pasts = list(found.values())
        if len(pasts) < 2:
            return pasts[0] if pasts else _NOTHING
        left, held = dict(pasts[0].left), dict(pasts[0].held)
        for past in pasts[1:]:
            _lower(left, past.left)
            _raise(held, past.held)
        return _Past(left, held)

    def _with(self, past: _Past, record: Record, *, is_left: bool) -> _Past:
        envelope = record.envelope
        if is_left:
            first = first_clocks(read_update(record.payload))
            self._found.update(first)
            left = dict(past.left)
            _lower(left, first)
            return _Past(left, past.held)
        if not self._contested:
            return past
        if (
            envelope.kind is Kind.NATIVE
            and client_id(envelope.origin, envelope.context) not in self._contested
        ):
            return past
        spans = ranges(read_update(record.payload))
        contested = [client for client in spans if client in self._contested]
        ends: dict[int, int] = {client: spans[client][-1][1] for client in contested}
        if not ends:
            return past
        held = dict(past.held)
        _raise(held, ends)
        return _Past(past.left, held)


def _place(record: Record) -> tuple[Incarnation, RecordHash | None]:
    return record.envelope.origin, record.envelope.prev


def _losing_firsts(records: Sequence[Record]) -> set[RecordHash]:
    following: dict[tuple[Incarnation, RecordHash | None], list[RecordHash]] = {}
    for record in records:
        following.setdefault(_place(record), []).append(record.hash)
    return {hash_ for hashes in following.values() for hash_ in sorted(hashes)[1:]}


def _refers_to(record: Record, past: _Past) -> bool:
    """Whether it builds on what was left out. Its own chain is judged by `prev` alone."""
    own = client_id(record.envelope.origin, record.envelope.context)
    update = read_update(record.payload)
    brought = ranges(update)
    return any(
        client != own
        and client in past.left
        and clock >= max(past.left[client], past.held.get(client, 0))
        and not any(first <= clock < end for first, end in brought.get(client, ()))
        for client, clock in references(update)
    )


def _lower(clocks: dict[int, int], others: Mapping[ClientId, int] | Mapping[int, int]) -> None:
    for client, clock in others.items():
        clocks[client] = min(clock, clocks.get(client, clock))


def _raise(clocks: dict[int, int], others: Mapping[int, int]) -> None:
    for client, clock in others.items():
        clocks[client] = max(clock, clocks.get(client, clock))

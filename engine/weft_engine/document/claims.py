"""Who gives which clocks, and whose word counts where several records give the same ones.

Tabs of a browser tell each other what they write, so the same structs can reach two relays and
stand in two records. As long as they say the same it does not matter which one comes first. They
do not if one of them was erased: its stand-in gives the clocks and holds nothing. And whoever
knows a store's Yjs client id can claim its clocks before it has used them. So what a record gives
has a weight: what one lighter than another says of the same clocks counts as not said. Then a
document follows from the set of its records and not from their order.

What weighs the same may still say something else: that is seen where it is held against the
document (`assembly`). Must never know: documents.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from operator import itemgetter

from weft_engine.names import ClientId
from weft_engine.records.envelope import Kind as RecordKind
from weft_engine.records.envelope import Record
from weft_engine.records.identity import client_id
from weft_engine.yjs.update import Kind, Update


class Weight(IntEnum):
    CLOCKS = 0
    """Nothing but the clocks, in a blank or where something was collected."""
    PLACE = 1
    """Where something stood that was erased: others find their places by it."""
    WORDS = 2
    """What stands there, or that it stood there and was deleted."""
    OWN = 3
    """The same, by the store whose client id it is."""


_BARE = {Kind.GC: Weight.CLOCKS, Kind.DELETED: Weight.PLACE}
Run = tuple[int, int, Weight]
"""(first clock, end, weight)."""
Ranges = Mapping[ClientId, list[tuple[int, int]]]
"""Per client (first clock, end), ascending and apart."""
_end = itemgetter(1)


@dataclass(frozen=True, slots=True)
class Outweighed:
    """What of one record counts as not said: `hollow`, where it holds nothing itself, and `words`,
    where it does; of these only where each client's end."""

    hollow: Ranges
    words: Mapping[ClientId, int]


@dataclass(slots=True)
class Claims:
    """Of a set of records. `is_contested`: some give the same clocks with different weights."""

    is_contested: bool = False
    _runs: dict[ClientId, list[Run]] = field(default_factory=dict)
    """What weighs most, ascending and apart."""

    def add(self, record: Record, update: Update) -> bool:
        """Count in a record that says `update`. Whether it outweighs what was there before."""
        outweighs = False
        for client, runs in _weighed(record, update).items():
            known = self._runs.setdefault(client, [])
            for run in runs:
                if not known or known[-1][1] <= run[0]:
                    _append(known, run)
                elif self._add_among(known, run):
                    outweighs = True
        return outweighs

    def meets(self, update: Update) -> bool:
        """Whether an update gives clocks again."""
        return any(
            _overlapping(
                self._runs.get(struct.client, []), struct.clock, struct.clock + struct.length
            )
            for struct in update.structs
            if struct.kind is not Kind.SKIP
        )

    def outweighed(self, record: Record, update: Update) -> Outweighed | None:
        """What of a record, counted in before, others outweigh; None if nothing."""
        if not self.is_contested:
            return None
        hollow: dict[ClientId, list[tuple[int, int]]] = {}
        words: dict[ClientId, int] = {}
        for client, runs in _weighed(record, update).items():
            known = self._runs[client]
            for first, end, weight in runs:
                for start, stop, most in _overlapping(known, first, end):
                    if most > weight and weight >= Weight.WORDS:
                        words[client] = max(stop, words.get(client, 0))
                    elif most > weight:
                        hollow.setdefault(client, []).append((start, stop))
        return Outweighed(hollow, words) if hollow or words else None

    def counted(self, record: Record, update: Update) -> dict[ClientId, list[tuple[int, int]]]:
        """Per client the clocks of a record, counted in before, of which nobody says more."""
        counted: dict[ClientId, list[tuple[int, int]]] = {}
        for client, runs in _weighed(record, update).items():
            counted[client] = [
                (start, stop)
                for first, end, weight in runs
                for start, stop, most in _overlapping(self._runs[client], first, end)
                if most == weight
            ]
        return counted

    def _add_among(self, known: list[Run], run: Run) -> bool:
        first, end, weight = run
        met = _overlapping(known, first, end)
        lighter = any(most < weight for _, _, most in met)
        if lighter or any(most > weight for _, _, most in met):
            self.is_contested = True
        # Cut what is met out of `known`, and put in what weighs most, piece by piece.
        low = bisect_right(known, first, key=_end)
        high = low
        pieces: list[Run] = []
        at = first
        while high < len(known) and known[high][0] < end:
            start, stop, most = known[high]
            if start < first:
                _append(pieces, (start, first, most))
            elif at < start:
                _append(pieces, (at, start, weight))
            _append(pieces, (max(start, first), min(stop, end), max(most, weight)))
            if stop > end:
                _append(pieces, (end, stop, most))
            at = stop
            high += 1
        if at < end:
            _append(pieces, (at, end, weight))
        known[low:high] = pieces
        return lighter


def _append(runs: list[Run], run: Run) -> None:
    if runs and runs[-1][1:] == (run[0], run[2]):
        runs[-1] = (runs[-1][0], run[1], run[2])
    else:
        runs.append(run)


def _overlapping(known: list[Run], first: int, end: int) -> list[Run]:
    """The parts of `known` between these clocks."""
    found: list[Run] = []
    at = bisect_right(known, first, key=_end)
    while at < len(known) and known[at][0] < end:
        start, stop, weight = known[at]
        found.append((max(start, first), min(stop, end), weight))
        at += 1
    return found


def _weighed(record: Record, update: Update) -> dict[ClientId, list[Run]]:
    """What a record gives, per client, ascending."""
    envelope, own = record.envelope, -1
    if envelope.kind is RecordKind.NATIVE:
        own = client_id(envelope.origin, envelope.context)
    deletes: dict[ClientId, list[tuple[int, int]]] | None = None
    found: dict[ClientId, list[Run]] = {}
    for struct in update.structs:
        kind = struct.kind
        if kind is Kind.SKIP:
            continue
        runs = found.setdefault(struct.client, [])
        first, end = struct.clock, struct.clock + struct.length
        words = Weight.OWN if struct.client == own else Weight.WORDS
        weight = _BARE.get(kind, words)
        if weight is not Weight.PLACE:
            _append(runs, (first, end, weight))
            continue
        # What was deleted says so among the deletes; what was erased does not.
        if deletes is None:
            deletes = _joined(update)
        for start, stop in deletes.get(struct.client, ()):
            if stop > first and start < end:
                if first < start:
                    _append(runs, (first, start, weight))
                _append(runs, (max(first, start), min(end, stop), words))
                first = min(end, stop)
        if first < end:
            _append(runs, (first, end, weight))
    return found


def _joined(update: Update) -> dict[ClientId, list[tuple[int, int]]]:
    """The deletes per client, ascending and apart."""
    joined: dict[ClientId, list[tuple[int, int]]] = {}
    for client, clock, length in sorted(update.deletes):
        of_client = joined.setdefault(client, [])
        if of_client and of_client[-1][1] >= clock:
            of_client[-1] = (of_client[-1][0], max(of_client[-1][1], clock + length))
        else:
            of_client.append((clock, clock + length))
    return joined

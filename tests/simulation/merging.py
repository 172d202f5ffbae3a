"""All that records say, merged into one update before a document sees any of it.

A stand-in repeats clocks that another record gives, with nothing in them, when a Yjs client had
said again what was erased and more, or two relays heard the same. `merge_updates` knows no order
and may take the nothing instead of the words. So of where a record holds nothing only those clocks
are merged at which no other holds more.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pycrdt

from weft_engine.names import ClientId
from weft_engine.records.envelope import Record
from weft_engine.yjs.stand_in import Anatomy
from weft_engine.yjs.update import Id, Kind

_NOTHING, _PLACE, _WORDS = range(3)


def merged(records: Iterable[Record]) -> bytes:
    """Of records of updates, in whatever order."""
    return pycrdt.merge_updates(*without_hollow(records))


def without_hollow(records: Iterable[Record]) -> list[bytes]:
    """The payloads; those that give clocks again at which others hold more, without these."""
    some = [Anatomy.of(record.payload) for record in records]
    seams = _seams(some)
    holds: dict[Id, int] = {}
    for anatomy in some:
        for client, clock, _, much in _held(anatomy, seams):
            holds[client, clock] = max(much, holds.get((client, clock), 0))
    payloads: list[bytes] = []
    for anatomy in some:
        hollow: dict[ClientId, list[tuple[int, int]]] = {}
        for client, clock, end, much in _held(anatomy, seams):
            if much < holds[client, clock]:
                hollow.setdefault(client, []).append((clock, end))
        payloads.append(anatomy.skipping(hollow) if hollow else anatomy.data)
    return payloads


def _seams(some: Sequence[Anatomy]) -> dict[ClientId, list[int]]:
    """Per client the clocks at which anything begins or ends, ascending."""
    found: dict[ClientId, set[int]] = {}
    for anatomy in some:
        for struct in anatomy.update.structs:
            ends = (struct.clock, struct.clock + struct.length)
            found.setdefault(struct.client, set()).update(ends)
        for client, clock, length in anatomy.update.deletes:
            found.setdefault(client, set()).update((clock, clock + length))
    return {client: sorted(clocks) for client, clocks in found.items()}


def _held(
    anatomy: Anatomy, seams: Mapping[ClientId, list[int]]
) -> Iterator[tuple[ClientId, int, int, int]]:
    """What an update holds from seam to seam: (client, first clock, end, how much)."""
    update = anatomy.update
    for struct in update.structs:
        client, kind = struct.client, struct.kind
        if kind is Kind.SKIP:
            continue
        clocks = seams[client]
        at = bisect_left(clocks, struct.clock)
        while clocks[at] < struct.clock + struct.length:
            first, end = clocks[at], clocks[at + 1]
            much = _NOTHING if kind is Kind.GC else _WORDS
            if kind is Kind.DELETED and not any(
                whose == client and start <= first < start + length
                for whose, start, length in update.deletes
            ):
                much = _PLACE
            yield client, first, end, much
            at += 1

"""What of an update a document can take in now, and what the rest of it waits for.

A Yjs document may hold structs that it can't show, because what they build on has not reached it;
whatever it says of itself holds them, too. Must never know: documents, records, who says it.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Container, Mapping
from dataclasses import dataclass

from weft_engine.names import ClientId
from weft_engine.yjs.lib0 import var_uint
from weft_engine.yjs.reader import read_deletes, read_struct
from weft_engine.yjs.splitting import Section, read_sections
from weft_engine.yjs.update import Id, Kind, Struct


@dataclass(frozen=True, slots=True)
class Ready:
    """`data`: an update of what can be taken in. `lacks`: per client the first clock up to which
    everything must be there before more can be. `left`: how many structs have to wait."""

    data: bytes
    lacks: Mapping[ClientId, int]
    left: int


def ready_part(
    data: bytes, known: Mapping[ClientId, int], withheld: Container[ClientId] = ()
) -> Ready:
    """What of a sound update builds on what it brings itself and on `known`, the ends of unbroken
    rows of clocks. Of `withheld` clients nothing new is taken."""
    sections, end = read_sections(data)
    walk = _Walk(data, known, withheld)
    walk.take(sections)
    pieces = [b""]
    for section in sections:
        if section.at:
            pieces += (
                var_uint(section.at),
                var_uint(section.client),
                var_uint(section.clocks[0]),
                data[section.offsets[0] : section.offsets[section.at]],
            )
    pieces[0] = var_uint(len(pieces) // 4)
    left = sum(len(section.clocks) - 1 - section.at for section in sections)
    return Ready(b"".join((*pieces, walk.deletes(end))), walk.lacks(), left)


class _Walk:
    """Each section stops at the first struct that has to wait, and goes on once that need not."""

    def __init__(
        self, data: bytes, known: Mapping[ClientId, int], withheld: Container[ClientId]
    ) -> None:
        self._data = data
        self._known = known
        self._withheld = withheld
        self._brought: dict[ClientId, int] = {}
        self._waiting: dict[ClientId, list[tuple[int, int]]] = {}
        """Heaps of (needed clock, number of a section)."""

    def take(self, sections: list[Section]) -> None:
        ready = deque(range(len(sections)))
        while ready:
            number = ready.popleft()
            section = sections[number]
            wanted = self._go_on(section)
            if wanted is not None:
                heapq.heappush(self._waiting.setdefault(wanted[0], []), (wanted[1], number))
            heap = self._waiting.get(section.client)
            while heap and heap[0][0] <= self._end(section.client):
                ready.append(heapq.heappop(heap)[1])

    def deletes(self, start: int) -> bytes:
        """Of the deletes that begin at `start` those of what is there."""
        of_client: dict[ClientId, list[bytes]] = {}
        for client, clock, length in read_deletes(self._data, start)[0]:
            end = self._end(client)
            if clock < end:
                some = of_client.setdefault(client, [])
                some.append(var_uint(clock) + var_uint(min(length, end - clock)))
            if clock + length > end:
                heapq.heappush(self._waiting.setdefault(client, []), (clock + length, -1))
        pieces = [var_uint(len(of_client))]
        for client, some in of_client.items():
            pieces += (var_uint(client), var_uint(len(some)), *some)
        return b"".join(pieces)

    def lacks(self) -> dict[ClientId, int]:
        return {client: heap[0][0] for client, heap in self._waiting.items() if heap}

    def _end(self, client: ClientId) -> int:
        return self._brought.get(client) or self._known.get(client, 0)

    def _go_on(self, section: Section) -> Id | None:
        """Pass what can be passed; the client and the clock up to which the next one needs it."""
        client, offsets, clocks = section.client, section.offsets, section.clocks
        while section.at < len(clocks) - 1:
            at = section.at
            struct, _, _, _ = read_struct(self._data, offsets[at], client, clocks[at])
            wanted = self._awaited(struct, clocks[at + 1])
            if wanted is not None:
                return wanted
            if clocks[at + 1] > self._end(client):
                self._brought[client] = clocks[at + 1]
            section.at += 1
        return None

    def _awaited(self, struct: Struct, upto: int) -> Id | None:
        client, end = struct.client, self._end(struct.client)
        if struct.clock > end:
            return client, struct.clock
        if upto > end and (struct.kind is Kind.SKIP or client in self._withheld):
            return client, upto
        for wanted in (struct.origin, struct.right_origin, struct.parent):
            if isinstance(wanted, tuple) and wanted[1] >= self._end(wanted[0]):
                return wanted[0], wanted[1] + 1
        return None

"""A set of elements of a document, as ranges of the clocks of its clients, that shrinks.

Must never know: what the elements are, who asks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from math import inf

from weft_engine.names import ClientId


class Elements:
    """Of each client the ranges (first clock, end), ascending and apart."""

    def __init__(self, some: Iterable[tuple[ClientId, int, int]]) -> None:
        """From (client, first clock, length) in any order; they may overlap."""
        self._ranges: dict[ClientId, list[tuple[int, int]]] = {}
        for client, clock, length in sorted(some):
            ranges = self._ranges.setdefault(client, [])
            if ranges and clock <= ranges[-1][1]:
                ranges[-1] = (ranges[-1][0], max(ranges[-1][1], clock + length))
            else:
                ranges.append((clock, clock + length))

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __len__(self) -> int:
        """How many ranges."""
        return sum(map(len, self._ranges.values()))

    def has_of(self, client: ClientId) -> bool:
        return client in self._ranges

    def take(self, client: ClientId, first: int, end: int) -> None:
        """Leave out the elements of a client from `first` on, `end` not among them."""
        ranges = self._ranges.get(client)
        if ranges is None or first >= end:
            return
        low = bisect_right(ranges, (first, inf))
        if low and ranges[low - 1][1] > first:
            low -= 1
        high = bisect_right(ranges, (end - 1, inf))
        if low >= high:
            return
        edges = ((ranges[low][0], first), (end, ranges[high - 1][1]))
        ranges[low:high] = [edge for edge in edges if edge[0] < edge[1]]
        if not ranges:
            del self._ranges[client]

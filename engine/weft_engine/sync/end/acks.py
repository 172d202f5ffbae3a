"""Acknowledgements that have not left: as many as there are gaps between them, however long the
peer does not read.

Must never know: frames' bytes, what is acknowledged.
"""

from __future__ import annotations

from bisect import bisect_left

from weft_engine.names import Position
from weft_engine.sync.framing.messages import Ack


class Acks:
    def __init__(self) -> None:
        self._runs: list[tuple[int, int]] = []
        """Ascending, with a gap between each two."""
        self._regions: dict[str, Position] = {}
        self.is_empty = True

    def add(self, ack: Ack) -> None:
        """To be sent; of serials of which none is here."""
        first, last = ack.first, ack.last
        self._regions.update(ack.regions)
        at = bisect_left(self._runs, (first, last))
        if at < len(self._runs) and self._runs[at][0] == last + 1:
            last = self._runs.pop(at)[1]
        if at and self._runs[at - 1][1] == first - 1:
            at -= 1
            first = self._runs.pop(at)[0]
        self._runs.insert(at, (first, last))
        self.is_empty = False

    def take(self) -> list[Ack]:
        """All of them, with the newest position of each region; they leave now."""
        regions = tuple(self._regions.items())
        taken = [Ack(first, last, regions) for first, last in self._runs]
        self.clear()
        return taken

    def clear(self) -> None:
        self._runs = []
        self._regions = {}
        self.is_empty = True

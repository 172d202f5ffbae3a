"""Which structs belong to a root type, although most of them do not name it.

A struct with an origin has no parent in its bytes: it belongs where its origin does, and a struct
in a nested type where that type does. So the elements that are known to belong are kept, and
updates are taken in causal order. Where two writers gave out the same clocks (the sides of an
equivocation) what builds on either counts as belonging. Must never know: what a root is for.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from math import inf

from weft_engine.yjs.update import Id, Struct, Update


class Belonging:
    def __init__(self, root: str) -> None:
        self._root = root
        self._ranges: dict[int, list[tuple[int, float]]] = {}
        """Of each client (first clock, end), ascending and apart."""

    @property
    def is_empty(self) -> bool:
        """Nothing has been met that belongs: only a struct that names the root can be next."""
        return not self._ranges

    def take(self, update: Update) -> list[int]:
        """The indices of the update's structs that belong. It comes behind all it refers to."""
        found: list[int] = []
        left = list(enumerate(update.structs))
        while True:
            missed: list[tuple[int, Struct]] = []
            for index, struct in left:
                if self._belongs(struct):
                    found.append(index)
                    self._add(struct)
                else:
                    missed.append((index, struct))
            # A client's structs may come before those of another that they refer to.
            if len(missed) == len(left):
                return sorted(found)
            left = missed

    def _belongs(self, struct: Struct) -> bool:
        if struct.parent == self._root:
            return True
        links = (struct.origin, struct.right_origin, struct.parent)
        return any(isinstance(link, tuple) and self._has(link) for link in links)

    def _has(self, link: Id) -> bool:
        client, clock = link
        ranges = self._ranges.get(client)
        if ranges is None:
            return False
        at = bisect_right(ranges, (clock, inf)) - 1
        return at >= 0 and clock < ranges[at][1]

    def _add(self, struct: Struct) -> None:
        ranges = self._ranges.setdefault(struct.client, [])
        first, end = struct.clock, float(struct.clock + struct.length)
        if ranges and ranges[-1][1] == first:
            ranges[-1] = (ranges[-1][0], end)
        elif not self._has((struct.client, first)) or not self._has(
            (struct.client, struct.clock + struct.length - 1)
        ):
            insort(ranges, (first, end))

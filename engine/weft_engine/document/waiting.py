"""Updates that point to what a document does not have yet: they wait here, not in yrs.

The journal is in causal order, so for honest writers there are none. yrs would keep them by itself
and apply them when something else comes; if it panics then, nobody knows whose doing it was.

Invariant: an update is let through once every clock that it needs is known, and `known` is the end
of an unbroken row of clocks per client. So what is let through in the end does not depend on the
order in which updates came. Must never know: records' envelopes, documents.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count

from weft_engine.names import ClientId
from weft_engine.records.envelope import Record
from weft_engine.yjs.update import Update, ranges, references

_NOTHING: Mapping[ClientId, int] = {}


@dataclass(slots=True)
class Waiting:
    record: Record
    update: Update
    open: int = 0
    """Clients of which it needs more than is known."""
    again: Mapping[ClientId, int] = field(default_factory=dict)
    """When it was let through: of which clients it gives clocks again, and the end of those that
    were known."""


@dataclass(slots=True)
class WaitingRoom:
    known: dict[ClientId, int] = field(default_factory=dict)
    """Per client: all clocks below this are there."""
    waiting: dict[int, Waiting] = field(default_factory=dict)
    _by_client: dict[ClientId, list[tuple[int, int]]] = field(default_factory=dict)
    """Heaps of (needed clock, number in `waiting`)."""
    _numbers: count[int] = field(default_factory=count)

    def enter(
        self, record: Record, update: Update, *, behind: Mapping[ClientId, int] = _NOTHING
    ) -> list[Waiting]:
        """What can be applied now, in this order: `record` and what waited for it; nothing if it
        has to wait itself. It also waits for all clocks below those of `behind`."""
        new = Waiting(record, update)
        number = next(self._numbers)
        wanted = needs(update)
        for client, end in behind.items():
            wanted[client] = max(end, wanted.get(client, 0))
        for client, needed in wanted.items():
            if self.known.get(client, 0) < needed:
                heapq.heappush(self._by_client.setdefault(client, []), (needed, number))
                new.open += 1
        if new.open:
            self.waiting[number] = new
            return []
        free = [new]
        self._follow(free)
        return free

    def lacks(self, update: Update) -> bool:
        """Whether it would have to wait."""
        return any(self.known.get(client, 0) < end for client, end in needs(update).items())

    def bring(self, update: Update) -> list[Waiting]:
        """An update that lacks nothing has come: what can be applied behind it, in this order."""
        free: list[Waiting] = []
        self._let_through(update, free)
        self._follow(free)
        return free

    def _follow(self, free: list[Waiting]) -> None:
        """Add what waited for nothing but what is there already."""
        for ready in free:
            ready.again = self._let_through(ready.update, free)

    def _let_through(self, update: Update, free: list[Waiting]) -> Mapping[ClientId, int]:
        """Note what `update` brings, and add to `free` what waited for nothing else. What of it
        was known: the end per client."""
        again: dict[ClientId, int] = {}
        for client, of_client in ranges(update).items():
            known = self.known.get(client, 0)
            if of_client[0][0] < known:
                again[client] = known
            end = of_client[-1][1]
            if end <= known:
                continue
            self.known[client] = end
            heap = self._by_client.get(client)
            while heap and heap[0][0] <= end:
                _, number = heapq.heappop(heap)
                self.waiting[number].open -= 1
                if not self.waiting[number].open:
                    free.append(self.waiting.pop(number))
        return again or _NOTHING


def needs(update: Update) -> dict[ClientId, int]:
    """Per client, up to where its clocks must be known before the update can be applied whole."""
    brings = ranges(update)
    needs = {client: of_client[-1][0] for client, of_client in brings.items()}
    pointed = [(client, clock + 1) for client, clock in references(update)]
    pointed += [(client, clock + length) for client, clock, length in update.deletes]
    for client, end in pointed:
        own = brings.get(client)
        if (own is None or end > own[-1][1]) and end > needs.get(client, 0):
            needs[client] = end
    return needs

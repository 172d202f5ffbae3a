"""The line in which links stand that are sent what they have to catch up with.

Served in turn, all that come at once would have everything when the last one has it. So whoever
began first is served first, and a few at a time, as fast as they read: half of them have everything
in half the time, and the last no later. Nobody waits for one who does not read: what it was given
counts for LEASE_S only. Two things keep the line fair: every second step may be the first of
somebody, so whoever lacks little never waits for who lacks much; and who was served for long goes
to the end.

Must never know: records, links, what a step is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Final

from weft_engine.limits import STEPS_PER_PLACE
from weft_engine.sync.driving.turns import begin

STEPS_PER_TURN: Final = 16
"""Of a turn of the event loop: of some 0.1 ms each, and of less than a millisecond."""
LEASES: Final = 8
"""Links that are on a further step at once: enough that one of them is always there to be served
while the others read."""
LEASE_S: Final = 0.01
"""How long a step takes at most, as far as others have to wait for it."""


class Place:
    """Where a link stands, from its first step until it has caught up."""

    __slots__ = ("number", "steps")

    def __init__(self, number: int) -> None:
        self.number = number
        self.steps = 0
        """Since it came, or went to the end."""


class Line:
    """One for the links of one event loop. Of each at most one step waits at a time."""

    def __init__(self) -> None:
        self._numbers = count()
        self._steps = 0
        """In this turn of the event loop."""
        self._is_planned = False
        self._timer: asyncio.TimerHandle | None = None
        self._first: dict[Callable[[], None], None] = {}
        """In their order: of those that have had no step yet."""
        self._further: list[tuple[int, Place, Callable[[], None]]] = []
        """A heap, by the numbers of places."""
        self._leased: dict[Place, float] = {}
        """Until when further steps count that are not over, in their order."""

    def place(self) -> Place:
        """At its end."""
        return Place(next(self._numbers))

    def step(self, place: Place, go_on: Callable[[], None]) -> None:
        """Call `go_on` when it is its turn; now, if there is time. The step is over when the next
        one is asked for, or at `leave`."""
        self._leased.pop(place, None)
        if place.steps == STEPS_PER_PLACE:
            place.number, place.steps = next(self._numbers), 1
        if place.steps == 0:
            self._first[go_on] = None
        else:
            heappush(self._further, (place.number, place, go_on))
        place.steps += 1
        self._serve()

    async def turn(self, place: Place) -> None:
        """Return when it is its turn."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.step(place, partial(begin, turn))
        if not turn.done():
            await turn

    def leave(self, place: Place) -> None:
        """It has caught up."""
        if self._leased.pop(place, None) is not None:
            self._serve()

    # ---- inside -------------------------------------------------------------------------------

    def _serve(self) -> None:
        """Whose turn it is, as long as there is time."""
        first, further = self._first, self._further
        while first or further:
            if self._steps == STEPS_PER_TURN:
                self._plan()
                return
            has_lease = bool(further) and self._has_lease()
            if first and not (has_lease and self._steps % 2):
                go_on = next(iter(first))
                del first[go_on]
            elif has_lease:
                _, place, go_on = heappop(further)
                self._leased[place] = asyncio.get_running_loop().time() + LEASE_S
            else:
                self._wait()
                return
            self._steps += 1
            self._plan()
            go_on()

    def _has_lease(self) -> bool:
        if len(self._leased) < LEASES:
            return True
        place, until_s = next(iter(self._leased.items()))
        if asyncio.get_running_loop().time() < until_s:
            return False
        del self._leased[place]
        return True

    def _plan(self) -> None:
        """Look again in the next turn of the event loop."""
        if not self._is_planned:
            self._is_planned = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._is_planned = False
        self._steps = 0
        self._serve()

    def _wait(self) -> None:
        """Look again when the oldest step counts no more."""
        if self._timer is None:
            until_s = next(iter(self._leased.values()))
            self._timer = asyncio.get_running_loop().call_at(until_s, self._timed, until_s)

    def _timed(self, until_s: float) -> None:
        self._timer = None
        # A loop may call a little early; whoever was waited for counts no more.
        for place in [one for one, its_s in self._leased.items() if its_s <= until_s]:
            del self._leased[place]
        self._serve()

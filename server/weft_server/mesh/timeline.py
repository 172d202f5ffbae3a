"""When this store's journal grew: how long ago a record came in that a peer has not yet.

Kept in memory, for as far back as its bound allows: the older it is, the coarser. Time is an
argument. Must never know: links, clocks, records.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from weft_engine.names import Position

STEP_S: Final = 0.005
"""What comes within this counts as come together."""
STEPS_MAX: Final = 4096
"""With more, every second one of the older half goes."""


class Timeline:
    """`began`: what the journal held at `now_s`, when this began; what is older is as old as that,
    at least. `known`: when the first record behind a position came, as far as that is remembered.
    Seconds are of any clock that does not step back."""

    def __init__(
        self, began: Position, now_s: float, known: Iterable[tuple[Position, float]] = ()
    ) -> None:
        self._lasts: list[int] = []
        """The last position of each step,"""
        self._times: list[float] = []
        """and when the first of it came."""
        came_s: float | None = None
        for upto, since_s in sorted(known):
            since_s = min(since_s, now_s) if came_s is None else min(max(since_s, came_s), now_s)
            if upto < began and (not self._lasts or upto > self._lasts[-1]):
                self._lasts.append(upto)
                self._times.append(since_s if came_s is None else came_s)
                came_s = since_s
        self._lasts.append(int(began))
        self._times.append(now_s if came_s is None else came_s)

    def grew(self, upto: Position, now_s: float) -> None:
        """The journal's newest record has this position now."""
        if upto <= self._lasts[-1]:
            return
        if len(self._lasts) > 1 and now_s - self._times[-1] < STEP_S:
            self._lasts[-1] = upto
            return
        self._lasts.append(upto)
        self._times.append(now_s)
        if len(self._lasts) > STEPS_MAX:
            self._thin()

    @property
    def head(self) -> Position:
        return Position(self._lasts[-1])

    def waits_s(self, held: Position, now_s: float) -> float:
        """How long the oldest record behind `held` has been here; 0 if there is none."""
        if held >= self._lasts[-1]:
            return 0.0
        return max(0.0, now_s - self._times[bisect_right(self._lasts, held)])

    def _thin(self) -> None:
        """The first step stays, and of each two others the earlier time with the later end."""
        half = STEPS_MAX // 2
        old_lasts, old_times = self._lasts[1 : half + 1], self._times[1 : half + 1]
        self._lasts[1 : half + 1] = old_lasts[1::2]
        self._times[1 : half + 1] = old_times[::2]

"""The wall clock of a replica: what the machine says, corrected by what a relay said.

Must never know: records, links.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from weft_engine.limits import (
    CLOCK_JUMP_MS_MAX,
    CLOCK_OFFSET_MS_MIN,
    CLOCK_SKEW_MS_MAX,
    CLOCK_STEP_BACK_MS_MAX,
)

_PLAUSIBLE: Final = range(1_672_531_200_000, 1 << 47)
"""Milliseconds since 1970. A clock in front of 2023 shows a time at which there was no Weft, so it
is wrong, whatever else is; one behind the year 6429 would use up the bits of the hybrid clock."""


class WallClock:
    """`monotonic_ms` never steps and stands still while the machine is suspended; without it,
    jumps of the wall clock are not noticed."""

    def __init__(
        self, now_ms: Callable[[], int], monotonic_ms: Callable[[], int] | None = None
    ) -> None:
        self._now_ms = now_ms
        self._monotonic_ms = monotonic_ms
        self._offset_ms = 0
        self._is_corrected = False
        self._drift_ms = self._corrected_at_ms = self._drift()

    def now_ms(self) -> int:
        """Milliseconds since 1970, as far as that is known."""
        return max(0, self._now_ms() + self._offset_ms)

    def correct(self, relay_ms: int) -> None:
        """Go by the clock of a relay, which shows `relay_ms` just now."""
        if relay_ms not in _PLAUSIBLE:
            return
        offset_ms = relay_ms - self._now_ms()
        self._offset_ms = offset_ms if abs(offset_ms) >= CLOCK_OFFSET_MS_MIN else 0
        self._is_corrected = True
        self._corrected_at_ms = self._drift()

    def has_jumped(self) -> bool:
        """Whether the wall clock has gone another way than the monotonic one since this was asked
        before: the machine was suspended, or set back to a snapshot, or the clock was set. What a
        relay said about it before is void then."""
        before, self._drift_ms = self._drift_ms, self._drift()
        if abs(self._drift_ms - before) <= CLOCK_JUMP_MS_MAX:
            return False
        if abs(self._drift_ms - self._corrected_at_ms) > CLOCK_JUMP_MS_MAX:
            self._offset_ms = 0
            self._is_corrected = False
        return True

    def latest_ms(self) -> int | None:
        """A time behind this one is one that some clock showed wrongly, and is not followed. None
        while our own clock is the wrong one for sure.

        Once a relay has said what time it is, that is close by. Before, a clock that stands behind
        what is written may as well have been set back: that is bridged, up to a month.
        """
        now = self.now_ms()
        if now not in _PLAUSIBLE:
            return None
        return now + (CLOCK_SKEW_MS_MAX if self._is_corrected else CLOCK_STEP_BACK_MS_MAX)

    def _drift(self) -> int:
        return 0 if self._monotonic_ms is None else self._now_ms() - self._monotonic_ms()

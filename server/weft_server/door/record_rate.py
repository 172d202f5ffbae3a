"""How fast the bearers of one token may bring records: so many a second, and a burst.

A bucket that may be overdrawn: who takes more than is in it gets it, and is told how long to wait
before it goes on. So a message of any size passes, and the rate holds in the long run. Time is an
argument. Must never know: links, tokens, clocks.
"""

from __future__ import annotations


class RecordRate:
    """`per_s` records a second, and up to `burst` at once."""

    def __init__(self, *, per_s: float, burst: float, now_s: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = float(burst)
        self._at_s = now_s

    def take(self, records: int, now_s: float) -> float:
        """Count these records in; how many seconds to wait before they are let in. `now_s`: any
        clock that does not step back."""
        self._fill(now_s)
        self._left -= records
        return max(0.0, -self._left / self._per_s)

    def try_take(self, records: int, now_s: float) -> bool:
        """Count these in if anything is left; otherwise they are to be passed over."""
        self._fill(now_s)
        if self._left <= 0:
            return False
        self._left -= records
        return True

    def give_back(self, records: int) -> None:
        """What was counted in did not come."""
        self._left = min(self._burst, self._left + records)

    def is_full(self, now_s: float) -> bool:
        """Nothing would be lost by forgetting this."""
        self._fill(now_s)
        return self._left >= self._burst

    def _fill(self, now_s: float) -> None:
        passed_s = max(0.0, now_s - self._at_s)
        self._at_s = max(self._at_s, now_s)
        self._left = min(self._burst, self._left + passed_s * self._per_s)

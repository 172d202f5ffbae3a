"""The hybrid logical clock: wall time where possible, always rising.

After Kulkarni et al., "Logical Physical Clocks", 2014, in the compact form: one integer of 48 bits
of milliseconds and 16 bits of counter. Must never know: where the time comes from.
"""

from __future__ import annotations

from weft_engine.names import Hlc

COUNTER_BITS = 16
HLC_MAX = Hlc((1 << 64) - 1)


def hlc_ms(hlc: Hlc) -> int:
    """The milliseconds since 1970 that `hlc` stands for."""
    return hlc >> COUNTER_BITS


class HybridClock:
    """Gives each HLC once. A wall clock that steps back only makes the counter run."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last = Hlc(0)

    def tick(self, now_ms: int) -> Hlc:
        """A new HLC, above all that were given or observed, and not below `now_ms`."""
        self.last = Hlc(max(self.last + 1, now_ms << COUNTER_BITS))
        if self.last > HLC_MAX:
            raise OverflowError("the hybrid clock has run out of its 64 bits")
        return self.last

    def observe(self, hlc: Hlc) -> None:
        """From now on stay above `hlc`, which another writer used."""
        self.last = max(self.last, hlc)

"""Signs of life: when to send one, and when the peer has been silent for too long.

Must never know: what time it is, what is sent.
"""

from __future__ import annotations

from enum import Enum, auto

from weft_engine.limits import HEARTBEAT_MS, LINK_DEAD_MS

_TICK_MS_MAX = 5_000


class Beat(Enum):
    NONE = auto()
    DUE = auto()
    """Nothing was sent for a while: send a heartbeat."""
    DEAD = auto()
    """Nothing was heard for too long."""


class Pulse:
    """Set `was_heard` and `has_sent` as it happens; `tick` measures from tick to tick."""

    def __init__(self) -> None:
        self.was_heard = False
        self.has_sent = False
        self.silent_ms = 0
        self._quiet_ms = 0
        self._ticked_ms: int | None = None

    def tick(self, now_ms: int) -> Beat:
        """`now_ms` is of any clock that never steps back."""
        # A gap between two ticks is our own: nobody listened, so it does not count as silence.
        passed = 0 if self._ticked_ms is None else min(now_ms - self._ticked_ms, _TICK_MS_MAX)
        self._ticked_ms = now_ms
        self.silent_ms = 0 if self.was_heard else self.silent_ms + passed
        self._quiet_ms = 0 if self.has_sent else self._quiet_ms + passed
        self.was_heard = self.has_sent = False
        if self.silent_ms >= LINK_DEAD_MS:
            return Beat.DEAD
        if self._quiet_ms >= HEARTBEAT_MS:
            self._quiet_ms = 0
            return Beat.DUE
        return Beat.NONE

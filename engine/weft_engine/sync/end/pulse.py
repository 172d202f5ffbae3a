"""Signs of life: when to send one, and when the peer has been silent for too long, or has not given
the answer that everything else waits for.

Must never know: what time it is, what is sent.
"""

from __future__ import annotations

from enum import Enum, auto

from weft_engine.limits import ANSWER_MS, HEARTBEAT_MS, LINK_DEAD_MS, LIVE_QUIET_MS

_TICK_MS_MAX = 5_000


class Beat(Enum):
    NONE = auto()
    DUE = auto()
    """Nothing was sent for a while: send a heartbeat."""
    DEAD = auto()
    """Nothing was heard for too long, or not what is awaited."""


class Pulse:
    """Set `was_heard` and `has_sent` as it happens; `tick` measures from tick to tick."""

    def __init__(self) -> None:
        self.was_heard = False
        self.has_sent = False
        self.why = ""
        """What the peer has not done, once it is dead."""
        self._silent_ms = 0
        self._awaited: str | None = None
        self._awaited_ms = 0
        self._quiet_ms = 0
        self._ticked_ms: int | None = None

    @property
    def is_quiet(self) -> bool:
        """Nothing was heard for longer than heartbeats leave between them."""
        return self._silent_ms >= LIVE_QUIET_MS

    def tick(self, now_ms: int, awaited: str | None) -> Beat:
        """`now_ms` is of any clock that never steps back. `awaited`: without which message of the
        peer nothing goes on."""
        # A gap between two ticks is our own: nobody listened, so it does not count as silence.
        passed = 0 if self._ticked_ms is None else min(now_ms - self._ticked_ms, _TICK_MS_MAX)
        self._ticked_ms = now_ms
        self._silent_ms = 0 if self.was_heard else self._silent_ms + passed
        self._awaited_ms = self._awaited_ms + passed if awaited == self._awaited else 0
        self._awaited = awaited
        self._quiet_ms = 0 if self.has_sent else self._quiet_ms + passed
        self.was_heard = self.has_sent = False
        if self._silent_ms >= LINK_DEAD_MS:
            self.why = f"nothing was heard for {self._silent_ms} ms"
            return Beat.DEAD
        if awaited is not None and self._awaited_ms >= ANSWER_MS:
            self.why = f"no {awaited} came for {self._awaited_ms} ms, and nothing goes on without"
            return Beat.DEAD
        if self._quiet_ms >= HEARTBEAT_MS:
            self._quiet_ms = 0
            return Beat.DUE
        return Beat.NONE

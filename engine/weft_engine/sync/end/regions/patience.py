"""How long a link waits for what its peer was asked for, before others may be asked.

What came and waits here for its turn is not the peer's delay. Nor is a machine that stood still:
what came meanwhile is only read after that. Must never know: frames, what time it is.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from weft_engine.limits import (
    ASKED_BYTES_PER_S,
    ASKED_IDLE_MS,
    ASKED_IDLE_STEP_MS,
    ASKED_STILL_MS,
)
from weft_engine.names import ContextName, RecordHash


class Arriving(Protocol):
    """What the peer announced and has not come (`sync.end.incoming`)."""

    def held(self, hashes: Collection[RecordHash], /) -> None: ...

    def is_awaited(self, context: ContextName, /) -> bool: ...

    @property
    def is_taking(self) -> bool:
        """Something came and waits here."""


class Patience:
    def __init__(self, arriving: Arriving) -> None:
        self._arriving = arriving
        self._idle_ms = 0
        """For how long nothing came, as far as anything could be heard."""
        self._slow_ms = 0
        """For how long little came of what the peer was asked for."""
        self._brought_bytes = 0
        """Of that, since the last tick."""
        self._ticked_ms: int | None = None

    def heard(self) -> None:
        """Something came of what the peer was asked for, or about it."""
        self._idle_ms = 0

    def brought(self, size: int) -> None:
        """So many bytes of what the peer was asked for are journaled, and were new."""
        self._brought_bytes += size

    def tick(self, now_ms: int) -> int:
        """What has passed of the peer's time since the last tick."""
        since_ms = 0 if self._ticked_ms is None else now_ms - self._ticked_ms
        self._ticked_ms = now_ms
        passed_ms = min(since_ms, ASKED_IDLE_STEP_MS)
        is_quick = self._brought_bytes * 1000 >= ASKED_BYTES_PER_S * max(passed_ms, 1)
        self._brought_bytes = 0
        self._slow_ms = 0 if is_quick else self._slow_ms + passed_ms
        self._idle_ms = 0 if self._arriving.is_taking else self._idle_ms + passed_ms
        return passed_ms

    @property
    def is_slow(self) -> bool:
        """It has brought little for as long as a context may be still."""
        return self._slow_ms >= ASKED_STILL_MS

    def is_over(self) -> bool:
        """Whether nothing came for so long that others may be asked; then it begins again."""
        is_over = self._idle_ms >= ASKED_IDLE_MS
        if is_over:
            self._idle_ms = 0
        return is_over

"""What goes to many links at once, written one right behind the other.

Whoever reads several of them, on one machine or behind one proxy, sleeps again when it has read
one and the next takes a while to be made ready; and to wake it costs the write that does more than
the write itself. So some are made ready first, and then written.

Invariant: what waits here is written before anything else is written to any link, and before the
call of the event loop that put it here returns. Must never know: sessions, frames.
"""

from __future__ import annotations

from collections.abc import Callable

from weft_engine.limits import LINKS_PER_BURST
from weft_engine.sync.driving.transport import Ready

Failed = Callable[[BaseException], None]


class Burst:
    """Shared by the links of a store."""

    def __init__(self) -> None:
        self._writes: list[tuple[Ready, Failed]] = []

    def add(self, ready: Ready, failed: Failed) -> None:
        """Write this, and call `failed` if that raises, once enough is together."""
        self._writes.append((ready, failed))
        if len(self._writes) >= LINKS_PER_BURST:
            self.end()

    def end(self) -> None:
        """Write what waits."""
        if self._writes:
            writes, self._writes = self._writes, []
            for (write, frame), failed in writes:
                try:
                    write(frame)
                except Exception as error:  # noqa: BLE001 - it ends this link, and no other
                    failed(error)

"""Who waits for something to become true of a link.

Must never know: frames, stores, why it becomes true.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from weft_engine.sync.end.ending import End


class Waiting:
    """`end` says how the link ended, once it has. `is_waited_for` is told when somebody begins to
    wait, and when nobody waits any more."""

    def __init__(
        self, end: Callable[[], End | None], is_waited_for: Callable[[bool], None]
    ) -> None:
        self._end = end
        self._is_waited_for = is_waited_for
        self._waiters: dict[asyncio.Event, None] = {}
        self._wishes: list[tuple[Callable[[], bool], Callable[[], None]]] = []

    async def until(self, holds: Callable[[], bool], *, timeout: float | None) -> None:
        """Wait until it holds. TimeoutError, LinkLost or LinkRefused if that does not come."""
        changed = asyncio.Event()
        self._waiters[changed] = None
        self._is_waited_for(True)
        try:
            async with asyncio.timeout(timeout):
                while not holds():
                    end = self._end()
                    if end is not None:
                        raise end.error
                    changed.clear()
                    await changed.wait()
        finally:
            del self._waiters[changed]
            if not self._waiters:
                self._is_waited_for(False)

    @property
    def has_any(self) -> bool:
        """Whether somebody waits in `until`."""
        return bool(self._waiters)

    def when(self, holds: Callable[[], bool], then: Callable[[], None]) -> None:
        """Call `then` once it holds after a change; never, if the link ends before."""
        self._wishes.append((holds, then))

    def changed(self) -> None:
        """Something may hold now."""
        for waiter in self._waiters:
            waiter.set()
        if not self._wishes or self._end() is not None:
            return
        wishes, self._wishes = self._wishes, []
        for holds, then in wishes:
            if holds():
                then()
            else:
                self._wishes.append((holds, then))

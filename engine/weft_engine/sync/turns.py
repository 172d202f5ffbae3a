"""Turns: in which order the links of a relay have their messages inspected and written.

A small message is inspected at once. Large ones (a device that brings back a day offline) wait for
their turn: a link's next one stands behind those of all other links, and two are under way at a
time, so that one is inspected while the one before is written. So whoever writes a line waits for
a step of others and a commit, not for all that others bring. Must never know: records, links.
"""

from __future__ import annotations

import asyncio
from typing import Final

_AT_ONCE: Final = 2


class Turns:
    """Shared by the links of one event loop."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def wait(self) -> None:
        """Return when it is the caller's turn, which lasts until it calls `end`."""
        await self._free.acquire()

    def end(self) -> None:
        self._free.release()

"""Whether a connection can be written to: an event of asyncio that takes little memory while nobody
waits for it, which is nearly always.

Must never know: sockets.
"""

from __future__ import annotations

import asyncio
from typing import Literal


class Writable:
    """As `asyncio.Event`, set at first."""

    __slots__ = ("_event", "_is_set")

    def __init__(self) -> None:
        self._is_set = True
        self._event: asyncio.Event | None = None

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        if self._event is not None:
            self._event.set()
            self._event = None

    def clear(self) -> None:
        self._is_set = False

    async def wait(self) -> Literal[True]:
        """Return when it is set, or was since this was called."""
        if not self._is_set:
            if self._event is None:
                self._event = asyncio.Event()
            await self._event.wait()
        return True

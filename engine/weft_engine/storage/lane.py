"""Where the writer works beside the event loop: a thread of its own.

A seam: what runs commits on the loop itself, at moments of its choosing, can stand in for the
thread. Must never know: what is run.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Protocol, TypeVarTuple

Ts = TypeVarTuple("Ts")


class Lane(Protocol):
    """Runs one thing after the other. Made on the event loop that it answers to."""

    def run(self, work: Callable[[], None], /) -> None:
        """Call `work` soon, after everything that was given before; called on the loop."""

    def answer(self, deliver: Callable[[*Ts], None], /, *arguments: *Ts) -> None:
        """Call `deliver` on the loop, after everything that was answered before; called by
        work."""

    async def end(self) -> None:
        """Return when everything given is done; nothing is given after that."""


class ThreadLane:
    """The lane of a store in use: a thread that starts with the first work."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._given: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(self, work: Callable[[], None], /) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._go, name="weft-storage", daemon=True)
            self._thread.start()
        self._given.put(work)

    def answer(self, deliver: Callable[[*Ts], None], /, *arguments: *Ts) -> None:
        self._loop.call_soon_threadsafe(deliver, *arguments)

    async def end(self) -> None:
        if self._thread is not None:
            self._given.put(None)
            await self._loop.run_in_executor(None, self._thread.join)

    def _go(self) -> None:
        while (work := self._given.get()) is not None:
            work()

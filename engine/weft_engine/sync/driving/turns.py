"""Turns: in which order the links of a relay have their messages inspected and written, and are
sent what they have to catch up with.

A small message is inspected at once, as long as there is time for it in this turn of the event
loop; those for which there was none come first in the next one, a link after the other. Large
messages (a device that brings back a day offline) take more than a step and wait for each other: a
link's next one stands behind those of all other links, and is begun when the one before is written:
threads share one interpreter, so to inspect one meanwhile takes as long, and twice as long does the
commit take that whoever writes a line waits for. So that waits for a few steps of others and a
commit, not for all that others bring. Must never know: records, links.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

_STEPS_PER_TURN: Final = 16
"""Of less than a millisecond each."""


class Turns:
    """Shared by the links of one event loop. `large_at_once`: large messages under way; two, where
    nobody else waits for a commit, hide how slow a disk is."""

    def __init__(self, *, steps: int = _STEPS_PER_TURN, large_at_once: int = 1) -> None:
        self._steps_max = steps
        """In a turn of the event loop."""
        self._large = asyncio.Semaphore(large_at_once)
        self._steps = 0
        self._is_planned = False
        self._later: dict[Callable[[], None], None] = {}

    def may_step(self) -> bool:
        """Whether there is time for a step in this turn of the event loop."""
        if self._steps >= self._steps_max:
            return False
        self._steps += 1
        self._plan()
        return True

    @property
    def is_crowded(self) -> bool:
        """Whether others wait for a step."""
        return bool(self._later)

    def later(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` when there is time again, behind all that wait for it already."""
        self._later[go_on] = None
        self._plan()

    async def step(self) -> None:
        """Return when there is time for a step."""
        if self.may_step():
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.later(partial(begin, turn))
        await turn

    async def wait(self) -> None:
        """Return when it is the turn of a large message, which lasts until `end`."""
        await self._large.acquire()

    def end(self) -> None:
        self._large.release()

    def _plan(self) -> None:
        if not self._is_planned:
            self._is_planned = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        """A new turn of the event loop."""
        self._is_planned = False
        self._steps = 0
        for go_on in tuple(self._later)[: self._steps_max]:
            del self._later[go_on]
            go_on()
        if self._later:
            self._plan()


def begin(turn: asyncio.Future[None]) -> None:
    """Let who waits for its turn go on; nothing if it waits no more."""
    if not turn.done():
        turn.set_result(None)

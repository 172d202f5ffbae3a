"""When the connections of a server may hand over what is long to read.

Must never know: sockets, what messages mean.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from weft_engine.limits import KIB

_TURN_BYTES: Final = 128 * KIB
"""Of large messages, from all connections, in one turn of the event loop: some 2 ms."""


class LargeMessages:
    """How many bytes of large messages may still come in this turn of the event loop, and whose
    wait for a later one. Shared by the connections of one server: when fifty devices bring back
    what they wrote, one after the other is heard, and small messages go past them."""

    def __init__(self) -> None:
        self._left = _TURN_BYTES
        self._is_planned = False
        self._is_turn = False
        self._waiting: deque[Callable[[], None]] = deque()

    def may_come(self, size: int) -> bool:
        """Whether a message is to be handed over now."""
        if self._left <= 0 or (self._waiting and not self._is_turn):
            return False
        self._left -= size
        self._plan()
        return True

    def later(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` in a later turn, behind all that wait already."""
        self._waiting.append(go_on)
        self._plan()

    def _plan(self) -> None:
        if not self._is_planned:
            self._is_planned = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._is_planned = False
        self._left = _TURN_BYTES
        self._is_turn = True
        try:
            while self._waiting and self._left > 0:
                self._waiting.popleft()()
        finally:
            self._is_turn = False
        if self._waiting:
            self._plan()

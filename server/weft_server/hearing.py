"""What comes over a websocket: told to a hearer in the call that brought it, or kept, bounded,
until it is received.

Must never know: frames' meaning, who of the two ends has dialled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

from weft_engine.limits import INBOX_BYTES
from weft_engine.sync.driving.transport import CLOSED, Hearer

TEXT_CODE: Final = 1003
"""What a websocket is closed with whose peer says something that is not binary."""


class Readable(Protocol):
    """A connection that can be told to take nothing more from the system."""

    def hold_reading(self) -> None: ...

    def go_on_reading(self) -> None: ...


class Hearing:
    """The receiving half of a `DirectTransport`, and a `ConnectionUser` but for texts."""

    def __init__(self, connection: Readable) -> None:
        self._reading = connection
        self._hearer: Hearer | None = None
        self._inbox: deque[bytes] | None = None
        self.inbox_bytes = 0
        self._has_come: asyncio.Event | None = None
        self._is_paused = False
        self._has_ended = False
        self._why_ended = CLOSED

    # ---- for who hears ------------------------------------------------------------------------

    def attach(self, hearer: Hearer) -> None:
        """From now on `hearer` is called; nothing is to be received any more."""
        self._hearer = hearer
        for message in self.receive_more():
            hearer.frame_received(message)
        if self._has_ended:
            hearer.transport_lost(self._why_ended)

    async def receive(self) -> bytes | None:
        """The next message; None at the end. LinkLost if the peer broke the rules."""
        while not self._inbox:
            if self._has_ended:
                return None
            self._has_come = self._has_come or asyncio.Event()
            self._has_come.clear()
            await self._has_come.wait()
        message = self._inbox.popleft()
        self.inbox_bytes -= len(message)
        if self.inbox_bytes <= INBOX_BYTES:
            self.go_on_reading()
        return message

    def receive_more(self) -> list[bytes]:
        """Messages that have come already; nothing is waited for."""
        messages = list(self._inbox or ())
        self.drop_inbox()
        self.go_on_reading()
        return messages

    def drop_inbox(self) -> None:
        """Forget what has come and was not received."""
        self._inbox, self.inbox_bytes = None, 0

    def stop_hearing(self) -> None:
        """Nobody wants to know any more: what comes is dropped, but for the end."""
        self._has_ended = True
        self._hearer = None
        self.drop_inbox()
        self.go_on_reading()

    def hold_reading(self) -> None:
        """Take nothing more from the system for now."""
        self._is_paused = True
        self._reading.hold_reading()

    def go_on_reading(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._reading.go_on_reading()

    # ---- the connection's user ----------------------------------------------------------------

    def message_received(self, message: bytes, /) -> None:
        if self._has_ended:
            return
        if self._hearer is not None:
            self._hearer.frame_received(message)
            return
        if self._inbox is None:
            self._inbox = deque()
        self._inbox.append(message)
        self.inbox_bytes += len(message)
        if self.inbox_bytes > INBOX_BYTES and not self._is_paused:
            self.hold_reading()
        if self._has_come is not None:
            self._has_come.set()

    def connection_ended(self, why: str = CLOSED) -> None:
        if self._has_ended:
            return
        self._has_ended = True
        self._why_ended = why
        if self._hearer is not None:
            self._hearer.transport_lost(why)
        if self._has_come is not None:
            self._has_come.set()

    def writing_resumed(self) -> None:
        if self._hearer is not None:
            self._hearer.transport_drained()

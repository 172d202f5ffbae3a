"""An accepted websocket as a transport: frames that were built elsewhere go straight to the socket,
and what comes is handed over in the call that brought it, or waits, bounded, to be received.

Must never know: frames' meaning, stores.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final

from starlette.websockets import WebSocket
from uvicorn.protocols.utils import ClientDisconnected

from weft_engine.limits import INBOX_BYTES, KIB
from weft_engine.sync.binding import close_code, close_reason
from weft_engine.sync.driving.transport import Hearer
from weft_engine.sync.faults import LinkLost
from weft_server.websocket_protocol import CONNECTION, WeftProtocol, binary_header

_CLOSING_S: Final = 1.0
_TEXT_CODE: Final = 1003
_COPIED_BYTES: Final = 2 * KIB


class AcceptedTransport:
    """The server's side of a connection, once it is accepted: a `DirectTransport` of links.
    `closing_code` overrides what a bye would close with; `message_bytes_max` what the
    server takes elsewhere. A larger message closes the connection with 1009, a text with 1003."""

    def __init__(self, websocket: WebSocket, *, message_bytes_max: int | None = None) -> None:
        protocol = websocket.scope["extensions"][CONNECTION]
        assert isinstance(protocol, WeftProtocol), "the server speaks this protocol only"
        self._protocol = protocol
        self.closing_code: int | None = None
        self._hearer: Hearer | None = None
        self._inbox: deque[bytes] | None = None
        self._inbox_bytes = 0
        self._has_come: asyncio.Event | None = None
        self._is_paused = False
        self._has_ended = False
        protocol.take_over(self, message_bytes_max=message_bytes_max)

    # ---- writing ------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        return self._protocol.is_open

    @property
    def buffered_bytes(self) -> int:
        """Written and not yet taken by the system."""
        return self._protocol.buffered_bytes

    @property
    def held_bytes(self) -> int:
        """What has come and was not received, of messages that are not whole yet too, and what
        waits to be sent."""
        protocol = self._protocol
        return protocol.unread_bytes + self._inbox_bytes + protocol.buffered_bytes

    @property
    def is_congested(self) -> bool:
        """More is buffered than the event loop's limit, 64 KiB."""
        return self._protocol.is_congested

    def write(self, head: bytes, body: bytes = b"") -> None:
        """One binary message of these two, in one write; a large `body` is not copied where the
        event loop gathers writes. Bounded by nobody: look at `buffered_bytes` before. What is
        written to a connection that has closed goes nowhere."""
        protocol = self._protocol
        if protocol.is_open:
            size = len(head) + len(body)
            if size < _COPIED_BYTES:
                # What the event loop does for two pieces costs more than to copy one.
                protocol.transport.write(binary_header(size) + head + body)
            else:
                protocol.transport.writelines((binary_header(size) + head, body))

    def send_prebuilt(self, *frames: bytes) -> None:
        """Bytes of whole websocket frames (`websocket_protocol.binary_header` and payload)."""
        if self._protocol.is_open:
            self._protocol.transport.writelines(frames)

    async def drained(self) -> None:
        """Wait while more is written than the system takes soon (the event loop's limit, 64 KiB).
        Returns at once on a connection that has closed."""
        await self._protocol.writable.wait()

    async def send(self, frame: bytes) -> None:
        """Write a message, and wait until there is room for more."""
        if not self.is_open:
            raise LinkLost("the client is gone")
        self.write(frame)
        await self.drained()

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on with `work`, which uses this transport, when the application's call returns: an
        open connection then holds nothing of the call. The connection ends with the work."""
        self._protocol.outlive(work)

    # ---- what comes ---------------------------------------------------------------------------

    def attach(self, hearer: Hearer) -> None:
        """From now on `hearer` is called; nothing is to be received any more."""
        self._hearer = hearer
        for message in self.receive_more():
            hearer.frame_received(message)
        if self._has_ended:
            hearer.transport_lost()

    async def receive(self) -> bytes | None:
        """The next message; None at the end. LinkLost if the peer broke the rules."""
        while not self._inbox:
            if self._has_ended:
                return None
            self._has_come = self._has_come or asyncio.Event()
            self._has_come.clear()
            await self._has_come.wait()
        message = self._inbox.popleft()
        self._inbox_bytes -= len(message)
        if self._inbox_bytes <= INBOX_BYTES:
            self.go_on_reading()
        return message

    def receive_more(self) -> list[bytes]:
        """Messages that have come already; nothing is waited for."""
        messages = list(self._inbox or ())
        self._inbox = None
        self._inbox_bytes = 0
        self.go_on_reading()
        return messages

    def hold_reading(self) -> None:
        """Take nothing more from the system for now."""
        self._is_paused = True
        self._protocol.hold_reading()

    def go_on_reading(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._protocol.go_on_reading()

    def discard(self) -> None:
        """Take nothing more in, and drop what was not received."""
        self._inbox, self._inbox_bytes = None, 0
        self.hold_reading()
        self._protocol.discard()

    # ---- the protocol's user ------------------------------------------------------------------

    def message_received(self, message: bytes, /) -> None:
        if self._hearer is not None:
            self._hearer.frame_received(message)
            return
        if self._inbox is None:
            self._inbox = deque()
        self._inbox.append(message)
        self._inbox_bytes += len(message)
        if self._inbox_bytes > INBOX_BYTES and not self._is_paused:
            self.hold_reading()
        if self._has_come is not None:
            self._has_come.set()

    def text_received(self) -> None:
        self.closing_code = _TEXT_CODE
        self.connection_ended()

    def connection_ended(self) -> None:
        if self._has_ended:
            return
        self._has_ended = True
        if self._hearer is not None:
            self._hearer.transport_lost()
        if self._has_come is not None:
            self._has_come.set()

    def writing_resumed(self) -> None:
        if self._hearer is not None:
            self._hearer.transport_drained()

    # ---- the end ------------------------------------------------------------------------------

    async def close(self, code: str, reason: str) -> None:
        """With the code of a bye."""
        wanted = close_code(code) if self.closing_code is None else self.closing_code
        await self.close_with(wanted, close_reason(reason))

    async def close_with(self, code: int, reason: str = "") -> None:
        """With a websocket close code; harmless when repeated."""
        if not self.is_open:
            return
        try:
            async with asyncio.timeout(_CLOSING_S):
                await self._protocol.send(
                    {"type": "websocket.close", "code": code, "reason": reason}
                )
        except ClientDisconnected:
            return  # It went away by itself in this moment.
        except TimeoutError:
            # It does not read: what waits for it is of no use any more.
            self._protocol.transport.abort()

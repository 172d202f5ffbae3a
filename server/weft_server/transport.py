"""An accepted websocket as a transport: frames that were built elsewhere go straight to the socket,
and what comes is handed over in the call that brought it, or waits, bounded, to be received.

Must never know: frames' meaning, stores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from starlette.websockets import WebSocket
from uvicorn.protocols.utils import ClientDisconnected

from weft_engine.limits import KIB
from weft_engine.sync.binding import close_code, close_reason
from weft_engine.sync.driving.transport import Ready
from weft_engine.sync.faults import LinkLost
from weft_server.hearing import TEXT_CODE, Hearing
from weft_server.websocket_frames import binary_frame, binary_header
from weft_server.websocket_protocol import CONNECTION, WeftProtocol

_CLOSING_S: Final = 1.0
_COPIED_BYTES: Final = 2 * KIB
_NOWHERE: Final[Ready] = (lambda _: None), b""
"""Where goes what is written to a connection that is closed."""


class AcceptedTransport(Hearing):
    """The server's side of a connection, once it is accepted: a `DirectTransport` of links.
    `closing_code` overrides what a bye would close with; `message_bytes_max` what the
    server takes elsewhere. A larger message closes the connection with 1009, a text with 1003."""

    def __init__(self, websocket: WebSocket, *, message_bytes_max: int | None = None) -> None:
        protocol = websocket.scope["extensions"][CONNECTION]
        assert isinstance(protocol, WeftProtocol), "the server speaks this protocol only"
        super().__init__(protocol)
        self._protocol = protocol
        self.closing_code: int | None = None
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
        return protocol.unread_bytes + self.inbox_bytes + protocol.buffered_bytes

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

    def ready(self, head: bytes, body: bytes) -> Ready:
        """What `write` does with these, for later in this turn of the event loop."""
        protocol = self._protocol
        if not protocol.is_open:
            return _NOWHERE
        size = len(head) + len(body)
        if size < _COPIED_BYTES:
            return protocol.transport.write, binary_frame(head, body)
        return protocol.transport.writelines, (binary_header(size) + head, body)

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

    def discard(self) -> None:
        """Take nothing more in, and drop what was not received."""
        self.drop_inbox()
        self.hold_reading()
        self._protocol.discard()

    def take_heard(self) -> bool:
        """Whether anything has come since this was asked last, pongs and parts of messages too, or
        could not, because it was not read."""
        return self._protocol.take_heard()

    def text_received(self) -> None:
        self.closing_code = TEXT_CODE
        self.connection_ended()

    # ---- the end ------------------------------------------------------------------------------

    async def close(self, code: str, reason: str) -> None:
        """With the code of a bye."""
        wanted = close_code(code) if self.closing_code is None else self.closing_code
        await self.close_with(wanted, close_reason(reason))

    async def cut_off(self, code: int, reason: str) -> None:
        """As `close_with`, of a peer that is not awaited: it may have gone long ago."""
        await self.close_with(code, reason)
        self._protocol.transport.abort()

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

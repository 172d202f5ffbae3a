"""An accepted websocket as the transport of a link. Must never know: frames' meaning, stores."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from weft_engine.sync.binding import close_code, close_reason
from weft_engine.sync.faults import LinkLost

_CLOSING_S: Final = 1.0


class AcceptedTransport:
    """The relay's side of a connection. `closing_code` overrides what a bye would close with."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self.closing_code: int | None = None

    async def send(self, frame: bytes) -> None:
        if not self._is_open:
            raise LinkLost("the client is gone")
        try:
            await self._websocket.send_bytes(frame)
        except WebSocketDisconnect as error:
            raise LinkLost("the client is gone") from error

    async def receive(self) -> bytes | None:
        if self._websocket.client_state is not WebSocketState.CONNECTED:
            return None
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        frame: bytes | None = message.get("bytes")
        if frame is None:
            self.closing_code = 1003
            raise LinkLost("the client sent text; frames are binary")
        return frame

    async def close(self, code: str, reason: str) -> None:
        if not self._is_open:
            return
        wanted = close_code(code) if self.closing_code is None else self.closing_code
        try:
            async with asyncio.timeout(_CLOSING_S):
                await self._websocket.close(wanted, close_reason(reason))
        except (WebSocketDisconnect, TimeoutError):
            # It went away by itself in this moment, or it does not read and never will.
            return

    @property
    def _is_open(self) -> bool:
        states = (self._websocket.client_state, self._websocket.application_state)
        return states == (WebSocketState.CONNECTED, WebSocketState.CONNECTED)

"""A websocket between a Yjs client and a relay, over the simulated network: the server's side is
the real transport, on a protocol that has no socket.

What a client sends are whole messages; what the server writes are frames as RFC 6455 has them, in
pieces where a message is large. Must never know: what messages mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, Final, cast

from tests.simulation.network import DirectEnd
from weft_engine.sync.driving.transport import CLOSED
from weft_server.transport import AcceptedTransport
from weft_server.websocket_protocol import CONNECTION, ConnectionUser, WeftProtocol
from weft_server.yjs.framing import PING

PONG: Final = b"\x8a\x00"
"""What a client answers a ping with; no message of it begins so."""
_FINAL: Final = 0x80
_CONTROL: Final = 0x08
_MEDIUM: Final = 126
_LARGE: Final = 127


class Unframer:
    """Puts messages together from what a server writes."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._was_pinged = False

    def take_pinged(self) -> bool:
        """Whether a ping has come since this was asked last."""
        was_pinged, self._was_pinged = self._was_pinged, False
        return was_pinged

    def messages(self, data: bytes) -> list[bytes]:
        """Those that are complete with `data`, which is whole frames."""
        found: list[bytes] = []
        at = 0
        while at < len(data):
            first, size = data[at], data[at + 1]
            at += 2
            if size in (_MEDIUM, _LARGE):
                width = 2 if size == _MEDIUM else 8
                size = int.from_bytes(data[at : at + width], "big")
                at += width
            assert at + size <= len(data), "a server writes whole frames"
            self._was_pinged = self._was_pinged or first == PING[0]
            if not first & _CONTROL:
                self._pieces.append(data[at : at + size])
                if first & _FINAL:
                    found.append(b"".join(self._pieces))
                    self._pieces.clear()
            at += size
        return found


class _Socket(WeftProtocol):
    """Stands in for uvicorn's connection. `told` is called with each message that was written."""

    def __init__(self, end: DirectEnd, told: Callable[[bytes], None]) -> None:
        self._end = end
        self._told = told
        self._unframer = Unframer()
        self._hearer: ConnectionUser | None = None
        self._was_heard = True
        self._is_held = self._is_waiting_turn = False
        self.writable = asyncio.Event()
        self.writable.set()
        self.transport = cast(Any, self)

    def take_over(self, user: ConnectionUser, *, message_bytes_max: int | None = None) -> None:
        self._hearer = user
        self._end.attach(self)

    @property
    def is_open(self) -> bool:
        end = self._end
        return end.is_open and not end.is_reset and not end.incoming.is_finished

    @property
    def buffered_bytes(self) -> int:
        return self._end.other.incoming.size

    def writelines(self, frames: Iterable[bytes]) -> None:
        data = b"".join(frames)
        for message in self._unframer.messages(data):
            self._told(message)
        self._end.write(data)
        if self._end.is_congested:
            self.writable.clear()

    def hold_reading(self) -> None:
        self._is_held = True
        self._end.hold_reading()

    def go_on_reading(self) -> None:
        self._is_held = False
        self._end.go_on_reading()

    async def send(self, message: Any) -> None:
        assert message["type"] == "websocket.close", "all else is written"
        self._end.wire.closing_code = message["code"]
        self._end.finish()

    def abort(self) -> None:
        self._end.finish()

    # ---- what the end calls -------------------------------------------------------------------

    def frame_received(self, frame: bytes, /) -> None:
        assert self._hearer is not None
        self._was_heard = True
        if frame != PONG:
            self._hearer.message_received(frame)

    def transport_drained(self) -> None:
        assert self._hearer is not None
        self.writable.set()
        self._hearer.writing_resumed()

    def transport_lost(self, why: str = CLOSED, /) -> None:
        assert self._hearer is not None
        self.writable.set()
        self._hearer.connection_ended()


def accepted(end: DirectEnd, told: Callable[[bytes], None]) -> AcceptedTransport:
    """The server's side of a connection, as its code has it once it is accepted."""
    scope = {"extensions": {CONNECTION: _Socket(end, told)}}
    return AcceptedTransport(cast(Any, SimpleNamespace(scope=scope)))

"""A websocket that this side has opened, without a queue, a task or a copy between it and its user.

The library does the handshake, the control frames and every frame that is out of the ordinary.
What makes up the traffic goes past it: whole binary messages are handed over in the call that
brought their bytes, and what is written goes straight to the socket.

Must never know: what messages mean.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State

from weft_engine.limits import FRAME_BYTES_MAX, FRAMES_PER_TURN
from weft_server.websocket_frames import (
    BINARY,
    CONTROL,
    FINAL,
    HEAD_MIN,
    MASKED,
    PIECES_MAX,
    masked_frame,
    read_head,
)

if TYPE_CHECKING:
    # It is of the relay, which needs packages that a client does without.
    from weft_server.websocket_protocol import ConnectionUser

_PING: Final = 0x89
_LAST_TURNS: Final = 8
"""Turns of a connection that has ended."""
_HEAD_END: Final = b"\r\n\r\n"


class DialledConnection(ClientConnection):
    """What `websockets.connect` makes. Call `take_over` once it has; not `send` nor `recv`."""

    transport: asyncio.Transport

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._user: ConnectionUser | None = None
        self._head = b""
        """Of the answer to the handshake, the last bytes that came."""
        self._is_odd = True
        """The library's parser has it: the connection is not open yet, or closing."""
        self._rest = bytearray()
        self._needed = HEAD_MIN
        """Bytes of `_rest` without which it is of no use to look at it."""
        self._pieces: list[bytes] = []
        """Of a message in fragments."""
        self._is_in_fragments = False
        self._is_waiting_turn = False
        self._is_held = True
        """Nobody can take more now."""
        self._has_ended = False

    # ---- for the user -------------------------------------------------------------------------

    def take_over(self, user: ConnectionUser) -> None:
        """From now on everything goes to `user`, beginning with what has come already."""
        self._user = user
        if self._has_ended:
            user.connection_ended()
        else:
            self.go_on_reading()

    @property
    def is_open(self) -> bool:
        return self.state is State.OPEN and not self.transport.is_closing()

    @property
    def is_congested(self) -> bool:
        return self.paused

    def write(self, payload: bytes) -> None:
        """One binary message; on a connection that is not open it goes nowhere."""
        if self.is_open:
            self.transport.write(masked_frame(payload))

    def hold_reading(self) -> None:
        """Take nothing from the system until `go_on_reading`; of what was taken, nothing but a
        message that is being handed over still comes."""
        self._is_held = True
        self.transport.pause_reading()

    def go_on_reading(self) -> None:
        self._is_held = False
        if self._is_waiting_turn or self.transport.is_closing():
            return
        if self._rest:
            self._wait_turn()
        else:
            self.transport.resume_reading()

    # ---- what comes ---------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._is_odd:
            if self.response is None:
                data = self._answered(data)
            if self._is_odd:
                if data:
                    self._library_received(data)
                return
            if not data:
                return
        if self._rest or self._is_held or self._is_waiting_turn:
            self._rest += data
            if self._is_held or self._is_waiting_turn or len(self._rest) < self._needed:
                if self._is_held:
                    self.transport.pause_reading()
                return
            data = bytes(self._rest)
            self._rest.clear()
        self._read(data)

    def process_event(self, event: Any) -> None:
        if self.response is None or not isinstance(event, Frame):
            super().process_event(event)
        elif event.opcode is Opcode.TEXT:
            if self._user is not None:
                self._user.text_received()
        elif event.opcode is Opcode.BINARY or event.opcode is Opcode.CONT:
            self._pieces.append(bytes(event.data))
            if event.fin:
                message = b"".join(self._pieces)
                self._pieces = []
                if self._user is not None:
                    self._user.message_received(message)
            elif len(self._pieces) > PIECES_MAX:
                self.protocol.fail(
                    CloseCode.MESSAGE_TOO_BIG, f"a message has more than {PIECES_MAX} fragments"
                )
                self.send_data()
        else:
            super().process_event(event)

    def connection_lost(self, exc: Exception | None) -> None:
        for _ in range(_LAST_TURNS):
            # What came whole before the end is taken, too; of a flood, its beginning.
            if self._is_waiting_turn:
                self._take_turn()
        super().connection_lost(exc)
        self._rest.clear()
        self._pieces = []
        self._end()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._user is not None:
            self._user.writing_resumed()

    # ---- inside -------------------------------------------------------------------------------

    def _answered(self, data: bytes) -> bytes:
        """Give the library the head of the answer; what is behind it is left. If the answer is
        yes, that consists of frames, from the start of one."""
        seen = self._head + data
        at = seen.find(_HEAD_END)
        if at < 0:
            self._head = seen[1 - len(_HEAD_END) :]
            self._library_received(data)
            return b""
        end = at + len(_HEAD_END) - len(self._head)
        self._library_received(data[:end])
        self._head = b""
        self._is_odd = self.state is not State.OPEN
        return data[end:]

    def _library_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.response is not None and self.state is not State.OPEN:
            self._is_odd = True
            self._end()

    def _read(self, data: bytes) -> None:
        """Hand over the whole frames in `data`; keep what is behind them."""
        at, end, turns_left = 0, len(data), FRAMES_PER_TURN
        self._needed = HEAD_MIN
        user = self._user
        assert user is not None, "it is held until somebody takes it over"
        while end - at >= HEAD_MIN:
            first, second = data[at], data[at + 1]
            size, head = read_head(data, at)
            if end - at < head:
                self._needed = head
                break
            body = at + head
            if size > FRAME_BYTES_MAX or second & MASKED:
                # Its end is not awaited: the library says what is wrong with it.
                self._is_odd = True
                self._library_received(data[at:])
                return
            if end - body < size:
                self._needed = body + size - at
                break
            if self._is_held:
                break
            if turns_left == 0:
                self._wait_turn()
                break
            turns_left -= 1
            if first == BINARY and not self._is_in_fragments:
                user.message_received(data[body : body + size])
            elif first != _PING or not self.paused:
                # A peer that asks and does not read gets no answers heaped up.
                if not first & CONTROL:
                    self._is_in_fragments = not first & FINAL
                self._library_received(data[at : body + size])
            at = body + size
            if self._is_odd:
                # It is closing: the library passes over the rest.
                self._library_received(data[at:])
                return
        if at < end:
            self._rest += data[at:]

    def _wait_turn(self) -> None:
        """Many frames came at once: others get their turn before the rest of them."""
        self._is_waiting_turn = True
        self.transport.pause_reading()
        self.loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        if not self._is_waiting_turn:
            return
        self._is_waiting_turn = False
        if self._is_held:
            return
        data = bytes(self._rest)
        self._rest.clear()
        self._read(data)
        if not (self._is_waiting_turn or self._is_held or self.transport.is_closing()):
            self.transport.resume_reading()

    def _end(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            if self._user is not None:
                self._user.connection_ended()

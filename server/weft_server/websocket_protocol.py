"""The server's side of a websocket, without a queue, a task or a copy between it and its user.

uvicorn's protocol does the handshake, the control frames and every frame that is out of the
ordinary. What makes up the traffic goes past it, once a user has taken the connection over:
whole binary messages are handed over in the call that brought their bytes, and frames that were
built elsewhere, for many connections at once, go straight to the socket.

Must never know: what messages mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, Protocol, cast
from weakref import WeakKeyDictionary

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode
from websockets.protocol import State

from weft_engine.limits import FRAMES_PER_TURN, KIB
from weft_engine.sync.driving.turns import Turns
from weft_server.large_messages import LargeMessages
from weft_server.websocket_frames import (
    BINARY,
    CONTROL,
    FINAL,
    HEAD_MIN,
    MASKED,
    PIECES_MAX,
    apply_mask,
    read_head,
)
from weft_server.writable import Writable

CONNECTION: Final = "weft.connection"
"""Where the application finds the protocol: this extension of its scope."""
_MASK_BYTES: Final = 4
_FULL_TURNS: Final = 2
"""So many turns full of tiny frames cost nothing."""
_TINY_TURN_BYTES: Final = 24 * FRAMES_PER_TURN
"""Nothing that is worth much is said in frames of less than 18 bytes, but acknowledgements, of
which a window has few."""
_LAST_TURNS: Final = 8
"""Turns of a connection that has ended."""
_FULL_READ_BYTES: Final = 128 * KIB
"""The system has more than a read brings, mostly."""
_LARGE_BYTES: Final = 32 * KIB
"""Reading such a message can take a millisecond."""
_TURN_S: Final = 0.01
_TURN_S_MAX: Final = 0.1


class ConnectionUser(Protocol):
    """Whoever has taken a connection over. None of these may raise."""

    def message_received(self, message: bytes, /) -> None:
        """A whole binary message."""

    def text_received(self) -> None:
        """A text message, which is not passed on."""

    def connection_ended(self) -> None:
        """Nothing comes any more, and nothing can be written."""

    def writing_resumed(self) -> None:
        """What waited to be written has shrunk to little."""


_ARRIVALS_PER_TURN: Final = 4
"""Of a millisecond each, in a turn of the event loop: when hundreds come at once, the first have
been answered before the last are let in."""

_large_of: WeakKeyDictionary[object, LargeMessages] = WeakKeyDictionary()
"""By server."""
_arrivals_of: WeakKeyDictionary[object, Turns] = WeakKeyDictionary()


class WeftProtocol(WebSocketsSansIOProtocol):
    """One connection. The application finds it in its scope, accepts, and calls `take_over`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._user: ConnectionUser | None = None
        self._has_begun = False
        """The request came and nothing with it, so every frame is seen from its start."""
        self._is_odd = False
        """uvicorn's parser has it: it has seen part of a frame, or the connection is closing."""
        self._is_in_fragments = False
        self._work: Coroutine[Any, Any, None] | None = None
        self._rest = bytearray()
        self._needed = HEAD_MIN
        """Bytes of `_rest` without which it is of no use to look at it."""
        self._is_waiting_turn = False
        self._full_turns = 0
        """In a row, of tiny frames."""
        self._pieces = 0
        """Frames of the message in fragments."""
        self._is_held = False
        """The user can't take more now."""
        self._message_bytes_max: int = self.config.ws_max_size
        self._large = _large_of.setdefault(self.config, LargeMessages())
        self._is_over = False
        self._was_heard = True
        # An event of asyncio is 800 bytes.
        self.writable = cast(Any, Writable())
        self.is_congested = False
        """As `writable`, which it costs a call to ask."""

    # ---- for the user -------------------------------------------------------------------------

    def take_over(self, user: ConnectionUser, *, message_bytes_max: int | None = None) -> None:
        """From now on everything goes to `user`, beginning with what has come already."""
        if message_bytes_max is not None:
            self._message_bytes_max = message_bytes_max
            self.conn.max_message_size = message_bytes_max
        waiting = self.queue
        self._user = user
        # What uvicorn would put there goes to the user, too; and a queue is 1 KB.
        self.queue = cast(Any, _Ears(user))
        while not waiting.empty():
            self.queue.put_nowait(waiting.get_nowait())
        if self._has_begun and not self._is_odd:
            # The parser that has read the request keeps it, 2 KB, for as long as it goes on.
            self.conn.parser = self.conn.parse()
            next(self.conn.parser)
        if self._rest and not self._is_odd:
            self.read_paused = False
            self._wait_turn()
        elif self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    def hold_reading(self) -> None:
        """Take nothing from the system until `go_on_reading`; a message that is being read still
        comes."""
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

    def discard(self) -> None:
        """Drop what was read of messages that are not whole yet; nothing comes after it."""
        self._is_odd = True
        self._rest.clear()
        self.frames.clear()
        self.conn.reader.buffer.clear()

    def outlive(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on with `work` when the application has returned; the connection ends with it."""
        self._work = work

    @property
    def is_open(self) -> bool:
        return (
            self.handshake_complete
            and not self.close_sent
            and not self.disconnected
            and not self.transport.is_closing()
        )

    @property
    def buffered_bytes(self) -> int:
        """Written and not yet taken by the system."""
        return self.transport.get_write_buffer_size()

    @property
    def unread_bytes(self) -> int:
        """Of messages that are not whole yet."""
        return len(self._rest) + sum(map(len, self.frames)) + len(self.conn.reader.buffer)

    def take_heard(self) -> bool:
        """Whether anything has come since this was asked last, pongs and parts of frames too, or
        could not, because it was not read."""
        was_heard = self._was_heard or self._is_held or self._is_waiting_turn
        self._was_heard = False
        return was_heard

    # ---- what comes ---------------------------------------------------------------------------

    async def run_asgi(self) -> None:
        """As uvicorn's, but for what outlives the application's call."""
        cast(dict[str, Any], self.scope["extensions"])[CONNECTION] = self
        arrivals = _arrivals_of.get(self.config)
        if arrivals is None:
            arrivals = _arrivals_of[self.config] = Turns(steps=_ARRIVALS_PER_TURN)
        try:
            await arrivals.step()
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except BaseException:
            self.logger.exception("Exception in ASGI application\n")
            self.send_500_response()
        else:
            # What turns somebody away answers, too.
            if not self.handshake_complete and self.initial_response is None:
                self.logger.error("ASGI callable returned without completing handshake.")
                self.send_500_response()
        work, self._work = self._work, None
        if work is None:
            self._let_go()
            return
        # What the handshake and the call of the application hold is 10 KB, and of no use any more.
        del self.scope, self.request, self.response
        task = self.loop.create_task(work, name="weft-connection")
        task.add_done_callback(self._worked)
        self.tasks.add(task)

    def data_received(self, data: bytes) -> None:
        self._was_heard = True
        if self._user is not None and self._has_begun and not self._is_odd:
            if len(data) >= _FULL_READ_BYTES:
                # Where there is more uvloop reads on, 32 times, before others have their turn.
                self.transport.pause_reading()
                self.loop.call_soon(self._read_on)
            self._take(data)
            return
        if self._user is None and self._has_begun:
            # Somebody did not wait for the answer, or was quicker than who takes it over: it waits
            # for that, so that all of it is read in turns.
            self._rest += data
            self.transport.pause_reading()
            return
        was_begun = self.handshake_initiated
        super().data_received(data)
        if not was_begun and self.handshake_initiated:
            self._has_begun = data.endswith(b"\r\n\r\n")

    def send_receive_event_to_app(self) -> None:
        if self._user is not None and self.curr_msg_data_type == "text":
            # Whether it is text at all is of no matter.
            self.frames = []
            self._user.text_received()
            return
        super().send_receive_event_to_app()
        if self._user is not None and self.read_paused:
            self.read_paused = False
            if not self._is_held:
                self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over = True
        self.is_congested = False
        for _ in range(_LAST_TURNS):
            # What came whole before the end is taken, too; of a flood, its beginning.
            if self._is_waiting_turn:
                self._take_turn()
        super().connection_lost(exc)
        self.discard()
        # What is in circles stays until it is collected, and so does all it knows.
        self.conn.parser.close()
        if self._user is not None:
            self._user = None
            cast(_Ears, self.queue).forget()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.is_congested = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self.is_congested = False
        if self._user is not None:
            self._user.writing_resumed()

    def handle_ping(self) -> None:
        # A peer that asks and does not read gets no answers heaped up.
        output = self.conn.data_to_send()
        if self.writable.is_set():
            self.transport.write(b"".join(output))

    # ---- inside -------------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        if self._rest or self._is_waiting_turn:
            self._rest += data
            if self._is_waiting_turn or len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest.clear()
        self._read(data)

    def _read(self, data: bytes) -> None:
        """Hand over the whole frames in `data`; keep what is behind them."""
        at, end, turns_left = 0, len(data), FRAMES_PER_TURN
        self._needed = HEAD_MIN
        user = self._user
        assert user is not None, "nothing is read before it is taken over"
        while end - at >= HEAD_MIN:
            first, second = data[at], data[at + 1]
            size, head = read_head(data, at)
            if end - at < head:
                self._needed = head
                break
            body = at + head + _MASK_BYTES
            is_plain = first == BINARY and second & MASKED and not self._is_in_fragments
            if size > self._message_bytes_max or not second & MASKED:
                # Its end is not awaited: uvicorn's parser says what is wrong with it.
                self._be_odd(data[at:])
                return
            if end - body < size:
                self._needed = body + size - at
                break
            if self._is_held:
                self._needed = HEAD_MIN
                break
            if turns_left == 0:
                self._full_turns = self._full_turns + 1 if at < _TINY_TURN_BYTES else 0
                self._wait_turn()
                break
            if size > _LARGE_BYTES and not self._is_over and not self._large.may_come(size):
                self._is_waiting_turn = True
                self.transport.pause_reading()
                self._large.later(self._take_turn)
                break
            turns_left -= 1
            if is_plain:
                user.message_received(apply_mask(data[body : body + size], data[body - 4 : body]))
            else:
                if not first & CONTROL:
                    self._is_in_fragments = not first & FINAL
                    self._pieces = self._pieces + 1 if self._is_in_fragments else 0
                    if self._pieces > PIECES_MAX:
                        self._refuse_pieces()
                        return
                super().data_received(data[at : body + size])
            at = body + size
            if self.conn.state is not State.OPEN or self._user is None:
                self._be_odd(data[at:])
                return
        if at < end:
            self._rest += data[at:]

    def _read_on(self) -> None:
        if not (self._is_waiting_turn or self._is_held or self.transport.is_closing()):
            self.transport.resume_reading()

    def _worked(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.logger.error("a connection failed", exc_info=task.exception())
        self._let_go()

    def _let_go(self) -> None:
        if self.close_timer is None:
            self.transport.close()

    def _be_odd(self, data: bytes) -> None:
        self._is_odd = True
        if data:
            super().data_received(data)

    def _refuse_pieces(self) -> None:
        self.conn.fail(CloseCode.MESSAGE_TOO_BIG, f"a message has more than {PIECES_MAX} fragments")
        self._is_odd = True
        self.handle_parser_exception()

    def _wait_turn(self) -> None:
        """Many frames came at once: others get their turn before the rest of them, and a peer that
        goes on with tiny ones waits longer each time."""
        self._is_waiting_turn = True
        self.transport.pause_reading()
        waits_s = min(_TURN_S_MAX, _TURN_S * (self._full_turns - _FULL_TURNS))
        if waits_s > 0:
            self.loop.call_later(waits_s, self._take_turn)
        else:
            self.loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._is_waiting_turn = False
        if self.disconnected:
            return
        data = bytes(self._rest)
        self._rest.clear()
        self._read(data)
        if self._is_waiting_turn:
            return
        self._full_turns = 0
        if not self._is_held and not self.transport.is_closing():
            self.transport.resume_reading()


class _Ears:
    """Stands where uvicorn puts events for the application."""

    def __init__(self, user: ConnectionUser) -> None:
        self._user: ConnectionUser | None = user
        self._has_ended = False

    def forget(self) -> None:
        """Nothing comes any more."""
        self._user = None

    def put_nowait(self, event: dict[str, Any]) -> None:
        if self._user is None:
            return
        if event["type"] == "websocket.disconnect":
            if not self._has_ended:
                self._has_ended = True
                self._user.connection_ended()
        elif event["type"] == "websocket.receive":
            message: bytes | None = event.get("bytes")
            if message is None:
                self._user.text_received()
            else:
                self._user.message_received(message)

    def empty(self) -> bool:
        return True

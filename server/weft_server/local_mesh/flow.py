"""What is on its way in one direction of one connection, and the socket at either end of it.

Pieces stand in their order, each with the time at which it arrives. Memory is bounded by not
reading on: at the sender's socket when too much is on the way, at the wire when the receiver takes
nothing. Must never know: regions, other connections, what the bytes mean.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from weft_engine.limits import KIB, MIB
from weft_server.local_mesh.wire import Wire

FLIGHT_BYTES_MAX: Final = 4 * MIB
"""On the way in one direction, as a window of TCP; beyond it nothing is read. So a connection
carries at most this much in one delay."""
WRITTEN_BYTES_MAX: Final = 256 * KIB
"""Delivered and not taken by the receiver's socket yet; beyond it nothing more is delivered."""
_TOGETHER_S: Final = 0.0005
"""What arrives within this time is delivered at once."""
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER that makes a reset of closing."""


@dataclass(slots=True)
class WayState:
    """Of one direction of a link: whether it is cut, and what has arrived over it so far."""

    is_cut: bool = False
    bytes_arrived: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """The sender sends no more; or its connection is gone altogether."""

    is_reset: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """To be connected: `arrived` is called when it has come to the other side."""

    arrived: Callable[[], None]


class Owner(Protocol):
    """The connection that an end is of."""

    def opened(self, end: End) -> None: ...

    def ended(self) -> None: ...


class Flow:
    """Delivers to `target`, from `source`, as soon as there are such."""

    def __init__(self, state: WayState, wire: Wire) -> None:
        self.source: End | None = None
        self.target: End | None = None
        self._state = state
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, bytes | Ended | Wish]] = deque()
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def bytes_waiting(self) -> int:
        return self._bytes

    def put(self, piece: bytes | Ended | Wish, *, arrives_s: float | None = None) -> None:
        """Send `piece`, which arrives when the wire says, or at the time given."""
        size = len(piece) if isinstance(piece, bytes) else 0
        if arrives_s is None:
            arrives_s = self._wire.arrival_s(size, self._loop.time())
        self._bytes += size
        self._waiting.append((arrives_s, piece))
        if len(self._waiting) == 1:
            self.run()
        self._hold_or_read()

    def run(self) -> None:
        """Deliver what has arrived, and come again when the next piece does."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and not self._state.is_cut:
            due_s, piece = self._waiting[0]
            if due_s > self._loop.time() + _TOGETHER_S:
                self._timer = self._loop.call_at(due_s, self.run)
                break
            if not isinstance(piece, Wish) and (self.target is None or self.target.is_full):
                break
            if isinstance(piece, bytes):
                self._deliver_bytes()
                continue
            self._waiting.popleft()
            if isinstance(piece, Wish):
                piece.arrived()
            elif self.target is not None:
                self.target.finish(piece)
        self._hold_or_read()

    def close(self) -> None:
        """Forget all that is on the way."""
        self._waiting.clear()
        self._bytes = 0
        if self._timer is not None:
            self._timer.cancel()

    def _deliver_bytes(self) -> None:
        """As one write what has arrived of bytes, up to what the receiver is given at once."""
        assert self.target is not None, "looked at before"
        until_s = self._loop.time() + _TOGETHER_S
        arrived: list[bytes] = []
        size = 0
        while self._waiting and size < WRITTEN_BYTES_MAX:
            due_s, piece = self._waiting[0]
            if due_s > until_s or not isinstance(piece, bytes):
                break
            self._waiting.popleft()
            arrived.append(piece)
            size += len(piece)
        self._bytes -= size
        self._state.bytes_arrived += size
        self.target.write(b"".join(arrived) if len(arrived) > 1 else arrived[0])

    def _hold_or_read(self) -> None:
        if self.source is not None:
            self.source.read(self._bytes < FLIGHT_BYTES_MAX)


class End(asyncio.Protocol):
    """A socket: what is read goes `out`, what comes `into` it is written."""

    def __init__(self, owner: Owner) -> None:
        self.is_full = False
        """Whether the receiver takes nothing now."""
        self.is_lost = False
        self.has_said_all = False
        """Whether it sends no more."""
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._out: Flow | None = None
        self._into: Flow | None = None
        self._is_reading = True
        self._was_told_all = False

    def join(self, *, out: Flow, into: Flow) -> None:
        """The flows that this is an end of."""
        self._out, self._into = out, into
        out.source, into.target = self, self

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def finish(self, how: Ended) -> None:
        """The other side has said all, or is gone."""
        if self._transport is None or self._transport.is_closing():
            return
        if how.is_reset:
            self.reset()
            return
        self._was_told_all = True
        if self.has_said_all:
            self._transport.close()
        else:
            self._transport.write_eof()

    def reset(self) -> None:
        """Close at once, so that who is at the other end of the socket learns of a reset."""
        if self._transport is not None and not self.is_lost:
            peer = self._transport.get_extra_info("socket")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()

    def read(self, wanted: bool) -> None:
        if wanted == self._is_reading or self._transport is None or self.is_lost:
            return
        self._is_reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    # ---- asyncio.Protocol -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), "TCP"
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITTEN_BYTES_MAX)
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._out is not None:
            self._out.put(data)

    def eof_received(self) -> bool:
        self.has_said_all = True
        if self._out is not None:
            self._out.put(Ended())
        self._owner.ended()
        # What it is still told may come all the same.
        return not self._was_told_all

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        if self._into is not None:
            self._into.run()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        if self._out is not None and (error is not None or not self.has_said_all):
            self.has_said_all = True
            self._out.put(Ended(is_reset=True))
        # Whatever still comes is written to nobody.
        self.is_full = False
        if self._into is not None:
            self._into.run()
        self._owner.ended()

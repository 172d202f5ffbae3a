"""The rooms of a relay: one per context in which Yjs clients are, or were a moment ago.

Must never know: what clients say.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from weft_engine.background import begin
from weft_engine.limits import (
    YJS_HEARTBEAT_S,
    YJS_IDLE_S,
    YJS_LISTEN_S,
    YJS_ROOMS_LOADING_MAX,
    YJS_ROOMS_MAX,
)
from weft_engine.names import ContextName
from weft_engine.records.envelope import Kind
from weft_engine.replica.replica import Replica
from weft_engine.storage.ledger import Stored
from weft_engine.sync.binding import GOING_AWAY
from weft_engine.sync.driving.turns import Turns
from weft_server.context_sizes import ContextSizes
from weft_server.door.guests import Guest
from weft_server.heap import trim_heap
from weft_server.transport import AcceptedTransport
from weft_server.yjs import wire
from weft_server.yjs.awareness import NOBODY
from weft_server.yjs.connection import TRY_AGAIN, Connection
from weft_server.yjs.framing import frame
from weft_server.yjs.room import Room

_LARGE_READ_AT_ONCE: Final = 2
_POURED_AT_ONCE: Final = 16
_HEARD_PER_TURN: Final = 8
"""Of half a millisecond each, in a turn of the event loop."""
_TICK_S: Final = 1.0
_GOODBYE_S: Final = 2.0
"""What clients may take to go when the relay stops."""
_TRIM_AFTER: Final = 64
"""Rooms, after whose end the memory that they had is given back to the system."""
_LISTENED_AT_ONCE: Final = 500
_ALIVE: Final = frame(wire.aware(NOBODY))


class Rooms:
    """`close` it before the replica. Clients add nothing to contexts that are full by `sizes`, and
    no record of more than `record_bytes`."""

    def __init__(self, replica: Replica, sizes: ContextSizes, *, record_bytes: int) -> None:
        self._replica = replica
        self._sizes = sizes
        self._record_bytes = record_bytes
        self._rooms: dict[ContextName, Room] = {}
        self._left_s: dict[ContextName, float] = {}
        """Since when nobody is in a room, longest ago first."""
        self._connections: dict[Connection, ContextName] = {}
        self._loading = asyncio.Semaphore(YJS_ROOMS_LOADING_MAX)
        self._reading = asyncio.Semaphore(_LARGE_READ_AT_ONCE)
        self._pouring = asyncio.Semaphore(_POURED_AT_ONCE)
        self._hearing = Turns(steps=_HEARD_PER_TURN)
        self._ended = 0
        self._is_closing = False
        self._are_many = asyncio.Event()
        """More rooms than are kept have nobody in them."""
        self._all_gone: asyncio.Future[None] | None = None
        self._end_listening = replica.journal.listen(self._committed)
        self._end_forgetting = replica.listen_forgotten(self._forgotten)
        self._keeping = begin(self._keep(), name="weft-yjs-rooms")

    @property
    def connections(self) -> int:
        return len(self._connections)

    @property
    def rooms(self) -> int:
        return len(self._rooms)

    def clients(self) -> list[Connection]:
        """Those that were not sent away."""
        return [one for one in self._connections if not one.has_ended]

    async def serve(
        self,
        name: ContextName,
        transport: AcceptedTransport,
        guest: Guest,
    ) -> None:
        """Speak with a Yjs client in a context until its connection ends."""
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(name, self._replica, self._loading)
            room.on_failure = self._failed
        connection = Connection(
            transport,
            guest,
            self._replica,
            room,
            self._sizes,
            self._reading,
            self._pouring,
            self._hearing,
            record_bytes=self._record_bytes,
        )
        self._connections[connection] = name
        self._left_s.pop(name, None)
        guest.ends_by(connection.expire)
        try:
            if self._is_closing:
                connection.end(GOING_AWAY, "the relay is going away")
            await connection.serve()
        finally:
            del self._connections[connection]
            if self._all_gone is not None and not (self._connections or self._all_gone.done()):
                self._all_gone.set_result(None)
            if room.is_empty:
                self._left_s[name] = asyncio.get_running_loop().time()
                if len(self._left_s) > YJS_ROOMS_MAX:
                    self._are_many.set()

    async def kept(self) -> None:
        """Wait until nobody looks after the rooms any more. Raises the fault that ended that."""
        await asyncio.wait([self._keeping])
        if not self._keeping.cancelled():
            self._keeping.result()

    async def close(self) -> None:
        """Send everybody away; what they have sent and was taken is committed."""
        self._is_closing = True
        self._keeping.cancel()
        for connection in tuple(self._connections):
            connection.end(GOING_AWAY, "the relay is going away")
        for room in tuple(self._rooms.values()):
            await room.close()
        if self._connections:
            self._all_gone = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._all_gone], timeout=_GOODBYE_S)
        self._end_listening()
        self._end_forgetting()
        await asyncio.gather(self._keeping, return_exceptions=True)

    # ---- inside -------------------------------------------------------------------------------

    def _committed(self, stored: Sequence[Stored], session: bytes) -> None:
        rooms = self._rooms
        if not rooms:
            return
        for one in stored:
            envelope = one.record.envelope
            room = rooms.get(envelope.context)
            if room is not None:
                room.tell(one, is_own=not session and envelope.kind is Kind.FOREIGN)

    def _forgotten(self, name: ContextName) -> None:
        room = self._rooms.get(name)
        if room is not None:
            room.reload()

    def _failed(self, name: ContextName) -> None:
        for connection, of in tuple(self._connections.items()):
            if of == name:
                connection.end(TRY_AGAIN, "the context can't be loaded now")

    async def _keep(self) -> None:
        """Signs of life for those who hear nothing, an end for those of whom nothing is heard and
        for rooms that nobody is in: at once for those that are too many, so that memory never grows
        with how many come and go."""
        loop = asyncio.get_running_loop()
        last_sign_s = listened_s = loop.time()
        due_s = last_sign_s + _TICK_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due_s):
                    await self._are_many.wait()
            self._are_many.clear()
            now_s = loop.time()
            await self._end_idle(now_s)
            if now_s < due_s:
                continue
            due_s = now_s + _TICK_S
            self._replica.presence.expire(int(now_s * 1000))
            # The next look would be too late.
            if now_s - last_sign_s > YJS_HEARTBEAT_S - _TICK_S:
                last_sign_s = now_s
                for room in self._rooms.values():
                    room.sign_of_life(_ALIVE)
            if now_s - listened_s >= YJS_LISTEN_S:
                listened_s = now_s
                await self._listen()
            if self._ended >= _TRIM_AFTER or (self._ended and not self._rooms):
                self._ended = 0
                gc.collect()
                trim_heap()

    async def _listen(self) -> None:
        """One look at all for a timer of each: most are idle."""
        for number, connection in enumerate(self.clients()):
            if number % _LISTENED_AT_ONCE == 0:
                await asyncio.sleep(0)
            if not connection.has_ended:
                connection.listen()

    async def _end_idle(self, now_s: float) -> None:
        for name, left_s in list(self._left_s.items()):
            is_over = now_s - left_s >= YJS_IDLE_S
            if not is_over and len(self._left_s) <= YJS_ROOMS_MAX:
                break
            room = self._rooms[name]
            if not room.is_empty:
                del self._left_s[name]
            elif room.rest():
                del self._left_s[name], self._rooms[name]
                await room.close()
                self._ended += 1

"""A Yjs client's connection, from its acceptance to its end: what it says, and whether it may.

Must never know: documents, how tokens are borne.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, ParamSpec, TypeVar

from weft_engine.document.offered import Offered, read_offered
from weft_engine.errors import LinkRefused, MalformedFrame, MalformedUpdate, PeerError, WeftError
from weft_engine.limits import (
    LINK_DEAD_MS,
    PRESENCE_PER_CLIENT_LINK_MAX,
    QUARANTINE_ENTRY_BYTES_MAX,
    YJS_ASK_AGAIN_S,
    YJS_AWARENESS_BYTES_S,
    YJS_AWARENESS_STATE_BYTES,
    YJS_INLINE_BYTES,
    YJS_LISTEN_S,
    YJS_MESSAGE_WEIGHT,
    YJS_QUEUED_BYTES_MAX,
    YJS_READ_INLINE_BYTES,
    YJS_STEP_WEIGHT,
)
from weft_engine.replica.live import LiveDocument
from weft_engine.replica.replica import Replica
from weft_engine.storage import quarantine
from weft_engine.storage.quarantine import Refused
from weft_engine.sync.binding import UNAUTHORISED, close_reason
from weft_engine.sync.driving.turns import Turns
from weft_engine.yjs.lib0 import read_var_uint
from weft_server.context_sizes import ContextSizes
from weft_server.door.guests import Guest
from weft_server.door.record_rate import RecordRate
from weft_server.transport import AcceptedTransport
from weft_server.yjs import wire
from weft_server.yjs.awareness import own_client, read_awareness
from weft_server.yjs.framing import PING, frame
from weft_server.yjs.member import Member
from weft_server.yjs.rights import permitted
from weft_server.yjs.room import Room

REFUSED: Final = 4400
"""It said what no one can take: it would be refused again."""
FORBIDDEN: Final = 4403
TRY_AGAIN: Final = 1013
_LOG: Final = logging.getLogger("weft.relay")
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Connection:
    """Run it with `serve`; `reading` bounds how many large updates are read at once, `turns`
    how many large messages are written, `hearing` how much is heard in a turn of the event loop."""

    def __init__(
        self,
        transport: AcceptedTransport,
        guest: Guest,
        replica: Replica,
        room: Room,
        sizes: ContextSizes,
        reading: asyncio.Semaphore,
        turns: asyncio.Semaphore,
        hearing: Turns,
        *,
        record_bytes: int,
    ) -> None:
        self.member = Member(transport, turns)
        self._transport = transport
        self._guest = guest
        self._permission = guest.permission
        self._replica = replica
        self._room = room
        self._sizes = sizes
        self._record_bytes = record_bytes
        self._reading = reading
        self._hearing = hearing
        self._heard = 0
        """What was said since the last step, by weight."""
        self._queued_bytes = 0
        self._is_full = False
        """There was no room for what it offered last."""
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._is_over = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self._ending: tuple[int, str] | None = None
        self._evidence: list[Refused] = []
        self._unheard = 0
        """How often in a row nothing had come when it was listened."""
        self._shown_s = float("-inf")
        self._has_shown = False
        self._own_client: int | None = None
        """The client that it is, if that is known."""
        self._awareness = RecordRate(
            per_s=YJS_AWARENESS_BYTES_S,
            burst=16 * YJS_AWARENESS_BYTES_S,
            now_s=asyncio.get_running_loop().time(),
        )
        """In bytes."""

    @property
    def held_bytes(self) -> int:
        """What it makes the relay hold for it."""
        return self._queued_bytes + self._transport.held_bytes

    @property
    def has_ended(self) -> bool:
        return self._ending is not None

    async def serve(self) -> None:
        """Until the connection ends."""
        self._room.join(self.member)
        try:
            while self._ending is None:
                message = await self._transport.receive()
                if message is None:
                    break
                await self._hear(message)
                for more in self._transport.receive_more():
                    if self._ending is None:
                        await self._hear(more)
        finally:
            self._room.leave(self.member)
            self._replica.presence.gone(self)
            await self._close()
            if self._closing is not None:
                await self._closing
            if self._evidence:
                entries = tuple(self._evidence)
                try:
                    await self._replica.journal.write(lambda c: quarantine.keep(c, entries))
                except WeftError as error:
                    _LOG.error("what a Yjs client sent could not be kept: %s", error)

    async def _close(self) -> None:
        code, reason = self._ending or (self._transport.closing_code or 1000, "")
        await self._transport.close_with(code, close_reason(reason))

    def end(self, code: int, reason: str) -> None:
        """Close it; the first reason counts."""
        if self._ending is None:
            self._ending = (code, reason)
            # It hears nothing more, whatever it still waits for.
            self._room.leave(self.member)
            self._is_over.set()
            self._has_room.set()
            self._transport.connection_ended()

    def expire(self, reason: str, _: str) -> None:
        """Its token is no longer good."""
        self.end(UNAUTHORISED, reason)
        self._closing = asyncio.create_task(self._close(), name="weft-yjs-closing")

    # ---- what it says -------------------------------------------------------------------------

    async def _hear(self, data: bytes) -> None:
        """Others get their turn before all of many messages are heard, and while what is long to
        read is read."""
        is_long = len(data) > YJS_READ_INLINE_BYTES
        reading = wire.messages(data)
        self._heard += min(len(data), YJS_READ_INLINE_BYTES)
        try:
            while self._ending is None:
                if is_long:
                    message = await self._on_a_thread(next, reading, None)
                else:
                    message = next(reading, None)
                match message:
                    case None:
                        break
                    case wire.Step1():
                        self._room.ask(self.member, message.state_vector)
                    case wire.Step2():
                        await self._offer(message.update, is_step2=True)
                    case wire.Edited():
                        await self._offer(message.update, is_step2=False)
                    case wire.Aware():
                        await self._aware(message.data)
                    case wire.QueryAwareness():
                        self._show_awareness()
                self._heard += YJS_MESSAGE_WEIGHT
                while self._heard >= YJS_STEP_WEIGHT:
                    self._heard -= YJS_STEP_WEIGHT
                    await self._hearing.step()
        except LinkRefused as error:
            self._deny(error)
        except (MalformedFrame, MalformedUpdate) as error:
            self._refuse(error, data)

    async def _offer(self, update: bytes, *, is_step2: bool) -> None:
        if update == wire.EMPTY_UPDATE:
            return
        wait_s = self._guest.delay_s(1)
        if wait_s > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._is_over.wait()
        await self._has_room.wait()
        added = {self._room.name: len(update)}
        self._is_full = (
            not self._permission.is_peer and await self._sizes.first_full_with(added) is not None
        )
        if len(update) <= YJS_INLINE_BYTES:
            offered = read_offered(update, time.thread_time)
        else:
            offered = await self._on_a_thread(read_offered, update, time.thread_time)
        if self._ending is not None or not self.member.is_here:
            # It was sent before it left, but nobody waits for it; the client has it still.
            return
        self._queued_bytes += len(update)
        if self._queued_bytes > YJS_QUEUED_BYTES_MAX:
            self._has_room.clear()
        self._room.offer(self, offered, is_step2=is_step2)

    async def _aware(self, data: bytes) -> None:
        weighs = len(data) + read_var_uint(data, 0)[0] * YJS_AWARENESS_STATE_BYTES
        if not self._awareness.try_take(weighs, asyncio.get_running_loop().time()):
            return
        if len(data) <= YJS_READ_INLINE_BYTES:
            states = read_awareness(data)
        else:
            states = await self._on_a_thread(read_awareness, data)
            if not self.member.is_here:
                return  # Nobody would take back what is told for it now.
        if not self._has_shown and states:
            self._has_shown = True
            self._own_client = own_client(states)
        presence, name = self._replica.presence, self._room.name
        now_ms = int(asyncio.get_running_loop().time() * 1000)
        presence.tell(
            name,
            states,
            now_ms=now_ms,
            source=self,
            own=self._own_client,
            clients_max=PRESENCE_PER_CLIENT_LINK_MAX,
        )
        # Who comes back with the clock it had when it left hears that it has left, and says that
        # it has not.
        newer = presence.newer(name, states)
        if newer:
            self._room.show(self.member, newer)

    def _show_awareness(self) -> None:
        """Once a second: in a full room that is work, and its news come by themselves."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._shown_s + YJS_ASK_AGAIN_S:
            self._shown_s = now_s
            self._room.show_awareness(self.member)

    # ---- what its room says -------------------------------------------------------------------

    def permitted(self, offered: Offered, live: LiveDocument, *, is_step2: bool) -> Offered | None:
        wanted = permitted(self._permission, offered, live, is_step2=is_step2)
        if wanted is not None:
            most = max(map(len, wanted.records), default=0)
            # A step 2 says again what was taken before, maybe in smaller pieces.
            if most > self._record_bytes and (not is_step2 or live.brings_structs(wanted)):
                raise LinkRefused(
                    f"an update to context {self._room.name!r} makes a record of {most} bytes,"
                    f" above this relay's limit record_bytes, {self._record_bytes}",
                    hint="write smaller updates, or ask the relay's owner to raise the limit",
                )
        if self._is_full and wanted is not None:
            if is_step2 and not live.brings_structs(wanted):
                return None
            raise LinkRefused(
                f"context {self._room.name!r} would have more bytes than this relay's limit"
                " context_bytes",
                hint="go on in another context, or ask the relay's owner to raise the limit",
            )
        return wanted

    def refuse(self, error: PeerError, offered: Offered) -> None:
        if isinstance(error, LinkRefused):
            self._deny(error)
        else:
            self._refuse(error, offered.sent)

    def end_large(self) -> asyncio.Future[None]:
        """It makes the relay hold more than there is room for. What it says now is of no use any
        more; done when it is gone."""
        self._transport.discard()
        self.end(TRY_AGAIN, "the relay's memory is short, and this client holds most of it")
        self._closing = asyncio.create_task(self._close(), name="weft-yjs-closing")
        return self._closing

    def listen(self) -> None:
        """Called every YJS_LISTEN_S: ping a client that was not heard, whatever it speaks answers
        by itself; end it if it does not."""
        if self._transport.take_heard() or self.member.take_progress():
            self._unheard = 0
            return
        self._unheard += 1
        if self._unheard * YJS_LISTEN_S >= LINK_DEAD_MS / 1000:
            reason = f"it was not heard for {LINK_DEAD_MS // 1000} s"
            self.end(TRY_AGAIN, reason)
            self._closing = asyncio.create_task(
                self._transport.cut_off(TRY_AGAIN, reason), name="weft-yjs-closing"
            )
        elif self._unheard > 1:
            self._transport.send_prebuilt(PING)

    def try_again(self, reason: str) -> None:
        self.end(TRY_AGAIN, reason)

    def settled(self, offered: Offered) -> None:
        self._queued_bytes -= len(offered.sent)
        if self._queued_bytes <= YJS_QUEUED_BYTES_MAX:
            self._has_room.set()

    # ---- inside -------------------------------------------------------------------------------

    async def _on_a_thread(
        self, work: Callable[Arguments, Result], *given: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        async with self._reading:
            return await asyncio.to_thread(work, *given, **named)

    def _deny(self, error: LinkRefused) -> None:
        """It may not do that."""
        if not self.member.is_pouring:
            self.member.write(frame(wire.denied(error.message)))
        self.end(FORBIDDEN, error.message)

    def _refuse(self, error: PeerError, data: bytes) -> None:
        """Keep what can't be taken, and close."""
        kept = data[:QUARANTINE_ENTRY_BYTES_MAX]
        sender = self._permission.quota or b""
        at_ms = self._replica.now_ms()
        self._evidence.append(
            Refused(at_ms, sender, self._room.name, None, error.message, len(data), kept)
        )
        self.end(REFUSED, error.message)

"""One Yjs client as its room sees it: what it has been sent, and whether it keeps up.

A member is in step, and then gets whatever is told to the room, or it is not, and gets nothing
until it has been sent what it lacks. Nothing is left out in between and nothing is kept for it.
Must never know: documents, what messages mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

from weft_engine.background import begin
from weft_engine.limits import YJS_UNSENT_BYTES_MAX
from weft_server.transport import AcceptedTransport

Making: TypeAlias = Callable[[], Awaitable[Sequence[bytes]]]
"""Makes what is to be written, when it is its turn."""
_STALLS_S: Final = 0.05
_FAILED: Final = 1011
"""What a connection closes with that a fault of ours has ended: it is to come again."""


class Member:
    """`turns` bounds how many members of all rooms large messages are written to at once: the
    first of many have all of theirs sooner, and the last no later."""

    def __init__(self, transport: AcceptedTransport, turns: asyncio.Semaphore) -> None:
        self._transport = transport
        self._turns = turns
        self._pouring: asyncio.Task[None] | None = None
        self.asked_again_s = float("-inf")
        """When it was last asked for what its updates build on."""
        self._has_progressed = False

    @property
    def is_here(self) -> bool:
        return self._transport.is_open

    @property
    def keeps_up(self) -> bool:
        """Whether more may be written to it now."""
        return self._transport.buffered_bytes <= YJS_UNSENT_BYTES_MAX

    @property
    def is_pouring(self) -> bool:
        """A message is being written to it piece by piece: no other may come between."""
        return self._pouring is not None

    def write(self, frames: bytes) -> None:
        """Whole websocket frames that were built before."""
        self._transport.send_prebuilt(frames)

    def pour(
        self,
        pieces: Sequence[bytes] | Making,
        then: Callable[[], None],
    ) -> None:
        """Write large messages, as fast as the client takes them, once they are made; then call
        `then`, unless it has gone away."""
        assert self._pouring is None, "one message is written after the other"
        self._pouring = begin(self._pour(pieces, then), name="weft-yjs-pour")

    def take_progress(self) -> bool:
        """Whether some of a large message was taken from us since this was asked last: what comes
        behind that may be on its way for long."""
        has_progressed, self._has_progressed = self._has_progressed, False
        return has_progressed

    def leave(self) -> None:
        if self._pouring is not None:
            self._pouring.cancel()

    async def _pour(self, pieces: Sequence[bytes] | Making, then: Callable[[], None]) -> None:
        try:
            await self._pour_out(pieces, then)
        except asyncio.CancelledError:
            raise
        except BaseException:
            # Half of a message may be out, so nothing else can follow it.
            self._transport.closing_code = _FAILED
            self._transport.connection_ended()
            raise

    async def _pour_out(self, pieces: Sequence[bytes] | Making, then: Callable[[], None]) -> None:
        rest = iter(await pieces() if callable(pieces) else pieces)
        async with self._turns:
            # Who does not read holds up nobody else.
            with suppress(TimeoutError):
                await self._write_all(rest, stalls_s=_STALLS_S)
        await self._write_all(rest, stalls_s=None)
        self._pouring = None
        if self._transport.is_open:
            then()

    async def _write_all(self, rest: Iterator[bytes], *, stalls_s: float | None) -> None:
        """TimeoutError if it takes the client longer than `stalls_s` to read a piece."""
        async with asyncio.timeout(stalls_s):
            await self._transport.drained()
        for piece in rest:
            self._transport.send_prebuilt(piece)
            self._has_progressed = True
            # A client that reads along takes megabytes without a wait: others have their turn.
            await asyncio.sleep(0)
            async with asyncio.timeout(stalls_s):
                await self._transport.drained()

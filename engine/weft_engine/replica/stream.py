"""A message that is still being generated: it grows on every replica and ends as one event.

What is written gathers for a moment and goes into the journal as small records; whoever holds them
sees how far it is. At the end one record holds the whole message. If the generation breaks off,
what there was of it becomes an `interrupted` event.

Must never know: other replicas, views, what records look like.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Final, Self

from weft_engine.background import begin
from weft_engine.errors import (
    CallerError,
    InvalidMessage,
    LimitExceeded,
    MachineError,
    StoreClosed,
    WeftError,
)
from weft_engine.events.event import Event, Message, Via
from weft_engine.events.part import Part
from weft_engine.events.streams import (
    broken_off,
    join,
    json_bytes,
    text_of,
    well_formed,
    write_piece,
)
from weft_engine.limits import (
    STREAM_BYTES_MAX,
    STREAM_GATHER_BYTES,
    STREAM_GATHER_S,
    STREAM_WAITING_BYTES,
)
from weft_engine.names import EventId
from weft_engine.replica.stream_writer import Piece, StreamWriter

_LONG_AGO_S: Final = -1.0e9


class Stream:
    """Made by `Context.stream`; used once, as an async context manager. `allowed` raises if
    it can't be opened; `opened` and `ended` are called when it is."""

    def __init__(
        self,
        writer: StreamWriter,
        *,
        allowed: Callable[[], Awaitable[None]],
        opened: Callable[[Stream], None],
        ended: Callable[[Stream], None],
    ) -> None:
        self._writer = writer
        self._allowed = allowed
        self._opened = opened
        self._ended = ended
        self._pieces: list[Piece] = []
        self._waiting: list[Piece] = []
        self._waiting_bytes = 0
        self._bytes = 0
        self._held = ""
        """The first half of a character, until the second one comes."""
        self._final: Message | None = None
        self._tokens: int | None = None
        self._via: Via | None = None
        self._writing = asyncio.Lock()
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._failure: WeftError | None = None
        self._over: WeftError | None = None
        """What to tell whoever goes on after the end."""
        self._is_live = True
        """Whether its writer may still add to it."""

    @property
    def id(self) -> EventId:
        """The id of the event that it will be."""
        return self._writer.id

    @property
    def parts(self) -> tuple[Part, ...]:
        """All that was written, whether it is on disk yet or not."""
        return join([*self._pieces, well_formed(self._held, is_last=True)[0]])

    @property
    def text(self) -> str:
        return text_of(self.parts)

    async def __aenter__(self) -> Self:
        if self._writer.is_open:
            raise CallerError("a stream is opened once", hint="make another one with stream()")
        await self._allowed()
        await self._writer.open()
        self._opened(self)
        self._pump = begin(self._run(), name="weft-stream")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            told = None if self._over is not None else await self._end(self._seal)
            if told is None:
                # It has come to another end, perhaps while this waited for that.
                assert self._over is not None, "what has ended says so"
                raise self._over
        elif self._over is None:
            try:
                await self._end(self._break_off)
            except WeftError as second:
                # What is on disk is ended as interrupted when the store is opened again.
                error.add_note(f"and stream {self.id} could not be ended: {second}")

    async def write(self, delta: str) -> None:
        """Add text at the end. Returns before it is on disk, where it comes within a moment; waits
        while too much is not. Halves of characters are joined across calls, lone ones become
        U+FFFD. Raises LimitExceeded, StoreClosed, StoreError."""
        self._check_open()
        if not isinstance(delta, str):
            raise InvalidMessage("what is written is no text", hint="give other parts to add()")
        text, held = well_formed(self._held + delta, is_last=False)
        size = json_bytes(text)
        self._check_room(size)
        self._held = held
        if text:
            await self._add(text, size)

    async def add(self, *parts: Part) -> None:
        """Add parts that are no text, such as tool calls; as `write`."""
        self._check_open()
        size = len(write_piece(parts))
        self._check_room(size)
        self._release()
        if parts:
            await self._add(parts, size)

    def finish(
        self,
        message: Message | None = None,
        *,
        tokens: int | None = None,
        provider: str | None = None,
        model: str | None = None,
    ) -> None:
        """Say what it becomes when the block is left: `message` instead of what was written, and
        what the provider says of it."""
        self._check_open()
        role = self._writer.plan.role
        if message is not None and message.role is not role:
            raise InvalidMessage(f"the stream's role is {role}, its message's {message.role}")
        self._final = message
        self._tokens = tokens
        self._via = None if provider is None else Via(provider, model)

    async def flush(self) -> None:
        """Return when everything written so far is on disk."""
        self._check_open()
        await self._write_down()
        # While this waited it may have come to its end, or what was being written have failed.
        self._check_open()
        if not self._is_live:
            # Only an event of who writes here now can hold the rest.
            async with self._writing:
                self._check_open()
                await self._break_off()

    async def close(self) -> None:
        """End it as interrupted: its store closes."""
        over = StoreClosed(
            f"the store was closed while stream {self.id} was open",
            hint="what was written is kept as interrupted; leave the block before the store closes",
        )
        # Whoever writes is told of the end. What is on disk is not lost: the next open ends it.
        with suppress(MachineError):
            await self._end(self._break_off, over)

    async def interrupt(self) -> EventId:
        """End it as interrupted from outside of its block; the id of the event that says so."""
        self._check_open()
        over = CallerError(f"stream {self.id} was interrupted", hint="open another one")
        told = await self._end(self._break_off, over)
        if told is None:
            raise self._over or over
        return told

    # ---- inside -------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if not self._writer.is_open:
            raise CallerError("the stream is not open", hint="use it as: async with ... as s")
        if self._over is not None:
            raise self._over
        if self._failure is not None:
            raise self._failure

    def _check_room(self, size: int) -> None:
        if self._bytes + size > STREAM_BYTES_MAX:
            raise LimitExceeded(
                f"stream {self.id} grows beyond STREAM_BYTES_MAX, {STREAM_BYTES_MAX} bytes",
                hint="end it and open another one",
            )

    def _release(self) -> None:
        """No second half of a character comes any more."""
        if self._held:
            text, self._held = well_formed(self._held, is_last=True)
            self._pieces.append(text)
            self._waiting.append(text)

    async def _add(self, piece: Piece, size: int) -> None:
        self._pieces.append(piece)
        self._waiting.append(piece)
        self._bytes += size
        self._waiting_bytes += size
        self._wake.set()
        if self._waiting_bytes >= STREAM_GATHER_BYTES:
            self._hurry.set()
        if self._waiting_bytes > STREAM_WAITING_BYTES and self._is_live:
            await self._write_down()
        else:
            # So that a writer that never waits for anything lets others run.
            await asyncio.sleep(0)

    async def _run(self) -> None:
        """Write down what waits: at once after a pause, else after a moment, or when it is much."""
        loop = asyncio.get_running_loop()
        last_s = _LONG_AGO_S
        while self._is_live:
            await self._wake.wait()
            wait_s = last_s + STREAM_GATHER_S - loop.time()
            if wait_s > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._hurry.wait()
            self._wake.clear()
            self._hurry.clear()
            last_s = loop.time()
            try:
                await self._write_down()
            except WeftError as error:
                self._failure = error
                return

    async def _write_down(self) -> None:
        async with self._writing:
            if self._waiting and self._over is None and self._is_live:
                some, self._waiting, self._waiting_bytes = self._waiting, [], 0
                self._is_live = await self._writer.add(some)

    async def _end(
        self, how: Callable[[], Awaitable[EventId]], over: WeftError | None = None
    ) -> EventId | None:
        """Come to an end, once; None if it had come already."""
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
        async with self._writing:
            if self._over is not None:
                return None
            self._release()
            try:
                return await how()
            finally:
                self._over = over or CallerError("the stream has ended", hint="open another one")
                self._ended(self)

    async def _seal(self) -> EventId:
        plan = self._writer.plan
        message = self._final or Message(plan.role, self.parts, plan.name)
        if not message.parts:
            # Nothing was said: that is no message, and nothing is to be waited for any more.
            return await self._break_off()
        if self._tokens is not None:
            message = replace(message, tokens=self._tokens)
        if self._via is not None:
            message = replace(message, via=self._via)
        event: Event = replace(self._writer.opening, body=message)
        try:
            return await self._writer.end(event, as_id=self.id)
        except (InvalidMessage, LimitExceeded):
            await self._break_off()
            raise

    async def _break_off(self) -> EventId:
        return await self._writer.end(broken_off(self.id, self._writer.opening, self.parts))

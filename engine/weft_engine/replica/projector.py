"""Keeps event indexes up with the journal, in the background and when a reader needs one now.

A replica that passes records on and is seldom read itself leaves the background out (`is_ahead`):
to fold an event and to count its tokens costs several times what taking it in does.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from weft_engine.background import begin
from weft_engine.errors import MachineError
from weft_engine.events.event import Message
from weft_engine.limits import CHECK_FOLD_BYTES, CHECK_FOLD_RECORDS
from weft_engine.names import ContextName, EventId
from weft_engine.storage.journal import SqliteJournal
from weft_engine.storage.projection import (
    Found,
    Step,
    find_summary,
    keep_summary,
    next_step,
    save_step,
)
from weft_engine.views.count import count_message
from weft_engine.views.tokenizer import DEFAULT_TOKENIZER, Tokenizer

_IDLE_S: Final = 0.25
_BUSY_S: Final = 5.0
_CLOSING_S: Final = 2.0
_RETRY_S: Final = 1.0
_COUNTS_MAX: Final = 8192


@dataclass(slots=True)
class _Turn:
    """A lock, kept for as long as somebody has it or waits for it: one that is let go of shows as
    free before the next one has it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Projector:
    """`moved` is called with a context whose known messages changed places; `branches_in_use` says
    of which branches beside main it is worth to remember the summary that stands. `is_ahead`: it
    works in the background too."""

    def __init__(
        self,
        journal: SqliteJournal,
        *,
        moved: Callable[[ContextName], None],
        branches_in_use: Callable[[ContextName], Sequence[EventId]],
        is_ahead: bool = True,
    ) -> None:
        self._journal = journal
        self._moved = moved
        self._branches_in_use = branches_in_use
        self._is_ahead = is_ahead
        self._lagging: set[ContextName] = set()
        self._locks: dict[ContextName, _Turn] = {}
        self._background: asyncio.Task[None] | None = None
        self._busy = False
        self._closed = False
        self._tokenizer = Tokenizer(DEFAULT_TOKENIZER)
        self._counts: dict[EventId, tuple[Message, int]] = {}
        self.resets = 0
        """How often an index was dropped. What was read is whole only if this has not risen."""

    def count(self, event: EventId, message: Message) -> int:
        """Tokens of a message in the default tokenizer; remembered until the index has them."""
        known = self._counts.get(event)
        # Several candidates of one id may differ.
        if known is not None and known[0] == message:
            return known[1]
        tokens = count_message(message, self._tokenizer)
        if len(self._counts) >= _COUNTS_MAX:
            self._counts.clear()
        self._counts[event] = (message, tokens)
        return tokens

    def note(self, context: ContextName) -> None:
        """Records were journaled in `context`; its index is brought up soon, or when it is asked
        for."""
        if not self._is_ahead:
            return
        self._busy = True
        self._lags(context)

    async def catch_up(self, context: ContextName) -> None:
        """Return when the index of `context` has all that was journaled when this was called."""
        try:
            async with self._turn(context):
                self._lagging.discard(context)
                while await self._step(context):
                    pass
        except (Exception, asyncio.CancelledError):
            # Not if this coroutine was given up and is closed: its event loop may be gone.
            if self._is_ahead:
                self._lags(context)
            raise

    async def advance(self, context: ContextName) -> int:
        """A short step of `catch_up`: how many events of the index it changed."""

        def short(connection: sqlite3.Connection) -> Step | None:
            return next_step(
                connection,
                context,
                self.count,
                records_max=CHECK_FOLD_RECORDS,
                bytes_max=CHECK_FOLD_BYTES,
            )

        async with self._turn(context):
            step = await self._journal.read(short)
            if step is None:
                return 0
            await self._save(context, step)
            return len(step.changes.rows)

    @asynccontextmanager
    async def paused(self, context: ContextName) -> AsyncIterator[None]:
        """While the index of `context` is dropped: nothing is folded, and who reads it meanwhile
        (`resets`) reads again."""
        async with self._turn(context):
            self.resets += 1
            yield
        self.note(context)

    def forget(self) -> None:
        """Forget the messages that are held in memory: some of them may have been erased."""
        self._counts.clear()

    async def close(self) -> None:
        """Bring the indexes up that are known to lag, so that the next open finds them ready; but
        not for longer than a moment, nor on a disk that fails: whoever opens it next does it."""
        self._closed = True
        if self._background is not None:
            self._background.cancel()
            await asyncio.gather(self._background, return_exceptions=True)
            self._background = None
        loop = asyncio.get_running_loop()
        end = loop.time() + _CLOSING_S
        with suppress(MachineError):
            for context in sorted(self._lagging):
                if loop.time() < end:
                    await self.catch_up(context)

    @asynccontextmanager
    async def _turn(self, context: ContextName) -> AsyncIterator[None]:
        """Nobody else has the turn of this context meanwhile."""
        turn = self._locks.setdefault(context, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._locks[context]

    def _lags(self, context: ContextName) -> None:
        self._lagging.add(context)
        if self._background is None and not self._closed:
            self._background = begin(self._follow(), name="weft-projector")

    async def _step(self, context: ContextName) -> bool:
        branches = self._branches_in_use(context)

        def next_one(connection: sqlite3.Connection) -> Step | Found | None:
            step = next_step(connection, context, self.count)
            return find_summary(connection, context, branches) if step is None else step

        step = await self._journal.read(next_one)
        if step is None:
            return False
        if isinstance(step, Found):
            found = step
            await self._journal.write(lambda connection: keep_summary(connection, found))
            return True
        await self._save(context, step)
        return True

    async def _save(self, context: ContextName, step: Step) -> None:
        await self._journal.write(lambda connection: save_step(connection, step))
        for row in step.changes.rows.values():
            self._counts.pop(row.id, None)
        if step.moved:
            self._moved(context)

    async def _follow(self) -> None:
        """Wait until writing pauses, or has gone on for long, then work off what lags."""
        while self._lagging:
            waited = 0.0
            while self._busy and waited < _BUSY_S:
                self._busy = False
                await asyncio.sleep(_IDLE_S)
                waited += _IDLE_S
            self._busy = False
            try:
                for context in sorted(self._lagging):
                    await self.catch_up(context)
            except MachineError:
                # What lags is still noted. Whoever writes or asks is told; here nobody listens.
                await asyncio.sleep(_RETRY_S)
        self._background = None

"""Erasing: writing down what shall go, and making it go from this replica's file and memory.

The work follows the journal, whoever wrote the eraser: it begins as soon as an eraser is
committed, and again at every open until it is done.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from weft_engine.errors import (
    CallerError,
    ErasedContent,
    InvalidMessage,
    LimitExceeded,
    MachineError,
    NotFound,
    StoreClosed,
)
from weft_engine.limits import (
    DEPS_MAX,
    ERASE_PAYLOAD_BYTES_MAX,
    ERASE_REASON_BYTES_MAX,
    ERASING_STEP_RECORDS,
)
from weft_engine.names import (
    ContextName,
    EventId,
    Incarnation,
    NoteName,
    Position,
    RecordHash,
    event_id_incarnation,
    is_event_id,
)
from weft_engine.records.erasure import Erasure, prove
from weft_engine.records.frontier import Frontier
from weft_engine.replica.projector import Projector
from weft_engine.replica.scribe import Scribe
from weft_engine.storage import erasing, reading
from weft_engine.storage.erasures import ErasureRow, erased_before, erasures
from weft_engine.storage.journal import SqliteJournal
from weft_engine.storage.listing import Listing
from weft_engine.views.receipt import Receipt

_RETRY_FIRST_S: Final = 0.01
_RETRY_LAST_S: Final = 1.0
_PAGE: Final = 256
_SHOWN_MAX: Final = 4


class Erasing:
    """`forget` drops what is held in memory of a context."""

    def __init__(
        self,
        journal: SqliteJournal,
        scribe: Scribe,
        projector: Projector,
        *,
        forget: Callable[[ContextName], Awaitable[None]],
    ) -> None:
        self._journal = journal
        self._scribe = scribe
        self._projector = projector
        self._forget = forget
        self._again = False
        self._working: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._closed = False
        if journal.has_erasing_left:
            self.work()

    async def erase(
        self,
        name: ContextName,
        reason: str,
        *,
        events: Sequence[EventId] = (),
        note: NoteName | None = None,
    ) -> list[RecordHash]:
        """Erase events, a note, or (neither given) the whole context; the hashes of the erasing
        records. Returns when nothing of it is left in the file."""
        _check_reason(reason)
        for event in events:
            if not is_event_id(event):
                raise CallerError(f"{event!r} is no event id", hint="use an id that history gave")
        state = await self._journal.read(lambda connection: reading.context(connection, name))
        if state is None:
            raise NotFound(f"this store has no context {name!r}", hint="check the name")
        after: Frontier | None = None
        if not events and note is None:
            wanted = [Erasure((), None, reason, {})]
        else:
            if len(state.frontier) > DEPS_MAX:
                await self._scribe.join(name)
                state = await self._journal.read(lambda c: reading.context(c, name))
                assert state is not None, "a context with records stays"
            listing = Listing(state, events, note)
            while await self._journal.read(listing.read_some):
                pass
            _check_found(name, listing, note)
            wanted = list(listing.erasures(reason))
            after = state.frontier
        seeds = await self._journal.read(reading.seeds)
        hashes = await self._scribe.append_erasures(name, after, partial(_payloads, wanted, seeds))
        await self.done()
        return hashes

    async def all(self) -> list[ErasureRow]:
        """Every erasing record of this store, in journal order."""
        found: list[ErasureRow] = []
        after = Position(0)
        while True:
            page = await self._journal.read(partial(erasures, after=after, limit=_PAGE))
            found.extend(row for _, row in page)
            if len(page) < _PAGE:
                return found
            after = page[-1][0]

    async def explain(self, receipt: Receipt) -> ErasedContent | None:
        """Why a receipt can't be replayed, if something in the past of its cut was erased."""
        erasers = await self._journal.read(
            lambda connection: erased_before(connection, receipt.context, receipt.cut)
        )
        if not erasers:
            return None
        hashes = {row.eraser for row in erasers}
        events = sorted({event for row in erasers for event in row.events})
        what = [*events[:_SHOWN_MAX], *(f"note {row.note!r}" for row in erasers if row.note)]
        if any(not row.events and row.note is None for row in erasers):
            what = ["the whole context"]
        more = f" and {len(events) - _SHOWN_MAX} more" if len(events) > _SHOWN_MAX else ""
        return ErasedContent(
            f"the view of receipt {receipt.trace_id!r} held what has been erased since:"
            f" {', '.join(dict.fromkeys(what))}{more}, by record"
            f" {min(hashes).hex()[:16]} ({erasers[0].reason})",
            erasers=sorted(hashes),
            events=events,
        )

    def work(self) -> None:
        """An eraser is in the journal: begin, if that has not begun."""
        self._again = True
        if not self._closed and (self._working is None or self._working.done()):
            self._working = asyncio.get_running_loop().create_task(
                self._work(), name="weft-erasing"
            )
            self._working.add_done_callback(self._ended)

    async def done(self) -> None:
        """Return when all work is done that there was when this was called; raises what stopped
        it, StoreClosed if the store closes first."""
        working = self._working
        if working is not None:
            try:
                await asyncio.shield(working)
                return
            except asyncio.CancelledError:
                if not working.cancelled():
                    raise
        if self._closed:
            raise StoreClosed(
                "the store was closed before everything was gone that is to be erased",
                hint="the rest is erased when it is opened again",
            )

    async def close(self) -> None:
        """Stop; what is left is done at the next open."""
        self._closed = True
        working, self._working = self._working, None
        if self._retry is not None:
            self._retry.cancel()
        if working is not None:
            working.cancel()
            # Who erases was told of the disk's fault; the rest is for the next open.
            with suppress(asyncio.CancelledError, MachineError):
                await working

    # ---- inside -------------------------------------------------------------------------------

    def _ended(self, working: asyncio.Task[None]) -> None:
        if not working.cancelled() and isinstance(working.exception(), MachineError):
            # Whoever waits is told. Nobody may wait, and the disk may have room later.
            self._retry = asyncio.get_running_loop().call_later(_RETRY_LAST_S, self.work)

    async def _work(self) -> None:
        while self._again:
            self._again = False
            for position in await self._journal.read(erasing.pending):
                await self._erase(position)

    async def _erase(self, position: Position) -> None:
        work = await self._journal.read(lambda connection: erasing.plan(connection, position))
        if work.positions:
            async with self._projector.paused(work.name):
                for start in range(0, len(work.positions), ERASING_STEP_RECORDS):
                    some = work.positions[start : start + ERASING_STEP_RECORDS]
                    await self._journal.write(partial(_step, work, some))
        await self._forget(work.name)
        await self._journal.clear_rooms(work)
        pause_s = _RETRY_FIRST_S
        while not await self._journal.truncate_log():
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _RETRY_LAST_S)
        store = self._journal.identity.store
        await self._journal.write(lambda connection: erasing.finish(connection, work, store))
        self._journal.tell_confirmed()


def _step(work: erasing.Plan, some: Sequence[Position], connection: sqlite3.Connection) -> int:
    return erasing.step(connection, work, some)


def _payloads(
    wanted: Sequence[Erasure], seeds: dict[Incarnation, bytes], eraser: Incarnation
) -> list[bytes]:
    payloads: list[bytes] = []
    for erasure in wanted:
        proofs = tuple(
            prove(seeds[author], event, eraser)
            for event in erasure.events
            if (author := event_id_incarnation(event)) != eraser and author in seeds
        )
        payload = Erasure(
            erasure.events, erasure.note, erasure.reason, erasure.records, proofs
        ).encode()
        if len(payload) > ERASE_PAYLOAD_BYTES_MAX:
            raise LimitExceeded(
                f"an erasing record of {len(payload)} bytes exceeds {ERASE_PAYLOAD_BYTES_MAX}",
                hint="one record of the context holds too much of it: erase the whole context",
            )
        payloads.append(payload)
    return payloads


def _check_reason(reason: str) -> None:
    try:
        size = len(reason.encode())
    except UnicodeEncodeError:
        raise InvalidMessage("the reason holds a lone surrogate", path="$.reason") from None
    if not 0 < size <= ERASE_REASON_BYTES_MAX:
        raise InvalidMessage(
            f"the reason has {size} bytes, it may have 1 to {ERASE_REASON_BYTES_MAX}",
            path="$.reason",
            hint="say in a few words why this is erased; the reason is kept",
        )


def _check_found(name: ContextName, listing: Listing, note: NoteName | None) -> None:
    missing = listing.missing
    if missing:
        raise NotFound(
            f"context {name!r} has no event {missing[0]}"
            + (f" and {len(missing) - 1} more of those named" if len(missing) > 1 else ""),
            hint="use ids that history gave; sync first if another replica wrote it",
        )
    if note is not None and listing.is_empty:
        raise NotFound(f"context {name!r} has nothing of a note {note!r}", hint="check the name")

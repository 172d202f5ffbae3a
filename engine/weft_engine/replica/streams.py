"""The streams of a replica: those it writes, those that a crash broke off, those it can see.

A stream that was open when the process died is ended as interrupted at the next open, before any
reader is answered. Must never know: how a stream is written.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from weft_engine.background import begin
from weft_engine.errors import MachineError, NotFound, StoreClosed
from weft_engine.events.event import Interrupted, Message, Role
from weft_engine.events.part import Part
from weft_engine.events.row import INTERRUPTED, TOLD, id_bytes
from weft_engine.events.streams import (
    Growth,
    broken_off,
    pieces,
    precedence,
    text_of,
)
from weft_engine.limits import STREAMS_LISTED_MAX
from weft_engine.names import (
    ContextName,
    EventId,
    Position,
    event_id_hlc,
    event_id_incarnation,
    is_event_id,
)
from weft_engine.records.clock import hlc_ms
from weft_engine.records.identity import client_id
from weft_engine.replica.stream import Stream
from weft_engine.replica.stream_writer import Plan, StreamWriter, append_end, runs
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.reading import ContextState
from weft_engine.storage.streams import note_ended
from weft_engine.yjs.reader import read_update

if TYPE_CHECKING:
    from weft_engine.replica.replica import Replica


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A message that is being generated, as far as it is known here. Times in milliseconds since
    1970, by its writer's clock. `pieces`: of how many pieces `parts` are made; the next one that
    `watch` tells of has this number."""

    id: EventId
    role: Role
    author: str
    name: str | None
    branch: EventId | None
    parts: tuple[Part, ...]
    pieces: int
    started_ms: int
    grown_ms: int

    @property
    def text(self) -> str:
        return text_of(self.parts)


@dataclass(frozen=True, slots=True)
class _Found:
    growth: Growth
    clocks: tuple[tuple[int, int], ...]
    grown_ms: int


class Streams:
    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._open: dict[EventId, Stream] = {}
        self._left = replica.journal.streams_left
        self._ending: asyncio.Task[None] | None = None
        if self._left:
            self._ending = begin(self._end_left(), name="weft-streams")

    def make(self, plan: Plan, *, allowed: Callable[[], Awaitable[None]]) -> Stream:
        """A stream that is not open yet. `allowed` raises if it can't be opened."""

        def opened(stream: Stream) -> None:
            self._open[stream.id] = stream

        def ended(stream: Stream) -> None:
            self._open.pop(stream.id, None)

        writer = StreamWriter(self._replica.scribe, plan)
        return Stream(writer, allowed=allowed, opened=opened, ended=ended)

    async def recovered(self) -> None:
        """Return when what a crash broke off has been ended; or can't be, on a disk that fails:
        then the next open does it."""
        ending = self._ending
        if ending is not None:
            await asyncio.wait({ending})
            if not ending.cancelled():
                ending.result()
                self._ending = None

    async def close(self) -> None:
        """End those that are open here, as interrupted."""
        for stream in tuple(self._open.values()):
            await stream.close()
        ending, self._ending = self._ending, None
        if ending is not None:
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)

    async def interrupt(self, name: ContextName, id_: EventId) -> EventId:
        """End a stream of anybody as interrupted, as far as it is known here. NotFound if there is
        none of that id."""
        own = self._open.get(id_)
        if own is not None:
            return await own.interrupt()
        found = None
        if is_event_id(id_):
            await self.recovered()
            found = await self._replica.ask(name, partial(_grown, id_bytes(id_)))
        if not found:
            raise NotFound(
                f"context {name!r} has no open stream {id_}", hint="use an id that streams() gives"
            )
        return await self._tell(name, found[0])

    # ---- inside -------------------------------------------------------------------------------

    async def _end_left(self) -> None:
        # The disk's fault is told to whoever writes, and the next open tries again.
        with suppress(MachineError, StoreClosed):
            for name, id_ in self._left:
                await self._end_one(name, id_)

    async def _end_one(self, name: ContextName, id_: EventId) -> None:
        found = await self._replica.ask_now(name, partial(_left, id_))
        if found is None:
            # Sealed after all, or somebody has told at least as much of it.
            await self._replica.journal.write(partial(_note_ended, id_))
        else:
            await self._tell(name, found)

    async def _tell(self, name: ContextName, found: _Found) -> EventId:
        growth = found.growth
        assert growth.opening is not None, "what was not opened is not listed"
        return await append_end(
            self._replica.scribe,
            name,
            growth.id,
            broken_off(growth.id, growth.opening, growth.parts),
            as_id=None,
            streamed=(
                client_id(event_id_incarnation(growth.id), name),
                runs(sorted(found.clocks)),
            ),
        )


def open_streams(limit: int, table: EventTable, _: ContextState) -> list[OpenStream]:
    """The streams of a context that have not ended, in the order in which they were opened; the
    newest of them if there are more than `limit`."""
    return [_shown(found) for found in _grown(None, table, _, limit=limit)]


def told_of(events: Sequence[EventId], table: EventTable, _: ContextState) -> list[EventId]:
    """The streams of whose end some of these events tell."""
    rows = table.by_ids([id_bytes(event) for event in events if is_event_id(event)])
    told = [row for row in rows.values() if row.kind == INTERRUPTED and row.rank != TOLD]
    bodies = [table.event(row).body for row in told]
    return [body.target for body in bodies if isinstance(body, Interrupted)]


def _grown(
    id_: bytes | None, table: EventTable, _: ContextState, *, limit: int = STREAMS_LISTED_MAX
) -> list[_Found]:
    streamed = table.streams.listed(id_)
    groups = [
        (key, [position for _, position in group])
        for key, group in groupby(streamed, key=lambda row: row[0])
    ]
    some = [
        _put_together(EventId(f"{key[:8].hex()}-{key[8:].hex()}"), table, positions)
        for key, positions in groups[-limit:]
    ]
    return [found for found in some if found.growth.opening is not None]


def _left(id_: EventId, table: EventTable, state: ContextState) -> _Found | None:
    """An own stream that is to be ended; None if nothing is to be added to what is known."""
    identity = id_bytes(id_)
    row = table.by_ids([identity]).get(identity)
    positions = [position for _, position in table.streams.listed(identity)]
    if row is not None:
        if row.rank != TOLD:
            return None
        positions = table.positions_by(event_id_incarnation(id_))
    found = _put_together(id_, table, positions)
    if found.growth.opening is None:
        return None
    if row is not None:
        told = table.event(row).body
        assert isinstance(told, Message), "it stands as a message"
        if precedence(told.parts, "") <= precedence(found.growth.parts, ""):
            return None
    return found


def _put_together(id_: EventId, table: EventTable, positions: Sequence[Position]) -> _Found:
    growth = Growth(id_)
    clocks: list[tuple[int, int]] = []
    grown_ms = 0
    for position in positions:
        record = table.journaled(position).record
        for piece in pieces(record, read_update(record.payload)):
            if piece.id == id_:
                growth.take(piece, record.payload)
                clocks.append((piece.clock, 1))
                grown_ms = hlc_ms(record.envelope.hlc)
    return _Found(growth, tuple(clocks), grown_ms)


def _shown(found: _Found) -> OpenStream:
    growth, opening = found.growth, found.growth.opening
    assert opening is not None, "only what was opened is listed"
    assert isinstance(opening.body, Message), "a stream is a message to be"
    return OpenStream(
        id=growth.id,
        role=opening.body.role,
        author=opening.author,
        name=opening.body.name,
        branch=opening.branch,
        parts=growth.parts,
        pieces=growth.count,
        started_ms=hlc_ms(event_id_hlc(growth.id)),
        grown_ms=found.grown_ms,
    )


def _note_ended(id_: EventId, connection: sqlite3.Connection) -> None:
    note_ended(connection, id_)

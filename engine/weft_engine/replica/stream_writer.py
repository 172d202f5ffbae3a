"""What a stream puts into the journal: its opening, its pieces, and the event that ends it.

All of it is written by the incarnation that the stream's id names. Once that one is retired
nothing more can be added; the event that ends it may come from the next.

Must never know: when to write, what is still to come.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from weft_engine.errors import CallerError
from weft_engine.events.codec import encode_event
from weft_engine.events.event import Event, Message, Role
from weft_engine.events.part import Part
from weft_engine.events.streams import parts_key, text_key, write_piece
from weft_engine.limits import SEEN_MAX
from weft_engine.names import (
    ClientId,
    ContextName,
    EventId,
    event_id,
    event_id_hlc,
    event_id_incarnation,
)
from weft_engine.records.frontier import Frontier
from weft_engine.replica.scribe import LONG_AGO, Native, Scribe, Standpoint
from weft_engine.storage.streams import note_ended, note_opened
from weft_engine.yjs.encoder import encode_stream_append, encode_stream_seal

Piece = str | tuple[Part, ...]
"""Text, or parts that are none."""
Runs = Sequence[tuple[int, int]]
"""Yjs clocks as (first, length), ascending and apart."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a stream is to become. `seen` None: what is there when it opens."""

    context: ContextName
    role: Role
    author: str
    name: str | None
    branch: EventId | None
    seen: Frontier | None


class StreamWriter:
    """Every call is durable when it returns; one at a time."""

    def __init__(self, scribe: Scribe, plan: Plan) -> None:
        self.plan = plan
        self._scribe = scribe
        self._id: EventId | None = None
        self._client = ClientId(0)
        self._opening: Event | None = None
        self._clocks: list[tuple[int, int]] = []
        self._count = 0

    @property
    def is_open(self) -> bool:
        return self._id is not None

    @property
    def id(self) -> EventId:
        if self._id is None:
            raise CallerError("the stream is not open", hint="use it as: async with ... as s")
        return self._id

    @property
    def opening(self) -> Event:
        assert self._opening is not None, "it is open"
        return self._opening

    async def open(self) -> None:
        await self._scribe.append_native(self.plan.context, self._make_opening)

    async def add(self, some: Sequence[Piece]) -> bool:
        """False, and nothing is written, if who opened it was retired."""
        return await self._scribe.append_native(
            self.plan.context, partial(self._make_pieces, joined(some))
        )

    async def end(self, event: Event, *, as_id: EventId | None = None) -> EventId:
        """InvalidMessage or LimitExceeded if `event` can't be written."""
        return await append_end(
            self._scribe,
            self.plan.context,
            self.id,
            event,
            as_id=as_id,
            streamed=(self._client, runs(self._clocks)),
        )

    def _make_opening(self, at: Standpoint) -> Native:
        plan = self.plan
        id_ = event_id(at.hlc, at.incarnation)
        seen: Frontier | None = None
        if plan.role is Role.ASSISTANT:
            # What comes while it is generated it has not seen, so it always says what it has.
            fits = plan.seen is not None and len(plan.seen) <= SEEN_MAX
            seen = plan.seen if fits else at.frontier
        event = Event(plan.author, Message(plan.role, (), plan.name), plan.branch, seen)
        payload = encode_stream_append(at.client, at.clock, [(id_, encode_event(event))])
        self._id, self._client, self._opening = id_, at.client, event
        self._clocks.append((at.clock, 1))

        def beside(connection: sqlite3.Connection) -> None:
            note_opened(connection, plan.context, id_)

        return Native(payload, 1, beside, is_quiet=True)

    def _make_pieces(self, some: Sequence[Piece], at: Standpoint) -> Native | None:
        if at.incarnation != event_id_incarnation(self.id):
            return None
        entries: list[tuple[str, bytes]] = []
        for number, piece in enumerate(some, self._count):
            key = text_key if isinstance(piece, str) else parts_key
            entries.append((key(self.id, number), write_piece(piece)))
        self._count += len(entries)
        self._clocks.append((at.clock, len(entries)))
        payload = encode_stream_append(at.client, at.clock, entries)
        return Native(payload, len(entries), is_quiet=True)


async def append_end(
    scribe: Scribe,
    context: ContextName,
    stream: EventId,
    event: Event,
    *,
    as_id: EventId | None,
    streamed: tuple[ClientId, Runs],
) -> EventId:
    """Write the event that ends a stream, alone in its record, under `as_id` or an id of its own,
    and delete what was streamed from the document; its id."""
    data = encode_event(event)
    given: list[EventId] = []

    def beside(connection: sqlite3.Connection) -> None:
        note_ended(connection, stream)

    def make(at: Standpoint) -> Native:
        given.append(as_id or event_id(at.hlc, at.incarnation))
        payload = encode_stream_seal(at.client, at.clock, (given[-1], data), streamed=streamed)
        return Native(payload, 1, beside)

    # Our clock may have been set right since the stream got its id; a record that is stamped before
    # an event it holds is refused by everybody. An id of its own is never above the clock.
    not_before = LONG_AGO if as_id is None else event_id_hlc(as_id)
    await scribe.append_native(context, make, not_before=not_before)
    return given[-1]


def runs(clocks: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges of clocks (first, length) that ascend, with those that touch as one."""
    found: list[tuple[int, int]] = []
    for first, length in clocks:
        if found and sum(found[-1]) == first:
            found[-1] = (found[-1][0], found[-1][1] + length)
        else:
            found.append((first, length))
    return found


def joined(some: Iterable[Piece]) -> list[Piece]:
    """Text that follows on text as one piece."""
    found: list[Piece] = []
    texts: list[str] = []
    for piece in some:
        if isinstance(piece, str):
            texts.append(piece)
            continue
        if texts:
            found.append("".join(texts))
            texts = []
        found.append(piece)
    if texts:
        found.append("".join(texts))
    return found

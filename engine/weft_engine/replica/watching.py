"""Watching a context: what is committed, told to whoever listens, without ever growing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from weft_engine.events.candidate import candidates
from weft_engine.events.streams import Piece, pieces
from weft_engine.limits import STREAM_TOLD_CHARS_MAX, STREAMS_LISTED_MAX
from weft_engine.names import ContextName, EventId, is_event_id
from weft_engine.records.envelope import Kind
from weft_engine.storage.ledger import Stored
from weft_engine.yjs.reader import read_update

_EVENTS_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class Grown:
    """What came of a stream: `pieces` of them, from the `first` on, and their text; None if it is
    too much to be told, `Context.streams` has it. (0, 0, "") if it was opened, no more."""

    id: EventId
    first: int
    pieces: int
    text: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """What was committed since the last change. `events`: ids that came, oldest first; there were
    more of them than are listed if `truncated`. `records`: how many records. `streams`: what
    messages have grown by that are still being generated."""

    context: ContextName
    records: int
    events: tuple[EventId, ...]
    truncated: bool
    streams: tuple[Grown, ...] = ()


@dataclass(slots=True)
class _Growing:
    first: int | None = None
    pieces: int = 0
    text: str | None = ""


class Watcher:
    """Gathers changes until they are taken: a slow listener gets fewer and larger ones."""

    def __init__(self, context: ContextName) -> None:
        self._context = context
        self._records = 0
        self._events: list[EventId] = []
        self._truncated = False
        self._grown: dict[EventId, _Growing] = {}
        self._chars = 0
        self._something = asyncio.Event()
        self._ended = False

    def tell(self, stored: Stored) -> None:
        self._records += 1
        if stored.record.envelope.kind in (Kind.NATIVE, Kind.FOREIGN):
            update = read_update(stored.record.payload)
            for piece in pieces(stored.record, update):
                self._grow(piece, stored.record.payload)
            ids = [
                EventId(candidate.key)
                for candidate in candidates(update)
                if is_event_id(candidate.key)
            ]
            room = _EVENTS_MAX - len(self._events)
            self._events.extend(ids[:room])
            self._truncated = self._truncated or len(ids) > room
        self._something.set()

    def _grow(self, piece: Piece, payload: bytes) -> None:
        one = self._grown.get(piece.id)
        if one is None:
            if len(self._grown) >= STREAMS_LISTED_MAX:
                self._truncated = True
                return
            one = self._grown[piece.id] = _Growing()
        if piece.number is None:
            return
        one.first = piece.number if one.first is None else one.first
        one.pieces += 1
        if not piece.is_json and one.text is not None:
            self._chars += piece.length
            over = self._chars > STREAM_TOLD_CHARS_MAX
            one.text = None if over else one.text + piece.text(payload)

    def end(self) -> None:
        self._ended = True
        self._something.set()

    async def next(self) -> Change | None:
        """The next change; None when the store closes."""
        await self._something.wait()
        if not self._records:
            return None
        grown = tuple(
            Grown(id_, one.first or 0, one.pieces, one.text) for id_, one in self._grown.items()
        )
        change = Change(self._context, self._records, tuple(self._events), self._truncated, grown)
        self._records, self._events, self._truncated = 0, [], False
        self._grown, self._chars = {}, 0
        if not self._ended:
            self._something.clear()
        return change

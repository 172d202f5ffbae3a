"""Watching a context: what is committed, told to whoever listens, without ever growing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from weft_engine.events.candidate import candidates
from weft_engine.names import ContextName, EventId, is_event_id
from weft_engine.records.envelope import Kind
from weft_engine.storage.ledger import Stored
from weft_engine.yjs.reader import read_update

_EVENTS_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class Change:
    """What was committed since the last change. `events`: ids that came, oldest first; there were
    more of them than are listed if `truncated`. `records`: how many records."""

    context: ContextName
    records: int
    events: tuple[EventId, ...]
    truncated: bool


class Watcher:
    """Gathers changes until they are taken: a slow listener gets fewer and larger ones."""

    def __init__(self, context: ContextName) -> None:
        self._context = context
        self._records = 0
        self._events: list[EventId] = []
        self._truncated = False
        self._something = asyncio.Event()
        self._ended = False

    def tell(self, stored: Stored) -> None:
        self._records += 1
        if stored.record.envelope.kind in (Kind.NATIVE, Kind.FOREIGN):
            ids = [
                EventId(candidate.key)
                for candidate in candidates(read_update(stored.record.payload))
                if is_event_id(candidate.key)
            ]
            room = _EVENTS_MAX - len(self._events)
            self._events.extend(ids[:room])
            self._truncated = self._truncated or len(ids) > room
        self._something.set()

    def end(self) -> None:
        self._ended = True
        self._something.set()

    async def next(self) -> Change | None:
        """The next change; None when the store closes."""
        await self._something.wait()
        if not self._records:
            return None
        change = Change(self._context, self._records, tuple(self._events), self._truncated)
        self._records, self._events, self._truncated = 0, [], False
        if not self._ended:
            self._something.clear()
        return change

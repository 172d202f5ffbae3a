"""The newest part of a context's reading order, held in memory for views.

Follows our own appends without asking the disk, as long as they simply come last. Anything else
makes it `stale`: then it is loaded again from the event index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from weft_engine.events.event import Config, Event, Message, Role
from weft_engine.names import EventId, Position, event_id_hlc
from weft_engine.records.envelope import Record
from weft_engine.records.frontier import EMPTY, Frontier, advance
from weft_engine.replica.settings import Settings
from weft_engine.views.cache import ViewCache
from weft_engine.views.entry import STANDING_ROLES, Entry

ENTRIES_MAX: Final = 50_000
"""Beyond this many in memory it is loaded anew, with as many as views need."""


@dataclass(slots=True)
class Timeline:
    """`head`: the leading system and developer messages; `tail`: the newest after those, oldest
    first; `complete` if these are all. All of it is the state at `frontier`."""

    head: list[Entry]
    tail: list[Entry]
    complete: bool
    frontier: Frontier
    position: Position
    settings: Settings
    cache: ViewCache = field(default_factory=ViewCache)
    absent: set[EventId] = field(default_factory=set)
    """Events that calls name and that are no messages of this order."""
    stale: bool = False
    branch: EventId | None = None
    """Whose order it is; None: of main."""

    @classmethod
    def empty(cls) -> Self:
        """Of a context that holds nothing yet."""
        return cls([], [], True, EMPTY, Position(0), Settings())

    def extend(
        self, position: Position, record: Record, events: Sequence[tuple[EventId, Event, int]]
    ) -> bool:
        """Take in a record that this replica just wrote; `events` with the tokens of each. False,
        and nothing is changed but `stale`, if it does not simply come last."""
        before = set(self.frontier)
        seen_all = before.issubset(record.envelope.parents)
        new: list[Entry] = []
        for event_id, event, tokens in events:
            body = event.body
            if isinstance(body, Config):
                self.stale = True
                return False
            if not isinstance(body, Message) or event.branch != self.branch:
                continue
            entry = Entry(event_id, body, event.author, event_id_hlc(event_id), tokens)
            sees = seen_all and (event.seen is None or before.issubset(event.seen))
            if body.ext is not None or not self._comes_last(entry, new, sees):
                self.stale = True
                return False
            new.append(entry)
        for entry in new:
            leads = self.complete and not self.tail and entry.message.role in STANDING_ROLES
            (self.head if leads else self.tail).append(entry)
        self.frontier = advance(self.frontier, record.envelope.parents, record.hash)
        self.position = position
        self.stale = len(self.tail) > ENTRIES_MAX
        return True

    def _comes_last(self, entry: Entry, new: Sequence[Entry], sees_all: bool) -> bool:
        if entry.message.role is Role.ASSISTANT:
            return sees_all
        standing = new or self.tail or self.head
        if not standing or standing[-1].message.role is Role.ASSISTANT:
            return True
        return (standing[-1].time, standing[-1].id) < (entry.time, entry.id)

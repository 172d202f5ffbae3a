"""The newest part of a context's reading order, held in memory for views.

Follows our own facts and appends without asking the disk, as long as these simply come last.
Anything else makes it `stale`: then it is loaded again from the event index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from weft_engine.events.event import Event, Fact, Message, Role
from weft_engine.events.facts import SaidFact
from weft_engine.events.row import id_bytes
from weft_engine.names import EventId, Position, event_id_hlc
from weft_engine.records.envelope import Record
from weft_engine.records.frontier import EMPTY, Frontier, advance
from weft_engine.replica.settings import Settings
from weft_engine.views.entry import STANDING_ROLES, Entry
from weft_engine.views.source import Source

ENTRIES_MAX: Final = 50_000
"""Beyond this many in memory it is loaded anew, with as many as views need."""


@dataclass(slots=True)
class Timeline:
    """`source`: what views are built from; all of it is the state at `frontier`."""

    source: Source
    frontier: Frontier
    position: Position
    settings: Settings
    branch: EventId | None = None
    """Whose order it is; None: of main."""
    stale: bool = False

    @classmethod
    def empty(cls) -> Self:
        """Of a context that holds nothing yet."""
        return cls(Source([], []), EMPTY, Position(0), Settings())

    @property
    def tail(self) -> list[Entry]:
        return self.source.tail

    @property
    def complete(self) -> bool:
        return self.source.complete

    def extend(
        self, position: Position, record: Record, events: Sequence[tuple[EventId, Event, int]]
    ) -> bool:
        """Take in a record that this replica just wrote; `events` with the tokens of each. False,
        and nothing is changed but `stale`, if it does not simply come last."""
        before = set(self.frontier)
        seen_all = before.issubset(record.envelope.parents)
        new: list[Entry] = []
        facts: list[SaidFact] = []
        for event_id, event, tokens in events:
            body = event.body
            if event.branch != self.branch and isinstance(body, Message) and body.ext is None:
                continue  # of another branch, which changes nothing of what this one shares
            if event.branch != self.branch and self.branch is None:
                continue
            if event.branch == self.branch and isinstance(body, Fact):
                identity = id_bytes(event_id)
                facts.append(SaidFact(identity[:8] + identity, event_id, body))
                continue
            if event.branch != self.branch or not isinstance(body, Message):
                self.stale = True
                return False
            entry = Entry(event_id, body, event.author, event_id_hlc(event_id), tokens)
            sees = seen_all and (event.seen is None or before.issubset(event.seen))
            if body.ext is not None or not self._comes_last(entry, new, sees):
                self.stale = True
                return False
            new.append(entry)
        for entry in new:
            leads = self._is_all_head and entry.message.role in STANDING_ROLES
            (self.source.head if leads else self.tail).append(entry)
        for fact in facts:
            self.source.marks = self.source.marks.with_fact(fact)
        self.frontier = advance(self.frontier, record.envelope.parents, record.hash)
        self.position = position
        self.stale = len(self.tail) > ENTRIES_MAX
        return True

    @property
    def _is_all_head(self) -> bool:
        source = self.source
        return source.complete and not source.tail and source.marks.summary is None

    def _comes_last(self, entry: Entry, new: Sequence[Entry], sees_all: bool) -> bool:
        if entry.message.role is Role.ASSISTANT:
            return sees_all
        standing = new or self.tail or self.source.head
        if not standing or standing[-1].message.role is Role.ASSISTANT:
            return True
        return (standing[-1].time, standing[-1].id) < (entry.time, entry.id)

"""Marks: what events beside the messages amount to in a view: pins, hidden messages, facts, the
summary that stands.

Values only, resolved at a cut. Must never know: where events are stored, budgets, windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from weft_engine.events.facts import NO_FACTS, FactBook, SaidFact, StandingFact
from weft_engine.events.standing import ALL_STAND, Standing
from weft_engine.names import EventId

__all__ = ["NO_MARKS", "Marks", "StandingFact", "StandingPin", "StandingSummary"]


@dataclass(frozen=True, slots=True)
class StandingPin:
    """`key` = (time, id) of the pin event in 32 bytes, by which events are sorted everywhere."""

    key: bytes
    target: EventId


@dataclass(frozen=True, slots=True)
class StandingSummary:
    """The summary that stands in for every message up to and including `last` in the reading
    order, but for those of `late`, which it does not cover."""

    key: bytes
    id: EventId
    text: str
    count: int
    last: EventId
    late: frozenset[EventId] = frozenset()


@dataclass(frozen=True, slots=True)
class Marks:
    """`hidden`: messages that views leave out, with the hide event of each. `closes`: the keys of
    the close events that stand, ascending. `standing`: what the revokes leave of any event."""

    pins: tuple[StandingPin, ...] = ()
    hidden: Mapping[EventId, EventId] = field(default_factory=dict)
    book: FactBook = NO_FACTS
    summary: StandingSummary | None = None
    closes: tuple[bytes, ...] = ()
    standing: Standing = field(default=ALL_STAND, repr=False, compare=False)

    @property
    def facts(self) -> tuple[StandingFact, ...]:
        """What holds now, ascending by name. A view shows them as they were at its window's start,
        and what was said since then as notices: see `FactBook.before` and `since`."""
        return self.book.standing

    def with_fact(self, said: SaidFact) -> Marks:
        """These and what one more fact event amounts to."""
        if not self.standing.stands(said.key, said.id):
            return self
        return replace(self, book=self.book.with_said(said))

    def new_facts(self, earlier: Marks) -> tuple[StandingFact, ...] | None:
        """The fact events that came to `earlier`, if nothing else did and they are newer than all
        of its own; else None."""
        if replace(self, book=earlier.book) != earlier:
            return None
        return self.book.beyond(earlier.book)

    def hides(self, ids: Iterable[EventId]) -> bool:
        """Whether a unit of these messages is left out: a call and its results go together."""
        return bool(self.hidden) and any(id_ in self.hidden for id_ in ids)


NO_MARKS = Marks()

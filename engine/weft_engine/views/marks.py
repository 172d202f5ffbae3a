"""Marks: what events beside the messages amount to in a view: pins, hidden messages, facts, the
summary that stands.

Values only, resolved at a cut. Must never know: where events are stored, budgets, windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from weft_engine.events.event import Criticality
from weft_engine.names import EventId


@dataclass(frozen=True, slots=True)
class StandingPin:
    """`key` = (time, id) of the pin event in 32 bytes, by which events are sorted everywhere."""

    key: bytes
    target: EventId


@dataclass(frozen=True, slots=True)
class StandingFact:
    """What the facts of one name amount to: `value` as JSON text, decided by its merge rule.
    `others`: values of concurrent facts that the rule did not choose; empty if nobody disagrees.
    `key` and `id`: of the newest event that had a say in it."""

    key: bytes
    id: EventId
    name: str
    value: str
    others: tuple[str, ...] = ()
    crit: Criticality | None = None
    expires: int | None = None
    """Milliseconds since 1970."""


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
    """`hidden`: messages that views leave out, with the hide event of each."""

    pins: tuple[StandingPin, ...] = ()
    hidden: Mapping[EventId, EventId] = field(default_factory=dict)
    facts: tuple[StandingFact, ...] = ()
    """Ascending by name."""
    summary: StandingSummary | None = None


NO_MARKS = Marks()

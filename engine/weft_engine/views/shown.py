"""What a view shows of a message, where, and by which rule: so that a view can explain itself.

Must never know: how views are built.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from weft_engine.names import EventId


class Area(StrEnum):
    """Where in a view something stands, in this order."""

    HEAD = "head"
    PREAMBLE = "preamble"
    WINDOW = "window"


class Rule(StrEnum):
    """Why something is shown otherwise than it was said, or where it was not said."""

    SHORTENED = "shortened"
    """Too big: its middle was left out."""
    SKIPPED = "skipped"
    """The policy left out some of its parts."""
    REPLACED = "replaced"
    """A policy of the application put another text in its place."""
    INTERRUPTED = "interrupted"
    """A call that waits has a remark of ours as its result."""
    ORPHANED = "orphaned"
    """A result whose call is not shown became text."""
    LATE = "late"
    """It was said before what a summary covers ends, and the summary does not cover it."""
    PINNED = "pinned"
    CARRIED = "carried"
    """Critical or persistent: taken along from before the window."""
    RECALLED = "recalled"
    """The policy chose it from before the window."""
    OPENING = "opening"
    """It opens the turn in the middle of which the window begins."""
    FACTS = "facts"
    SUMMARY = "summary"


@dataclass(frozen=True, slots=True)
class Shown:
    """`ids`: the events that this shows (of a tool call, its results' too; none for our own
    remarks). `tokens`: what it costs. `rules`: none if it stands as it was said."""

    ids: tuple[EventId, ...]
    area: Area
    tokens: int
    rules: frozenset[Rule] = frozenset()

"""What was said before a view's window, as units for its preamble.

Must never know: what is taken from it, and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from weft_engine.events.event import Criticality, Lifetime, Message, Role
from weft_engine.names import EventId
from weft_engine.views.cache import Shelf
from weft_engine.views.entry import Entry
from weft_engine.views.policy import LOOK_BACK, UNEDITED
from weft_engine.views.source import Source
from weft_engine.views.unit import Unit
from weft_engine.views.walk import Walk


class TooShort(Exception):
    """Not enough of the history is at hand. Caught by who builds the view, which asks for more."""

    def __init__(self, messages: int) -> None:
        super().__init__(f"{messages} messages before the window are needed")
        self.messages = messages


@dataclass(frozen=True, slots=True)
class Past:
    """Units from before a window, in reading order; `authors` of their messages."""

    units: tuple[Unit, ...] = ()
    authors: Mapping[EventId, str] = field(default_factory=dict)


def past_of(source: Source, start: int, look_back: int, shelf: Shelf) -> Past:
    """What stands before the window that begins at `start`: all that is pinned, critical or
    persistent, what is of the session among the last LOOK_BACK messages, and the last `look_back`
    messages of any kind. A call stands there with the results right behind it. What is hidden is
    not there."""
    at_hand = _before(source, start)
    if look_back > len(at_hand) and not source.complete:
        raise TooShort(look_back)
    chosen = _earlier(source, start) | _newer(source, at_hand, max(0, start), look_back)
    if not chosen:
        return Past()
    walk = Walk(shelf, hidden=source.marks.hidden)
    for entry in chosen.values():
        walk.add(entry)
    return Past(
        tuple(slot.unit(UNEDITED) for slot in walk.slots),
        {entry.id: entry.author for entry in chosen.values()},
    )


def _earlier(source: Source, start: int) -> dict[EventId, Entry]:
    """What is taken from before the tail."""
    in_window = {entry.id for entry in source.late[start:]} if start < 0 else ()
    found: dict[EventId, Entry] = {}
    for earlier in source.before:
        first = earlier.entries[0]
        if earlier.depth + max(0, start) <= LOOK_BACK and first.id not in in_window:
            found.update({entry.id: entry for entry in earlier.entries})
    return found


def _newer(
    source: Source, at_hand: Sequence[Entry], start: int, look_back: int
) -> dict[EventId, Entry]:
    """What is taken from what is at hand, of which the last `start` are of the tail; the rest is
    taken for `look_back` alone."""
    pinned = {pin.target for pin in source.marks.pins}
    found: dict[EventId, Entry] = {}
    follows = is_begun = False
    for index, entry in enumerate(at_hand):
        left = len(at_hand) - index
        is_tool = entry.message.role is Role.TOOL
        follows = follows and is_tool
        is_begun = is_begun or (left <= look_back and not is_tool)
        if follows or is_begun or (left <= start and _lasts(entry, left, pinned)):
            found[entry.id] = entry
            follows = follows or entry.message.role is Role.ASSISTANT
    return found


def _before(source: Source, start: int) -> Sequence[Entry]:
    if start < 0:
        return source.late[:start]
    if not source.complete:
        return source.tail[:start]
    return [*source.late, *source.tail[:start]]


def _lasts(entry: Entry, depth: int, pinned: set[EventId]) -> bool:
    if entry.id in pinned or is_lasting(entry.message):
        return True
    return entry.message.life is Lifetime.SESSION and depth <= LOOK_BACK


def is_lasting(message: Message) -> bool:
    """Whether a message may be taken along into any later view."""
    return message.crit is Criticality.CRITICAL or message.life is Lifetime.PERSISTENT

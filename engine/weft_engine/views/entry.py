"""An entry: a message of the reading order, with what a view needs to know about it.

Must never know: how entries are stored or ordered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weft_engine.events.event import Message, Role
from weft_engine.names import EventId

STANDING_ROLES = frozenset({Role.SYSTEM, Role.DEVELOPER})
"""Instructions to the model. They are never shortened, and those that lead are always kept."""


@dataclass(frozen=True, slots=True)
class Entry:
    """`time` is the message's HLC. `tokens` is `count_message` of the message with the tokenizer
    and media table of the view's spec: a view trusts it, so that it need not count again."""

    id: EventId
    message: Message
    author: str
    time: int
    tokens: int


def head_length(entries: Sequence[Entry]) -> int:
    """How many system and developer messages lead the reading order."""
    for index, entry in enumerate(entries):
        if entry.message.role not in STANDING_ROLES:
            return index
    return len(entries)

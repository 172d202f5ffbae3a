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
    """`time` is the message's HLC. `tokens` is `count_message` of the message with the default
    tokenizer and media table: a view with these in the OpenAI format trusts it, so that it need not
    count again; in others it is what the message weighs for milestones."""

    id: EventId
    message: Message
    author: str
    time: int
    tokens: int

    @property
    def key(self) -> bytes:
        """(time, id) in 32 bytes, by which events are sorted everywhere."""
        return self.time.to_bytes(8, "big") + bytes.fromhex(self.id[:16] + self.id[17:])


def head_length(entries: Sequence[Entry]) -> int:
    """How many system and developer messages lead the reading order."""
    for index, entry in enumerate(entries):
        if entry.message.role not in STANDING_ROLES:
            return index
    return len(entries)

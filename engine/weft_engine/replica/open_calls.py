"""Which call a new tool result answers, looking back from the end of the conversation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from weft_engine.events.event import Message, Role
from weft_engine.events.part import Call, CallRef, Result
from weft_engine.names import EventId
from weft_engine.views.entry import Entry

LOOK_BACK: Final = 256
"""How many messages back a call is looked for, if there are not results all the way."""
LOOK_BACK_MAX: Final = 16_384
"""How many messages back a call is looked for."""


class OpenCalls:
    """The unanswered calls before a message that is about to be appended."""

    def __init__(self, before: Sequence[Entry]) -> None:
        self._before = before
        self._new: list[tuple[EventId, Message]] = []
        self._taken: set[CallRef] = set()

    def note(self, id_: EventId, message: Message) -> None:
        """One more message goes before the next."""
        self._new.append((id_, message))

    def find(self, provider_id: str) -> CallRef | None:
        """The nearest unanswered call with this id of the provider, which uses ids again."""
        answered = set(self._taken)
        for id_, message in self._newest_first():
            for index, part in enumerate(message.parts):
                if isinstance(part, Result) and part.call is not None:
                    answered.add(part.call)
                elif isinstance(part, Call) and part.id == provider_id:
                    call = CallRef(id_, index)
                    if call not in answered:
                        self._taken.add(call)
                        return call
        return None

    def _newest_first(self) -> Iterator[tuple[EventId, Message]]:
        yield from reversed(self._new)
        for entry in reversed(self._before):
            yield entry.id, entry.message


def farther(looked_at: Sequence[Entry], count: int) -> int | None:
    """How many of the newest messages to look at, if the newest `count` are not enough: where they
    begin with a result, its call and those of its siblings are farther back. None if they are."""
    if len(looked_at) < count or count >= LOOK_BACK_MAX:
        return None
    return count * 4 if looked_at[-count].message.role is Role.TOOL else None

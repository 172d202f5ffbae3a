"""What people use today to fit a history into a budget: langchain-core's `trim_messages` with the
starts that its documentation shows, and the last n messages.

Each takes the history so far and gives what is sent. Must never know: Weft, measures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

from langchain_core.messages import BaseMessage, convert_to_messages, trim_messages

from tests.views_report.corpus import Said
from tests.views_report.counting import VIEW_TOKENS, Meter, spelled

Strategy = Callable[[int], list[Said]]
"""From how many messages of the corpus are said so far to what is sent now."""

Start = Literal["human"] | None

ENOUGH: Final = 1.25
"""trim_messages copies all that it is given at every call, so it is given the newest messages only:
this many times what fits. Its answer is the same, a test holds that."""


class Trimmed:
    """`trim_messages(strategy="last", include_system=True)`, counting as Weft does."""

    def __init__(
        self,
        messages: Sequence[Said],
        meter: Meter,
        *,
        room: int,
        start_on: Start,
        enough: float = ENOUGH,
    ) -> None:
        self._messages = messages
        self._room = room
        self._start_on = start_on
        self._enough = enough * room
        self._tokens = [meter.message(spelled(said)) for said in messages]
        self._theirs = convert_to_messages([dict(said) for said in messages])
        for index, theirs in enumerate(self._theirs):
            theirs.id = str(index)

    def __call__(self, said: int) -> list[Said]:
        first, tokens = said, 0
        while first > 1 and tokens <= self._enough:
            first -= 1
            tokens += self._tokens[first]
        kept = trim_messages(
            [self._theirs[0], *self._theirs[first:said]],
            max_tokens=self._room,
            token_counter=self._count,
            strategy="last",
            include_system=True,
            start_on=self._start_on,
        )
        return [self._messages[_index(theirs)] for theirs in kept]

    def _count(self, messages: list[BaseMessage]) -> int:
        return VIEW_TOKENS + sum(self._tokens[_index(theirs)] for theirs in messages)


class LastMessages:
    """The system message and the last n others: the number that fits on average."""

    def __init__(self, messages: Sequence[Said], meter: Meter, *, room: int) -> None:
        self._messages = messages
        head, *rest = (meter.message(spelled(said)) for said in messages)
        self.count = (room - VIEW_TOKENS - head) * len(rest) // sum(rest)

    def __call__(self, said: int) -> list[Said]:
        return [self._messages[0], *self._messages[max(1, said - self.count) : said]]


def _index(message: BaseMessage) -> int:
    assert message.id is not None
    return int(message.id)

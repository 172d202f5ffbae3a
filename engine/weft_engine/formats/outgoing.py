"""What a format is to a view: how the messages of a view are sent in it, and what that costs.

Must never know: which formats there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

from weft_engine.events.event import Message


class Outgoing(Protocol):
    """One format. The messages that come in are those of a view: each message with calls is
    followed by one message of role tool per call, in the order of the calls, with distinct ids
    throughout; results stand nowhere else."""

    name: ClassVar[str]
    """As in a spec: openai, responses, anthropic, ui, text."""

    def render(self, messages: Sequence[Message]) -> object:
        """The JSON value that is sent: of a whole view, or of one message alone. What the format
        has no place for is left out."""
        ...

    def count(
        self,
        sent: object,
        count_text: Callable[[str], int],
        count_file: Callable[[str], int],
    ) -> int:
        """What `sent` (from `render`) costs by the counting rule, without the 3 for the view,
        counted on the strings that are sent; `count_file` tells what an attachment of a kind
        (image, audio, file) costs. Never more for several messages together than the sum of each
        alone."""
        ...

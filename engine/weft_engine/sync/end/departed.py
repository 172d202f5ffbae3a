"""What a link was about and is not any more, and up to where the peer holds all of that.

When the link is about it again, both ends compare it by frontiers and samples, which find a common
past but not its very end: what stands between two records of a sample would be sent once more.
What was durable at the peer when it was left still is.

Must never know: records, what is compared how.
"""

from __future__ import annotations

from weft_engine.limits import INTEREST_CONTEXTS_MAX, INTEREST_PREFIXES_MAX
from weft_engine.names import ContextName, Position
from weft_engine.sync.interest import Interest


class Departed:
    """Of names and of prefixes it remembers as many as one interest may have, those that were left
    last: what is forgotten is sent once more, at worst."""

    def __init__(self) -> None:
        self._contexts: dict[ContextName, Position] = {}
        self._prefixes: dict[str, Position] = {}

    def leave(self, interest: Interest, upto: Position) -> None:
        """The link is not about it any more, and the peer holds all of it up to there."""
        for name in interest.contexts:
            self._contexts.pop(name, None)
            self._contexts[name] = upto
        for prefix in interest.prefixes:
            self._prefixes.pop(prefix, None)
            self._prefixes[prefix] = upto
        while len(self._contexts) > INTEREST_CONTEXTS_MAX:
            del self._contexts[next(iter(self._contexts))]
        while len(self._prefixes) > INTEREST_PREFIXES_MAX:
            del self._prefixes[next(iter(self._prefixes))]

    def upto(self, context: ContextName) -> Position:
        """Up to there the peer holds all of it, as far as is known here."""
        found = [upto for prefix, upto in self._prefixes.items() if context.startswith(prefix)]
        return max([self._contexts.get(context, Position(0)), *found])

"""What is known to be durable at a relay, and stays so when the link to it is gone.

Must never know: links, records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from weft_engine.names import ContextName, Position
from weft_engine.sync.interest import Interest


@dataclass(frozen=True, slots=True)
class Saved:
    """Of what `interest` covers, the relay holds all up to the position `upto` of our journal, but
    of the contexts in `behind` only up to the position there."""

    interest: Interest
    upto: Position
    behind: Mapping[ContextName, Position]

    def of(self, context: ContextName) -> Position | None:
        """Up to where it holds all of this context; None: nothing is known."""
        if not self.interest.covers(context):
            return None
        return self.behind.get(context, self.upto)

    def after(self, former: Saved | None) -> Saved:
        """This, with what was known before of contexts that are being compared anew."""
        if former is None or not self.behind:
            return self
        known = {
            context: max(upto, former.of(context) or upto) for context, upto in self.behind.items()
        }
        return replace(self, behind=known)

"""Which of a store's links is asked for what it lacks of a context: one at a time.

Several regions may have the same records that are missing here. Whoever asks for a context has it
until what was announced there is journaled, its link is over, or nothing has come for a while;
then those that wait for it look again, and ask if something is still missing. Nobody who has a
context waits for anything here, nor keeps it for long while others wait for it, whatever else it
sends: so nobody waits for ever.

Must never know: records, frames.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from weft_engine.limits import ASKED_CONTEXTS_MAX, ASKED_LONGEST_MS, ASKED_SHARED_MAX
from weft_engine.names import ContextName


class Claimant(Protocol):
    """A link that compares with a region."""

    def freed(self, context: ContextName, /) -> None:
        """It may ask for what it waited for: the context is its own now."""


class Claims:
    """One for each store."""

    def __init__(self) -> None:
        self._claimants: dict[Claimant, None] = {}
        self._holders: dict[ContextName, Claimant] = {}
        self._counts: Counter[Claimant] = Counter()
        self._waiting: dict[ContextName, dict[Claimant, None]] = {}
        self._waited_ms: dict[ContextName, int] = {}
        """Since when, of those that are waited for, as far as that was looked at."""

    def join(self, claimant: Claimant) -> None:
        """It has something to ask for."""
        self._claimants[claimant] = None

    def rest(self, claimant: Claimant) -> None:
        """It has asked for all that it is to ask for, as far as it knows."""
        self._claimants.pop(claimant, None)

    def leave(self, claimant: Claimant) -> None:
        """It is over; harmless when repeated."""
        self.rest(claimant)
        for context in [name for name, some in self._waiting.items() if claimant in some]:
            self._stop_waiting(context, claimant)
        self.give_way(claimant)

    def has_room(self, claimant: Claimant) -> bool:
        """Whether it may ask for one more context now."""
        most = ASKED_CONTEXTS_MAX if len(self._claimants) < 2 else ASKED_SHARED_MAX
        return self._counts[claimant] < most

    def take(self, context: ContextName, claimant: Claimant) -> bool:
        """Whether it may ask for the context. If not it is told when it may."""
        holder = self._holders.get(context)
        if holder is claimant:
            return True
        if holder is not None:
            self._waiting.setdefault(context, {})[claimant] = None
            return False
        self._give(context, claimant)
        return True

    def done(self, context: ContextName, claimant: Claimant) -> None:
        """What it was asked for is here; harmless if it has not asked."""
        if self._holders.get(context) is not claimant:
            return
        del self._holders[context]
        self._counts[claimant] -= 1
        if not self._counts[claimant]:
            del self._counts[claimant]
        following = next(iter(self._waiting.get(context, ())), None)
        self._waited_ms.pop(context, None)
        if following is not None:
            self._stop_waiting(context, following)
            self._give(context, following)
            following.freed(context)

    def tick(self, claimant: Claimant, now_ms: int) -> None:
        """Others may ask for what it has had for long while they waited."""
        if not self._counts[claimant] or not self._waiting:
            return
        for context in [name for name, one in self._holders.items() if one is claimant]:
            if context in self._waiting:
                since_ms = self._waited_ms.setdefault(context, now_ms)
                if now_ms - since_ms >= ASKED_LONGEST_MS:
                    self.done(context, claimant)

    def give_way(self, claimant: Claimant) -> None:
        """Nothing comes of what it has asked for: others may ask for it."""
        if self._counts[claimant]:
            for context in [name for name, one in self._holders.items() if one is claimant]:
                self.done(context, claimant)

    def _give(self, context: ContextName, claimant: Claimant) -> None:
        self._holders[context] = claimant
        self._counts[claimant] += 1

    def _stop_waiting(self, context: ContextName, claimant: Claimant) -> None:
        some = self._waiting[context]
        del some[claimant]
        if not some:
            del self._waiting[context]
            self._waited_ms.pop(context, None)

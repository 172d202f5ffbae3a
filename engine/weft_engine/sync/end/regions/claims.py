"""Which of a store's links is asked for what it lacks of a context: one at a time.

Several regions may have the same records that are missing here. Whoever asks for a context has it
until what was announced there is journaled, its link is over, or nothing has come for a while;
then those that wait for it look again, and ask if something is still missing. Nobody who has a
context waits for anything here, nor keeps it for long while others wait for it, whatever else it
sends: so nobody waits for ever. Who lets others wait and brings nothing has one context at a time
from then on, until it brings one, or it could hold up one after the other.

Must never know: records, frames.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from weft_engine.limits import (
    ASKED_CONTEXTS_MAX,
    ASKED_LONGEST_MS,
    ASKED_SHARED_MAX,
    ASKED_STILL_MS,
)
from weft_engine.names import ContextName


class Claimant(Protocol):
    """A link that compares with a region."""

    def freed(self, context: ContextName, /) -> None:
        """It may ask for what it waited for: the context is its own now."""


@dataclass(slots=True)
class _Waited:
    """A context that others wait for."""

    since_ms: int
    still_ms: int = 0
    """For how long nothing of it has come."""


class Claims:
    """One for each store."""

    def __init__(self) -> None:
        self._claimants: dict[Claimant, None] = {}
        self._holders: dict[ContextName, Claimant] = {}
        self._counts: Counter[Claimant] = Counter()
        self._waiting: dict[ContextName, dict[Claimant, None]] = {}
        self._waited: dict[ContextName, _Waited] = {}
        """Those that are waited for, as far as that was looked at."""
        self._lax: set[Claimant] = set()
        """They brought nothing of what they had, while others waited for it."""

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
        self._lax.discard(claimant)

    def has_room(self, claimant: Claimant) -> bool:
        """Whether it may ask for one more context now."""
        if len(self._claimants) < 2:
            most = ASKED_CONTEXTS_MAX
        else:
            most = 1 if claimant in self._lax else ASKED_SHARED_MAX
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
        self._waited.pop(context, None)
        if following is not None:
            self._stop_waiting(context, following)
            self._give(context, following)
            following.freed(context)

    def came(self, context: ContextName, claimant: Claimant) -> bool:
        """Something new of a context. Whether it is of what the claimant has asked for."""
        if self._holders.get(context) is not claimant:
            return False
        waited = self._waited.get(context)
        if waited is not None:
            waited.still_ms = 0
        return True

    def brought(self, context: ContextName, claimant: Claimant) -> None:
        """All of a context that it was asked for, or nothing was left to ask for."""
        if self._holders.get(context) is claimant:
            self._lax.discard(claimant)
            self.done(context, claimant)

    def tick(self, claimant: Claimant, now_ms: int, *, passed_ms: int, is_slow: bool) -> None:
        """Others may ask for what it has had for long while they waited. `passed_ms`: since the
        last tick, as far as anything could be heard; `is_slow`: it has brought little for as long
        as a context may be still."""
        if not self._counts[claimant] or not self._waiting:
            return
        for context in [name for name, one in self._holders.items() if one is claimant]:
            if context not in self._waiting:
                continue
            waited = self._waited.setdefault(context, _Waited(now_ms))
            waited.still_ms += passed_ms
            is_still = is_slow and waited.still_ms >= ASKED_STILL_MS
            if is_still or now_ms - waited.since_ms >= ASKED_LONGEST_MS:
                self._lax.add(claimant)
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
            self._waited.pop(context, None)

"""How many contexts each link is about, as contexts are made and links come to be about others.

What both ends list is counted when it is listed; this is for what comes later. What a set of links
with one interest is about is counted once, and followed from then on. Must never know: links,
what becomes of those that are about too many.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from weft_engine.names import ContextName
from weft_engine.storage import context_counts
from weft_engine.sync.audience import Audience
from weft_engine.sync.interest import Interest

T = TypeVar("T")


class Journal(Protocol):
    async def read(self, question: Callable[[sqlite3.Connection], T], /) -> T: ...


@dataclass(slots=True, eq=False)
class _Counted:
    contexts: int


class LinkContexts:
    """`contexts_max`: more than this no link may be about."""

    def __init__(self, journal: Journal, *, contexts_max: int) -> None:
        self._journal = journal
        self._max = contexts_max
        self._counted: dict[Interest, _Counted] = {}
        self._audience: Audience[_Counted] = Audience()
        self._upto = 0
        """The id of the newest context that is counted."""

    async def too_large(self, interests: Iterable[Interest]) -> dict[Interest, int]:
        """Those of these that cover more contexts than they may, and about how many. The interests
        of all links: the others are forgotten."""
        now = dict.fromkeys(interests)
        if not now and not self._counted:
            return {}
        for interest in [one for one in self._counted if one not in now]:
            self._audience.leave(self._counted.pop(interest))
        new = [one for one in now if one not in self._counted]

        def look(connection: sqlite3.Connection) -> tuple[int, list[ContextName], list[int]]:
            upto = context_counts.newest(connection)
            made = context_counts.made(connection, self._upto, upto) if self._counted else []
            return upto, made, [self._count(connection, one, upto) for one in new]

        self._upto, made, counts = await self._journal.read(look)
        self._follow(made)
        for interest, contexts in zip(new, counts, strict=True):
            counted = self._counted[interest] = _Counted(contexts)
            self._audience.join(counted, interest)
        return {
            interest: counted.contexts
            for interest, counted in self._counted.items()
            if counted.contexts > self._max
        }

    def _count(self, connection: sqlite3.Connection, interest: Interest, upto: int) -> int:
        return context_counts.count(
            connection,
            prefixes=interest.prefixes,
            names=interest.contexts,
            upto=upto,
            most=self._max + 1,
        )

    def _follow(self, made: Sequence[ContextName]) -> None:
        for name in made:
            for counted in self._audience.of(name):
                counted.contexts += 1

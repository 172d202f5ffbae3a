"""Frontiers that links announce: looked up once for all that come to the same context.

Kept while nothing is committed: what was found is what would be found now. Must never know: links,
how frontiers are found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from weft_engine.names import ContextName, Position
from weft_engine.sync.end.questions import FrontiersRead, ReadFrontiers

Fetch = Callable[[ReadFrontiers], Awaitable[FrontiersRead]]
_CONTEXTS_MAX: Final = 64
_HASHES_MAX: Final = 1024
"""A longer frontier is not kept: 8 MB are, all together, at most."""


class Frontiers:
    """One for each replica."""

    def __init__(self) -> None:
        self._of = Position(0)
        """The end of the journal that the rest is of."""
        self._found: dict[ContextName, FrontiersRead] = {}
        self._reading: dict[ContextName, asyncio.Event] = {}

    async def read(
        self, question: ReadFrontiers, fetch: Fetch, journaled: Callable[[], Position]
    ) -> FrontiersRead:
        """The answer, from memory or by `fetch`. `journaled`: the end of the journal, as far as it
        is known now."""
        if len(question.contexts) > 1 or not question.samples:
            return await fetch(question)
        (context,) = question.contexts
        while True:
            self._look(journaled())
            if (found := self._found.get(context)) is not None:
                return found
            if (reading := self._reading.get(context)) is None:
                break
            await reading.wait()
        done, of = asyncio.Event(), self._of
        self._reading[context] = done
        try:
            found = await fetch(question)
            self._look(journaled())
            if of == self._of and sum(map(_hashes, found.frontiers)) <= _HASHES_MAX:
                self._found[context] = found
                if len(self._found) > _CONTEXTS_MAX:
                    del self._found[next(iter(self._found))]
            return found
        finally:
            if self._reading.get(context) is done:
                del self._reading[context]
            done.set()

    def clear(self) -> None:
        self._found.clear()

    def _look(self, journaled: Position) -> None:
        if journaled != self._of:
            # Nor is what is being read just now for those that ask from now on.
            self._of = journaled
            self._found.clear()
            self._reading.clear()


def _hashes(one: tuple[ContextName, tuple[bytes, ...], tuple[bytes, ...]]) -> int:
    return len(one[1]) + len(one[2])

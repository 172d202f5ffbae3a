"""Regions that are linked with each other, in one process, moved by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import combinations

from tests.linked import End, Store, link, settle
from weft_engine.sync.framing.messages import Window

NAMES = ("ap", "eu", "us", "za", "zz")
DEADLINE_S = 20.0
Pair = tuple[End, End]


class Mesh:
    """Stores that are all linked with each other, or as `links` says."""

    def __init__(
        self,
        found: Sequence[Store],
        *,
        links: Sequence[tuple[int, int]] | None = None,
        window: Window | None = None,
    ) -> None:
        self.stores = found
        if links is None:
            links = list(combinations(range(len(found)), 2))
        self.pairs: dict[tuple[int, int], Pair] = {
            (a, b): link(found[a], found[b], windows=(window, window), regions=(NAMES[a], NAMES[b]))
            for a, b in links
        }

    def end(self, at: int, to: int) -> End:
        pair = self.pairs[min(at, to), max(at, to)]
        return pair[0] if at < to else pair[1]

    async def settle(self) -> None:
        await settle(*self.pairs.values())

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Go on, with time passing, until it holds."""
        began_s = time.monotonic()
        while True:
            await self.settle()
            if await holds():
                return
            assert time.monotonic() - began_s < DEADLINE_S
            await asyncio.sleep(0.01)

    async def agree(self) -> bool:
        first, *others = [await one.fingerprints() for one in self.stores]
        return all(one == first for one in others)

    async def is_done(self) -> bool:
        """All hold the same, and each knows it of all others."""
        ends = [end for pair in self.pairs.values() for end in pair]
        return await self.agree() and all(end.session.progress.is_synced for end in ends)


def sent(end: End, kind: type) -> list[object]:
    return [frame for frame in end.sent if isinstance(frame, kind)]

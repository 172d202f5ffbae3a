"""What this relay has known of other regions, from before it began, too: so that one that is away
is shown as away, with what it lacks, and not as if there were none.

Time is an argument. Must never know: sockets, files, how it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from weft_engine.names import Position
from weft_engine.storage.known_regions import KnownRegion
from weft_server.mesh.standing import Standing

FORGET_MS: Final = 30 * 24 * 3600 * 1000
"""A region that is no `[[peer]]`, and was not heard of for so long, is forgotten at a start."""
REGIONS_MAX: Final = 256
"""Regions that are remembered, those that were heard of last."""


class Memory:
    """By region. `names` are in the order in which they count as part of the mesh: those that were
    linked, the last ones first."""

    def __init__(self) -> None:
        self._of: dict[str, KnownRegion] = {}

    def __iter__(self) -> Iterator[KnownRegion]:
        return iter(self._of.values())

    @property
    def names(self) -> list[str]:
        order = sorted(self, key=lambda one: (not one.store, -one.heard_ms))
        return [one.name for one in order]

    def of(self, region: str) -> KnownRegion | None:
        return self._of.get(region)

    def recall(self, found: Iterable[KnownRegion], *, configured: set[str], now_ms: int) -> None:
        """Begin with what was saved."""
        self._of = {
            one.name: one
            for one in found
            if one.name in configured or now_ms - one.heard_ms < FORGET_MS
        }

    def look(
        self,
        holders: Mapping[str, Position],
        standing: Callable[[str], Standing | None],
        *,
        since_ms: Callable[[Position], int],
        now_ms: int,
    ) -> None:
        """Take note of what is known now: `holders` says how far each region is, 0 if that is not
        known; `since_ms` when what is behind a position began to wait."""
        for name, upto in holders.items():
            one = standing(name)
            if one is not None and one.current is None:
                one = None
            if one is None and not upto:
                continue
            known = self._of.pop(name, None) or KnownRegion(name, None, now_ms, now_ms)
            if one is not None and (known.store, known.epoch) != (one.store, one.epoch):
                known = replace(known, upto=None, store=one.store, epoch=one.epoch)
            if one is not None or upto != known.upto:
                # What others say of it may be old: only that they say more is news.
                known = replace(known, upto=upto or known.upto, heard_ms=now_ms)
            since = now_ms if known.upto is None else min(now_ms, since_ms(known.upto))
            self._of[name] = replace(known, since_ms=since)
        self._forget_oldest()

    def left(self, one: Standing, *, since_ms: Callable[[Position], int], now_ms: int) -> None:
        """The link with it, about everything, is over: how far it was then, which since the last
        look may be further."""
        if one.acknowledged is None:
            return
        self._of.pop(one.region, None)
        self._of[one.region] = KnownRegion(
            one.region,
            one.acknowledged,
            min(now_ms, since_ms(one.acknowledged)),
            now_ms,
            one.store,
            one.epoch,
        )
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        while len(self._of) > REGIONS_MAX:
            del self._of[next(iter(self._of))]

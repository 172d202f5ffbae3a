"""Waiting until so many regions hold what a store has.

Must never know: addresses, frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence

from weft_engine.errors import CallerError
from weft_engine.limits import REGIONS_KNOWN_S
from weft_engine.names import Position
from weft_engine.sync.driving.keeping import KeptLink
from weft_engine.sync.driving.link import Link, LinkStore


class _Wish:
    """Of everything that these links carry."""

    def __init__(self, links: Sequence[KeptLink], store: LinkStore, regions: int) -> None:
        self._links = links
        self._store = store
        self._regions = regions
        self._said = "no relay has said yet which regions there are"
        self.too_few: CallerError | None = None
        """What is wrong if it stays so: the relays know of fewer regions."""

    def holds(self, _: Link, position: Position) -> bool:
        self.too_few = None
        met = [kept.link for kept in self._links if kept.link is not None]
        if not any(link.session.reaching.has_heard for link in met if link.session.reaching):
            return False
        for link in met:
            if link.session.end is None and link.session.progress.durable_upto() is None:
                return False
        for kept in self._links:
            found = self._store.reach.holders(kept.carried)
            if self._regions > len(found):
                self.too_few = CallerError(
                    f"{self._regions} regions were asked for, and there are {len(found)}, as far as"
                    f" the relay knows: {', '.join(sorted(found))}",
                    hint="ask for fewer, or link the relay with other regions",
                )
                return False
            holding = sorted(region for region, upto in found.items() if upto >= position)
            if len(holding) < self._regions:
                behind = ", ".join(sorted(found.keys() - set(holding)))
                held = f"held by {', '.join(holding)} and" if holding else "held by none,"
                self._said = f"{held} not known to be by {behind}"
                return False
        return True

    def how_it_is(self) -> str:
        reasons = [str(kept.error) for kept in self._links if kept.link is None and kept.error]
        return "; ".join([self._said, *dict.fromkeys(reasons)])


async def until_held(
    links: Sequence[KeptLink],
    store: LinkStore,
    *,
    regions: int,
    timeout: float | None = None,
    whole_s: float | None = None,
) -> None:
    """Wait until at least so many regions hold, durably, everything that `links` carry and that is
    in our journal now. What is known over one link counts for another one that carries no more.

    A relay that has just begun may not have heard of all regions yet. CallerError if it still
    knows of fewer when the time is over; without a `timeout`, after REGIONS_KNOWN_S or twice that.
    `whole_s`: what there was in all, if `timeout` is what is left of it.
    Raises TimeoutError, which says who is behind, too, and what `KeptLink.synced` does when no link
    is left.
    """
    if regions < 1 or not links:
        raise CallerError(
            f"{regions} regions can't hold what {len(links)} links carry",
            hint="ask for one region or more, of a store that has a link",
        )
    wish = _Wish(links, store, regions)
    waiting = asyncio.create_task(
        _first([link.until(wish.holds, begin=Link.tell_when_sent) for link in links])
    )
    try:
        were_too_few = timeout is not None
        while True:
            done, _ = await asyncio.wait(
                [waiting], timeout=REGIONS_KNOWN_S if timeout is None else timeout
            )
            if done:
                waiting.result()
                return
            if wish.too_few is not None and were_too_few:
                raise wish.too_few
            if timeout is not None:
                after_s = timeout if whole_s is None else whole_s
                raise TimeoutError(
                    f"not in {regions} region{'s' if regions > 1 else ''} after {after_s:g} s:"
                    f" {wish.how_it_is()}"
                )
            were_too_few = wish.too_few is not None
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def _first(waits: Sequence[Coroutine[object, object, None]]) -> None:
    """Wait for the first that returns; raise what one raised if none does."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    left = set(tasks)
    try:
        while True:
            done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            errors = [task.exception() for task in done]
            if None in errors:
                return
            if not left:
                raise next(error for error in errors if error is not None)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

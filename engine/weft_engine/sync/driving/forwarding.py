"""What a store's links to other regions share: with whom it is live, what they need not be sent
because another region sends it, and what to ask them for.

Must never know: frames' bytes, sockets, the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from weft_engine.limits import TIPS_GATHER_S
from weft_engine.names import RecordHash
from weft_engine.storage.ledger import Stored
from weft_engine.sync.driving.pulls import Pulls
from weft_engine.sync.end.live import News
from weft_engine.sync.end.regions.recent import Recent

if TYPE_CHECKING:
    from weft_engine.sync.driving.hub import Ear


class Forwarding:
    """`is_coming` says whether a record is on its way into the journal."""

    def __init__(self, *, is_coming: Callable[[RecordHash], bool]) -> None:
        self.recent = Recent()
        """What was journaled last, while there are links to regions."""
        self._pulls: Pulls[Ear] = Pulls(_ask, is_coming=is_coming)
        self._live: dict[Ear, str | None] = {}
        """The links to other regions, with the region if they are live."""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_on(self) -> bool:
        """There are links to other regions."""
        return bool(self._live)

    def __contains__(self, ear: Ear) -> bool:
        """Whether this is one of them."""
        return ear in self._live

    @property
    def regions(self) -> frozenset[str]:
        """With which this store is live."""
        return frozenset([region for region in self._live.values() if region is not None])

    def look(self, ear: Ear) -> None:
        """Something may have changed on the link to a region."""
        session = ear.session
        region = session.between.live_with
        if ear not in self._live or self._live[ear] != region:
            self._live[ear] = region
            self._tell()
        absent = session.incoming.take_absent()
        if absent:
            self._pulls.lack(ear, absent)

    def leave(self, ear: Ear) -> None:
        """Its end."""
        if ear not in self._live:
            return
        del self._live[ear]
        self._pulls.leave(ear)
        self._tell()
        if not self._live:
            self.recent.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def committed(self, stored: Sequence[Stored]) -> None:
        if not self._live:
            return
        self.recent.add([one.record.hash for one in stored])
        if len(self._pulls):
            for one in stored:
                self._pulls.came(one.record.hash)

    def sent_here(self, ear: Ear, news: Sequence[News]) -> Sequence[News]:
        """What of this is to be sent on a link: what another region sends there is announced,
        soon."""
        session = ear.session
        neighbour = session.between.neighbour
        if session.between.live_with is None or neighbour is None:
            return news
        left: list[News] = []
        for one in news:
            if one.sources and neighbour.gets(one.sources):
                session.following.spare(one.stored, one.sources)
            else:
                left.append(one)
        if neighbour.has_gathered and self._timer is None:
            self._plan()
        return news if len(left) == len(news) else left

    def announce(self) -> None:
        """Tell the regions now of what they are not sent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for ear in tuple(self._live):
            neighbour = ear.session.between.neighbour
            if neighbour is None or not neighbour.has_gathered:
                continue
            ear.session.between.announce()
            ear.changed()
            if neighbour.has_gathered and ear.session.end is None and self._timer is None:
                # There was no room for all of it.
                self._plan()

    # ---- inside -------------------------------------------------------------------------------

    def _plan(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TIPS_GATHER_S, self.announce)

    def _tell(self) -> None:
        regions = self.regions
        for ear in tuple(self._live):
            if ear.session.between.tell_live(regions):
                # Not from within what this link is doing just now.
                asyncio.get_running_loop().call_soon(ear.changed)


def _ask(ear: Ear, hashes: list[RecordHash]) -> None:
    ear.session.between.want(hashes)
    ear.changed()

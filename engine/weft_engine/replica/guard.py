"""What a replica does when a link tells it something about itself: that its clock is off, that it
is a copy or was restored, that somebody else writes under its incarnation.

The next write then begins a new incarnation. It waits, for a moment at most, until the link has
brought what the peer holds: records of our own that we lost come back before we go on.
Must never know: frames, tables.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from weft_engine.errors import LinkRefused, StoreClosed
from weft_engine.limits import FETCH_S
from weft_engine.replica.scribe import Scribe
from weft_engine.replica.wall_clock import WallClock
from weft_engine.storage.journal import SqliteJournal
from weft_engine.sync.faults import LinkLost

if TYPE_CHECKING:
    from weft_engine.sync.driving.link import Link


class Guard:
    """Told of every link of the replica from its begin to its end."""

    def __init__(self, journal: SqliteJournal, scribe: Scribe, wall: WallClock) -> None:
        self._journal = journal
        self._scribe = scribe
        self._wall = wall
        self._links: set[Link] = set()
        self._showing: dict[bytes, Link] = {}
        self._fetching: set[asyncio.Task[None]] = set()
        scribe.on_foreign = self._fetch_from_session

    @property
    def keeps_cursors(self) -> bool:
        """Whether the store can be written to."""
        return not self._journal.readonly

    def joined(self, link: Link) -> None:
        self._links.add(link)

    def left(self, link: Link) -> None:
        self._links.discard(link)
        for peer in [peer for peer, found in self._showing.items() if found is link]:
            del self._showing[peer]

    def greeted(self, link: Link) -> None:
        """The hello of the peer has just come."""
        hello, ours = link.session.peer, link.session.hello
        if hello is not None and hello.region is not None and ours.region is None:
            self._wall.correct(hello.now_ms)

    def may_show(self, link: Link, peer: bytes) -> bool:
        """Whether this link shows the ticket of the store `peer`. Of several links to one store
        only one does: the store would take the others for left behind by it. When that one ends
        (of two links between regions one does), the next that is asked about does."""
        if self._journal.readonly:
            return False  # It could not keep what it is given, and writes nothing that forks.
        shows = self._showing.get(peer)
        if shows is None or shows.session.end is not None:
            shows = self._showing[peer] = link
        return shows is link

    def shows(self, link: Link, peer: bytes) -> bool:
        """Whether no other link has begun to show the ticket of the store `peer` since this one."""
        return self._showing.get(peer) is link

    async def superseded(self, link: Link) -> None:
        """The peer has met a store with our id that is further than we are: this one is a copy, or
        an older state of it. Returns when it goes by another id."""
        self._scribe.retire()
        self._fetch([link])
        await self._journal.renew_identity()

    def close(self) -> None:
        """Nobody waits any more."""
        for task in self._fetching:
            task.cancel()
        self._scribe.release()

    # ---- inside -------------------------------------------------------------------------------

    def _fetch_from_session(self, session: bytes) -> None:
        self._fetch([link for link in self._links if link.quota == session])

    def _fetch(self, links: list[Link]) -> None:
        """Hold appends until these links have brought what their peers announced."""
        for link in links:
            self._scribe.hold()
            task = asyncio.get_running_loop().create_task(_received(link), name="weft-fetch")
            self._fetching.add(task)
            task.add_done_callback(self._fetched)

    def _fetched(self, task: asyncio.Task[None]) -> None:
        self._fetching.discard(task)
        if not self._fetching:
            self._scribe.release()
        if not task.cancelled():
            task.result()


async def _received(link: Link) -> None:
    """Return when the link has brought everything, has ended, or takes too long."""
    try:
        await link.until(lambda: link.session.progress.has_received_all, timeout=FETCH_S)
    except (TimeoutError, LinkLost, LinkRefused, StoreClosed):
        # What did not come now comes as it comes: a record like any other, of an old incarnation.
        return

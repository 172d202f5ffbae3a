"""How far the other region of a link is, asked again and again: a comparison goes by that.

Must never know: transports, what is compared.
"""

from __future__ import annotations

import asyncio

from weft_engine.limits import LIVE_REGIONS_MAX, TREE_NEAR_MS
from weft_engine.sync.driving.link_store import LinkStore
from weft_engine.sync.end.session import Session
from weft_engine.sync.framing.messages import Hello


class Distance:
    """One link's share; of stores that are near it tells the hub (`near`)."""

    def __init__(self, session: Session, store: LinkStore) -> None:
        self._session = session
        self._store = store

    def greeted(self, peer: Hello) -> None:
        """The peer has said hello: an earlier link may have found it near."""
        if peer.store in self._store.hub.near:
            self._session.is_near()

    def tick(self, now_ms: int) -> None:
        """Ask, if that is due."""
        session = self._session
        if session.is_between_regions and session.between.timing.is_due(now_ms):
            session.between.ask_time(_mark_us())

    def settle(self) -> None:
        """Answer what the peer asked, and take its answer, if there is one."""
        session = self._session
        if session.between.timing.has_news:
            session.between.settle_time(_mark_us(), self._store.now_ms())
            self._note()

    def _note(self) -> None:
        session, rtt_ms = self._session, self._session.between.timing.rtt_ms
        if rtt_ms is None or session.peer is None:
            return
        near = self._store.hub.near
        near.pop(session.peer.store, None)
        if rtt_ms < TREE_NEAR_MS:
            session.is_near()
            near[session.peer.store] = None
            if len(near) > LIVE_REGIONS_MAX:
                del near[next(iter(near))]


def _mark_us() -> int:
    return int(asyncio.get_running_loop().time() * 1_000_000)

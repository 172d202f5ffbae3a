"""Keeps a link with each peer that is configured, whoever of the two has dialled it.

A peer is dialled while there is no link with it; who can't be reached is tried again with growing
pauses, and who refuses us, or is a wrong one, once a minute: what is wrong may be put right at the
other end. Must never know: frames, what a link carries.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from weft_engine.errors import CallerError, LinkRefused, WeftError
from weft_engine.limits import REGION_RECONNECT_LAST_S
from weft_engine.sync.driving.keeping import KeptLink
from weft_engine.sync.driving.link import Link, Transport
from weft_engine.sync.driving.link_store import LinkStore
from weft_engine.sync.end.ending import End, State
from weft_server.dialing import DialledTransport, dial
from weft_server.mesh.peer_config import PeerConfig
from weft_server.mesh.region_links import RegionLinks, Via, was_one_of_two
from weft_server.operator_log import LOGGER

_LOG: Final = logging.getLogger(LOGGER)
REFUSED_AGAIN_S: Final = 60.0
"""After this a peer that refused us, or was a wrong one, is tried again."""
ANOTHER_AGAIN_S: Final = 5.0
"""After this, one that has closed our link because it has another: if we know of no other, that one
is dead, and the peer takes up to LINK_DEAD_MS to notice."""
OPENING_S: Final = 5.0
"""What a peer may take to accept a connection: a network that is cut says nothing."""

Make = Callable[[DialledTransport, Via], Link]
Run = Callable[[Link], Awaitable[End]]


class Peer:
    """One that is configured. `keep` runs for ever; `make` and `run` are the relay's."""

    def __init__(
        self,
        config: PeerConfig,
        store: LinkStore,
        links: RegionLinks,
        *,
        make: Make,
        run: Run,
        random: Callable[[], float],
    ) -> None:
        self.config = config
        self._store = store
        self._links = links
        self._make = make
        self._run = run
        self._random = random
        self._via = Via(config.url, expected=config.name, may_be_region=True)
        self._kept: KeptLink | None = None
        self._said: str | None = None
        self._is_second = False
        """The other end has just told us that it has another link with us."""
        self.error: WeftError | OSError | None = None
        """Why there was no link with it when it was tried last."""

    @property
    def state(self) -> State:
        """Of the link that we dial."""
        return State.CONNECTING if self._kept is None else self._kept.status

    async def keep(self) -> None:
        """Until it is cancelled; a link that is open then is told goodbye. Raises a fault of this
        machine that a link can't go on with."""
        while True:
            async with KeptLink(
                self._dialled,
                self._store,
                random=self._random,
                longest_s=REGION_RECONNECT_LAST_S,
                make=self._made,
                run=self._ran,
                changed=self._note,
            ) as kept:
                self._kept = kept
                try:
                    await kept.ended()
                except asyncio.CancelledError:
                    self._kept = None  # That it ends now is no news.
                    raise
                refusal = kept.error
            if isinstance(refusal, LinkRefused):
                now_ms = self._store.now_ms()
                self._links.note_refused(None, self._via, refusal, now_ms=now_ms)
            await asyncio.sleep(REFUSED_AGAIN_S)
            await self._links.until_missing(self.config.name)

    # ---- inside -------------------------------------------------------------------------------

    @asynccontextmanager
    async def _dialled(self) -> AsyncIterator[DialledTransport]:
        if self._is_second:
            self._is_second = False
            if self._links.of(self.config.name) is None:
                await asyncio.sleep(ANOTHER_AGAIN_S)
        await self._links.until_missing(self.config.name)
        try:
            token = await asyncio.to_thread(self.config.read_token)
        except CallerError as error:
            raise LinkRefused(error.message, hint=error.hint) from error
        async with dial(self.config.url, token, opening_s=OPENING_S) as transport:
            yield transport

    def _made(self, transport: Transport) -> Link:
        assert isinstance(transport, DialledTransport), "it was dialled here"
        return self._make(transport, self._via)

    async def _ran(self, link: Link) -> End:
        self.error = None
        try:
            return await self._run(link)
        finally:
            self._is_second = was_one_of_two(link)

    def _note(self) -> None:
        """Tell the operator why there is no link, each reason once until there is one again."""
        kept = self._kept
        if kept is None:
            return
        if kept.status in (State.COMPARING, State.LIVE):
            self._said = None
            self.error = None
            return
        self.error = kept.error
        if self.error is None or self._is_second or self._links.of(self.config.name) is not None:
            return
        said = str(self.error)
        if said != self._said:
            self._said = said
            _LOG.warning("there is no link with region %s: %s", self.config.name, said)


class Peers:
    """All that are configured."""

    def __init__(
        self,
        configs: Sequence[PeerConfig],
        store: LinkStore,
        links: RegionLinks,
        *,
        make: Make,
        run: Run,
        random: Callable[[], float],
    ) -> None:
        self.all = tuple(
            Peer(config, store, links, make=make, run=run, random=random) for config in configs
        )

    async def keep(self) -> None:
        """Dial them until it is cancelled. Raises the first fault of this machine that a link
        can't go on with."""
        if not self.all:
            await asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as group:
            for peer in self.all:
                group.create_task(peer.keep(), name=f"weft-peer-{peer.config.name}")

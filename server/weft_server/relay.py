"""The relay: a replica that many links meet at, and what each of them may do.

Every link is the engine's session; the relay adds who may open one, what it may carry, and when it
must end. Must never know: websockets, HTTP, how tokens are made.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from random import SystemRandom
from typing import Final, Protocol

from weft_engine.errors import MachineError, WeftError
from weft_engine.limits import (
    LINKS_HELD_BYTES_MAX,
    MIB,
    REGION_WINDOW_FRAMES,
    WINDOW_FRAMES,
)
from weft_engine.names import ContextName, region_name
from weft_engine.records.certificate import RegionKey
from weft_engine.replica.replica import Replica
from weft_engine.sync.binding import GOING_AWAY
from weft_engine.sync.driving.link import Link, Transport
from weft_engine.sync.driving.turns import Turns
from weft_engine.sync.end.ending import End
from weft_engine.sync.framing.messages import ByeCode, Window
from weft_engine.sync.presence import Presence
from weft_server.context_sizes import ContextSizes
from weft_server.door.guests import Guest, Guests
from weft_server.door.offers import Offers
from weft_server.door.permission import ANYTHING, Doorkeeper, Permission
from weft_server.heap import trim_heap
from weft_server.holdings import LOOK_EVERY_S, LOOK_OFTEN_S, TRIM_EVERY_S, Holding, too_large
from weft_server.link_contexts import LinkContexts
from weft_server.mesh.mesh import Mesh
from weft_server.mesh.peer_config import PeerConfig
from weft_server.mesh.region_links import Via
from weft_server.mesh.wrong_peer import takes_another_id
from weft_server.operator_log import LOGGER
from weft_server.relay_limits import DEFAULTS, RelayLimits
from weft_server.transport import AcceptedTransport
from weft_server.yjs.connection import Connection
from weft_server.yjs.rooms import Rooms

_LOG: Final = logging.getLogger(LOGGER)
READY_S: Final = 2.0
"""What the journal's writer may take to answer before the relay counts as not ready."""
READY_FREE_BYTES: Final = 16 * MIB
"""What the disk has to have left: two links' windows of records, as they are by default."""
_LOOKED_AT_ONCE: Final = 500
"""Links whose memory is counted before others have their turn."""
_LOOK_AT_CONTEXTS_S: Final = 3.0
LEAVE_ID_EVERY_S: Final = 60.0
"""A store id that another region has, too, is left so often at most."""
GOODBYE_S: Final = 2.0
"""What a peer may take to read its goodbye when the relay stops."""
_TOLD_ENDS: Final = frozenset(
    (ByeCode.DENIED, ByeCode.FORMAT, ByeCode.MALFORMED, ByeCode.RECORD, ByeCode.LIMIT)
)
"""Ends of links that this relay had cause for and its operator may want to know of."""


class RelayTransport(Transport, Protocol):
    closing_code: int | None
    """If set, what the connection closes with, whatever the bye says."""


@dataclass(frozen=True, slots=True)
class _Served:
    transport: RelayTransport
    via: Via
    ended: asyncio.Future[None]


class Relay:
    """Serves links until `close`. The replica belongs to whoever made the relay. `region_key` is
    this region's; foreign records from clients are taken if it, or one of the `trusted` public
    keys, has certified who wrote them. `regions` are others of the mesh, as far as they are
    configured here."""

    def __init__(
        self,
        replica: Replica,
        *,
        region: str,
        doorkeeper: Doorkeeper,
        region_key: RegionKey | None = None,
        trusted: frozenset[bytes] = frozenset(),
        limits: RelayLimits = DEFAULTS,
        proxies: frozenset[str] = frozenset(),
        peers: Sequence[PeerConfig] = (),
    ) -> None:
        self.region = region_name(region)
        replica.reach.configure(peer.name for peer in peers if peer.name != region)
        self._trusted = trusted
        if region_key is not None:
            self._trusted |= {region_key.public}
            replica.certify(region_key)
        self._replica = replica
        self.limits = limits
        self.guests = Guests(doorkeeper, limits, self._now_s, proxies=proxies)
        """Who is inside, whatever they speak."""
        self._sizes = ContextSizes(replica.journal, bytes_max=limits.context_bytes)
        self._contexts = LinkContexts(replica.journal, contexts_max=limits.link_contexts)
        self._links: dict[Link, _Served] = {}
        self._of_store: dict[bytes, dict[Link, None]] = {}
        """The links on which a store has said hello."""
        self._is_closing = False
        self._may_leave_id_s = 0.0
        self._turns = Turns()
        self._rooms = Rooms(replica, self._sizes, record_bytes=limits.record_bytes)
        self.mesh = Mesh(
            replica,
            self.region,
            peers,
            make=self.make_dialled,
            run=self.run,
            random=SystemRandom().random,
        )

    @property
    def links(self) -> int:
        """How many are open, those of Yjs clients among them."""
        return len(self._links) + self._rooms.connections

    @property
    def presence(self) -> Presence:
        """Who is in its contexts now, over whatever they are linked."""
        return self._replica.presence

    @property
    def is_closing(self) -> bool:
        return self._is_closing

    async def why_not_ready(self) -> str | None:
        """Why it could not take records in now; None if the journal's writer can begin and end a
        transaction, and the disk has room."""
        if self._is_closing:
            return "the relay is going away"
        try:
            async with asyncio.timeout(READY_S):
                await self._replica.journal.write(lambda _: None)
                # Of an empty transaction nothing is written.
                disk = await asyncio.to_thread(shutil.disk_usage, self._replica.path.parent)
        except WeftError as error:
            return error.message
        except OSError as error:
            return f"the disk of the store can't be looked at: {error}"
        except TimeoutError:
            return f"the store has not answered in {READY_S:g} s"
        if disk.free < READY_FREE_BYTES:
            return f"the disk of the store has {disk.free} bytes left"
        return None

    async def serve(
        self, transport: RelayTransport, permission: Permission, *, guest: Guest | None = None
    ) -> None:
        """Speak on an accepted connection until it ends; of a `guest`, until its token does."""
        place = "this process" if guest is None else guest.place
        via = Via(
            place,
            expected=None,
            may_be_region=permission.is_peer,
            only_region=permission.region,
        )
        link = self._make(transport, permission, via, guest)
        if guest is not None:
            guest.ends_by(partial(_let_go, link, transport))
        with suppress(MachineError):  # It was told to the operator.
            await self.run(link)

    def make_dialled(self, transport: RelayTransport, via: Via) -> Link:
        """A link to a peer that this relay is told to trust."""
        return self._make(transport, ANYTHING, via, None)

    def _make(
        self, transport: RelayTransport, permission: Permission, via: Via, guest: Guest | None
    ) -> Link:
        """The link of a new connection."""
        offers = Offers(
            permission,
            journal=self._replica.journal,
            sizes=self._sizes,
            limits=self.limits,
            trusted=self._trusted,
            is_relay=lambda: _is_region(link),
            pace=_no_wait if guest is None else guest.pace,
        )
        frames = REGION_WINDOW_FRAMES if permission.is_peer else WINDOW_FRAMES
        link = Link(
            transport,
            self._replica,
            interest=permission.interest,
            region=self.region,
            quota=permission.quota,
            window=Window(frames, self.limits.link_window_bytes),
            permit=offers.permit,
            pace=None if guest is None else guest.delay_s,
            contexts_max=self.limits.link_contexts,
            outbox_bytes=self.limits.link_queue_bytes,
            serves_client=not permission.is_peer,
            turns=self._turns,
            why_wrong=lambda theirs: self.mesh.why_wrong(link.session.hello, theirs, via),
        )
        self._links[link] = _Served(transport, via, asyncio.get_running_loop().create_future())
        return link

    async def run(self, link: Link) -> End:
        """Speak until it ends. Raises a fault of this machine, of which the peer was told."""
        served = self._links[link]
        session = link.session
        waiting = asyncio.get_running_loop().call_later(
            self.limits.hello_s, _miss_hello, link, self.limits
        )
        link.when(lambda: session.peer is not None, partial(self._greeted, link))
        link.when(lambda: session.tickets.peer_is_current, partial(self._replace_stale, link))
        if self._is_closing:
            self._send_away(link, served.transport)
        try:
            how = await link.run()
            if served.via.may_be_region:
                await self._leave_shared_id(link)
            return how
        except MachineError as error:
            _LOG.error("a link ended by a fault of this machine: %s", error)
            raise
        finally:
            waiting.cancel()
            if (end := session.end) is not None and not end.by_peer and end.code in _TOLD_ENDS:
                _LOG.warning(
                    "a link is ended, %s: %s, from %s", end.code, end.reason, served.via.place
                )
            del self._links[link]
            self._forget_store(link)
            self.mesh.left(link)
            served.ended.set_result(None)

    async def serve_yjs(
        self, transport: AcceptedTransport, guest: Guest, name: ContextName
    ) -> None:
        """Speak with a Yjs client until its connection ends, or its token does."""
        await self._rooms.serve(name, transport, guest)

    async def keep_memory_bounded(self) -> None:
        """Look again and again, until it is cancelled, what the links hold."""
        ending: list[asyncio.Future[None]] = []
        held_bytes = 0
        was_much = False
        loop = asyncio.get_running_loop()
        trimmed_s = loop.time()
        while True:
            is_much = held_bytes > LINKS_HELD_BYTES_MAX // 4
            await asyncio.sleep(LOOK_OFTEN_S if is_much else LOOK_EVERY_S)
            was_much = was_much or is_much
            are_gone = bool(ending) and all(ended.done() for ended in ending)
            if (are_gone or (was_much and not is_much)) and loop.time() > trimmed_s + TRIM_EVERY_S:
                # What was held for a moment is given back to the system.
                was_much = False
                ending.clear()
                gc.collect()
                trim_heap()
                trimmed_s = loop.time()
            holdings: list[Holding[Link | Connection]] = []
            holdings += [Holding(one, one.held_bytes) for one in self._rooms.clients()]
            regions: list[Holding[Link | Connection]] = []
            for number, link in enumerate(tuple(self._links)):
                if number % _LOOKED_AT_ONCE == 0:
                    await asyncio.sleep(0)
                if link.session.end is None:
                    of_its_kind = regions if _is_region(link) else holdings
                    of_its_kind.append(Holding(link, link.session.held_bytes))
            held_bytes = sum(one.held_bytes for one in holdings + regions)
            large = list(too_large(holdings, bytes_max=LINKS_HELD_BYTES_MAX))
            for one in large + list(too_large(regions, bytes_max=LINKS_HELD_BYTES_MAX)):
                if isinstance(one.who, Connection):
                    _LOG.warning(
                        "a Yjs client is sent away that makes this relay hold %d bytes",
                        one.held_bytes,
                    )
                    ending.append(one.who.end_large())
                elif one.who in self._links:
                    ending.append(self._end_large(one.who, one.held_bytes))

    def _end_large(self, link: Link, held_bytes: int) -> asyncio.Future[None]:
        _LOG.warning("a link is ended that makes this relay hold %d bytes", held_bytes)
        link.close(
            f"the links hold more than {LINKS_HELD_BYTES_MAX} bytes in the relay's memory, this one"
            f" {held_bytes}",
            code=ByeCode.LIMIT,
            hint="send less at a time; it is tried again by itself",
        )
        return self._links[link].ended

    async def keep_contexts_bounded(self) -> None:
        """Look again and again, until it is cancelled, how many contexts the links are about."""
        while True:
            await asyncio.sleep(_LOOK_AT_CONTEXTS_S)
            clients = [one for one in self._links if not _is_region(one)]
            found = await self._contexts.too_large([one.session.interest for one in clients])
            for link in clients if found else ():
                if (contexts := found.get(link.session.interest)) is not None:
                    _end_wide(link, contexts, self.limits)

    async def keep_rooms(self) -> None:
        """Wait for a fault that ends what looks after the rooms of Yjs clients."""
        await self._rooms.kept()

    async def close(self) -> None:
        """Say goodbye on every link and wait until they are gone; who does not read its goodbye in
        a few seconds is cut off."""
        self._is_closing = True
        _LOG.info("the relay stops, its links are told so: %d", self.links)
        self._sizes.close()
        for link, served in self._links.items():
            self._send_away(link, served.transport)
        if self._links:
            ends = [served.ended for served in self._links.values()]
            await asyncio.wait(ends, timeout=GOODBYE_S)
            for link in tuple(self._links):
                link.abort("the relay is going away")
            await asyncio.wait(ends)
        await self._rooms.close()

    def _greeted(self, link: Link) -> None:
        peer = link.session.peer
        assert peer is not None, "it has said hello"
        self._of_store.setdefault(peer.store, {})[link] = None
        self.mesh.greeted(link, self._links[link].via)
        _check_hello(link, self.limits)

    async def _leave_shared_id(self, link: Link) -> None:
        """If a region that was refused has our store id, and it is on us, go by another; seldom,
        for who says so may be lying."""
        ours, theirs = link.session.hello, link.session.peer
        if (
            theirs is not None
            and takes_another_id(ours, theirs)
            and ours.store == self._replica.identity.store
            and (now_s := asyncio.get_running_loop().time()) >= self._may_leave_id_s
        ):
            self._may_leave_id_s = now_s + LEAVE_ID_EVERY_S
            _LOG.warning("this store goes by another id: region %s has the same", theirs.region)
            await self._replica.guard.superseded(link)

    def _forget_store(self, link: Link) -> None:
        peer = link.session.peer
        links = {} if peer is None else self._of_store.get(peer.store, {})
        links.pop(link, None)
        if peer is not None and not links:
            self._of_store.pop(peer.store, None)

    def _replace_stale(self, link: Link) -> None:
        """A store has one link here: who shows its ticket on a new one has left the others, or is
        a copy of who is on them."""
        peer = link.session.peer
        assert peer is not None, "it has shown its ticket"
        for other in tuple(self._of_store.get(peer.store, ())):
            if other is link:
                continue
            if other.session.tickets.peer_is_current:
                other.close(
                    "the same store has opened a newer link",
                    hint="this one was left behind; if it was not, the store was copied",
                )

    def _send_away(self, link: Link, transport: RelayTransport) -> None:
        transport.closing_code = GOING_AWAY
        link.close("the relay is going away", hint="it is tried again by itself")

    def _now_s(self) -> float:
        return self._replica.now_ms() / 1000


def _is_region(link: Link) -> bool:
    """Whether the other end is one, which it may be: otherwise it has been refused."""
    peer = link.session.peer
    return peer is not None and peer.region is not None


async def _no_wait(records: int) -> None:
    """The pace of who is no guest."""


def _let_go(link: Link, transport: RelayTransport, reason: str, hint: str) -> None:
    transport.closing_code = Guests.CLOSE_CODE
    link.close(reason, code=ByeCode.DENIED, hint=hint)


def _miss_hello(link: Link, limits: RelayLimits) -> None:
    if link.session.peer is None:
        link.close(
            f"no hello came in {limits.hello_s} s (limit hello_s)",
            code=ByeCode.LIMIT,
            hint="say hello at once",
        )


def _check_hello(link: Link, limits: RelayLimits) -> None:
    """End a link whose hello asks for too much, or for nothing that the link could ever carry: its
    user would wait for what will not come."""
    session = link.session
    if session.interest.is_empty:
        link.close(
            "the token covers none of the contexts that were asked for",
            code=ByeCode.DENIED,
            hint="ask for other contexts, or for a token that covers these",
        )
    elif len(session.interest.contexts) > limits.link_contexts and not _is_region(link):
        _end_wide(link, len(session.interest.contexts), limits)


def _end_wide(link: Link, contexts: int, limits: RelayLimits) -> None:
    link.close(
        f"the link is about {contexts} contexts or more, and this relay's limit link_contexts is"
        f" {limits.link_contexts}",
        code=ByeCode.LIMIT,
        hint="link with a smaller interest",
    )

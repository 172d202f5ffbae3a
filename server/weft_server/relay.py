"""The relay: a replica that many links meet at, and what each of them may do.

Every link is the engine's session; the relay adds who may open one, what it may carry, and when it
must end. Must never know: websockets, HTTP, how tokens are made.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from weft_engine.errors import LinkRefused, MachineError, WeftError
from weft_engine.limits import LINKS_HELD_BYTES_MAX
from weft_engine.records.certificate import RegionKey
from weft_engine.replica.replica import Replica
from weft_engine.sync.binding import GOING_AWAY, UNAUTHORISED
from weft_engine.sync.inspection import Inspected
from weft_engine.sync.interest import EVERYTHING, Interest
from weft_engine.sync.link import Link, Transport
from weft_engine.sync.messages import ByeCode, region_name
from weft_engine.sync.presence import Presence
from weft_engine.sync.turns import Turns
from weft_server.erasure_rights import refuse_foreign_erasures
from weft_server.heap import trim_heap
from weft_server.holdings import LOOK_EVERY_S, Holding, too_large
from weft_server.trust import check_regions

_LOG: Final = logging.getLogger("weft.relay")
LINKS_MAX: Final = 10_000
READY_S: Final = 2.0
"""What the journal's writer may take to answer before the relay counts as not ready."""
_LOOKED_AT_ONCE: Final = 500
"""Links whose memory is counted before others have their turn."""
GOODBYE_S: Final = 2.0
"""What a peer may take to read its goodbye when the relay stops."""


class RelayTransport(Transport, Protocol):
    closing_code: int | None
    """If set, what the connection closes with, whatever the bye says."""


@dataclass(frozen=True, slots=True)
class Permission:
    """What one link may do. `expires_s`: seconds since 1970, None for never. `quota` names whose
    records it offers, for the waiting room. `is_peer`: another relay, which has asked itself what
    its clients may do; what it has journaled is taken as it is."""

    interest: Interest
    may_read: bool
    may_append: bool
    expires_s: int | None
    quota: bytes | None
    is_peer: bool = False
    may_erase: bool = True
    """Whether it may erase what others wrote, and bring erasures of others here."""


Doorkeeper = Callable[[str | None, int], Permission]
"""The permission for a bearer token at a time in seconds since 1970, or LinkRefused."""

ANYTHING: Final = Permission(
    EVERYTHING, may_read=True, may_append=True, expires_s=None, quota=None, is_peer=True
)


class Relay:
    """Serves links until `close`. The replica belongs to whoever made the relay. `region_key` is
    this region's; foreign records from clients are taken if it, or one of the `trusted` public
    keys, has certified who wrote them."""

    def __init__(
        self,
        replica: Replica,
        *,
        region: str,
        doorkeeper: Doorkeeper,
        region_key: RegionKey | None = None,
        trusted: frozenset[bytes] = frozenset(),
    ) -> None:
        self.region = region_name(region)
        self._trusted = trusted
        if region_key is not None:
            self._trusted |= {region_key.public}
            replica.certify(region_key)
        self._replica = replica
        self._doorkeeper = doorkeeper
        self._links: dict[Link, tuple[RelayTransport, asyncio.Future[None]]] = {}
        self._is_closing = False
        self._turns = Turns()

    @property
    def links(self) -> int:
        """How many are open."""
        return len(self._links)

    @property
    def presence(self) -> Presence:
        """Who is in its contexts now, over whatever they are linked."""
        return self._replica.presence

    @property
    def has_room(self) -> bool:
        return not self._is_closing and len(self._links) < LINKS_MAX

    def admit(self, token: str | None) -> Permission:
        """What the bearer of `token` may do; LinkRefused if it is no valid token."""
        return self._doorkeeper(token, int(self._now_s()))

    async def is_ready(self) -> bool:
        """Whether the journal is open and its writer can begin and end a transaction."""
        if self._is_closing:
            return False
        try:
            async with asyncio.timeout(READY_S):
                await self._replica.journal.write(lambda _: None)
        except (WeftError, TimeoutError):
            return False
        return True

    async def serve(self, transport: RelayTransport, permission: Permission) -> None:
        """Speak on an accepted connection until it ends."""
        checks: list[Callable[[Inspected], None]] = []
        if not permission.may_append:
            checks.append(_refuse_all)
        if not permission.is_peer:
            checks.append(partial(check_regions, self._trusted))
        if not permission.may_erase:
            checks.append(refuse_foreign_erasures)
        link = Link(
            transport,
            self._replica,
            interest=permission.interest,
            region=self.region,
            quota=permission.quota,
            permit=partial(_check_all, checks) if checks else None,
            serves_client=not permission.is_peer,
            turns=self._turns,
        )
        ended = asyncio.get_running_loop().create_future()
        self._links[link] = (transport, ended)
        expiry = None
        if permission.expires_s is not None:
            left_s = max(0.0, permission.expires_s - self._now_s())
            expire = partial(_expire, link, transport)
            expiry = asyncio.get_running_loop().call_later(left_s, expire)
        session = link.session
        link.when(lambda: session.peer is not None, partial(_check_interest, link))
        link.when(lambda: session.tickets.peer_is_current, partial(self._replace_stale, link))
        if self._is_closing:
            self._send_away(link, transport)
        try:
            await link.run()
        except MachineError as error:
            # The peer was told that this end failed; the operator is told why.
            _LOG.error("a link ended by a fault of this machine: %s", error)
        finally:
            if expiry is not None:
                expiry.cancel()
            del self._links[link]
            ended.set_result(None)

    async def keep_memory_bounded(self) -> None:
        """Look again and again, until it is cancelled, what the links hold."""
        ending: list[asyncio.Future[None]] = []
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if ending and all(ended.done() for ended in ending):
                ending.clear()
                trim_heap()
            holdings = []
            for number, link in enumerate(tuple(self._links)):
                if number % _LOOKED_AT_ONCE == 0:
                    await asyncio.sleep(0)
                if link.session.end is None:
                    holdings.append(Holding(link, link.session.held_bytes))
            for one in too_large(holdings, bytes_max=LINKS_HELD_BYTES_MAX):
                if one.who in self._links:
                    ending.append(self._end_large(one.who, one.held_bytes))

    def _end_large(self, link: Link, held_bytes: int) -> asyncio.Future[None]:
        _LOG.warning("a link is ended that makes this relay hold %d bytes", held_bytes)
        link.close(
            f"the links hold more than {LINKS_HELD_BYTES_MAX} bytes in the relay's memory, this"
            f" one {held_bytes}",
            code=ByeCode.LIMIT,
            hint="send less at a time; it is tried again by itself",
        )
        return self._links[link][1]

    async def close(self) -> None:
        """Say goodbye on every link and wait until they are gone; who does not read its goodbye in
        a few seconds is cut off."""
        self._is_closing = True
        for link, (transport, _) in self._links.items():
            self._send_away(link, transport)
        if not self._links:
            return
        ends = [ended for _, ended in self._links.values()]
        await asyncio.wait(ends, timeout=GOODBYE_S)
        for link in tuple(self._links):
            link.abort("the relay is going away")
        await asyncio.wait(ends)

    def _replace_stale(self, link: Link) -> None:
        """A store has one link here: who shows its ticket on a new one has left the others, or is
        a copy of who is on them."""
        peer = link.session.peer
        for other in tuple(self._links):
            its = other.session
            if other is link or peer is None or its.peer is None or its.peer.store != peer.store:
                continue
            if its.tickets.peer_is_current:
                other.close(
                    "the same store has opened a newer link",
                    hint="this one was left behind; if it was not, the store was copied",
                )

    def _send_away(self, link: Link, transport: RelayTransport) -> None:
        transport.closing_code = GOING_AWAY
        link.close("the relay is going away", hint="it is tried again by itself")

    def _now_s(self) -> float:
        return self._replica.now_ms() / 1000


def quota_of(token: str) -> bytes:
    """Whose records a token's bearer offers: 16 bytes."""
    return hashlib.blake2b(token.encode(), digest_size=16, person=b"weft-quota").digest()


def _expire(link: Link, transport: RelayTransport) -> None:
    transport.closing_code = UNAUTHORISED
    link.close(
        "the token has expired", code=ByeCode.DENIED, hint="open a new link with a new token"
    )


def _check_all(checks: Sequence[Callable[[Inspected], None]], offered: Inspected) -> None:
    for check in checks:
        check(offered)


def _refuse_all(offered: Inspected) -> None:
    records = offered.records
    raise LinkRefused(
        f"the token may not append, and this link offers {len(records)} records, the first of"
        f" context {records[0].envelope.context!r}",
        hint="ask for a token with the right to append",
    )


def _check_interest(link: Link) -> None:
    """End a link that could never carry anything: its user waits for what will not come."""
    if link.session.interest.is_empty:
        link.close(
            "the token covers none of the contexts that were asked for",
            code=ByeCode.DENIED,
            hint="ask for other contexts, or for a token that covers these",
        )

"""Who is inside: how many from each address and with each token, and whose token is no longer good.

Every connection to the relay, whatever it speaks, is counted from its first byte: it knocks, it
enters with a token, it leaves. Must never know: websockets, what is said on a link, how tokens are
made.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import ClassVar, Final

from weft_engine.errors import LinkRefused, PeerError
from weft_engine.sync.binding import UNAUTHORISED
from weft_server.door.permission import Doorkeeper, Permission
from weft_server.door.record_rate import RecordRate
from weft_server.operator_log import LOGGER
from weft_server.relay_limits import RelayLimits

_LOG: Final = logging.getLogger(LOGGER)
WATCH_S: Final = 1.0
"""How often tokens are looked at again: a link outlives its token by no more than this, and what
the files of keys and revoked tokens take to be read."""
_AGAIN_AT_ONCE: Final = 64
"""Tokens that are checked again before others have their turn; each takes some 0.1 ms."""
_V6_NETWORK_BITS: Final = 64
_NOWHERE: Final = ""


class TurnedAway(PeerError):
    """The relay does not let a connection in. `status` says whether it may be tried again."""

    code: ClassVar[str] = "turned_away"

    def __init__(self, status: HTTPStatus, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class Guest:
    """A connection that has entered. It is told to go by the function given to `ends_by`."""

    __slots__ = ("_end", "_rate", "permission", "place", "sent_away", "token")

    def __init__(
        self, permission: Permission, token: str | None, place: str, rate: RecordRate | None
    ) -> None:
        self.permission = permission
        self.token = token
        self.place = place
        self.sent_away: tuple[str, str] | None = None
        """Why it has to go, and what to do about it."""
        self._rate = rate
        self._end: Callable[[str, str], None] | None = None

    def ends_by(self, end: Callable[[str, str], None]) -> None:
        """`end` is called with a reason and a hint when the token is no longer good, or at once if
        that is so already. The connection then closes with code 4401."""
        self._end = end
        if self.sent_away is not None:
            end(*self.sent_away)

    def left(self) -> None:
        """Nobody is there to be told to go: a circle that is opened here need not be collected."""
        self._end = None

    def send_away(self, reason: str, hint: str) -> None:
        if self.sent_away is None:
            self.sent_away = (reason, hint)
            if self._end is not None:
                self._end(reason, hint)

    def delay_s(self, records: int) -> float:
        """Count so many records in; for how many seconds they have to wait by the token's rate."""
        if self._rate is None:
            return 0.0
        return self._rate.take(records, asyncio.get_running_loop().time())

    async def pace(self, records: int) -> None:
        """Wait until the token's rate allows for this many records more."""
        wait_s = self.delay_s(records)
        if wait_s == 0:
            return
        assert self._rate is not None, "who has no rate does not wait"
        try:
            await asyncio.sleep(wait_s)
        except asyncio.CancelledError:
            self._rate.give_back(records)
            raise


class Knock:
    """A connection whose request is not complete. `make_way` tells it to go at once."""

    __slots__ = ("make_way", "place")

    def __init__(self, place: str, make_way: Callable[[], None]) -> None:
        self.place = place
        self.make_way = make_way


class Guests:
    """`now_s` is the time in seconds since 1970. Addresses in `proxies` speak for others: what
    comes from one of them is counted by the address that it names, and not before."""

    CLOSE_CODE: Final = UNAUTHORISED

    def __init__(
        self,
        doorkeeper: Doorkeeper,
        limits: RelayLimits,
        now_s: Callable[[], float],
        *,
        proxies: frozenset[str] = frozenset(),
    ) -> None:
        self.limits = limits
        self._doorkeeper = doorkeeper
        self._now_s = now_s
        self._proxies = proxies
        self._has_told_forwarded = False
        self._inside: dict[Guest, None] = {}
        self._by_place: Counter[str] = Counter()
        self._by_token: Counter[bytes] = Counter()
        self._knocking = 0
        self._knocks: dict[str, dict[Knock, None]] = {}
        """By place."""
        self._rates: dict[bytes, RecordRate] = {}

    def __len__(self) -> int:
        return len(self._inside)

    # ---- before the request is complete -------------------------------------------------------

    def knock(self, address: str | None, make_way: Callable[[], None]) -> Knock:
        """A connection was made; TurnedAway if there is no room for it. What it returns is for
        `knocked`. If there is none left, the oldest makes way that comes from where most do: nobody
        keeps others out from one place."""
        place = _NOWHERE if address in self._proxies else place_of(address)
        self._check_place(place)
        if self._knocking >= self.limits.unauthenticated and not self._make_room(place):
            raise TurnedAway(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the relay has no room for more connections without a request"
                f" (limit unauthenticated, {self.limits.unauthenticated})",
                hint="try again",
            )
        knock = Knock(place, make_way)
        self._knocks.setdefault(place, {})[knock] = None
        self._knocking += 1
        self._by_place[place] += 1
        return knock

    def knocked(self, knock: Knock) -> None:
        """The request is complete, or the connection is gone."""
        self._knocking -= 1
        some = self._knocks[knock.place]
        del some[knock]
        if not some:
            del self._knocks[knock.place]
        self._let_go(knock.place)

    # ---- with a token -------------------------------------------------------------------------

    def enter(self, token: str | None, address: str | None) -> Guest:
        """Let a connection in; `leave` when it is gone. TurnedAway if its token is not good, or if
        there is no room for it now. There is always room for who bears the right peer: clients may
        not keep another region out."""
        place = place_of(address)
        try:
            permission = self._doorkeeper(token, int(self._now_s()))
        except LinkRefused as error:
            raise TurnedAway(HTTPStatus.UNAUTHORIZED, error.message, hint=error.hint) from error
        quota = permission.quota
        if quota is None or not permission.is_peer:
            self._check_room(place, quota)
        guest = Guest(permission, token, place, self._rate(permission))
        self._inside[guest] = None
        self._by_place[place] += 1
        if quota is not None:
            self._by_token[quota] += 1
        return guest

    def tell_refusal(self, reason: str, address: str | None) -> None:
        """Tell the operator that somebody was turned away."""
        _LOG.warning("a link is refused: %s, from %s", reason, address or "this machine")

    def tell_forwarded(self, address: str) -> None:
        """A request from there names another whom it is for. Tell the operator, once, if that is
        not believed and the address is one of this network: a proxy, most likely, that nobody
        named. Without it nobody notices, until its clients are too many for one address."""
        if self._has_told_forwarded or address in self._proxies or not _is_near(address):
            return
        self._has_told_forwarded = True
        place = place_of(address)
        shown = address if ":" in place else place
        _LOG.warning(
            "X-Forwarded-For from %s is not believed: all that it speaks for count as one address"
            " (limit address_links, %d); if it is your proxy, give --proxy %s",
            shown,
            self.limits.address_links,
            shown,
        )

    def leave(self, guest: Guest) -> None:
        del self._inside[guest]
        guest.left()
        self._let_go(guest.place)
        quota = guest.permission.quota
        if quota is not None:
            self._by_token[quota] -= 1
            if not self._by_token[quota]:
                del self._by_token[quota]

    # ---- while they are inside ----------------------------------------------------------------

    async def keep_watch(self, refresh: Callable[[], bool]) -> None:
        """Send away whose token has expired, for ever; and, whenever `refresh` says that other
        tokens are good now, whose token is not among them."""
        while True:
            await asyncio.sleep(WATCH_S)
            self.send_expired_away()
            # It reads files, and a list of revoked tokens may be long.
            if await asyncio.to_thread(refresh):
                await self.check_again()

    def send_expired_away(self) -> None:
        now_s = self._now_s()
        for guest in tuple(self._inside):
            expires_s = guest.permission.expires_s
            if expires_s is not None and expires_s <= now_s:
                guest.send_away("the token has expired", "open a new link with a new token")
        self._forget_rates()

    async def check_again(self) -> None:
        """Send away whose token the doorkeeper would not take any more."""
        verdicts: dict[str | None, LinkRefused | None] = {}
        for guest in tuple(self._inside):
            if guest.token not in verdicts:
                verdicts[guest.token] = self._verdict(guest.token)
                if len(verdicts) % _AGAIN_AT_ONCE == 0:
                    await asyncio.sleep(0)
            refusal = verdicts[guest.token]
            if refusal is not None:
                guest.send_away(refusal.message, refusal.hint)

    # ---- inside -------------------------------------------------------------------------------

    def _verdict(self, token: str | None) -> LinkRefused | None:
        try:
            self._doorkeeper(token, int(self._now_s()))
        except LinkRefused as error:
            return error
        return None

    def _make_room(self, place: str) -> bool:
        """For who knocks from there."""
        most = max(self._knocks.values(), key=len)
        if len(most) <= len(self._knocks.get(place, ())) + 1:
            return False
        next(iter(most)).make_way()
        return True

    def _check_room(self, place: str, quota: bytes | None) -> None:
        if len(self._inside) >= self.limits.links:
            raise TurnedAway(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"the relay has no room for a link (limit links, {self.limits.links})",
                hint="try again",
            )
        self._check_place(place)
        if quota is not None and self._by_token[quota] >= self.limits.token_links:
            raise TurnedAway(
                HTTPStatus.TOO_MANY_REQUESTS,
                "there are too many links with this token"
                f" (limit token_links, {self.limits.token_links})",
                hint="close some, or use another token",
            )

    def _check_place(self, place: str) -> None:
        if place != _NOWHERE and self._by_place[place] >= self.limits.address_links:
            raise TurnedAway(
                HTTPStatus.TOO_MANY_REQUESTS,
                "there are too many connections from this address"
                f" (limit address_links, {self.limits.address_links})",
                hint="close some, or try again later",
            )

    def _let_go(self, place: str) -> None:
        self._by_place[place] -= 1
        if not self._by_place[place]:
            del self._by_place[place]

    def _rate(self, permission: Permission) -> RecordRate | None:
        """All links with one token share a rate. Peers have none: they bring what they have let
        in already, and whom nobody asks for a token is trusted anyway."""
        if permission.quota is None or permission.is_peer:
            return None
        rate = self._rates.get(permission.quota)
        if rate is None:
            rate = self._rates[permission.quota] = RecordRate(
                per_s=self.limits.token_records_per_s,
                burst=self.limits.token_records_burst,
                now_s=asyncio.get_running_loop().time(),
            )
        return rate

    def _forget_rates(self) -> None:
        """A rate is kept while its token is inside, and until what it was overdrawn by is back:
        otherwise a new link would start afresh."""
        now_s = asyncio.get_running_loop().time()
        for quota, rate in tuple(self._rates.items()):
            if quota not in self._by_token and rate.is_full(now_s):
                del self._rates[quota]


def _is_near(address: str) -> bool:
    """Whether it is an address of this machine or of a private network."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped.is_private
    return found.is_private


def place_of(address: str | None) -> str:
    """What is counted as one place: an address, of IPv6 its /64 network, whose addresses one
    machine can take as it likes. Who has no address, on a socket of the file system, counts as
    nowhere."""
    if address is None:
        return _NOWHERE
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, _V6_NETWORK_BITS), strict=False))

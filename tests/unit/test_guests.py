"""Who is inside: counted by address and token, sent away when the token is no longer good."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from http import HTTPStatus

import pytest

from weft_engine.errors import LinkRefused
from weft_server.door.guests import Guests, Knock, TurnedAway, place_of
from weft_server.door.permission import ANYTHING, Permission, quota_of
from weft_server.door.record_rate import RecordRate
from weft_server.relay_limits import RelayLimits


class House:
    """Guests, with a clock and a list of bad tokens."""

    def __init__(self, **limits: int) -> None:
        self.now_s = 1000.0
        self.bad: set[str | None] = set()
        self.guests = Guests(
            self._door, RelayLimits(**limits), lambda: self.now_s, proxies=frozenset({"10.0.0.7"})
        )

    def _door(self, token: str | None, now_s: int) -> Permission:
        if token is None:
            return ANYTHING
        if token in self.bad:
            raise LinkRefused("it was revoked", hint="get another")
        expires_s = int(token.partition("@")[2]) if "@" in token else None
        if expires_s is not None and expires_s <= now_s:
            raise LinkRefused("it expired")
        is_peer = token.startswith("peer")
        return replace(ANYTHING, is_peer=is_peer, quota=quota_of(token), expires_s=expires_s)


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("/run/weft.sock", "/run/weft.sock"),
        (None, ""),
    ],
)
def test_what_counts_as_one_place(address: str | None, place: str) -> None:
    assert place_of(address) == place


def refused(house: House, token: str | None, address: str) -> HTTPStatus:
    with pytest.raises(TurnedAway) as caught:
        house.guests.enter(token, address)
    return caught.value.status


async def test_they_are_counted_until_they_leave() -> None:
    house = House(address_links=2, token_links=3, links=5)
    one, two = house.guests.enter("a", "192.0.2.1"), house.guests.enter("a", "192.0.2.1")
    assert refused(house, "b", "192.0.2.1") is HTTPStatus.TOO_MANY_REQUESTS
    three = house.guests.enter("a", "192.0.2.2")
    assert refused(house, "a", "192.0.2.3") is HTTPStatus.TOO_MANY_REQUESTS
    four, five = house.guests.enter(None, "192.0.2.3"), house.guests.enter("b", "192.0.2.3")
    assert refused(house, "c", "192.0.2.4") is HTTPStatus.SERVICE_UNAVAILABLE
    for guest in (one, two, three, four, five):
        house.guests.leave(guest)
    assert len(house.guests) == 0
    assert house.guests._by_place == house.guests._by_token == {}


async def test_clients_do_not_keep_another_region_out() -> None:
    house = House(address_links=1, token_links=1, links=1)
    house.guests.enter("a", "192.0.2.1")
    assert refused(house, "b", "192.0.2.1") is HTTPStatus.SERVICE_UNAVAILABLE
    first, second = (house.guests.enter("peer", "192.0.2.1") for _ in range(2))
    house.bad.add("peer")
    assert refused(house, "peer", "192.0.2.1") is HTTPStatus.UNAUTHORIZED
    house.guests.leave(first)
    house.guests.leave(second)


async def test_who_knocks_counts_as_well() -> None:
    house = House(address_links=2, unauthenticated=4)
    knocks = [house.guests.knock("192.0.2.1", _nobody) for _ in range(2)]
    with pytest.raises(TurnedAway, match="address_links"):
        house.guests.knock("192.0.2.1", _nobody)
    # A proxy's own address says nothing about who is behind it.
    knocks += [house.guests.knock("10.0.0.7", _nobody) for _ in range(2)]
    with pytest.raises(TurnedAway, match="limit unauthenticated, 4"):
        house.guests.knock("10.0.0.7", _nobody)
    for knock in knocks:
        house.guests.knocked(knock)
    assert house.guests._by_place == house.guests._knocks == {}
    house.guests.knock("192.0.2.1", _nobody)


async def test_who_knocks_often_keeps_nobody_out_from_elsewhere() -> None:
    house = House(unauthenticated=4)
    knocks: dict[str, Knock] = {}

    def knock(name: str, address: str) -> None:
        def make_way() -> None:
            house.guests.knocked(knocks.pop(name))

        knocks[name] = house.guests.knock(address, make_way)

    for number in range(4):
        knock(f"a{number}", "192.0.2.1")
    knock("b0", "192.0.2.2")
    assert list(knocks) == ["a1", "a2", "a3", "b0"]
    knock("b1", "192.0.2.2")
    assert list(knocks) == ["a2", "a3", "b0", "b1"]
    for address in ("192.0.2.1", "192.0.2.2"):
        with pytest.raises(TurnedAway, match="limit unauthenticated, 4"):
            knock("more", address)
    knock("c0", "192.0.2.3")
    assert list(knocks) == ["a3", "b0", "b1", "c0"]
    with pytest.raises(TurnedAway, match="limit unauthenticated, 4"):
        knock("more", "192.0.2.3")


async def test_who_is_turned_away_is_not_counted() -> None:
    house = House(address_links=1)
    house.bad.add("bad")
    for _ in range(3):
        assert refused(house, "bad", "192.0.2.1") is HTTPStatus.UNAUTHORIZED
    house.guests.enter("good", "192.0.2.1")


async def test_they_go_when_their_token_expires_or_is_revoked() -> None:
    house = House()
    said: dict[str, str] = {}

    def enter(token: str) -> None:
        guest = house.guests.enter(token, "192.0.2.1")
        guest.ends_by(lambda reason, _: said.update({token: reason}))

    for token in ("a", "b", "b", "c@1005"):
        enter(token)
    house.guests.send_expired_away()
    await house.guests.check_again()
    assert said == {}
    house.now_s = 1005.0
    house.guests.send_expired_away()
    assert said == {"c@1005": "the token has expired"}
    house.bad.add("b")
    await house.guests.check_again()
    assert said == {"c@1005": "the token has expired", "b": "it was revoked"}


async def test_who_goes_before_it_is_served_is_told_at_once() -> None:
    house = House()
    guest = house.guests.enter("a@1001", "192.0.2.1")
    house.now_s = 1002.0
    house.guests.send_expired_away()
    said: list[str] = []
    guest.ends_by(lambda reason, _: said.append(reason))
    assert said == ["the token has expired"]


async def test_links_of_one_token_share_its_rate_and_keep_it() -> None:
    house = House(token_records_per_s=1_000_000, token_records_burst=10)
    one, two = house.guests.enter("a", "192.0.2.1"), house.guests.enter("a", "192.0.2.2")
    assert one._rate is not None
    assert one._rate is two._rate
    one._rate.take(10_000_000_000, asyncio.get_running_loop().time())
    for guest in (one, two):
        house.guests.leave(guest)
    house.guests.send_expired_away()
    again = house.guests.enter("a", "192.0.2.1")
    assert again._rate is one._rate, "a new link does not begin afresh"
    assert house.guests.enter(None, "192.0.2.1")._rate is None


async def test_who_stops_waiting_gives_back_what_it_took() -> None:
    house = House(token_records_per_s=1, token_records_burst=10)
    guest = house.guests.enter("a", "192.0.2.1")
    waiting = asyncio.create_task(guest.pace(1_000))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await guest.pace(5)


def test_a_rate_holds_in_the_long_run() -> None:
    rate = RecordRate(per_s=10, burst=100, now_s=0)
    assert rate.take(100, 0) == 0
    assert rate.take(1, 0) == pytest.approx(0.1)
    assert rate.take(1, 0) == pytest.approx(0.2), "in the order in which they ask"
    assert rate.take(0, 1) == 0
    assert rate.take(1_000, 1) == pytest.approx(99.2)
    assert not rate.is_full(50)
    assert rate.is_full(1000)
    assert rate.take(100, 1000) == 0
    assert rate.take(0, 500) == 0, "a clock that steps back takes nothing away"
    rate.give_back(1000)
    assert rate.take(101, 1000) == pytest.approx(0.1), "never more than the burst"


def _nobody() -> None:
    raise AssertionError("nobody has to make way here")

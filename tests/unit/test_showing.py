"""One link's share in presence: newest states only, within limits, about its contexts."""

from __future__ import annotations

import pytest

from weft_engine.errors import MalformedFrame
from weft_engine.limits import (
    PRESENCE_BYTES_MAX,
    PRESENCE_DUE_MAX,
    PRESENCE_PER_CLIENT_LINK_MAX,
    PRESENCE_PER_CLIENT_LINK_S,
    PRESENCE_PER_FRAME_MAX,
)
from weft_engine.names import ContextName
from weft_engine.sync.end.showing import Showing
from weft_engine.sync.framing.messages import PresenceState, PresenceTold
from weft_engine.sync.interest import EVERYTHING, Interest
from weft_engine.sync.presence import Presence

CHAT = ContextName("acme/chat")
OTHER = ContextName("other")


def here(client: int, clock: int = 1, state: str | None = "{}") -> PresenceState:
    return PresenceState(client, clock, state)


def said(*states: PresenceState, context: ContextName = CHAT) -> PresenceTold:
    return PresenceTold(context, states)


class Side:
    def __init__(self, *, is_client: bool = False, interest: Interest = EVERYTHING) -> None:
        self.board = Presence()
        self.dues = 0
        self.showing = Showing(self.board, self._due, is_client=is_client)
        self.showing.tick(0)
        self.showing.follow(interest)

    def _due(self) -> None:
        self.dues += 1

    def taken(self) -> list[PresenceTold]:
        found = []
        while (told := self.showing.next()) is not None:
            found.append(told)
        return found


def test_only_the_newest_state_is_told_and_only_to_others() -> None:
    side = Side()
    for clock in range(1, 4):
        side.board.tell(CHAT, [here(1, clock)], now_ms=0)
    side.showing.heard(said(here(2)))
    assert side.taken() == [said(here(1, 3))]
    assert side.taken() == []
    side.board.tell(CHAT, [here(2, 2)], now_ms=0)
    side.showing.heard(said(here(2, 3)))
    assert side.taken() == []


def test_who_tells_what_is_older_is_told_what_is_known() -> None:
    side = Side()
    side.board.tell(CHAT, [here(1, 5)], now_ms=0)
    side.board.tell(CHAT, [here(1, 5, None)], now_ms=0)
    side.taken()
    side.showing.heard(said(here(1, 5)))
    assert side.taken() == [said(here(1, 5, None))]


def test_frames_hold_so_many_states_and_bytes() -> None:
    side = Side()
    side.board.tell(CHAT, [here(client) for client in range(40)], now_ms=0)
    assert [len(told.states) for told in side.taken()] == [PRESENCE_PER_FRAME_MAX] * 2 + [10]
    large = '"' + "x" * (PRESENCE_BYTES_MAX - 2) + '"'
    side.board.tell(CHAT, [here(client, 2, large) for client in range(5)], now_ms=0)
    assert [len(told.states) for told in side.taken()] == [2, 2, 1]


def test_what_waits_is_bounded_and_comes_again_when_it_is_told_anew() -> None:
    side = Side()
    crowd = range(PRESENCE_DUE_MAX + 10)
    side.board.tell(CHAT, [here(client) for client in crowd], now_ms=0)
    assert sum(len(told.states) for told in side.taken()) == PRESENCE_DUE_MAX
    side.board.tell(CHAT, [here(PRESENCE_DUE_MAX + 5, 2)], now_ms=0)
    assert side.taken() == [said(here(PRESENCE_DUE_MAX + 5, 2))]


def test_a_client_tells_so_many_states_in_a_while() -> None:
    side = Side(is_client=True)
    for clock in range(1, 2 * PRESENCE_PER_CLIENT_LINK_MAX):
        side.showing.heard(said(here(1, clock)))
    assert side.board.of(CHAT) == (here(1, PRESENCE_PER_CLIENT_LINK_MAX),)
    side.showing.tick(1000)
    for clock in range(10_000, 20_000):
        side.showing.heard(said(here(1, clock)))
    assert side.board.of(CHAT) == (here(1, 9_999 + PRESENCE_PER_CLIENT_LINK_S),)


def test_a_link_is_about_its_contexts_even_when_they_change() -> None:
    side = Side(interest=Interest.of(prefixes=["acme/"]))
    side.board.tell(CHAT, [here(1)], now_ms=0)
    side.board.tell(OTHER, [here(1)], now_ms=0)
    side.showing.heard(said(here(9), context=OTHER))
    assert side.board.of(OTHER) == (here(1),)
    assert side.taken() == [said(here(1))]
    side.board.tell(CHAT, [here(1, 2)], now_ms=0)
    side.showing.follow(Interest.of(contexts=["other"]))
    assert side.taken() == [said(here(1), context=OTHER)]
    side.showing.follow(EVERYTHING)
    assert side.taken() == [said(here(1, 2))]


@pytest.mark.parametrize("is_relay", [False, True])
def test_with_a_client_goes_whom_it_spoke_for_and_with_a_relay_nobody(is_relay: bool) -> None:
    side = Side(is_client=not is_relay)
    side.showing.heard(said(here(1)))
    side.showing.end(peer_is_relay=is_relay)
    assert bool(side.board.of(CHAT)) is is_relay
    dues = side.dues
    side.board.tell(CHAT, [here(2)], now_ms=0)
    assert (side.dues, side.taken()) == (dues, [])


def test_what_is_no_json_is_refused_whole() -> None:
    side = Side()
    with pytest.raises(MalformedFrame):
        side.showing.heard(said(here(1), here(2, 1, "{")))
    assert side.board.of(CHAT) == ()

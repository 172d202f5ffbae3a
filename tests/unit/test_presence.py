"""Presence: the rules of Yjs awareness, and an end for everybody who is gone."""

from __future__ import annotations

from weft_engine.limits import PRESENCE_CLIENTS_MAX, PRESENCE_LASTS_MS
from weft_engine.names import ContextName
from weft_engine.sync.messages import PresenceState
from weft_engine.sync.presence import Presence

CHAT = ContextName("acme/chat")


def here(client: int, clock: int, state: str | None = "{}") -> PresenceState:
    return PresenceState(client, clock, state)


def test_a_higher_clock_counts_and_a_lower_one_does_not() -> None:
    presence = Presence()
    assert presence.tell(CHAT, [here(1, 5)], now_ms=0) == (here(1, 5),)
    assert presence.tell(CHAT, [here(1, 4, '"old"')], now_ms=0) == ()
    assert presence.tell(CHAT, [here(1, 5, '"same clock"')], now_ms=0) == ()
    assert presence.tell(CHAT, [here(1, 6, '"new"')], now_ms=0) == (here(1, 6, '"new"'),)
    assert presence.of(CHAT) == (here(1, 6, '"new"'),)


def test_a_client_leaves_with_the_same_clock_and_comes_back_with_a_higher_one() -> None:
    presence = Presence()
    presence.tell(CHAT, [here(1, 5)], now_ms=0)
    assert presence.tell(CHAT, [here(1, 5, None)], now_ms=0) == (here(1, 5, None),)
    assert presence.tell(CHAT, [here(1, 5, None)], now_ms=0) == ()
    assert presence.of(CHAT) == ()
    assert presence.tell(CHAT, [here(1, 5)], now_ms=0) == ()
    assert presence.tell(CHAT, [here(1, 6)], now_ms=0) == (here(1, 6),)


def test_who_was_never_there_does_not_leave() -> None:
    presence = Presence()
    assert presence.tell(CHAT, [here(1, 5, None)], now_ms=0) == ()


def test_what_is_not_told_anew_is_over() -> None:
    presence = Presence()
    presence.tell(CHAT, [here(1, 1), here(2, 1)], now_ms=0)
    presence.tell(CHAT, [here(1, 1)], now_ms=PRESENCE_LASTS_MS - 1)
    heard: list[object] = []
    presence.listen(lambda *told: heard.append(told))
    presence.expire(PRESENCE_LASTS_MS)
    assert presence.of(CHAT) == (here(1, 1),)
    assert heard == [(CHAT, (here(2, 2, None),), None)]


def test_with_a_source_go_the_clients_that_it_spoke_for_last() -> None:
    presence = Presence()
    one, two = object(), object()
    presence.tell(CHAT, [here(1, 1), here(2, 1)], now_ms=0, source=one)
    presence.tell(CHAT, [here(2, 2)], now_ms=0, source=two)
    presence.gone(one)
    assert presence.of(CHAT) == (here(2, 2),)
    presence.gone(two, ContextName("another"))
    assert presence.of(CHAT) == (here(2, 2),)
    presence.gone(two, CHAT)
    assert presence.of(CHAT) == ()


def test_a_context_shows_so_many_and_no_more() -> None:
    presence = Presence()
    crowd = [here(client, 1) for client in range(PRESENCE_CLIENTS_MAX)]
    presence.tell(CHAT, crowd, now_ms=0)
    assert presence.tell(CHAT, [here(PRESENCE_CLIENTS_MAX, 1)], now_ms=0) == ()
    assert len(presence.of(CHAT)) == PRESENCE_CLIENTS_MAX


def test_listeners_hear_the_source_until_they_stop() -> None:
    presence = Presence()
    heard: list[object] = []
    stop = presence.listen(lambda *told: heard.append(told))
    source = object()
    presence.tell(CHAT, [here(2, 1), here(1, 1)], now_ms=0, source=source)
    assert heard == [(CHAT, (here(1, 1), here(2, 1)), source)]
    stop()
    presence.tell(CHAT, [here(1, 2)], now_ms=0)
    assert len(heard) == 1

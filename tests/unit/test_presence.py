"""Presence: the rules of Yjs awareness, and an end for everybody who is gone."""

from __future__ import annotations

import weakref

import pytest

from weft_engine.errors import MalformedFrame
from weft_engine.limits import PRESENCE_CLIENTS_MAX, PRESENCE_LASTS_MS
from weft_engine.names import ContextName
from weft_engine.sync.framing.messages import PresenceState
from weft_engine.sync.interest import EVERYTHING, Interest
from weft_engine.sync.presence import Presence, checked

CHAT = ContextName("acme/chat")


class Source:
    """One to which there may be weak references."""


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
    # With the clock it had: whoever has heard of a higher one knows better.
    assert heard == [(CHAT, (here(2, 1, None),), None)]


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


def test_with_its_own_source_goes_a_client_whoever_spoke_for_it_last() -> None:
    presence = Presence()
    page, neighbour = object(), object()
    presence.tell(CHAT, [here(1, 1)], now_ms=0, source=page, own=1)
    presence.tell(CHAT, [here(2, 1)], now_ms=0, source=neighbour, own=2)
    presence.tell(CHAT, [here(1, 2)], now_ms=0, source=neighbour, own=2)
    heard: list[object] = []
    presence.listen(lambda *told: heard.append(told))
    presence.gone(page)
    assert heard == [(CHAT, (here(1, 2, None),), page)]
    assert presence.of(CHAT) == (here(2, 1),)
    # What the neighbour still says of it is not news.
    assert presence.tell(CHAT, [here(1, 2)], now_ms=1, source=neighbour, own=2) == ()


def test_a_client_stays_while_its_own_source_does() -> None:
    presence = Presence()
    page, neighbour = object(), object()
    presence.tell(CHAT, [here(1, 1)], now_ms=0, source=page, own=1)
    presence.tell(CHAT, [here(1, 2), here(2, 1)], now_ms=0, source=neighbour, own=2)
    presence.gone(neighbour)
    assert presence.of(CHAT) == (here(1, 2),)
    presence.gone(page, ContextName("another"))
    assert presence.of(CHAT) == (here(1, 2),)
    presence.gone(page, CHAT)
    assert presence.of(CHAT) == ()


def test_a_neighbour_may_speak_for_a_client_before_it_does_so_itself() -> None:
    presence = Presence()
    page, neighbour = object(), object()
    for _ in range(2):
        presence.tell(CHAT, [here(1, 1)], now_ms=0, source=neighbour, own=2)
    assert presence.tell(CHAT, [here(1, 1)], now_ms=0, source=page, own=1) == ()
    presence.gone(neighbour)
    assert presence.of(CHAT) == (here(1, 1),)
    presence.gone(page)
    assert presence.of(CHAT) == ()


def test_who_repeats_what_another_said_for_itself_does_not_own_it() -> None:
    """Pages that show nothing of themselves: whom they repeat first, they seem to be."""
    presence = Presence()
    native, page, neighbour, viewer, other = (object() for _ in range(5))
    presence.tell(CHAT, [here(1, 1)], now_ms=0, source=native)
    presence.tell(CHAT, [here(1, 1)], now_ms=0, source=viewer, own=1)
    presence.tell(CHAT, [here(2, 1)], now_ms=0, source=page, own=2)
    presence.tell(CHAT, [here(2, 2)], now_ms=0, source=neighbour, own=3)
    presence.tell(CHAT, [here(2, 2)], now_ms=0, source=other, own=2)
    presence.gone(native)
    assert presence.of(CHAT) == (here(2, 2),)
    presence.gone(page)
    assert presence.of(CHAT) == ()


def test_who_comes_back_before_its_old_source_has_ended_stays() -> None:
    presence = Presence()
    old, new = object(), object()
    presence.tell(CHAT, [here(1, 1)], now_ms=0, source=old, own=1)
    presence.tell(CHAT, [here(1, 1)], now_ms=0, source=new, own=1)
    presence.tell(CHAT, [here(1, 2)], now_ms=0, source=new, own=1)
    presence.gone(old)
    assert presence.of(CHAT) == (here(1, 2),)
    presence.gone(new)
    assert presence.of(CHAT) == ()


def test_a_client_that_says_it_is_still_there_is_and_goes_with_its_source() -> None:
    """A neighbour says its goodbye, and then that it has not left; the client does so later."""
    presence = Presence()
    page, neighbour = object(), object()
    presence.tell(CHAT, [here(1, 1)], now_ms=0, source=page, own=1)
    presence.tell(CHAT, [here(1, 1, None)], now_ms=0, source=neighbour, own=2)
    assert presence.of(CHAT) == ()
    presence.tell(CHAT, [here(1, 2)], now_ms=0, source=neighbour, own=2)
    presence.tell(CHAT, [here(1, 2)], now_ms=0, source=page, own=1)
    presence.gone(page)
    assert presence.of(CHAT) == ()
    # Its page lives on without a connection: then it goes with whom it is heard by.
    presence.tell(CHAT, [here(1, 3)], now_ms=0, source=neighbour, own=2)
    assert presence.of(CHAT) == (here(1, 3),)
    presence.gone(neighbour)
    assert presence.of(CHAT) == ()


def test_nothing_is_kept_of_sources_that_have_ended() -> None:
    presence = Presence()
    page, neighbour = Source(), Source()
    presence.tell(CHAT, [here(1, 1)], now_ms=0, source=page, own=1)
    presence.tell(CHAT, [here(1, 2), here(2, 1)], now_ms=0, source=neighbour, own=2)
    one, other = weakref.ref(page), weakref.ref(neighbour)
    presence.gone(neighbour)
    del neighbour
    assert other() is None
    presence.tell(CHAT, [here(1, 3)], now_ms=0, source=page, own=1)
    presence.expire(PRESENCE_LASTS_MS)
    presence.gone(page)
    del page
    assert one() is None
    presence.expire(2 * PRESENCE_LASTS_MS)
    assert presence.contexts(EVERYTHING) == []


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


def test_who_has_left_is_not_brought_back_by_what_still_travels() -> None:
    presence = Presence()
    link = object()
    presence.tell(CHAT, [here(1, 5)], now_ms=0, source=link)
    presence.gone(link)
    assert presence.tell(CHAT, [here(1, 5)], now_ms=1) == ()
    assert presence.newer(CHAT, [here(1, 5)]) == (here(1, 5, None),)
    assert presence.tell(CHAT, [here(1, 6)], now_ms=1) == (here(1, 6),)


def test_who_has_left_is_forgotten_in_time() -> None:
    presence = Presence()
    presence.tell(CHAT, [here(1, 5)], now_ms=0)
    presence.tell(CHAT, [here(1, 5, None)], now_ms=10)
    presence.expire(PRESENCE_LASTS_MS + 9)
    assert presence.known(CHAT, 1) == here(1, 5, None)
    presence.expire(PRESENCE_LASTS_MS + 10)
    assert presence.known(CHAT, 1) is None
    assert presence.contexts(EVERYTHING) == []


def test_who_passed_on_what_others_said_may_end_and_come_back_unnoticed() -> None:
    presence = Presence()
    heard: list[object] = []
    presence.listen(lambda *told: heard.append(told))
    first, again = object(), object()
    presence.tell(CHAT, [here(1, 5)], now_ms=0, source=first)
    heard.clear()
    presence.forget(first)
    presence.tell(CHAT, [here(1, 5)], now_ms=PRESENCE_LASTS_MS - 1, source=again)
    assert presence.of(CHAT) == (here(1, 5),)
    assert heard == []
    presence.gone(again)
    assert heard == [(CHAT, (here(1, 5, None),), again)]


def test_what_was_told_once_does_not_last_longer_by_being_passed_on() -> None:
    presence = Presence()
    first, again = object(), object()
    presence.tell(CHAT, [here(1, 5)], now_ms=0, source=first)
    presence.forget(first)
    presence.tell(CHAT, [here(1, 5)], now_ms=PRESENCE_LASTS_MS - 1, source=again)
    presence.expire(PRESENCE_LASTS_MS)
    assert presence.of(CHAT) == ()


def test_a_source_speaks_for_so_many_and_no_more() -> None:
    presence = Presence()
    link = object()
    some = [here(client, 1) for client in range(1, 5)]
    assert presence.tell(CHAT, some, now_ms=0, source=link, clients_max=3) == tuple(some[:3])
    presence.gone(link)
    other = ContextName("acme/other")
    assert len(presence.tell(other, some, now_ms=0, source=link, clients_max=3)) == 3


def test_a_listener_hears_of_its_contexts_only() -> None:
    presence = Presence()
    heard: list[str] = []

    def listener(context: ContextName, told: tuple[PresenceState, ...], source: object) -> None:
        heard.append(context)

    presence.listen(listener, Interest.of(contexts=["a"], prefixes=["team/", "t"]))
    for name in ("a", "ab", "team/x", "b", "t"):
        presence.tell(ContextName(name), [here(1, 1)], now_ms=0)
    assert heard == ["a", "team/x", "t"]
    presence.listen(listener, Interest.of(contexts=["b"]))
    for name in ("a", "b"):
        presence.tell(ContextName(name), [here(1, 2)], now_ms=0)
    assert heard == ["a", "team/x", "t", "b"]


@pytest.mark.parametrize("text", ["", "{", "NaN", "[Infinity]", "[" * 8000, "'a'"])
def test_a_state_that_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(MalformedFrame, match="no JSON"):
        checked(here(1, 1, text))


def test_a_state_of_null_is_a_leaving() -> None:
    assert checked(here(1, 1, " null")) == here(1, 1, None)
    assert checked(here(1, 1, "{}")) == here(1, 1)

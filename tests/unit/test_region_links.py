"""Who may be linked as a region, and which of two links between the same regions stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from weft_engine.limits import FORMAT_VERSION, LIVE_REGIONS_MAX
from weft_engine.sync.driving.link import Link
from weft_engine.sync.end.ending import End
from weft_engine.sync.framing.messages import ByeCode, Hello, Window
from weft_engine.sync.interest import EVERYTHING
from weft_server.mesh.region_links import RegionLinks, Via, was_one_of_two
from weft_server.mesh.wrong_peer import why_wrong

NOW_MS = 1_700_000_000_000


def hello(region: str | None, store: int) -> Hello:
    return Hello(
        FORMAT_VERSION, bytes([store]) * 16, bytes(8), region, NOW_MS, EVERYTHING, Window(1, 1)
    )


@dataclass(eq=False)
class Talk:
    """As much of a link as is asked for here."""

    hello: Hello
    peer: Hello | None
    end: Any = None
    closed: list[ByeCode] = field(default_factory=list)

    @property
    def session(self) -> Talk:
        return self

    def close(self, reason: str, *, code: ByeCode = ByeCode.CLOSED, hint: str = "") -> None:
        self.end = self.end or reason
        self.closed.append(code)


EU, US = hello("eu", 1), hello("us", 2)


def dialled(url: str, region: str) -> Via:
    return Via(url, expected=region, may_be_region=True)


ACCEPTED = Via("10.0.0.7", expected=None, may_be_region=True)


def greet(links: RegionLinks, talk: Talk, via: Via) -> Any:
    assert talk.peer is not None
    refusal = links.why_wrong(talk.hello, talk.peer, via, now_ms=NOW_MS)
    if refusal is None:
        links.greeted(cast(Link, talk), via, now_ms=NOW_MS)
    return refusal


@pytest.mark.parametrize("first", ["eu", "us"])
def test_both_ends_keep_what_the_smaller_name_dialled(first: str) -> None:
    """In whichever order the two links come, and at either end."""
    at_eu, at_us = RegionLinks("eu"), RegionLinks("us")
    by_eu = (Talk(EU, US), Talk(US, EU))
    by_us = (Talk(EU, US), Talk(US, EU))
    calls: dict[str, list[Callable[[], Any]]] = {
        "eu": [
            lambda: greet(at_eu, by_eu[0], dialled("ws://us", "us")),
            lambda: greet(at_us, by_eu[1], ACCEPTED),
        ],
        "us": [
            lambda: greet(at_us, by_us[1], dialled("ws://eu", "eu")),
            lambda: greet(at_eu, by_us[0], ACCEPTED),
        ],
    }
    other = "us" if first == "eu" else "eu"
    for call in (*calls[first], *calls[other]):
        assert call() is None
    assert [talk.closed for talk in by_eu] == [[], []]
    assert [talk.closed for talk in by_us] == [[ByeCode.SECOND], [ByeCode.SECOND]]
    assert [cast(object, one.link) for one in at_eu] == [by_eu[0]]
    assert [cast(object, one.link) for one in at_us] == [by_eu[1]]


def test_it_is_the_code_that_tells_which_link_was_not_kept() -> None:
    link = cast(Link, talk := Talk(EU, US))
    assert not was_one_of_two(link)
    for code in ByeCode:
        talk.end = End(code, "whatever it says", by_peer=True)
        assert was_one_of_two(link) is (code is ByeCode.SECOND)
    talk.end = End(ByeCode.SECOND, "said by this end")
    assert not was_one_of_two(link)


def test_two_accepted_links_of_one_store_are_left_to_their_tickets() -> None:
    links = RegionLinks("eu")
    old, new = Talk(EU, US), Talk(EU, US)
    assert greet(links, old, ACCEPTED) is None
    assert greet(links, new, ACCEPTED) is None
    assert old.closed == new.closed == []


def test_a_client_is_none_of_them() -> None:
    links = RegionLinks("eu")
    assert greet(links, Talk(EU, hello(None, 3)), ACCEPTED) is None
    assert list(links) == []
    assert links.refused == []


def test_only_the_last_wrong_peers_are_remembered() -> None:
    links = RegionLinks("eu")
    for number in range(200):
        via = Via(f"10.0.0.{number}", expected=None, may_be_region=False)
        assert greet(links, Talk(EU, US), via) is not None
    assert len(links.refused) == 64
    assert links.refused[-1].via.place == "10.0.0.199"


async def test_who_waits_for_the_end_of_a_link_is_told() -> None:
    import asyncio

    links = RegionLinks("eu")
    talk = Talk(EU, US)
    greet(links, talk, ACCEPTED)
    waiting = asyncio.create_task(links.until_missing("us"))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert links.left(cast(Link, talk)) is not None
    await asyncio.wait_for(waiting, 10)
    assert links.left(cast(Link, talk)) is None


@pytest.mark.parametrize(
    ("theirs", "expected", "may_be_region", "only_region", "linked", "why"),
    [
        (hello(None, 2), None, False, None, {}, None),
        (US, None, True, None, {}, None),
        (US, None, True, "us", {}, None),
        (US, "us", True, None, {"us": US.store, "ap": bytes(16)}, None),
        (hello(None, 2), "us", True, None, {}, "is no region"),
        (US, None, False, None, {}, "lacks the right peer"),
        (US, None, False, "us", {}, "lacks the right peer"),
        (US, None, True, "ap", {}, "is for region ap alone, and it says that it is region us"),
        (hello(None, 2), None, True, "ap", {}, "is for region ap alone, and it says that it is no"),
        (hello("eu", 2), None, True, None, {}, "both ends are region eu"),
        (US, "ap", True, None, {}, "dialled as region ap, and is region us"),
        (hello("us", 1), "us", True, None, {}, "one store id"),
        (US, None, True, None, {"us": bytes(16)}, "two stores say that they are region us"),
    ],
)
def test_why_a_peer_is_wrong(
    theirs: Hello,
    expected: str | None,
    may_be_region: bool,
    only_region: str | None,
    linked: dict[str, bytes],
    why: str | None,
) -> None:
    found = why_wrong(
        EU,
        theirs,
        expected=expected,
        may_be_region=may_be_region,
        only_region=only_region,
        linked=linked,
    )
    if why is None:
        assert found is None
    else:
        assert found is not None
        assert why in found.message
        assert found.hint


def named(region: str) -> Via:
    return Via("10.0.0.9", expected=None, may_be_region=True, only_region=region)


def test_who_has_a_token_of_its_name_gets_its_name_back() -> None:
    links = RegionLinks("eu", ["us"])
    false, true, again = Talk(EU, hello("us", 9)), Talk(EU, US), Talk(EU, hello("us", 9))
    assert greet(links, false, ACCEPTED) is None
    assert "two stores" in greet(links, Talk(EU, US), ACCEPTED).message
    assert greet(links, true, named("us")) is None
    assert false.closed == [ByeCode.DENIED]
    assert (true.closed, [cast(object, one.link) for one in links]) == ([], [true])
    assert "two stores" in greet(links, again, ACCEPTED).message
    assert "two stores" in greet(links, again, named("us")).message


def test_who_has_a_token_of_its_name_finds_room() -> None:
    links = RegionLinks("eu", ["za"])
    talks = [Talk(EU, hello(f"r{number}", number + 3)) for number in range(LIVE_REGIONS_MAX - 1)]
    for talk in talks:
        assert greet(links, talk, ACCEPTED) is None
    assert "takes no more" in greet(links, Talk(EU, US), ACCEPTED).message
    assert greet(links, Talk(EU, US), named("us")) is None
    assert [bool(talk.closed) for talk in talks] == [False] * (len(talks) - 1) + [True]
    for number in range(len(talks) - 1):
        talk = Talk(EU, hello(f"n{number}", number + 100))
        assert greet(links, talk, named(f"n{number}")) is None
    assert all(talk.closed for talk in talks)
    assert "takes no more" in greet(links, Talk(EU, hello("n", 99)), named("n")).message


def test_who_comes_under_many_names_keeps_no_peer_out() -> None:
    links = RegionLinks("eu", ["us", "za"])
    refusals = [
        greet(links, Talk(EU, hello(f"r{number}", number + 3)), ACCEPTED)
        for number in range(LIVE_REGIONS_MAX)
    ]
    assert [str(one is None) for one in refusals].count("True") == LIVE_REGIONS_MAX - 2
    assert "takes no more" in refusals[-1].message
    assert greet(links, Talk(EU, US), ACCEPTED) is None
    assert greet(links, Talk(EU, hello(None, 250)), ACCEPTED) is None

"""Presence as applications see it: alone, and over real relays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import weft
from tests.running_relay import RunningRelay, running_relay
from weft_engine.errors import CallerError, LimitExceeded, StoreClosed
from weft_engine.names import ContextName
from weft_engine.records.identity import client_id
from weft_engine.sync.framing.messages import PresenceState

CHAT = ContextName("acme/chat")


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRelay]:
    with running_relay(tmp_path_factory.mktemp("relay")) as found:
        yield found


async def until_here(store: weft.Store, seen: Callable[[list[Any]], bool]) -> None:
    """Until the states that are shown in the chat are as wanted."""
    chat = store.context(CHAT)
    async with asyncio.timeout(30):
        async for _ in chat.presence.watch():
            if seen([one.state for one in chat.presence.here()]):
                return
    raise AssertionError("the store closed")


async def next_change(changes: AsyncIterator[weft.PresenceChange]) -> weft.PresenceChange:
    async with asyncio.timeout(30):
        return await anext(changes)


async def test_alone_one_sees_oneself_under_the_id_that_writes(tmp_path: Path) -> None:
    async with weft.open(tmp_path / "a.db") as store:
        chat = store.context(CHAT)
        assert chat.presence.here() == []
        chat.presence.set({"name": "Ada"})
        me = client_id(store._replica.scribe.incarnation, CHAT)
        assert chat.presence.here() == [weft.Shown(me, {"name": "Ada"}, is_me=True)]
        assert store.context("acme/other").presence.here() == []
        branch = await chat.branch("another")
        assert branch.presence.here() == chat.presence.here()
        chat.presence.clear()
        chat.presence.clear()
        assert chat.presence.here() == []


async def test_watching_begins_with_who_is_there_and_tells_what_changes(tmp_path: Path) -> None:
    async with weft.open(tmp_path / "a.db") as store:
        chat = store.context(CHAT)
        chat.presence.set({"at": 1})
        changes = chat.presence.watch()
        came = (await next_change(changes)).came
        assert [(one.state, one.is_me) for one in came] == [({"at": 1}, True)]
        chat.presence.set({"at": 1})  # told anew, not changed
        chat.presence.set({"at": 2})
        change = await next_change(changes)
        assert (change.came, change.left) == ((), ())
        assert [one.state for one in change.changed] == [{"at": 2}]
        chat.presence.clear()
        assert (await next_change(changes)).left == (came[0].client,)
        waiting = asyncio.create_task(next_change(changes))
        await asyncio.sleep(0)
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_others_can_not_say_that_we_have_left(tmp_path: Path) -> None:
    async with weft.open(tmp_path / "a.db") as store:
        chat = store.context(CHAT)
        chat.presence.set({"name": "Ada"})
        (me,) = chat.presence.here()
        board = store._replica.presence
        for state in (None, '"somebody else"'):
            lie = PresenceState(me.client, 2**31, state)
            board.tell(CHAT, [lie], now_ms=0, source="a link")
            await until_here(store, lambda states: states == [{"name": "Ada"}])
        known = board.known(CHAT, me.client)
        assert known is not None
        assert known.clock > 2**31


async def test_what_can_not_be_shown_is_refused(tmp_path: Path) -> None:
    async with weft.open(tmp_path / "a.db") as store:
        presence = store.context(CHAT).presence
        odd: list[Any] = [None, [1], {"a": {1, 2}}, {"a": float("nan")}, {"a": "\ud800"}]
        for state in odd:
            with pytest.raises(CallerError, match="presence"):
                presence.set(state)
        with pytest.raises(LimitExceeded, match="16384"):
            presence.set({"a": "x" * 16_384})
        assert presence.here() == []
    with pytest.raises(StoreClosed):
        presence.set({})
    async with weft.open(tmp_path / "a.db", readonly=True) as store:
        with pytest.raises(StoreClosed, match="reading only"):
            store.context(CHAT).presence.set({})
        assert store.context(CHAT).presence.here() == []


async def test_linked_stores_see_each_other_come_change_and_go(
    relay: RunningRelay, tmp_path: Path
) -> None:
    async with weft.open(tmp_path / "a.db") as a:
        a.connect(relay.url)
        a.context(CHAT).presence.set({"name": "Ada"})
        async with weft.open(tmp_path / "b.db") as b:
            b.context(CHAT).presence.set({"name": "Bob"})
            b.connect(relay.url)
            for store in (a, b):
                await until_here(store, lambda states: len(states) == 2)
            b.context(CHAT).presence.set({"name": "Bob", "is_typing": True})
            await until_here(a, lambda states: {"name": "Bob", "is_typing": True} in states)
            async with weft.open(tmp_path / "c.db") as late:
                late.connect(relay.url, contexts=[CHAT])
                await until_here(late, lambda states: len(states) == 2)
                assert not any(one.is_me for one in late.context(CHAT).presence.here())
        await until_here(a, lambda states: states == [{"name": "Ada"}])


async def test_who_comes_back_at_once_under_the_same_id_is_seen(
    relay: RunningRelay, tmp_path: Path
) -> None:
    async with weft.open(tmp_path / "a.db") as a:
        a.connect(relay.url)
        for state in ({"run": 1}, {"run": 2}):
            async with weft.open(tmp_path / "b.db") as b:
                chat = b.context(CHAT)
                await chat.append("so that there is something to go on with")
                # Clocks far ahead of the time by which the next run begins to count.
                for _ in range(100):
                    chat.presence.set(state)
                await b.connect(relay.url).synced(timeout=30)
                await until_here(a, [state].__eq__)


async def test_a_link_carries_the_presence_of_its_contexts_only(
    relay: RunningRelay, tmp_path: Path
) -> None:
    async with weft.open(tmp_path / "a.db") as a, weft.open(tmp_path / "b.db") as b:
        a.connect(relay.url)
        b.connect(relay.url, prefixes=["acme/"])
        a.context("other").presence.set({"hidden": True})
        a.context(CHAT).presence.set({"hidden": False})
        await until_here(b, lambda states: states == [{"hidden": False}])
        assert b.context("other").presence.here() == []


async def test_a_link_that_carries_something_else_shows_who_is_there(
    relay: RunningRelay, tmp_path: Path
) -> None:
    async with weft.open(tmp_path / "a.db") as a, weft.open(tmp_path / "b.db") as b:
        a.connect(relay.url)
        a.context(CHAT).presence.set({"name": "Ada"})
        await a.context(CHAT).append("what comes with the presence")
        await a.synced(timeout=30)
        link = b.connect(relay.url, contexts=["elsewhere"])
        b.context(CHAT).presence.set({"name": "Bob"})
        await link.synced(timeout=30, received=True)
        assert len(b.context(CHAT).presence.here()) == 1
        link.subscribe(contexts=[CHAT])  # beside what it carries
        for store in (a, b):
            await until_here(store, lambda states: len(states) == 2)
        await link.synced(timeout=30, received=True)
        bodies = [str(said.event.body) async for said in b.context(CHAT).history()]
        assert any("what comes with the presence" in body for body in bodies)


async def test_a_lost_link_hides_nobody_who_is_still_there(tmp_path: Path) -> None:
    with running_relay(tmp_path / "relay") as relay:
        async with weft.open(tmp_path / "a.db") as a, weft.open(tmp_path / "b.db") as b:
            for store, name in ((a, "Ada"), (b, "Bob")):
                store.connect(relay.url)
                store.context(CHAT).presence.set({"name": name})
            for store in (a, b):
                await until_here(store, lambda states: len(states) == 2)
            relay.kill()
            assert len(a.context(CHAT).presence.here()) == 2
            again = relay.again()
            try:
                a.context(CHAT).presence.set({"name": "Ada", "again": True})
                await until_here(b, lambda states: {"name": "Ada", "again": True} in states)
            finally:
                again.end()

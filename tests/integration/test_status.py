"""What an application sees of its links: status, what is not saved yet, several relays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import weft
from tests.running_relay import RunningRelay, running_relay
from weft_engine.errors import CallerError, LimitExceeded
from weft_engine.names import Position

NOWHERE = "ws://127.0.0.1:9"
TIMEOUT_S = 30


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRelay]:
    with running_relay(tmp_path_factory.mktemp("relay")) as found:
        yield found


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRelay]:
    """A relay that asks for a token which nobody here has."""
    folder = tmp_path_factory.mktemp("locked")
    key = folder / "key"
    key.write_text("0123456789abcdef" * 4)
    with running_relay(folder / "relay", key=key) as found:
        yield found


async def until_status(
    store: weft.Store, wanted: Callable[[weft.StoreStatus], bool]
) -> weft.StoreStatus:
    async with asyncio.timeout(TIMEOUT_S):
        async for status in store.watch_status():
            if wanted(status):
                return status
    raise AssertionError("the store closed")


async def records(path: Path) -> int:
    async with weft.open(path, readonly=True) as store:
        return sum([info.records async for info in store.contexts()])


# ---- status -------------------------------------------------------------------------------------


async def test_without_a_link_a_store_is_offline(tmp_path: Path) -> None:
    async with weft.open(tmp_path / "a.db") as store:
        status = await store.status()
        assert (status.state, status.links) == ("offline", ())
        assert "no link" in status.why
        with pytest.raises(CallerError, match="0 links"):
            await store.synced()


async def test_a_link_is_connecting_live_offline_and_live_again(tmp_path: Path) -> None:
    seen: list[weft.Connection] = []

    async def watch(store: weft.Store) -> None:
        async for status in store.watch_status():
            if not seen or seen[-1] is not status.state:
                seen.append(status.state)

    with running_relay(tmp_path / "relay") as relay:
        async with weft.open(tmp_path / "a.db") as store:
            watching = asyncio.create_task(watch(store))
            link = store.connect(relay.url)
            assert (await store.status()).state == "connecting"
            live = await until_status(store, lambda status: status.state == "live")
            assert live.links[0].region == "test"
            assert live.links[0].url == link.url
            assert (live.links[0].error, live.links[0].hint) == (None, "")
            relay.kill()
            lost = await until_status(store, lambda status: status.state == "offline")
            assert lost.why == lost.links[0].error
            assert lost.links[0].region is None
            assert lost.links[0].since_ms >= live.links[0].since_ms
            again = relay.again()
            try:
                await until_status(store, lambda status: status.state == "live")
            finally:
                again.end()
        await asyncio.wait_for(watching, TIMEOUT_S)
    # Attempts in between are no changes, and what passes quickly may be missed.
    told = [state for state in seen if state != "connecting"]
    assert told[told.index(weft.Connection.LIVE) :][:3] == ["live", "offline", "live"]


async def test_a_refused_link_says_why(locked: RunningRelay, tmp_path: Path) -> None:
    async with weft.open(tmp_path / "a.db") as store:
        link = store.connect(locked.url, token="none of its tokens")
        status = await until_status(store, lambda status: status.state == "refused")
        assert locked.url in status.why
        assert "token" in status.hint
        assert status.links[0].refused_by == (link.url,)
        with pytest.raises(weft.LinkRefused):
            await store.synced(timeout=TIMEOUT_S)
        # One that is live makes up for it, for those to whom one is enough.
        await link.aclose()
        assert (await store.status()).links == ()


async def test_a_store_is_synced_when_so_many_relays_have_it(
    relay: RunningRelay, tmp_path: Path
) -> None:
    async with weft.open(tmp_path / "a.db") as store:
        store.connect(relay.url, prefixes=["many/"])
        store.connect(NOWHERE)
        await store.context("many/chat").append("Hi")
        await store.synced(timeout=TIMEOUT_S, relays=1)
        with pytest.raises(TimeoutError, match=f"after 0.1 s: .*{NOWHERE}"):
            await store.synced(timeout=0.1)
        with pytest.raises(CallerError, match="3 links can't be synced: the store has 2"):
            await store.synced(relays=3)


# ---- what is not saved --------------------------------------------------------------------------


async def test_what_is_written_is_unsynced_until_the_relay_has_it(
    relay: RunningRelay, tmp_path: Path
) -> None:
    async with weft.open(tmp_path / "a.db") as store:
        chat = store.context("unsynced/chat")
        assert not await chat.unsynced()
        ids = await chat.append(["one", "two"])
        ids += await chat.append("three")
        before = await chat.unsynced()
        assert before.events == tuple(ids)
        assert (before.truncated, before.is_known) == (False, False)
        assert before.oldest_ms is not None
        link = store.connect(relay.url, prefixes=["unsynced/"])
        await link.synced(timeout=TIMEOUT_S)
        after = await chat.unsynced()
        assert after == weft.Unsynced(0, (), False, None, is_known=True)
        assert (await link.details()).unsynced == 0
        # What the link does not carry is saved nowhere.
        await store.context("elsewhere").append("Hi")
        other = await store.context("elsewhere").unsynced()
        assert (other.records, other.is_known) == (1, False)
        assert (await link.details()).unsynced == 0
        await link.aclose()
        assert not await chat.unsynced()
        (last,) = await chat.append("four")
        assert (await chat.unsynced()).events == (last,)


async def test_what_others_wrote_is_not_ours_to_save(relay: RunningRelay, tmp_path: Path) -> None:
    async with weft.open(tmp_path / "a.db") as one, weft.open(tmp_path / "b.db") as two:
        for store in (one, two):
            store.connect(relay.url, prefixes=["others/"])
            await store.synced(timeout=TIMEOUT_S)
        chat = two.context("others/chat")
        changes = chat.watch()
        changed = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        await one.context("others/chat").append("from one")
        await asyncio.wait_for(changed, TIMEOUT_S)
        assert not await chat.unsynced()


async def test_what_was_saved_stays_saved_while_the_relay_is_away(tmp_path: Path) -> None:
    with running_relay(tmp_path / "relay") as relay:
        async with weft.open(tmp_path / "a.db") as store:
            chat, quiet = store.context("c"), store.context("quiet")
            link = store.connect(relay.url)
            await chat.append("saved")
            await quiet.append("saved, too")
            await link.synced(timeout=TIMEOUT_S)
            relay.kill()
            await until_status(store, lambda status: status.state == "offline")
            ids = await chat.append(["not yet", "nor this"])
            told = await chat.unsynced()
            assert (told.events, told.is_known) == (tuple(ids), True)
            assert not await quiet.unsynced()
            status = await until_status(store, lambda one: bool(one.links[0].unsynced))
            assert status.links[0].unsynced == told.records
            again = relay.again()
            try:
                await until_status(store, lambda one: one.links[0].unsynced == 0)
                assert not await chat.unsynced()
            finally:
                again.end()


@pytest.mark.parametrize("carried", [{}, {"prefixes": ["again/"]}, {"contexts": ["again/chat"]}])
async def test_what_was_saved_is_known_after_a_restart(
    relay: RunningRelay, tmp_path: Path, carried: dict[str, Any]
) -> None:
    path = tmp_path / "a.db"
    async with weft.open(path) as store:
        await store.context("again/chat").append("saved")
        link = store.connect(relay.url, **carried)
        await link.synced(timeout=TIMEOUT_S, received=True)
        await link.aclose()
        (last,) = await store.context("again/chat").append("not saved")
    async with weft.open(path) as store:
        told = await store.context("again/chat").unsynced()
        assert (told.events, told.is_known) == ((last,), True)
    # A copy of it is another store: who knows what of it was sent since.
    async with weft.open(path) as store:
        await store.backup(tmp_path / "copy.db")
    async with weft.open(tmp_path / "copy.db", readonly=True) as store:
        assert not (await store.context("again/chat").unsynced()).is_known


async def test_of_a_relay_that_lost_its_store_nothing_is_known(tmp_path: Path) -> None:
    with running_relay(tmp_path / "relay") as relay:
        address = relay.address
        async with weft.open(tmp_path / "a.db") as store:
            link = store.connect(relay.url)
            await store.context("c").append("saved")
            await link.synced(timeout=TIMEOUT_S)
            relay.kill()
            other = RunningRelay(tmp_path / "empty", listen=address)
            try:
                await until_status(store, lambda one: one.state == "offline")
                await until_status(store, lambda one: one.state == "live")
                # Its word counts now, not that of the one before.
                assert all(key in link._kept._peers for key, _ in link._kept._saved)
                await link.synced(timeout=TIMEOUT_S)
                assert not await store.context("c").unsynced()
                assert await records(other.store) == 1
            finally:
                other.end()


# ---- several relays -----------------------------------------------------------------------------


async def test_a_link_goes_on_at_the_next_relay_from_where_it_was(tmp_path: Path) -> None:
    with running_relay(tmp_path / "r1") as first, running_relay(tmp_path / "r2") as second:
        async with weft.open(tmp_path / "a.db") as store:
            chat = store.context("c")
            await chat.append([f"message {n}" for n in range(50)])
            link = store.connect([first.url, second.url])
            await link.synced(timeout=TIMEOUT_S)
            assert link.url == link.urls[0]
            assert await records(first.store) == 1
            assert await records(second.store) == 0
            first.kill()
            await chat.append("one more")
            await link.synced(timeout=TIMEOUT_S)
            assert link.url == link.urls[1]
            assert await records(second.store) == 2
            # Back at the first, which is behind by what came since.
            again = first.again()
            try:
                second.kill()
                await chat.append("and another")
                await link.synced(timeout=TIMEOUT_S)
                assert link.url == link.urls[0]
                assert not await chat.unsynced()
                assert await records(again.store) == 3
            finally:
                again.end()


async def test_relays_that_are_away_or_refuse_are_passed_over(
    relay: RunningRelay, locked: RunningRelay, tmp_path: Path
) -> None:
    async with weft.open(tmp_path / "a.db") as store:
        link = store.connect([NOWHERE, locked.url, relay.url], prefixes=["over/"])
        await store.context("over/chat").append("Hi")
        await link.synced(timeout=TIMEOUT_S)
        status = (await store.status()).links[0]
        assert (status.url, status.state) == (link.urls[2], "live")
        assert status.refused_by == (link.urls[1],)
        await link.aclose()
        link = store.connect([locked.url, locked.url + "/behind/a/proxy"])
        with pytest.raises(weft.LinkRefused, match="every relay"):
            await link.synced(timeout=TIMEOUT_S)
        assert len((await link.details()).refused_by) == 2


async def test_addresses_are_looked_at_before_anything_is_dialled(tmp_path: Path) -> None:
    async with weft.open(tmp_path / "a.db") as store:
        with pytest.raises(CallerError, match="no address"):
            store.connect([])
        with pytest.raises(LimitExceeded, match="65 addresses"):
            store.connect([f"ws://host{n}" for n in range(65)])
        with pytest.raises(CallerError, match="no address"):
            store.connect([NOWHERE, "http://host"])
        link = store.connect([NOWHERE, NOWHERE + "/"])
        assert len(link.urls) == 1
        assert Position(0) == (await store.context("c").unsynced()).records

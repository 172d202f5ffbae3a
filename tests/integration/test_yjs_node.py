"""The real npm clients at a relay: y-websocket 3 with yjs 13 and @y/websocket 4 with @y/y 14."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pycrdt
import pytest

import weft
from tests.running_relay import RunningRelay, running_relay
from tests.yjs_client import yjs_client
from tests.yjs_clients.browser import FAMILIES, Family, browser
from tests.yjs_clients.cutting_line import cutting_line
from tests.yjs_clients.slow_line import slow_line
from weft_server.door.token_keys import make_key_file, read_keys
from weft_server.door.tokens import mint
from weft_server.yjs import wire

families = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRelay]:
    """A relay that the tests of this file share; each uses contexts of its own."""
    with running_relay(tmp_path_factory.mktemp("relay")) as found:
        yield found


@families
async def test_two_edit_notes_and_events_and_see_each_other(
    relay: RunningRelay, family: Family
) -> None:
    """Both ways, with who is there, one who comes later, and one who leaves."""
    room = f"two/{family}/Zürich 👍"
    async with browser(family) as node:
        a, b = await node.open(relay.url, room), await node.open(relay.url, room)
        await a.synced()
        await b.synced()
        await a.insert("plan", 0, "hello 👍")
        await b.until(note="plan", text="hello 👍")
        await b.insert("plan", -1, " wörld")
        await b.do("remove", note="plan", at=0, size=1)
        await a.until(note="plan", text="ello 👍 wörld")
        await a.set("k", "v")
        await b.until(event="k", key="v")
        await a.do("show", state={"user": "ä 👍", "cursor": 3})
        one = (await a.look())["id"]
        await b.until(client=one, state={"user": "ä 👍", "cursor": 3})
        late = await node.open(relay.url, room)
        await late.until(synced=True, note="plan", text="ello 👍 wörld")
        await late.until(client=one, state={"user": "ä 👍", "cursor": 3}, event="k", key="v")
        await a.do("close")
        await b.until(client=one, state=None)
        await late.until(client=one, state=None)
        assert not (await late.look())["pending"]


async def test_both_families_edit_together(relay: RunningRelay) -> None:
    async with browser("yjs") as old, browser("@y/y") as new:
        a, b = await old.open(relay.url, "both"), await new.open(relay.url, "both")
        await a.synced()
        await b.synced()
        await a.insert("n", 0, "what one may delete while the other writes before it")
        await b.until(note="n", text="what one may delete while the other writes before it")
        for at in range(20):
            await (a if at % 2 else b).insert("n", 0, f"{at} ")
            await (b if at % 2 else a).do("remove", note="n", at=0, size=1)
        await a.set("x", "1")
        await b.set("y", "2")
        await a.until(event="y", key="2")
        await b.until(event="x", key="1")
        await a.insert("end", 0, "a")
        await b.until(note="end", text="a")
        await b.insert("end", 1, "b")
        found = await a.until(note="end", text="ab")
        assert not found["pending"]
        assert (await a.look(note="n"))["text"] == (await b.look(note="n"))["text"]


@families
async def test_tabs_that_share_updates_store_them_once(relay: RunningRelay, family: Family) -> None:
    """Tabs of one browser tell each other everything by BroadcastChannel, before the relay does."""
    room = f"tabs/{family}"
    async with browser(family) as node:
        tabs = [await node.open(relay.url, room, share=True) for _ in range(3)]
        for tab in tabs:
            await tab.synced()
        for number, tab in enumerate(tabs):
            await tab.insert("n", 0, str(number))
        ids = [(await tab.look())["id"] for tab in tabs]
        for number, tab in enumerate(tabs):
            await tab.do("show", state={"tab": number})
        for tab in tabs:
            for number, client in enumerate(ids):
                await tab.until(client=client, state={"tab": number})
        # One loses its connection, hears of the others by its neighbours, and brings it all.
        await tabs[0].do("disconnect")
        await tabs[1].insert("m", 0, "behind its back")
        await tabs[0].do("connect")
        await tabs[0].until(synced=True, note="m", text="behind its back")
        async with browser(family) as elsewhere:
            other = await elsewhere.open(relay.url, room)
            found = await other.until(note="m", text="behind its back", synced=True)
            whole = (await tabs[0].look(note="n"))["text"]
            await other.until(note="n", text=whole)
            assert sorted(whole) == ["0", "1", "2"]
            await tabs[1].do("close")
            # Soon, not when it has not been shown anew for 30 s, even if a neighbour spoke for it
            # last: when that hears its goodbye over the channel it says it again there, and the
            # tab, which hears that before it closes, that it is there still.
            await other.until(client=ids[1], state=None, within_s=20)
            await other.until(client=ids[2], state={"tab": 2})
            await other.until(client=ids[0], state={"tab": 0})
            assert not found["pending"]


@families
async def test_what_is_typed_beside_what_a_document_waits_for_is_stored(
    relay: RunningRelay, family: Family
) -> None:
    """A neighbour has shared its second word, and went before it could share its first."""
    gone: pycrdt.Doc[Any] = pycrdt.Doc(client_id=77)
    text = gone.get("note:gone", type=pycrdt.Text)
    text += "first "
    first, before = gone.get_update(), gone.get_state()
    text += "second"
    room = f"waits/{family}"
    async with browser(family) as node, browser(family) as elsewhere:
        tab = await node.open(relay.url, room, connect=False)
        await tab.do("apply", update=gone.get_update(before).hex())
        assert (await tab.look())["pending"]
        await tab.insert("n", 0, "typed offline, ")
        await tab.do("connect")
        await tab.synced()
        other = await elsewhere.open(relay.url, room)
        await other.until(synced=True, note="n", text="typed offline, ")
        await tab.insert("n", -1, "and then online, ")
        await other.until(note="n", text="typed offline, and then online, ")
        assert not (await other.look())["pending"], "what nobody can show is not passed on"
        # It comes back, it types on, and what it waits for comes from somebody else.
        await tab.do("disconnect")
        await tab.insert("n", -1, "and so on.")
        await tab.do("connect")
        await other.until(note="n", text="typed offline, and then online, and so on.")
        async with yjs_client(relay.url, room) as finder:
            await finder.synced()
            await finder.websocket.send(wire.edited(first))
            for one in (tab, other):
                found = await one.until(note="gone", text="first second")
                assert not found["pending"]
        assert (await tab.look())["closed"] is None


@families
async def test_a_restart_of_the_relay_loses_nothing(tmp_path: Path, family: Family) -> None:
    with running_relay(tmp_path) as first:
        async with browser(family) as node:
            a, b = [await node.open(first.url, "restart", backoff=100) for _ in range(2)]
            await a.synced()
            await b.synced()
            await a.insert("n", 0, "before. ")
            await b.until(note="n", text="before. ")
            await a.do("show", state={"user": "a"})
            one = (await a.look())["id"]
            first.kill()
            await a.until(connected=False)
            await b.until(connected=False)
            await a.insert("n", -1, "offline. ")
            again = await asyncio.to_thread(first.again)
            try:
                await b.until(synced=True, note="n", text="before. offline. ", within_s=60)
                # y-websocket forgets whom it saw, but not how new that was: what is not new to it
                # is shown when it is told again, which is after 15 s.
                await a.do("show", state={"user": "a", "is": "back"})
                await b.until(client=one, state={"user": "a", "is": "back"})
                await b.insert("n", -1, "after.")
                await a.until(note="n", text="before. offline. after.", synced=True)
            finally:
                again.end()


MUCH = 300_000
CUTS = (1, 3, 60_000, 250_000)
"""Bytes behind the handshake: in the header of the first frame, in its message, and in a message
of MUCH, in its first fragment and in a later one."""


@families
async def test_what_a_connection_was_cut_in_arrives_over_the_next(
    relay: RunningRelay, family: Family
) -> None:
    """Within a message, each way: of a first state, of what was written offline, of an edit."""
    room = f"cut/{family}"
    async with browser(family) as node, cutting_line(relay.url) as line:
        near = await node.open(relay.url, room)
        await near.insert("n", -1, "0123456789", times=MUCH // 10)
        await near.synced()
        line.cuts.extend(("down", after_bytes) for after_bytes in CUTS)
        far = await node.open(line.url, room, backoff=50)
        await far.until(synced=True, note="n", letters=MUCH)
        assert line.made == len(CUTS)

        await far.do("disconnect")
        await far.until(connected=False)
        await far.insert("m", -1, "9876543210", times=MUCH // 10)
        line.cuts.extend(("up", after_bytes) for after_bytes in CUTS)
        await far.do("connect")
        await near.until(note="m", letters=MUCH)
        assert line.made == 2 * len(CUTS)

        await far.synced()
        line.cut_soon("down", CUTS[-1])
        await near.insert("n", -1, "abcdefghij", times=MUCH // 10)
        await far.until(note="n", letters=2 * MUCH)
        line.cut_soon("up", CUTS[-1])
        await far.insert("m", -1, "jihgfedcba", times=MUCH // 10)
        await near.until(note="m", letters=2 * MUCH)
        assert line.made == 2 * len(CUTS) + 2

        found = await far.until(connected=True, synced=True, pending=False)
        assert found["closed"] not in range(4400, 4500), "it was never told to stay away"
        async with yjs_client(relay.url, room) as plain:
            await plain.synced()
            assert plain.text("n") == "0123456789" * (MUCH // 10) + "abcdefghij" * (MUCH // 10)
            assert plain.text("m") == "9876543210" * (MUCH // 10) + "jihgfedcba" * (MUCH // 10)


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "token.key"
    make_key_file(path)
    return path


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, key_file: Path) -> Iterator[RunningRelay]:
    """A relay that asks for tokens."""
    with running_relay(tmp_path_factory.mktemp("guarded"), key=key_file) as found:
        yield found


def token(key_file: Path, *rights: str) -> str:
    now_s = int(time.time())
    keys = read_keys(key_file)
    return mint(keys, prefixes=[""], rights=list(rights), expires_s=600, now_s=now_s)


@families
async def test_a_reader_reads_and_is_sent_away_when_it_writes(
    guarded: RunningRelay, key_file: Path, family: Family
) -> None:
    room = f"ro/{family}"
    writes, reads = token(key_file, "read", "write"), token(key_file, "read")
    async with browser(family) as node:
        writer = await node.open(guarded.url, room, protocols=[f"yauth-{writes}"])
        await writer.synced()
        await writer.insert("n", 0, "abc")
        reader = await node.open(guarded.url, room, token=reads)
        await reader.until(synced=True, note="n", text="abc")
        await reader.do("show", state={"user": "reader"})
        one = (await reader.look())["id"]
        await writer.until(client=one, state={"user": "reader"})
        # It may come back, too: what it answers step 1 with is nothing new.
        await reader.do("disconnect")
        await reader.do("connect")
        await reader.synced()
        await writer.insert("n", 3, "d")
        await reader.until(note="n", text="abcd")
        await reader.insert("n", 0, "no")
        await reader.until(closed=4403)
        stranger = await node.open(guarded.url, room)
        await stranger.until(closed=4401)
        assert (await writer.look(note="n"))["text"] == "abcd"
        if family == "yjs":
            # y-websocket 3.1 knows that it need not come again; the pre-release of 4 does not.
            await stranger.until(shouldConnect=False)
            await reader.until(shouldConnect=False)


@asynccontextmanager
async def store_with_link(
    relay: RunningRelay, place: Path, name: str
) -> AsyncIterator[weft.Context]:
    async with weft.open(place / "store.db") as store:
        store.connect(relay.url, contexts=[name])
        yield store.context(name)


async def until_here(chat: weft.Context, wanted: dict[int, object]) -> None:
    """Until exactly these clients show exactly this, by what a store sees."""

    def is_so() -> bool:
        return {one.client: one.state for one in chat.presence.here()} == wanted

    async with asyncio.timeout(30):
        if not is_so():
            # It begins with who is there, so an end that came before would not be told.
            async for _ in chat.presence.watch():
                if is_so():
                    return


@families
async def test_stores_and_browsers_see_each_other(
    relay: RunningRelay, tmp_path: Path, family: Family
) -> None:
    """Presence of a native client and awareness of a page, both ways, late joiners and leavers."""
    name = f"here/{family}"
    async with browser(family) as node, store_with_link(relay, tmp_path, name) as chat:
        page = await node.open(relay.url, name)
        await page.synced()
        client = (await page.look())["id"]
        await page.do("show", state={"name": "Päge"})
        await until_here(chat, {client: {"name": "Päge"}})
        chat.presence.set({"name": "Ada", "typing": True})
        (mine,) = [one.client for one in chat.presence.here() if one.is_me]
        await page.until(client=mine, state={"name": "Ada", "typing": True})
        late = await node.open(relay.url, name)
        await late.until(client=mine, state={"name": "Ada", "typing": True})
        await late.until(client=client, state={"name": "Päge"})
        chat.presence.clear()
        await page.until(client=mine, state=None)
        await late.do("show", state={"name": "late"})
        other = (await late.look())["id"]
        await until_here(chat, {client: {"name": "Päge"}, other: {"name": "late"}})
        await page.do("close")
        await until_here(chat, {other: {"name": "late"}})
        await late.do("show", state=None)
        await until_here(chat, {})


@families
async def test_a_burst_of_edits_comes_whole_and_in_order(
    relay: RunningRelay, family: Family
) -> None:
    room = f"burst/{family}"
    async with browser(family) as node:
        a, b = await node.open(relay.url, room), await node.open(relay.url, room)
        await a.synced()
        await b.synced()
        await a.insert("n", -1, "ab👍", pieces=500)
        await b.insert("m", 0, "xyz", pieces=500)
        await b.until(note="n", text="ab👍" * 500)
        await a.until(note="m", text="xyz" * 500)
        async with yjs_client(relay.url, room) as plain:
            await plain.synced()
            assert plain.text("n") == "ab👍" * 500


@pytest.mark.deep
@pytest.mark.parametrize("megabytes", [20, 60])
@families
async def test_a_large_document_comes_over_a_slow_line(
    tmp_path: Path, family: Family, megabytes: int
) -> None:
    """y-websocket gives up on a server of which no whole message has come for 30 s."""
    letters = megabytes * 1_000_000
    room = f"large/{family}"
    with running_relay(tmp_path) as relay:
        async with browser(family) as node, slow_line(relay.url, bytes_per_s=1_000_000) as slow:
            near = await node.open(relay.url, room)
            await near.synced()
            # Not all in one: what a document squashes into one struct has come in many.
            await near.insert("n", -1, "0123456789", times=letters // 200, pieces=20)
            await near.insert("m", 0, "end")
            other = await node.open(relay.url, room)
            await other.until(synced=True, note="m", text="end", within_s=240)
            far = await node.open(slow, room)
            found = await far.until(synced=True, note="n", letters=letters, within_s=240)
            assert found["status"] == ["connected"], "it never had to come again"
            assert not found["pending"]
            await far.until(note="m", text="end")
            # And the other way: a document that was written offline goes up the slow line.
            up = await node.open(slow, f"{room}/up", connect=False)
            await up.insert("n", -1, "0123456789", times=letters // 200, pieces=20)
            await up.do("connect")
            below = await node.open(relay.url, f"{room}/up")
            await below.until(note="n", letters=letters, within_s=240)
            assert (await up.look())["status"] == ["connecting", "connected"]

"""Yjs clients that mean harm: forged clocks, keys set again, questions without end, crowds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from operator import contains
from pathlib import Path

import pytest

import weft
from tests.hostile.looking import MIB, rss_bytes
from tests.hostile.target import Target
from tests.running_relay import RunningRelay, running_relay
from tests.stores import folder
from tests.unit.yjs_bytes import in_root, string, update_of
from tests.yjs_client import YjsClient, yjs_client
from weft_engine.names import event_id_incarnation
from weft_engine.records.identity import client_id
from weft_engine.sync.framing.messages import PresenceState
from weft_engine.yjs.lib0 import read_var_uint, var_uint
from weft_server.door.token_keys import KeyRing, make_key_file, read_keys
from weft_server.door.tokens import mint
from weft_server.yjs import wire
from weft_server.yjs.awareness import awareness_messages, read_awareness

HELD_MIB_MAX = 96
TIMEOUT_S = 20.0


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with folder() as found:
        yield found


@pytest.fixture(scope="module")
def keys(place: Path) -> KeyRing:
    make_key_file(place / "token.key")
    return read_keys(place / "token.key")


@pytest.fixture(scope="module")
def relay(place: Path, keys: KeyRing) -> Iterator[RunningRelay]:
    with running_relay(place / "relay", key=place / "token.key") as found:
        yield found


def token(keys: KeyRing, *rights: str) -> str:
    now_s = int(time.time())
    return mint(keys, prefixes=["a/"], rights=["read", *rights], expires_s=600, now_s=now_s)


def first_set(root: str, key: str, value: str) -> bytes:
    return b"\x28\x01" + string(root) + string(key) + b"\x01\x77" + string(value)


async def asked_again(client: YjsClient) -> None:
    """The relay has not stored what the client has sent, and asks for what it builds on."""
    await client.until(lambda: sum(f[:2] == b"\x00\x00" for f in client.frames) > 1, "step 1")


async def test_nobody_gives_out_the_clocks_of_a_store(
    place: Path, relay: RunningRelay, keys: KeyRing
) -> None:
    """The store is offline meanwhile: what it writes then must not find its place taken."""
    url, own = relay.url, token(keys, "write")
    async with weft.open(place / "store.db") as store:
        note = store.context("a/x").note("n")
        await note.append("first. ")
        link = store.connect(url, token=own, contexts=["a/x"])
        await link.synced(timeout=TIMEOUT_S)
        await link.aclose()
        async with yjs_client(url, "a/x", query=f"?token={own}") as reader:
            await reader.synced()
            client, at = read_var_uint(reader.document.get_state(), 1)
            clock, _ = read_var_uint(reader.document.get_state(), at)
            for right, struct in (
                ("append", b"\x00" + var_uint(50)),
                ("append", first_set("events", "k", "v")),
                ("write", in_root(4, string("forged"))),
            ):
                forged = update_of(struct, client=client, clock=clock)
                query = f"?token={token(keys, right)}"
                async with yjs_client(url, "a/x", query=query, answers=False) as forger:
                    await forger.synced()
                    await forger.websocket.send(wire.edited(forged))
                    await asked_again(forger)
            await note.append("second.")
            link = store.connect(url, token=own, contexts=["a/x"])
            await link.synced(timeout=TIMEOUT_S)
            await reader.until(lambda: reader.text("n") == "first. second.", "all of it")
            assert await note.text() == "first. second."


def shows(page: YjsClient, word: str) -> bool:
    return word in page.text("n")


async def test_who_takes_the_clocks_of_a_store_before_it_writes_takes_nothing(
    place: Path, relay: RunningRelay, keys: KeyRing
) -> None:
    """The client id of a store that has not written in a context follows from its records in
    others. The store sees that somebody has it, and writes under another name."""
    url, own = relay.url, token(keys, "write")
    async with (
        weft.open(place / "early.db") as store,
        weft.open(place / "late.db") as late,
        yjs_client(url, "a/claimed", query=f"?token={own}") as page,
    ):
        await page.synced()
        links, names = [], []
        for one in (store, late):
            (seen,) = await one.context("a/seen").append("who I am can be read from this")
            names.append(client_id(event_id_incarnation(seen), "a/claimed"))
            links.append(one.connect(url, token=own, contexts=["a/seen", "a/claimed"]))
            await links[-1].synced(timeout=TIMEOUT_S)
        # One is linked when it happens, the other one has written events offline before.
        await links[1].aclose()
        (told,) = await late.context("a/claimed").append("said offline")
        for claimed in names:
            forged = update_of(in_root(4, string("forged")), client=claimed)
            await page.websocket.send(wire.edited(forged))
            await page.until(partial(contains, page.updates, forged), "the echo")
        link = late.connect(url, token=own, contexts=["a/claimed"])
        await links[0].synced(timeout=TIMEOUT_S)
        await link.synced(timeout=TIMEOUT_S)
        for word, one in (("one ", store), ("two", late)):
            await one.context("a/claimed").note("n").append(word)
            await page.until(partial(shows, page, word), "what it writes is shown")
        ids = [event.id async for event in store.context("a/claimed").history()]
        assert told in ids
        for one in (store, late):
            note = one.context("a/claimed").note("n")
            async with asyncio.timeout(TIMEOUT_S):
                while await note.text() != page.text("n"):  # noqa: ASYNC110 - it has no signal
                    await asyncio.sleep(0.01)


async def test_who_appends_sets_no_key_that_is_there(relay: RunningRelay, keys: KeyRing) -> None:
    query = f"?token={token(keys, 'append')}"
    async with yjs_client(relay.url, "a/keys", query=query) as one:
        await one.synced()
        sent = await one.set("k", "first")
        await one.until(lambda: sent in one.updates, "the echo")
        # One's own word again, by another tab, is no second one.
        async with yjs_client(relay.url, "a/keys", query=query) as tab:
            await tab.synced()
            await tab.websocket.send(wire.edited(sent))
            await tab.until(lambda: sent in tab.updates, "the second echo")
        async with yjs_client(relay.url, "a/keys", query=query) as other:
            await other.synced()
            again = update_of(first_set("events", "k", "second"), client=1 << 52)
            await other.websocket.send(wire.edited(again))
            assert (await other.closed())[0] == 4403
        assert one.close is None


async def test_who_appends_may_come_back_with_much(relay: RunningRelay, keys: KeyRing) -> None:
    """A step 2 of many events, with deletes that others made: the events are taken."""
    query = f"?token={token(keys, 'append')}"
    structs = [first_set("events", f"k{number}", "v" * 200) for number in range(9000)]
    update = update_of(*structs, deletes=b"\x01\x07\x01\x00\x01")
    async with yjs_client(relay.url, "a/many", query=query, answers=False) as one:
        await one.synced()
        await one.websocket.send(wire.step2(update))
        await one.until(lambda: bool(one.updates), "the echo")
    async with yjs_client(relay.url, "a/many", query=query) as other:
        await other.synced()
        assert read_var_uint(other.document.get_state(), 2)[0] == 9000


@pytest.mark.parametrize("asked", [wire.step1(b"\x00"), wire.step1(b"\x01\x05\x01"), b"\x03"])
async def test_who_asks_and_does_not_read_is_not_answered(
    relay: RunningRelay, keys: KeyRing, asked: bytes
) -> None:
    own = token(keys, "write")
    async with yjs_client(relay.url, "a/asked", query=f"?token={own}") as honest:
        await honest.synced()
        await honest.edit("n", 0, "x" * 40_000)
        await honest.until(lambda: bool(honest.updates), "the echo")
        before = rss_bytes(relay.pid)
        async with Target(relay.url, own).upgraded("/yjs/a/asked") as deaf:
            for _ in range(400):
                await deaf.message(asked * 20)
                await asyncio.sleep(0)
            count = len(honest.updates)
            await honest.edit("n", 0, "y")
            await honest.until(lambda: len(honest.updates) > count, "the echo")
            assert rss_bytes(relay.pid) - before < HELD_MIB_MAX * MIB


async def test_more_messages_in_one_than_anybody_sends(relay: RunningRelay, keys: KeyRing) -> None:
    query = f"?token={token(keys, 'write')}"
    async with yjs_client(relay.url, "a/full", query=query) as client:
        await client.synced()
        await client.websocket.send(b"\x03" * 2000)
        assert (await client.closed())[0] == 4400


async def test_many_messages_in_one_are_all_heard_in_order(
    relay: RunningRelay, keys: KeyRing
) -> None:
    """Others get their turn in between, and what is long to read is read on a thread."""
    query = f"?token={token(keys, 'write')}"
    long = b"".join([var_uint(1 << 40 | number) + var_uint(7) for number in range(4000)])
    asked = wire.step1(var_uint(4000) + long)
    async with yjs_client(relay.url, "a/many-in-one", query=query) as client:
        await client.synced()
        before = len(client.frames)
        first, second = (
            update_of(in_root(4, string(text)), client=99 + number)
            for number, text in enumerate(("first", "second"))
        )
        said = (wire.edited(first), b"\x03" * 500, asked, asked, wire.edited(second))
        await client.websocket.send(b"".join(said))
        await client.until(lambda: second in client.updates, "the echo")
        assert client.updates.index(first) < client.updates.index(second)
        await client.until(
            lambda: any(one[:2] == b"\x00\x01" for one in client.frames[before:]), "an answer"
        )
        await client.websocket.send(asked + wire.step1(b"\x02\x01\x01"))
        assert (await client.closed())[0] == 4400


async def test_who_says_again_what_it_hears_of_a_crowd_stays(
    relay: RunningRelay, keys: KeyRing
) -> None:
    """y-websocket does so, and there may be more clients than one message may hold."""
    query = f"?token={token(keys, 'write')}"
    crowd = [PresenceState(client, 1, '{"a":1}') for client in range(1, 2001)]
    async with yjs_client(relay.url, "a/crowd", query=query) as many:
        await many.synced()
        for message in awareness_messages(crowd):
            await many.websocket.send(wire.aware(message))
        await many.until(lambda: len(many.states) == len(crowd), "all of them")
        async with yjs_client(relay.url, "a/crowd", query=query) as echoing:
            await echoing.until(lambda: len(echoing.states) == len(crowd), "all of them")
            for heard in [frame for frame in echoing.frames if frame[0] == 1]:
                await echoing.websocket.send(heard)
            edited = await echoing.edit("n", 0, "still here")
            await echoing.until(lambda: edited in echoing.updates, "the echo")


def test_a_crowd_is_cut_into_messages_that_can_be_read() -> None:
    crowd = [PresenceState(n, 1, '{"a":"' + "x" * 16_000 + '"}') for n in range(1, 100)]
    crowd += [PresenceState(n, 1, "{}") for n in range(100, 3000)]
    found = [state for message in awareness_messages(crowd) for state in read_awareness(message)]
    assert found == crowd

"""Yjs clients at a relay: the y-websocket dialect over real sockets on loopback."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pycrdt
import pytest
from websockets.exceptions import ConnectionClosed

import weft
from tests.command_line import weft as run_weft
from tests.running_relay import RunningRelay, running_relay
from tests.yjs_client import YjsClient, yjs_client
from weft_engine.sync.framing.messages import PresenceState
from weft_engine.yjs.lib0 import var_uint
from weft_server.door.token_keys import make_key_file, read_keys
from weft_server.door.tokens import mint
from weft_server.yjs import wire


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRelay]:
    """An insecure relay that the tests of this file share; each uses contexts of its own."""
    with running_relay(tmp_path_factory.mktemp("relay")) as found:
        yield found


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


def token(
    key_file: Path, rights: str, prefix: str = "", good_s: int = 60, token_id: str | None = None
) -> str:
    now_s = int(time.time())
    return mint(
        read_keys(key_file),
        prefixes=[prefix],
        rights=rights.split(),
        expires_s=good_s,
        now_s=now_s,
        token_id=token_id,
    )


async def test_two_clients_edit_notes_and_events_together(relay: RunningRelay) -> None:
    async with yjs_client(relay.url, "two/a b") as a, yjs_client(relay.url, "two/a b") as b:
        await a.synced()
        await b.synced()
        await a.edit("plan", 0, "hello")
        await b.until(lambda: b.text("plan") == "hello", "b has a's text")
        await b.edit("plan", 5, " world 👍")
        await a.until(lambda: a.text("plan") == "hello world 👍", "a has b's text")
        await a.set("k", "v")
        events = b.document.get("events", type=pycrdt.Map)
        await b.until(lambda: "k" in events, "b has the event")


async def test_the_first_frames_are_step_1_and_step_2(relay: RunningRelay) -> None:
    async with yjs_client(relay.url, "first") as client:
        await client.synced()
        assert [frame.hex() for frame in client.frames] == ["00000100", "0001020000"]


async def test_what_a_client_sends_comes_back_once_it_is_stored(relay: RunningRelay) -> None:
    async with yjs_client(relay.url, "echo") as client:
        await client.synced()
        update = await client.edit("n", 0, "abc")
        await client.until(lambda: update in client.updates, "the echo")
        # Again: it is stored already, and said to be.
        await client.websocket.send(wire.edited(update))
        await client.until(lambda: client.updates.count(update) == 2, "the second echo")
        records = await stored_records(relay, "echo")
    assert records == 1


async def test_many_who_come_first_at_once_all_get_everything(relay: RunningRelay) -> None:
    async with yjs_client(relay.url, "herd") as client:
        await client.synced()
        await client.edit("n", 0, "x" * 1000)
        await client.until(lambda: bool(client.updates), "the echo")

    async def come() -> str:
        async with yjs_client(relay.url, "herd") as other:
            await other.synced()
            return other.text("n")

    assert set(await asyncio.gather(*[come() for _ in range(10)])) == {"x" * 1000}


async def test_a_large_first_state_comes_whole_while_others_edit(relay: RunningRelay) -> None:
    async with yjs_client(relay.url, "large") as writer:
        await writer.synced()
        for part in range(4):
            await writer.edit("n", 0, str(part) * 700_000)
        await writer.until(lambda: len(writer.updates) == 4, "the echoes")

        async def come() -> YjsClient:
            async with yjs_client(relay.url, "large") as other:
                await other.synced()
                await other.until(lambda: other.text("n").endswith("end"), "the last edit")
                return other

        coming = [asyncio.create_task(come()) for _ in range(4)]
        await asyncio.sleep(0)
        for at in range(20):
            await writer.edit("m", 0, str(at))
        await writer.edit("n", 4 * 700_000, "end")
        for other in await asyncio.gather(*coming):
            assert other.text("n") == writer.text("n")
            assert other.text("m") == writer.text("m")


async def test_awareness_is_passed_on_kept_and_ended(relay: RunningRelay) -> None:
    async with yjs_client(relay.url, "aware") as a, yjs_client(relay.url, "aware") as b:
        await a.synced()
        await b.synced()
        await a.show(7, 3, '{ "user" : "ä" }')
        shown = PresenceState(7, 3, '{ "user" : "ä" }')
        await b.until(lambda: b.states.get(7) == shown, "b sees a")
        async with yjs_client(relay.url, "aware") as late:
            await late.until(lambda: late.states.get(7) == shown, "who comes later sees a")
        await a.show(8, 0, "{}")
        await b.until(lambda: 8 in b.states, "b sees the other whom a speaks for")
        await b.websocket.send(b"\x03")
        await a.websocket.close()
        await b.until(lambda: b.states[7].state is None, "b sees a leave")
        await b.until(lambda: b.states[8].state is None, "b sees the other leave")


async def test_a_closed_tab_has_left_whoever_repeats_what_it_says(relay: RunningRelay) -> None:
    """Its neighbour is quicker to tell the relay what it heard of it, and misses its end."""
    async with yjs_client(relay.url, "own") as neighbour, yjs_client(relay.url, "own") as other:
        await other.synced()
        await neighbour.show(8, 0, "{}")
        await neighbour.show(7, 0, "{}")
        await other.until(lambda: {7, 8} <= other.states.keys(), "both are seen")
        async with yjs_client(relay.url, "own") as tab:
            await tab.show(7, 0, "{}")
            await tab.show(9, 0, "{}")
            await other.until(lambda: 9 in other.states, "it is seen whom the tab repeats")
            await neighbour.show(7, 1, "{}")
            await other.until(lambda: other.states[7].clock == 1, "its neighbour speaks for it")
            await tab.show(7, 1, "{}")
        left = PresenceState(7, 1, None)
        await other.until(lambda: other.states[7] == left, "the tab has left")
        await other.until(lambda: other.states[9].state is None, "and whom nobody else knows")
        assert other.states[8].state is not None
        # It lives on without a connection, and its neighbour hears it: then comes back, and stays.
        await neighbour.show(7, 2, "{}")
        await other.until(lambda: other.states[7].clock == 2, "it is seen again")
        async with yjs_client(relay.url, "own") as tab:
            await tab.show(7, 2, "{}")
            await tab.show(10, 0, "{}")
            await other.until(lambda: 10 in other.states, "the relay has heard the tab")
            await neighbour.websocket.close()
            await other.until(lambda: other.states[8].state is None, "its neighbour has left")
            assert other.states[7].state is not None


async def test_who_comes_back_is_told_that_it_left(relay: RunningRelay) -> None:
    """Yjs clients answer that with a higher clock, and are seen again at once."""
    async with yjs_client(relay.url, "back") as other:
        async with yjs_client(relay.url, "back") as client:
            await client.show(7, 3, "{}")
            await other.until(lambda: 7 in other.states, "it is seen")
        await other.until(lambda: other.states[7].state is None, "it has left")
        async with yjs_client(relay.url, "back") as client:
            await client.show(7, 3, "{}")
            left = PresenceState(7, 3, None)
            await client.until(lambda: client.states.get(7) == left, "it hears so")
            await client.show(7, 4, "{}")
            await other.until(lambda: other.states[7].clock == 4, "it is seen again")


async def test_updates_that_build_on_what_is_not_known_are_not_stored(relay: RunningRelay) -> None:
    """Tabs share updates behind the server's back."""
    document: pycrdt.Doc[Any] = pycrdt.Doc()
    text = document.get("note:n", type=pycrdt.Text)
    text += "first"
    before = document.get_state()
    text += " second"
    second = document.get_update(before)
    async with yjs_client(relay.url, "tabs", answers=False) as client:
        await client.synced()
        client.frames.clear()
        for _ in range(3):
            await client.websocket.send(wire.edited(second))
        await client.until(lambda: b"\x00\x00\x01\x00" in client.frames, "asked for the rest")
        await client.websocket.send(wire.step2(document.get_update()))
        await client.until(lambda: client.text("n") == "first second", "all of it")
        assert client.frames.count(b"\x00\x00\x01\x00") == 1, "not asked again and again"
    assert await stored_records(relay, "tabs") == 1


async def test_a_quiet_client_is_asked_when_what_it_builds_on_has_come(
    relay: RunningRelay,
) -> None:
    origin: pycrdt.Doc[Any] = pycrdt.Doc()
    text = origin.get("note:n", type=pycrdt.Text)
    text.insert(0, "first ")
    first, before = origin.get_update(), origin.get_state()
    text.insert(6, "second")
    second = origin.get_update(before)
    async with yjs_client(relay.url, "quiet") as quiet, yjs_client(relay.url, "quiet") as other:
        await quiet.synced()
        await other.synced()
        quiet.document.apply_update(second)  # which waits in its document for the first
        # Its answer to the question lacks the same, and after that it says no more by itself.
        await quiet.websocket.send(wire.edited(second))
        await quiet.until(lambda: quiet.frames[-1][:2] == b"\x00\x00", "asked for what is lacking")
        await other.websocket.send(wire.edited(first))
        await other.until(lambda: other.text("n") == "first second", "both are stored")


async def test_who_writes_upon_what_does_not_come_is_told(relay: RunningRelay) -> None:
    """It would see what it types and believe that it is stored."""
    document: pycrdt.Doc[Any] = pycrdt.Doc(client_id=78)
    note = document.get("note:n", type=pycrdt.Text)
    note += "never sent. "
    async with yjs_client(relay.url, "upon", document=document, answers=False) as client:
        await client.synced()
        while client.close is None:
            with suppress(ConnectionClosed):
                await client.edit("n", len(note), "x")
            await client.wait(0.3)
        code, reason = await client.closed()
    assert (code, reason) == (
        1013,
        "not stored: it builds on what client 78 wrote before its clock 12, which is not here",
    )
    assert await stored_records(relay, "upon") == 0
    async with (
        yjs_client(relay.url, "upon") as reader,
        yjs_client(relay.url, "upon", document=document),
    ):
        await reader.until(lambda: reader.text("n") == str(note), "it is stored when it is said")


async def test_who_may_only_read_may_wait_for_something(
    guarded: RunningRelay, key_file: Path
) -> None:
    """What its document can't show is not its word, and no reason to send it away."""
    gone: pycrdt.Doc[Any] = pycrdt.Doc(client_id=77)
    text = gone.get("note:n", type=pycrdt.Text)
    text += "first "
    before = gone.get_state()
    text += "second"
    reads = f"?token={token(key_file, 'read')}"
    async with yjs_client(guarded.url, "ro/waits", query=reads, answers=False) as reader:
        await reader.synced()
        await reader.websocket.send(wire.step2(gone.get_update(before)))
        await reader.show(1, 0, "{}")
        await reader.until(lambda: 1 in reader.states, "it is still there")
        await reader.websocket.send(wire.edited(gone.get_update(before)))
        assert (await reader.closed())[0] == 4403


async def test_a_client_that_has_everything_writes_nothing(relay: RunningRelay) -> None:
    document: pycrdt.Doc[Any] = pycrdt.Doc()
    async with yjs_client(relay.url, "again", document=document) as client:
        await client.synced()
        await client.edit("n", 0, "text")
        await client.until(lambda: bool(client.updates), "the echo")
    for _ in range(3):
        async with yjs_client(relay.url, "again", document=document) as client:
            await client.synced()
            await client.websocket.send(wire.step2(document.get_update()))
            await client.websocket.send(b"\x03")
            await client.until(client.heard_awareness, "all that was read")
    assert await stored_records(relay, "again") == 1


async def test_an_event_that_was_overwritten_before_it_was_sent_is_stored(
    relay: RunningRelay,
) -> None:
    async with yjs_client(relay.url, "over") as client:
        await client.synced()
        both = bytes.fromhex("010107002801066576656e7473026b310177077b2261223a317d00")
        await client.websocket.send(wire.edited(both))
        await client.until(lambda: both in client.updates, "the first echo")
        overwrite = bytes.fromhex("01010701a807000177077b2261223a327d0107010001")
        await client.websocket.send(wire.edited(overwrite))
        await client.until(lambda: len(client.updates) == 2, "the second echo")
    async with yjs_client(relay.url, "over") as late:
        await late.synced()
        assert late.document.get("events", type=pycrdt.Map)["k1"] == '{"a":2}'


async def test_weft_and_yjs_clients_hold_the_same(relay: RunningRelay, tmp_path: Path) -> None:
    async with (
        weft.open(tmp_path / "store.db") as store,
        yjs_client(relay.url, "both") as client,
    ):
        store.connect(relay.url, contexts=["both"])
        context = store.context("both")
        await client.synced()
        note = context.note("plan")
        await note.append("by weft. ")
        await client.until(lambda: client.text("plan") == "by weft. ", "the note reaches Yjs")
        await client.edit("plan", 9, "by yjs.")
        async with asyncio.timeout(20):
            while await note.text() != "by weft. by yjs.":  # noqa: ASYNC110 - it has no signal
                await asyncio.sleep(0.01)
        (event,) = await context.append("hi")
        events = client.document.get("events", type=pycrdt.Map)
        await client.until(lambda: event in events, "the message reaches Yjs")


async def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path) -> None:
    with running_relay(tmp_path) as relay:
        async with yjs_client(relay.url, "killed") as client:
            await client.synced()
            for at in range(30):
                await client.edit("n", at, "x")
            await client.until(lambda: len(client.updates) >= 10, "some echoes")
            relay.kill()
            await client.closed()
            acknowledged = len(client.updates)
            document = client.document
        again = relay.again()
        try:
            async with yjs_client(again.url, "killed") as reader:
                await reader.synced()
                assert len(reader.text("n")) >= acknowledged
            async with yjs_client(again.url, "killed", document=document) as client:
                await client.synced()
                async with yjs_client(again.url, "killed") as reader:
                    await reader.until(lambda: reader.text("n") == "x" * 30, "what was resent")
        finally:
            again.end()


async def test_a_large_first_state_of_small_pieces_is_taken(relay: RunningRelay) -> None:
    """More interwoven structs than one record may hold."""
    update = typed_backwards(20_000)
    async with yjs_client(relay.url, "pasted") as client:
        await client.synced()
        await client.websocket.send(wire.step2(update))
        await client.until(lambda: len(client.text("n")) == 20_000, "the echo")
    assert await stored_records(relay, "pasted") > 1
    async with yjs_client(relay.url, "pasted") as late:
        await late.synced()
        assert late.text("n") == "y" * 20_000


async def test_what_could_not_be_stored_is_not_shown_and_comes_again(
    relay: RunningRelay,
) -> None:
    async with yjs_client(relay.url, "full") as other, yjs_client(relay.url, "full") as client:
        await other.synced()
        await client.synced()
        await client.edit("n", 0, "kept. ")
        await client.until(lambda: bool(client.updates), "the echo")
        ask(
            relay, "CREATE TRIGGER full BEFORE INSERT ON records BEGIN SELECT RAISE(FAIL, 'f'); END"
        )
        try:
            await client.edit("n", 6, "late.")
            assert (await client.closed())[0] == 1013
            async with yjs_client(relay.url, "full") as reader:
                await reader.synced()
                assert reader.text("n") == "kept. "
        finally:
            ask(relay, "DROP TRIGGER full")
        async with yjs_client(relay.url, "full", document=client.document) as again:
            await again.synced()
            await other.until(lambda: other.text("n") == "kept. late.", "it comes again")


async def test_what_is_erased_goes_from_rooms_and_screens(
    relay: RunningRelay, tmp_path: Path
) -> None:
    async with (
        weft.open(tmp_path / "store.db") as store,
        yjs_client(relay.url, "gone") as client,
    ):
        link = store.connect(relay.url, contexts=["gone"])
        context = store.context("gone")
        await context.note("secret").append("burn this")
        await context.note("plan").append("keep this")
        await client.until(lambda: client.text("plan") == "keep this", "both are shown")
        assert client.text("secret") == "burn this"
        await context.erase(note="secret", reason="asked to")
        await link.synced(timeout=20)
        await client.until(lambda: client.text("secret") == "", "it goes from the screen")
        async with yjs_client(relay.url, "gone") as late:
            await late.synced()
            assert (late.text("secret"), late.text("plan")) == ("", "keep this")


async def test_who_does_not_read_for_a_while_misses_nothing(relay: RunningRelay) -> None:
    async with (
        yjs_client(relay.url, "slow", max_queue=1) as slow,
        yjs_client(relay.url, "slow") as writer,
    ):
        await slow.synced()
        await writer.synced()
        slow.reads.clear()
        note = writer.document.get("note:n", type=pycrdt.Text)
        for at in range(40):
            # A few MB fit into the buffers of the system, before the relay notices.
            if len(note):
                del note[0 : len(note)]
            await writer.edit("n", 0, chr(97 + at % 26) * 500_000)
        async with yjs_client(relay.url, "slow") as late:
            await late.until(lambda: late.text("n") == writer.text("n"), "all is stored")
        slow.reads.set()
        await slow.until(lambda: slow.text("n") == writer.text("n"), "it has caught up")
        assert len(slow.updates) < 39, "it was told the state, not every step to it"
        await writer.edit("m", 0, "on")
        await slow.until(lambda: slow.text("m") == "on", "it is in step again")


async def test_a_bad_client_is_refused_and_harms_nobody(relay: RunningRelay) -> None:
    async with yjs_client(relay.url, "bad") as good:
        await good.synced()
        # An unknown content, a state that is no JSON, and no message at all.
        for data in (
            wire.edited(bytes.fromhex("01010100" + "0b01016d0100")),
            wire.aware(bytes.fromhex("0101000178")),
            b"\x00\x09",
        ):
            async with yjs_client(relay.url, "bad") as bad:
                await bad.synced()
                await bad.websocket.send(data)
                assert (await bad.closed())[0] == 4400
        async with yjs_client(relay.url, "bad") as texting:
            await texting.websocket.send("text")
            assert (await texting.closed())[0] == 1003
        await good.edit("n", 0, "still here")
        await good.until(lambda: bool(good.updates), "the echo")
        assert good.states == {}


async def test_a_name_that_is_none_closes_for_good(relay: RunningRelay) -> None:
    for name in ("a//b", "x" * 300):
        async with yjs_client(relay.url, name, greets=False) as client:
            code, reason = await client.closed()
            assert code == 4400
            assert reason
            assert client.denied


async def test_tokens_come_in_the_address_or_as_a_subprotocol(
    guarded: RunningRelay, key_file: Path
) -> None:
    good = token(key_file, "read write")
    async with yjs_client(guarded.url, "door", query=f"?token={good}") as client:
        await client.synced()
    async with yjs_client(guarded.url, "door", subprotocols=[f"yauth-{good}"]) as client:
        await client.synced()
        assert client.websocket.subprotocol == f"yauth-{good}"
    async with yjs_client(guarded.url, "door", greets=False) as client:
        assert (await client.closed())[0] == 4401
    other = token(key_file, "read write", prefix="other/")
    async with yjs_client(guarded.url, "door", query=f"?token={other}", greets=False) as client:
        assert (await client.closed())[0] == 4403


async def test_a_token_that_expires_ends_the_connection(
    guarded: RunningRelay, key_file: Path
) -> None:
    good = token(key_file, "read write", good_s=2)
    async with yjs_client(guarded.url, "short", query=f"?token={good}") as client:
        await client.synced()
        assert (await client.closed())[0] == 4401


async def test_a_token_that_is_revoked_ends_the_connection(
    guarded: RunningRelay, key_file: Path
) -> None:
    bad = token(key_file, "read write", token_id="lost")
    async with yjs_client(guarded.url, "revoked", query=f"?token={bad}") as client:
        await client.synced()
        folder = guarded.store.parent
        done = await asyncio.to_thread(run_weft, "token", "revoke", "lost", "--data", folder)
        assert done.code == 0, done.err
        code, reason = await client.closed()
        assert code == 4401
        assert "revoked" in reason


async def test_who_may_only_read_may_say_nothing_new(guarded: RunningRelay, key_file: Path) -> None:
    writes, reads = token(key_file, "read write"), token(key_file, "read")
    async with yjs_client(guarded.url, "ro", query=f"?token={writes}") as writer:
        await writer.synced()
        await writer.edit("n", 0, "abc")
        await writer.until(lambda: bool(writer.updates), "the echo")
        async with yjs_client(guarded.url, "ro", query=f"?token={reads}") as reader:
            await reader.synced()
            assert reader.text("n") == "abc"
            await reader.websocket.send(bytes.fromhex("0001020000"))
            # All that it has, which is nothing new.
            await reader.websocket.send(wire.step2(reader.document.get_update()))
            await reader.show(1, 0, "{}")
            await reader.until(lambda: 1 in reader.states, "it is still there")
            await reader.edit("n", 0, "no")
            assert (await reader.closed())[0] == 4403
            assert reader.denied is not None
            assert "read only" in reader.denied
        assert writer.text("n") == "abc"


async def test_who_may_append_touches_no_notes(guarded: RunningRelay, key_file: Path) -> None:
    appends = f"?token={token(key_file, 'read append')}"
    async with yjs_client(guarded.url, "ao", query=appends) as client:
        await client.synced()
        update = await client.set("k", "v")
        await client.until(lambda: update in client.updates, "the echo")
        await client.edit("n", 0, "no")
        assert (await client.closed())[0] == 4403
    async with yjs_client(guarded.url, "ao", query=appends) as late:
        await late.synced()
        assert late.document.get("events", type=pycrdt.Map)["k"] == "v"
        assert late.text("n") == ""


def typed_backwards(letters: int) -> bytes:
    """A note into which somebody has typed each letter in front of all others."""
    pieces = [b"\x04\x01\x06note:n\x01y"]
    pieces += [b"\x44\x07" + var_uint(clock) + b"\x01y" for clock in range(letters - 1)]
    return b"\x01" + var_uint(letters) + b"\x07\x00" + b"".join(pieces) + b"\x00"


def ask(relay: RunningRelay, sql: str) -> list[tuple[object, ...]]:
    """What the relay's store answers, asked behind its back."""
    with closing(sqlite3.connect(relay.store, timeout=10)) as connection, connection:
        return connection.execute(sql).fetchall()


async def stored_records(relay: RunningRelay, context: str) -> int:
    """How many records the relay's store has of a context."""
    sql = (
        "SELECT count(*) FROM records JOIN contexts ON contexts.id = records.context"
        f" WHERE contexts.name = '{context}'"
    )
    ((count,),) = await asyncio.to_thread(ask, relay, sql)
    assert isinstance(count, int)
    return count

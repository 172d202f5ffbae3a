"""Erasing with real replicas, links and files: nothing is left, nothing else is lost."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import weft
from tests.command_line import opened
from tests.command_line import weft as run_weft
from tests.erasing import files_with, linked, until
from tests.linked import PipeEnd, pipe
from tests.running_relay import running_relay
from tests.stores import all_records, folder, hashes, open_replica
from weft_engine.errors import (
    CallerError,
    ErasedContent,
    InvalidMessage,
    NotFound,
    ReplayMismatch,
)
from weft_engine.limits import FORMAT_VERSION
from weft_engine.names import EventId
from weft_engine.records.envelope import Record
from weft_engine.records.erasure import Erasure, decode_erasure
from weft_engine.records.identity import SignatureItem
from weft_engine.replica.context import Context
from weft_engine.replica.replica import Replica
from weft_engine.storage import quarantine
from weft_engine.storage.quarantine import Refused
from weft_engine.storage.verify import verify
from weft_engine.sync.driving.link import Link
from weft_engine.sync.framing.frames import decode_frame, encode
from weft_engine.sync.framing.messages import Bye, Contexts, Hello, Records, Window
from weft_engine.sync.interest import EVERYTHING
from weft_engine.views.policies import LastN
from weft_engine.yjs.stand_in import Anatomy
from weft_server.door.token_keys import make_key_file, read_keys
from weft_server.door.tokens import mint


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as found:
        yield found


def open_in(place: Path, name: str) -> Replica:
    (place / name).mkdir(exist_ok=True)
    return open_replica(place / name / f"{name}.db")


async def said(context: Context) -> list[str]:
    return [part.text for one in await page(context) for part in one]


async def page(context: Context) -> list[list]:  # type: ignore[type-arg]
    return [list(one.event.body.parts) async for one in context.history()]  # type: ignore[union-attr]


def assert_sound(path: Path) -> None:
    report = verify(path, progress=lambda *_: None)
    assert report.findings == ()


# ---- one replica ----------------------------------------------------------------------------


async def test_a_store_is_sound_when_all_was_erased_behind_one_event_of_many(place: Path) -> None:
    async with open_in(place, "a") as a:
        chat = a.context("x/y")
        ids = await chat.append(["one", "two", "three"])
        await chat.erase(event=ids[2], reason="test")
        await chat.erase(everything=True, reason="test")
        path = a.path
    assert_sound(path)


async def test_an_event_goes_from_every_file_and_its_neighbours_stay(place: Path) -> None:
    """Many events share a record; the file is large enough for several pages and levels."""
    async with open_in(place, "a") as replica:
        chat = replica.context("a/b")
        filler = "x" * 300
        ids = [
            *await chat.append([f"{filler} {i} SECRET{i:04}." for i in range(200)]),
            *[(await chat.append(f"{i} SECRET{i:04}."))[0] for i in range(200, 260)],
        ]
        assert len(await said(chat)) == 260  # the index and the timeline hold them, too
        gone = [3, 17, 99, 150, 230, 231, 259]
        assert files_with(place, b"SECRET0017")
        (row,) = await chat.erase(events=[ids[i] for i in gone], reason="private")
        for i in gone:
            assert not files_with(place, f"SECRET{i:04}".encode())
        assert row.events == tuple(sorted(ids[i] for i in gone))
        assert (row.reason, row.is_done, row.confirmed) == (
            "private",
            True,
            (replica.identity.store,),
        )
        left = [i for i in range(260) if i not in gone]
        assert [text[-11:-1] for text in await said(chat)] == [f"SECRET{i:04}" for i in left]
        view = await chat.view(budget=100_000)
        assert len(view.messages) == 260 - len(gone)
        assert len(await chat.export()) == 260 - len(gone)
        assert await chat.problems() == [], "what is gone on purpose is no problem"
        await chat.append("later")
        assert (await said(chat))[-1] == "later"
    for i in gone:
        assert not files_with(place, f"SECRET{i:04}".encode())
    assert_sound(place / "a" / "a.db")
    async with open_in(place, "a") as replica:
        assert len(await said(replica.context("a/b"))) == 261 - len(gone)


async def test_a_note_goes_with_all_it_ever_held_and_can_be_written_again(place: Path) -> None:
    async with open_in(place, "a") as replica:
        chat = replica.context("a/b")
        note, other = chat.note("plan"), chat.note("other")
        await note.append("first SECRET1 text")
        await other.append("kept")
        await note.insert(6, "SECRET2 ")
        await note.delete(0, 14)  # deleted text is in the history still
        await note.append(" SECRET3")
        await other.insert(2, "--")
        (said_id,) = await chat.append("a message")
        await chat.erase(note="plan", reason="draft")
        assert not files_with(place, b"SECRET")
        assert await note.text() == ""
        assert await other.text() == "ke--pt"
        await note.append("new")
        assert await note.text() == "new"
        assert [one.id async for one in chat.history()] == [said_id]
    async with open_in(place, "a") as replica:
        chat = replica.context("a/b")
        assert await chat.note("plan").text() == "new"
        assert await chat.note("other").text() == "ke--pt"
        await chat.note("plan").append("er")
        await chat.erase(note="plan", reason="again")
        assert await chat.note("plan").text() == ""
    assert_sound(place / "a" / "a.db")


async def test_many_edits_make_several_erasers(place: Path) -> None:
    async with open_in(place, "a") as replica, open_in(place, "b") as other:
        chat = replica.context("a/b")
        for i in range(700):
            await chat.note("plan").insert(i % 7, f"SECRET{i}")
        rows = await chat.erase(note="plan", reason="long")
        assert len(rows) > 1
        assert not files_with(place, b"SECRET")
        async with linked(replica, other) as link:
            await link.settled()
        assert await other.context("a/b").note("plan").text() == ""
    assert_sound(place / "b" / "b.db")


async def test_a_whole_context_goes_and_goes_on(place: Path) -> None:
    async with open_in(place, "a") as replica:
        chat, other = replica.context("a/b"), replica.context("a/other")
        await chat.append([f"SECRET {i}" for i in range(50)])
        await chat.note("plan").append("SECRET")
        await other.append("SECURE")
        await chat.view()
        await chat.erase(everything=True, reason="the user left")
        assert not files_with(place, b"SECRET")
        assert files_with(place, b"SECURE")
        assert await said(chat) == []
        assert (await chat.view()).messages == ()
        assert await chat.note("plan").text() == ""
        await chat.append("anew")
        await chat.note("plan").append("anew")
    async with open_in(place, "a") as replica:
        chat = replica.context("a/b")
        assert await said(chat) == ["anew"]
        assert await chat.note("plan").text() == "anew"
    assert_sound(place / "a" / "a.db")


async def test_what_can_not_be_erased_is_said_clearly(place: Path) -> None:
    async with open_in(place, "a") as replica:
        chat = replica.context("a/b")
        with pytest.raises(NotFound, match="no context"):
            await chat.erase(everything=True, reason="x")
        (event,) = await chat.append("hi")
        before = await chat.frontier()
        unknown = EventId("0" * 16 + event[16:])
        for wrong, error, what in (
            ({"event": unknown}, NotFound, unknown),
            ({"event": "nonsense"}, CallerError, "no event id"),
            ({"note": "nothing"}, NotFound, "nothing"),
            ({}, CallerError, "say which"),
            ({"events": []}, CallerError, "say which"),
            ({"event": event, "everything": True}, CallerError, "say which"),
            ({"event": event, "reason": ""}, InvalidMessage, "1 to 1024"),
            ({"event": event, "reason": "x" * 1025}, InvalidMessage, "1 to 1024"),
            ({"event": event, "reason": "\ud800"}, InvalidMessage, "surrogate"),
        ):
            with pytest.raises(error, match=what):
                await chat.erase(**{"reason": "x", **wrong})  # type: ignore[arg-type]
        assert await chat.frontier() == before
        assert await replica.erasing.all() == []


async def test_an_open_reader_delays_the_end_of_an_erasure(place: Path) -> None:
    """The log can't be cut while somebody reads an old state from it."""
    async with open_in(place, "a") as replica:
        chat = replica.context("a/b")
        (event,) = await chat.append("SECRET")
        with opened(place / "a" / "a.db") as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM records").fetchone()
            erasing = asyncio.create_task(chat.erase(event=event, reason="x"))
            await until(lambda: _has_erasures(replica))
            assert not (await replica.erasing.all())[0].is_done
            reader.execute("ROLLBACK")
        (row,) = await erasing
        assert row.is_done
        assert not files_with(place, b"SECRET")


async def _has_erasures(replica: Replica) -> bool:
    return bool(await replica.erasing.all())


@pytest.mark.parametrize("what", ["event", "note", "everything"])
async def test_a_crash_between_commit_and_work_is_made_up_for(place: Path, what: str) -> None:
    store = place / "a" / "a.db"
    store.parent.mkdir()
    program = Path(__file__).with_name("erase_and_die.py")
    words = [sys.executable, str(program), str(store), what]
    done = await asyncio.to_thread(lambda: subprocess.run(words, timeout=60))
    assert done.returncode == -signal.SIGKILL
    assert files_with(place, b"SECRET")
    report = verify(store, progress=lambda *_: None)
    assert (report.findings, report.erasures_pending) == ((), 1)
    async with open_in(place, "a") as replica:
        await replica.erasing.done()
        (row,) = await replica.erasing.all()
        assert row.is_done
        chat = replica.context("a/b")
        texts = await said(chat)
        assert texts == {"event": ["before", "after"], "everything": []}.get(
            what, ["before", "the SECRET", "after"]
        )
        assert await chat.note("plan").text() == ("a SECRET plan" if what == "event" else "")
        if what == "event":
            await chat.erase(note="plan", reason="x")
        elif what == "note":
            await chat.erase(everything=True, reason="x")
        assert not files_with(place, b"SECRET")
    assert_sound(store)


# ---- receipts -------------------------------------------------------------------------------


async def test_receipts_replay_unless_their_view_held_it(place: Path) -> None:
    async with open_in(place, "a") as replica:
        chat = replica.context("a/b")
        (early,) = await chat.append("SECRET")
        with_it = await chat.view()
        await chat.append(["one", "two"])
        last = await chat.view(policy=LastN(2))
        assert not any("SECRET" in str(message) for message in last.messages)
        await chat.erase(event=early, reason="private")
        with pytest.raises(ErasedContent, match=early) as caught:
            await chat.replay(with_it.receipt)
        assert caught.value.events == (early,)
        assert caught.value.code == "erased_content"
        assert "SECRET" not in str(caught.value)
        with pytest.raises(ErasedContent, match=early):
            await chat.at(with_it.receipt).view()
        again = await chat.replay(last.receipt)
        assert again.messages == last.messages
        altered = replace(last.receipt, fingerprint="00" * 32)
        with pytest.raises((ReplayMismatch, ErasedContent)):
            await chat.replay(altered)
        fresh = await chat.view()
        assert (await chat.replay(fresh.receipt)).messages == fresh.messages


async def test_an_altered_receipt_of_an_unerased_past_is_no_erased_content(place: Path) -> None:
    async with open_in(place, "a") as replica:
        chat = replica.context("a/b")
        await chat.append("one")
        view = await chat.view()
        (later,) = await chat.append("two")
        await chat.erase(event=later, reason="x")
        with pytest.raises(ReplayMismatch):
            await chat.replay(replace(view.receipt, fingerprint="00" * 32))


# ---- several replicas -----------------------------------------------------------------------


async def test_an_offline_replica_erases_at_its_next_contact_and_confirms(place: Path) -> None:
    async with open_in(place, "a") as a, open_in(place, "b") as b, open_in(place, "c") as c:
        chat = a.context("a/b")
        ids = await chat.append(["hello", "the SECRET1", "bye"])
        await chat.note("plan").append("abc SECRET2 def")
        for other in (b, c):
            async with linked(a, other) as link:
                await link.settled()
            assert files_with(place / other.path.parent.name, b"SECRET1")
        # Both go on writing while they know nothing of it.
        await b.context("a/b").append("from b")
        await b.context("a/b").note("plan").insert(5, "[b was here]")
        await chat.erase(event=ids[1], reason="private")
        await chat.erase(note="plan", reason="private")
        await chat.note("plan").append(" later")
        async with linked(a, b) as link:
            await link.settled()
        assert not files_with(place / "b", b"SECRET")
        assert [len(row.confirmed) for row in await a.erasing.all()] == [2, 2]
        async with linked(b, c) as link:  # by way of b
            await link.settled()
        assert not files_with(place / "c", b"SECRET")
        async with linked(a, b) as link:
            await link.settled()
        stores = tuple(sorted(r.identity.store for r in (a, b, c)))
        for replica in (a, b):
            assert [row.confirmed for row in await replica.erasing.all()] == [stores, stores]
        notes = [await r.context("a/b").note("plan").text() for r in (a, b, c)]
        assert notes == ["[b was here] later"] * 3
        for replica in (a, b, c):
            assert await said(replica.context("a/b")) == ["hello", "bye", "from b"]
            assert await replica.context("a/b").fingerprint() == await chat.fingerprint()
    for name in "abc":
        assert not files_with(place / name, b"SECRET")
        assert_sound(place / name / f"{name}.db")


async def test_a_replica_that_joins_later_never_gets_it(place: Path) -> None:
    async with open_in(place, "a") as a, open_in(place, "b") as b, open_in(place, "d") as d:
        chat = a.context("a/b")
        ids = await chat.append(["one", "SECRET", "three"])
        await chat.note("plan").append("the SECRET plan")
        await chat.note("other").append("kept")
        await chat.erase(event=ids[1], reason="x")
        await chat.erase(note="plan", reason="x")
        gone = a.context("a/gone")
        await gone.append(["SECRET"] * 10)
        await gone.erase(everything=True, reason="x")
        await gone.append("after")
        await chat.note("plan").append("new plan")
        got: list[bytes] = []
        left, right = pipe()
        receive = right.receive

        async def listening() -> bytes | None:
            frame = await receive()
            got.append(frame or b"")
            return frame

        right.receive = listening  # type: ignore[method-assign]
        links = (Link(left, a), Link(right, b))
        running = [asyncio.create_task(link.run()) for link in links]
        for link in links:
            await link.until_synced(timeout=20)
        links[0].close()
        await asyncio.gather(*running)
        assert got
        assert not any(b"SECRET" in frame for frame in got)
        assert not files_with(place / "b", b"SECRET")
        await b.context("a/b").append("four")
        await b.context("a/b").note("plan").append("!")
        async with linked(b, d) as link_on:
            await link_on.settled()
        for replica in (b, d):
            assert await said(replica.context("a/b")) == ["one", "three", "four"]
            assert await said(replica.context("a/gone")) == ["after"]
            assert await replica.context("a/b").note("plan").text() == "new plan!"
            assert await replica.context("a/b").note("other").text() == "kept"
    for name in "bd":
        assert_sound(place / name / f"{name}.db")


async def test_erasers_written_side_by_side_add_up(place: Path) -> None:
    """Two people erase different events of one record: the others of that record stay."""
    async with open_in(place, "a") as a, open_in(place, "b") as b, open_in(place, "c") as c:
        ids = await a.context("a/b").append([f"SECRET{i}" for i in range(6)])
        async with linked(a, b) as link:
            await link.settled()
        await a.context("a/b").erase(event=ids[1], reason="x")
        await b.context("a/b").erase(events=[ids[3], ids[4]], reason="x")
        async with linked(a, b) as link:
            await link.settled()
        async with linked(b, c) as link:
            await link.settled()
        for replica in (a, b, c):
            assert await said(replica.context("a/b")) == ["SECRET0", "SECRET2", "SECRET5"]
        for i in (1, 3, 4):
            assert not files_with(place, b"SECRET%d" % i)
    for name in "abc":
        assert_sound(place / name / f"{name}.db")


async def test_what_waits_or_was_refused_goes_too(place: Path) -> None:
    """A hostile copy of an event, parked before its eraser comes, and one that is in quarantine."""
    async with open_in(place, "a") as a, open_in(place, "b") as b, open_in(place, "x") as x:
        chat = a.context("a/b")
        (event,) = await chat.append("the SECRET")
        async with linked(a, x) as link:
            await link.settled()
        # x writes something first that b never gets, then the same event again.
        await x.context("a/b").append("unknown to b")
        await _copy(x, event, b'{"author":"x","kind":"message","parts":[],"x":"SECRET"}')
        stored = await all_records(x)
        items = await x.signature_items(stored)
        last = stored[-1].record
        outcome = await b.journal.admit(
            [last], [i for i in items if i.tip == last.hash], session=b"s", now_ms=b.now_ms()
        )
        assert outcome.parked == [last.hash]
        await b.journal.write(
            lambda c: c.execute(
                "INSERT INTO quarantine (at_ms, sender, context, reason, size, evidence)"
                " VALUES (0, x'00', 'a/b', 'test', 6, x'534543524554'),"
                " (0, x'00', 'a/damaged', 'kept', 6, x'534543524554')"
            )
        )
        assert files_with(place / "b", b"SECRET")
        async with linked(a, b) as link:
            await link.settled()
            await chat.erase(event=event, reason="x")
            await link.settled()
        assert not files_with(place / "b", b"SECRET")
        # Now the rest comes, and what waited is journaled, blank.
        async with linked(x, b) as link:
            await link.settled()
        assert last.hash in hashes(b.path)
        for name in "abx":
            assert not files_with(place / name, b"SECRET")
        # A copy that comes after all this never reaches the file.
        async with open_in(place, "y") as y:
            await _copy(y, event, b'{"y":"SECRET"}')
            other = await all_records(y)
            await b.journal.admit(
                [one.record for one in other],
                await y.signature_items(other),
                session=b"s",
                now_ms=b.now_ms(),
            )
            assert not files_with(place / "b", b"SECRET")
            assert await said(b.context("a/b")) == ["unknown to b"]
        # Nor does what is refused, which may say anything of where it belongs.
        late = Refused(1, b"s", "a/damaged", None, "late", 6, b"SECRET")
        await b.journal.write(lambda c: quarantine.keep(c, [late]))
        assert not files_with(place / "b", b"SECRET")
        assert [one.reason for one in await b.journal.read(quarantine.entries)] == ["late", "kept"]
    assert_sound(place / "b" / "b.db")


async def _copy(replica: Replica, event: EventId, json: bytes) -> None:
    """Write another's event again, as an honest replica never does."""
    name = replica.context("a/b").name
    from weft_engine.records.identity import client_id
    from weft_engine.yjs.encoder import encode_event_append

    clock = await replica.scribe.settled_clock(name)
    client = client_id(replica.scribe.incarnation, name)
    payload = encode_event_append(client, clock, [(event, json)]).payload
    await replica.scribe.append_update(name, payload, 1)


# ---- rights, and the command line -------------------------------------------------------------


async def test_who_may_erase_what_at_a_relay(tmp_path: Path) -> None:
    key = tmp_path / "key"
    make_key_file(key)

    def token(*rights: str) -> str:
        return mint(read_keys(key), prefixes=[""], rights=rights, expires_s=None, now_s=0)

    with running_relay(tmp_path / "relay", key=key) as relay:
        writer = token("read", "write")
        # Its own events it may erase, those of an earlier session by their proofs.
        async with weft.open(tmp_path / "a.db") as store:
            (own,) = await store.context("a/b").append("mine SECRET1")
            await store.context("a/b").note("plan").append("SECRET2")
            link = store.connect(relay.url, token=writer)
            await link.synced(timeout=20, received=True)
        (tmp_path / "a.db.lease").unlink()  # so it goes on as somebody new
        async with weft.open(tmp_path / "a.db") as store:
            link = store.connect(relay.url, token=writer)
            (row,) = await store.context("a/b").erase(event=own, reason="mine")
            assert row.by.hex() != own[17:]
            await link.synced(timeout=20, received=True)
            await until(lambda: _confirmed(store, 2))
            # A note it may not.
            await store.context("a/b").erase(note="plan", reason="no right")
            with pytest.raises(weft.LinkRefused, match=r"note 'plan'.*admin"):
                await link.synced(timeout=20)
        assert files_with(tmp_path / "relay", b"SECRET2")
        async with weft.open(tmp_path / "b.db") as store:
            link = store.connect(relay.url, token=writer)
            await link.synced(timeout=20, received=True)
            (other,) = await store.context("a/b").append("another's SECRET3")
            await link.synced(timeout=20)
        async with weft.open(tmp_path / "c.db") as store:
            link = store.connect(relay.url, token=writer)
            await link.synced(timeout=20, received=True)
            await store.context("a/b").erase(event=other, reason="not mine")
            with pytest.raises(weft.LinkRefused, match="events of others"):
                await link.synced(timeout=20)
            # With the right, all of it is taken.
            link = store.connect(relay.url, token=token("read", "append", "admin"))
            await link.synced(timeout=20)
            await store.context("a/b").erase(everything=True, reason="all")
            await link.synced(timeout=20)
            await until(lambda: _confirmed(store, 2))
        assert not files_with(tmp_path / "relay", b"SECRET")


async def _confirmed(store: weft.Store, stores: int) -> bool:
    return all(len(row.confirmed) >= stores for row in await store.erasures())


def test_the_command_line_erases_and_lists(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    event = run_weft("append", "a/b", "SECRET1", "--store", store).out.strip()
    run_weft("append", "a/b", "SECRET2", "--store", store)
    where = ("a/b", "--store", store, "--reason", "private")
    done = run_weft("erase", *where, "--event", event, "--json")
    assert done.code == 0
    (row,) = done.json()
    assert (row["events"], row["done"], row["reason"]) == ([event], True, "private")
    assert not files_with(tmp_path, b"SECRET1")
    refused = run_weft("erase", *where, "--everything")
    assert refused.code == 1
    assert "--yes" in refused.err
    assert files_with(tmp_path, b"SECRET2")
    assert run_weft("erase", *where, "--everything", "--yes").code == 0
    assert not files_with(tmp_path, b"SECRET")
    listed = run_weft("erasures", "--store", store)
    assert listed.code == 0
    assert event in listed.out
    assert "everything, done here, confirmed by 1: private" in listed.out
    assert [
        one["everything"] for one in run_weft("erasures", "--store", store, "--json").json()
    ] == [False, True]
    assert run_weft("verify", "--store", store).code == 0
    absent = run_weft("erase", "--store", tmp_path / "no.db", *where[2:], "--note", "x")
    assert (absent.code, (tmp_path / "no.db").exists()) == (1, False)


async def test_verify_finds_what_is_left_and_what_was_altered(place: Path) -> None:
    path = place / "a" / "a.db"
    async with open_in(place, "a") as replica:
        chat = replica.context("a/b")
        ids = await chat.append(["one", "SECRET", "three"])
        (original,) = [one.record.payload for one in await all_records(replica)]
        await chat.erase(event=ids[1], reason="x")
        stand_in = (await all_records(replica))[0].record.payload
    for payload, flags, what in (
        (original, 2, "erased"),
        (original, 0, "still in it"),
        (stand_in, 0, "not the one its envelope names"),
        (stand_in.replace(b"three", b"THREE"), 2, "no eraser beside it"),
    ):
        with opened(path) as connection:
            connection.execute(
                "UPDATE records SET payload = ?, flags = ? WHERE position = 1", (payload, flags)
            )
        findings = [one.what for one in verify(path, progress=lambda *_: None).findings]
        assert any(what in found for found in findings), (what, findings)


# ---- hostile peers --------------------------------------------------------------------------


class Erased:
    """What an honest replica sends of a context in which one event of three was erased."""

    records: list[Record]
    items: list[SignatureItem]
    eraser: Record

    @property
    def beside(self) -> tuple[bytes, bytes, SignatureItem]:
        item = next(i for i in self.items if i.tip == self.eraser.hash)
        return (self.eraser.envelope_bytes, self.eraser.payload, item)

    @property
    def erasure(self) -> Erasure:
        return decode_erasure(self.eraser.payload, self.eraser.envelope.origin)


@pytest.fixture
async def sent(place: Path) -> Erased:
    found = Erased()
    async with open_in(place, "source") as source:
        chat = source.context("a/b")
        ids = await chat.append(["one", "SECRET", "three"])
        await chat.erase(event=ids[1], reason="x")
        stored = await all_records(source)
        found.records = [one.record for one in stored]
        found.items = await source.signature_items(stored)
        found.eraser = found.records[-1]
    return found


async def offer(place: Path, message: Records) -> tuple[Bye | None, set[bytes]]:
    """What a replica says to a message, and which records it holds then."""
    async with open_in(place, "victim") as victim:
        ours, theirs = pipe(frames_max=64)
        running = asyncio.create_task(Link(ours, victim).run())
        hello = Hello(
            FORMAT_VERSION, b"\x07" * 16, bytes(8), None, 0, EVERYTHING, Window(64, 1 << 20)
        )
        for frame in (hello, Contexts((), True), message):
            await theirs.send(encode(frame))
        answer = await _until_answer(theirs)
        theirs.cut()
        await running
        held = {bytes(hash_) for hash_ in hashes(victim.path)}
    return answer, held


async def _until_answer(end: PipeEnd) -> Bye | None:
    async with asyncio.timeout(20):
        while (frame := await end.receive()) is not None:
            message = decode_frame(frame)
            if isinstance(message, Bye):
                return message
            if type(message).__name__ == "Ack":
                return None
    return None


def message(
    sent: Erased,
    *,
    payload: bytes | None = None,
    erasers: tuple[tuple[bytes, bytes, SignatureItem], ...] | None = None,
) -> Records:
    first, *rest = sent.records
    records = [(first.envelope_bytes, first.payload if payload is None else payload)]
    records += [(one.envelope_bytes, one.payload) for one in rest]
    return Records(
        1,
        None,
        tuple(records),
        tuple(sent.items),
        (sent.beside,) if erasers is None else erasers,
    )


async def test_an_honest_stand_in_is_taken(place: Path, sent: Erased) -> None:
    bye, held = await offer(place, message(sent))
    assert bye is None
    assert held == {record.hash for record in sent.records}
    async with open_in(place, "victim") as victim:
        await victim.erasing.done()
        assert await said(victim.context("a/b")) == ["one", "three"]
    assert_sound(place / "victim" / "victim.db")


async def test_a_stand_in_may_come_long_before_its_eraser(place: Path, sent: Erased) -> None:
    """The link breaks in between: the store is sound, and can send on what it has."""
    whole = message(sent)
    first = replace(whole, records=whole.records[:1], items=())
    async with open_in(place, "source") as source:
        stored = (await all_records(source))[:1]
        first = replace(first, items=tuple(await _sign(source, stored[0].record)))
    bye, held = await offer(place, first)
    assert (bye, held) == (None, {sent.records[0].hash})
    assert_sound(place / "victim" / "victim.db")
    async with open_in(place, "victim") as victim, open_in(place, "next") as after:
        async with linked(victim, after) as link:
            await link.settled()
        assert await said(after.context("a/b")) == ["one", "three"]
        async with open_in(place, "source") as source, linked(source, after) as link:
            await link.settled()
        assert [row.is_done for row in await after.erasing.all()] == [True]
    assert_sound(place / "next" / "next.db")


async def _sign(source: Replica, record: Record) -> list[SignatureItem]:
    return [(await source.scribe.keys())[record.envelope.origin].sign(record.hash)]


async def test_altered_stand_ins_are_refused_and_nothing_is_stored(
    place: Path, sent: Erased
) -> None:
    payload = sent.records[0].payload
    other = Anatomy.of(payload)
    altered = payload.replace(b"three", b"THREE")
    assert altered != payload
    wrong = {
        "altered": message(sent, payload=altered),
        "another event gone": message(sent, payload=other.without([0, 1])),
        "no eraser": message(sent, erasers=()),
        "an eraser that nobody signed": message(
            sent,
            erasers=((*sent.beside[:2], replace(sent.beside[2], signature=bytes(64))),),
        ),
        "an item of another record": message(
            sent, erasers=((*sent.beside[:2], replace(sent.beside[2], tip=sent.records[0].hash)),)
        ),
        "an eraser without signature of its own": replace(
            message(sent), items=tuple(i for i in sent.items if i.tip != sent.eraser.hash)
        ),
        "a record that is no eraser": message(
            sent,
            erasers=((sent.records[0].envelope_bytes, payload, sent.beside[2]),),
        ),
    }
    for name, wrong_message in wrong.items():
        bye, held = await offer(place, wrong_message)
        assert bye is not None, name
        assert bye.code in ("record", "malformed"), (name, bye)
        assert bye.reason, name
        assert held == set(), name


async def test_erasers_with_wrong_digests_or_forged_proofs_are_refused(
    place: Path, sent: Erased
) -> None:
    erasure = sent.erasure
    (hash_,) = erasure.records
    lied = replace(erasure.records[hash_], digest=bytes(32))
    mallory = _Mallory()
    wrong = {
        "is wrong about the record": replace(erasure, records={hash_: lied}),
        "lists another": replace(erasure, records={}, note=None),
    }
    altered = sent.records[0].payload.replace(b"three", b"THREE")
    for name, said_wrong in wrong.items():
        record, item = mallory.eraser(sent, said_wrong)
        beside = ((record.envelope_bytes, record.payload, item),)
        bye, held = await offer(place, message(sent, payload=altered, erasers=beside))
        assert bye is not None, name
        assert bye.code == "record", name
        assert held == set(), name
    forged = replace(
        erasure,
        proofs=(mallory.forged_proof(erasure.events[0]),),
    )
    record, item = mallory.eraser(sent, forged)
    bye, held = await offer(
        place,
        Records(
            1,
            None,
            (*message(sent).records, (record.envelope_bytes, record.payload)),
            (*sent.items, item),
            (sent.beside,),
        ),
    )
    assert bye is not None
    assert "proof" in bye.reason
    assert held == set()


class _Mallory:
    def __init__(self) -> None:
        from weft_engine.records.identity import WriterKey

        self.key = WriterKey(b"m" * 32)

    def eraser(self, sent: Erased, erasure: Erasure) -> tuple[Record, SignatureItem]:
        from weft_engine.names import Hlc
        from weft_engine.records.digest import payload_digest
        from weft_engine.records.envelope import Envelope, Kind, seal

        payload = erasure.encode()
        envelope = Envelope(
            sent.eraser.envelope.context,
            self.key.incarnation,
            1,
            None,
            (sent.eraser.hash,),
            Hlc(sent.eraser.envelope.hlc + 1),
            Kind.ERASE,
            payload_digest(payload),
        )
        record = seal(envelope, payload)
        return record, self.key.sign(record.hash)

    def forged_proof(self, event: EventId):  # type: ignore[no-untyped-def]
        from weft_engine.records.erasure import prove

        return prove(self.key.seed, event, self.key.incarnation)


async def test_a_record_erased_in_part_and_then_wholly_is_sound(place: Path) -> None:
    """Its blank has fewer structs than the first eraser lists."""
    async with open_in(place, "a") as replica:
        chat = replica.context("a/b")
        ids = await chat.append([f"{number}" for number in range(5)])
        await chat.erase(event=ids[4], reason="test")
        await chat.erase(everything=True, reason="test")
    assert_sound(place / "a" / "a.db")

"""One replica with a real file: what it promises to the application that embeds it."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores import Clock, all_records, folder, give, hashes, open_replica
from weft_engine.document.document import Document
from weft_engine.errors import (
    CallerError,
    InvalidMessage,
    LimitExceeded,
    MissingRecords,
    NotFound,
    StoreClosed,
    StoreError,
    StoreLocked,
)
from weft_engine.formats.openai_chat import Conversation, import_conversation
from weft_engine.limits import DEPS_MAX, SEEN_MAX
from weft_engine.names import EventId, context_name
from weft_engine.replica import replica as replica_module
from weft_engine.replica.replica import Replica
from weft_engine.views.policies import LastN
from weft_engine.views.receipt import Receipt


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as found:
        yield found


def grown(messages: int) -> Conversation:
    texts = []
    for index in range(messages):
        match index % 4:
            case 0:
                texts.append(f'{{"role":"user","content":"question {index}"}}')
            case 1:
                texts.append(
                    '{"content":null,"role":"assistant","tool_calls":[{"id":"c1","type":"function",'
                    '"function":{"name":"look","arguments":"{}"}}]}'
                )
            case 2:
                texts.append(
                    '{"role":"tool","tool_call_id":"c1","name":"look","content":"found it"}'
                )
            case _:
                texts.append(f'{{"content":"answer {index}","role":"assistant"}}')
    return Conversation("file", tuple(texts))


async def texts(replica: Replica, name: str) -> list[str]:
    return await replica.context(name).export()


@pytest.mark.parametrize("ahead", [True, False])
async def test_events_are_indexed_ahead_or_when_they_are_read(place: Path, ahead: bool) -> None:
    path = place / "s.db"
    async with Replica.open(
        path, now_ms=Clock(), random=os.urandom, indexes_ahead=ahead
    ) as replica:
        await replica.context("a/b").append("hello")
    async with open_replica(path, readonly=True) as replica:
        state = await replica.state(context_name("a/b"))
        assert state is not None
        assert (state.projected == state.position) == ahead
    async with Replica.open(
        path, now_ms=Clock(), random=os.urandom, indexes_ahead=ahead
    ) as replica:
        assert len(await replica.context("a/b").page()) == 1
        state = await replica.state(context_name("a/b"))
        assert state is not None
        assert state.projected == state.position


async def test_what_was_appended_is_there_after_reopening(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        (first,) = await replica.context("a/b").append("hello")
        await replica.context("a/c").append("other")
    async with open_replica(place / "s.db", readonly=True) as replica:
        page = await replica.context("a/b").page()
        assert [said.id for said in page] == [first]
        assert [state.name for state in await replica.contexts("a/")] == ["a/b", "a/c"]
        assert [state.name for state in await replica.contexts("a/", after="a/b")] == ["a/c"]
        assert await replica.contexts("b") == []


async def test_a_context_that_is_only_named_leaves_no_trace(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("never")
        assert await chat.page() == []
        assert (await chat.view()).openai() == []
        assert await chat.frontier() == ()
        assert await replica.contexts() == []


async def test_events_written_together_share_a_record_and_its_fate(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("c")
        with pytest.raises(InvalidMessage, match=r"\$\.role"):
            await chat.append(["fine", {"role": "pilot", "content": "not a role"}])
        assert await chat.page() == []
        ids = await chat.append(["one", "two", "three"])
        assert len(ids) == 3
        assert len(await all_records(replica)) == 1


async def test_too_large_an_event_is_refused_and_the_chain_goes_on(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("c")
        await chat.append("before")
        with pytest.raises(LimitExceeded, match="EVENT_BYTES_MAX"):
            await chat.append("x" * 9_000_000)
        await chat.append("after")
        assert [r.record.envelope.seq for r in await all_records(replica)] == [1, 2]


async def test_after_a_clean_close_the_incarnation_goes_on(place: Path) -> None:
    for _ in range(2):
        async with open_replica(place / "s.db", seed=len(hashes_or_none(place))) as replica:
            await replica.context("c").append("hi")
    async with open_replica(place / "s.db", readonly=True) as replica:
        records = [stored.record.envelope for stored in await all_records(replica)]
    assert len({envelope.origin for envelope in records}) == 1
    assert [envelope.seq for envelope in records] == [1, 2]
    assert [len(envelope.deps) for envelope in records] == [0, 0]


def hashes_or_none(place: Path) -> set[bytes]:
    path = place / "s.db"
    return set(hashes(path)) if path.exists() else set()


async def test_a_second_writer_is_told_who_writes(place: Path) -> None:
    import os

    async with open_replica(place / "s.db") as replica:
        await replica.context("c").append("hi")
        with pytest.raises(StoreLocked) as caught:
            open_replica(place / "s.db")
        assert caught.value.pid == os.getpid()
        async with open_replica(place / "s.db", readonly=True) as reader:
            assert await texts(reader, "c") == ['{"role":"user","content":"hi"}']
            with pytest.raises(StoreClosed, match="reading only"):
                await reader.context("c").append("no")


async def test_a_full_disk_loses_nothing_and_heals(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("c")
        await chat.append("before")

        def fill(connection: sqlite3.Connection) -> None:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages}")

        def make_room(connection: sqlite3.Connection) -> None:
            connection.execute("PRAGMA max_page_count = 1000000")

        await replica.journal.write(fill)
        results = await asyncio.gather(
            *(chat.append(f"{n} " + "x" * 20_000) for n in range(8)), return_exceptions=True
        )
        assert all(isinstance(result, StoreError) for result in results)
        assert "full" in str(results[0])
        with pytest.raises(StoreError):
            await chat.append("y" * 20_000)
        assert len(await chat.page()) == 1
        await replica.journal.write(make_room)
        await chat.append("after")
        view = await chat.view()
        assert [m["content"] for m in view.openai()] == ["before", "after"]
    async with open_replica(place / "s.db", readonly=True) as replica:
        records = [stored.record.envelope for stored in await all_records(replica)]
        held = hashes(place / "s.db")
        assert all(parent in held for envelope in records for parent in envelope.parents)
        assert len({(e.origin, e.seq) for e in records}) == len(records)


async def test_giving_up_on_an_append_does_not_undo_it(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("c")
        await chat.append("first")
        await chat.view()
        task = asyncio.create_task(chat.append("second"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await chat.append("third")
        view = await chat.view()
        said = [m["content"] for m in view.openai()]
        assert said in (["first", "second", "third"], ["first", "third"])
        assert len(await chat.page()) == len(said)


async def test_own_writes_depend_on_what_was_received(place: Path) -> None:
    async with open_replica(place / "a.db") as a, open_replica(place / "b.db") as b:
        await a.context("c").append("from a")
        await b.context("c").append("from b")
        await give(a, b)
        assert len(await b.context("c").frontier()) == 2
        await b.context("c").append("after both")
        assert len(await b.context("c").frontier()) == 1


async def test_importing_twice_and_importing_a_grown_file_doubles_nothing(place: Path) -> None:
    async with open_replica(place / "a.db") as a, open_replica(place / "b.db") as b:
        for count, new in ((6, 6), (6, 0), (11, 5), (4, 0)):
            messages = import_conversation(grown(count))
            assert await a.context("file").import_messages(messages) == new
        assert await b.context("file").import_messages(import_conversation(grown(11))) == 11
        await give(a, b)
        await give(b, a)
        expected = list(grown(11).messages)
        assert await texts(a, "file") == await texts(b, "file") == expected
        left, right = await a.context("file").view(), await b.context("file").view()
        assert left.fingerprint == right.fingerprint
        assert len(left.openai()) == 11


async def test_two_devices_that_configure_different_things_both_get_their_way(place: Path) -> None:
    clock = Clock()
    async with open_replica(place / "a.db", clock=clock) as a:
        async with open_replica(place / "b.db", clock=clock) as b:
            assert await a.context("c").configure(budget=9_000, policy=LastN(50))
            assert not await a.context("c").configure(budget=9_000)
            await give(a, b)
            await a.context("c").configure(budget=20_000)
            await b.context("c").configure(policy=LastN(7))
            await give(a, b)
            await give(b, a)
            for replica in (a, b):
                settings = await replica.context("c").settings()
                assert settings.budget == 20_000
                assert settings.policy == LastN(7).choice()


async def test_notes_merge_letter_by_letter(place: Path) -> None:
    async with open_replica(place / "a.db") as a, open_replica(place / "b.db") as b:
        ours, theirs = a.context("c").note("plan"), b.context("c").note("plan")
        await ours.append("buy 😀 milk")
        await give(a, b)
        await ours.insert(4, "é")
        await theirs.delete(6, 4)
        await theirs.append("tea")
        await a.context("c").append("an event between two edits")
        await ours.append("!")
        await give(a, b)
        await give(b, a)
        assert await ours.text() == await theirs.text()
        assert set("é!tea") <= set(await ours.text())
        with pytest.raises(InvalidMessage, match="outside note"):
            await ours.delete(100, 1)
        with pytest.raises(InvalidMessage, match="surrogate"):
            await ours.append("\ud800")
        await ours.append(".")
    async with open_replica(place / "a.db", readonly=True) as fresh:
        assert (await fresh.context("c").note("plan").text()).endswith(".")


async def test_history_pages_in_both_directions(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("c")
        ids = [(await chat.append(f"m{n}"))[0] for n in range(450)]
        assert [said.id async for said in chat.history()] == ids
        assert [said.id async for said in chat.history(newest_first=True)] == ids[::-1]
        assert [said.id async for said in chat.history(after=ids[440])] == ids[441:]
        assert [said.id async for said in chat.history(before=ids[3])] == ids[2::-1]
        assert [said.id for said in await chat.page(newest=True, limit=2)] == ids[-2:]
        with pytest.raises(NotFound):
            await chat.page(after=EventId("f" * 16 + ids[0][16:]))


async def test_a_receipt_replays_after_more_was_said(place: Path) -> None:
    async with open_replica(place / "a.db") as a, open_replica(place / "b.db") as b:
        chat = a.context("c")
        await chat.append({"role": "system", "content": "Be brief."})
        for number in range(30):
            await chat.append(f"question {number}")
            view = await chat.view(budget=400)
            await chat.append({"content": f"answer {number}", "role": "assistant"}, view=view)
        view = await chat.view(budget=300, trace_id="call-7")
        receipt = Receipt.from_json(view.receipt.to_json())
        await chat.append("much later")
        await chat.configure(budget=5_000)
        again = await chat.replay(receipt)
        assert again.openai() == view.openai()
        with pytest.raises(MissingRecords):
            await b.context("c").replay(receipt)
        await give(a, b)
        assert (await b.context("c").replay(receipt)).openai() == view.openai()
        assert await a.receipts.find("call-7") == receipt
    async with open_replica(place / "a.db", readonly=True) as fresh:
        assert await fresh.receipts.find("call-7") == receipt
        with pytest.raises(NotFound, match="call-8"):
            await fresh.receipts.find("call-8")


async def test_a_result_answers_the_nearest_waiting_call_of_its_id(place: Path) -> None:
    call = {
        "content": None,
        "role": "assistant",
        "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        ],
    }
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("c")
        for answer in ("one", "two"):
            await chat.append(call)
            await chat.append({"role": "tool", "tool_call_id": "c", "content": answer})
        await chat.append({"role": "tool", "tool_call_id": "c", "content": "nobody asked"})
        said = (await chat.view()).openai()
        assert [m["role"] for m in said] == ["assistant", "tool", "assistant", "tool", "user"]
        assert [m["content"] for m in said[1:4:2]] == ["one", "two"]


async def test_watching_sees_own_and_received_events(place: Path) -> None:
    async with open_replica(place / "a.db") as a, open_replica(place / "b.db") as b:
        chat = b.context("c")
        changes = chat.watch()
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        (own,) = await chat.append("own")
        assert (await waiting).events == (own,)
        received = await a.context("c").append(["x", "y"])
        await give(a, b)
        assert list((await anext(changes)).events) == received
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        await b.close()
        with pytest.raises(StopAsyncIteration):
            await waiting


async def test_a_wide_frontier_is_tied_together(place: Path) -> None:
    wide = SEEN_MAX + DEPS_MAX + 10
    async with open_replica(place / "a.db") as target:
        chat = target.context("c")
        for number in range(wide):
            path = place / f"w{number}.db"
            async with open_replica(path) as one:
                await one.context("c").append(f"{number}")
                await give(one, target)
            path.unlink()
        assert len(await chat.frontier()) == wide
        view = await chat.view()
        await chat.append({"content": "saw it all", "role": "assistant"}, view=view)
        assert len(await chat.frontier()) == 1
        assert len(await chat.page(limit=1000)) == 1000


async def test_a_view_of_another_context_is_no_answer_here(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        view = await replica.context("a").view()
        with pytest.raises(CallerError, match="'a'"):
            await replica.context("b").append({"content": "x", "role": "assistant"}, view=view)


async def test_a_closed_store_says_so(place: Path) -> None:
    replica = open_replica(place / "s.db")
    await replica.context("c").append("x")
    await replica.close()
    with pytest.raises(StoreClosed):
        await replica.context("c").append("y")
    with pytest.raises(StoreClosed):
        await replica.contexts()
    await replica.close()


async def test_documents_of_notes_that_were_long_unused_are_let_go_of(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_module, "_RESIDENT_MAX", 2)
    async with open_replica(place / "s.db") as replica:
        for number in range(5):
            await replica.context(f"c/{number}").note("n").append(f"note {number}")
        gc.collect()
        assert sum(isinstance(one, Document) for one in gc.get_objects()) == 2
        for number in range(5):
            await replica.context(f"c/{number}").note("n").append("!")
            assert await replica.context(f"c/{number}").note("n").text() == f"note {number}!"

"""Streams with real replicas and files: they grow everywhere, survive, and end as one event."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path

import pycrdt
import pytest

from tests.command_line import opened
from tests.erasing import files_with, linked
from tests.stores import all_records, folder, give, open_replica
from tests.streaming import abandon, forget
from weft_engine.errors import CallerError, InvalidMessage, LimitExceeded, NotFound, StoreClosed
from weft_engine.events.event import Interrupted, Message, Role
from weft_engine.events.part import Call, Text
from weft_engine.events.streams import text_of
from weft_engine.limits import STREAM_GATHER_S
from weft_engine.records.envelope import Kind
from weft_engine.replica.context import Context
from weft_engine.replica.replica import Replica
from weft_engine.replica.stream import Stream
from weft_engine.storage.verify import verify

NAME = "acme/chat"


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as found:
        yield found


def at(place: Path, name: str, seed: int = 0) -> Replica:
    (place / name).mkdir(exist_ok=True)
    return open_replica(place / name / f"{name}.db", seed=seed)


async def shown(chat: Context) -> list[tuple[str, str]]:
    """(role, text) of the reading order."""
    found = []
    async for said in chat.history():
        assert isinstance(said.event.body, Message)
        found.append((said.event.body.role.value, text_of(said.event.body.parts)))
    return found


async def same(a: Replica, b: Replica, name: str = NAME) -> list[tuple[str, str]]:
    """What both show, whole index and order."""
    left, right = a.context(name), b.context(name)
    assert await left.fingerprint() == await right.fingerprint()
    assert [(s.id, s.event) async for s in left.history()] == [
        (s.id, s.event) async for s in right.history()
    ]
    assert (await left.view(budget=4000)).openai() == (await right.view(budget=4000)).openai()
    assert await left.streams() == await right.streams()
    return await shown(left)


async def break_off(stream: Stream, *said: str | Call) -> None:
    """Stream it and fail."""
    async with stream as s:
        for one in said:
            await (s.write(one) if isinstance(one, str) else s.add(one))
        await s.flush()
        raise ZeroDivisionError


def sound(path: Path) -> None:
    assert verify(path, progress=lambda *_: None).findings == ()


async def test_a_stream_becomes_one_message_under_its_id(place: Path) -> None:
    async with at(place, "a") as a:
        chat = a.context(NAME)
        await chat.append("Hi")
        view = await chat.view(budget=4000)
        async with chat.stream(view=view) as s:
            for delta in ("Hel", "lo ", "there"):
                await s.write(delta)
            assert s.text == "Hello there"
        assert await shown(chat) == [("user", "Hi"), ("assistant", "Hello there")]
        (_, said) = [one async for one in chat.history()]
        assert said.id == s.id
        assert said.event.seen == view.cut
        assert not said.is_interrupted
        assert await chat.streams() == []
        assert (await chat.view(budget=4000)).openai()[-1]["content"] == "Hello there"
        assert await chat.problems() == []
        assert [one.id async for one in chat.events()][-1] == s.id
    sound(a.path)


async def test_it_is_listed_while_it_grows_and_in_no_view(place: Path) -> None:
    async with at(place, "a") as a, at(place, "b") as b:
        chat = a.context(NAME)
        await chat.append("Hi")
        async with chat.stream(author="bot") as s:
            await s.write("so ")
            await s.write("far")
            await s.flush()
            await give(a, b)
            assert await same(a, b) == [("user", "Hi")]
            (one,) = await b.context(NAME).streams()
            assert (one.id, one.text, one.author, one.role) == (
                s.id,
                "so far",
                "bot",
                Role.ASSISTANT,
            )
            assert one.started_ms <= one.grown_ms
            await s.write(" and further")
            await s.flush()
            await give(a, b)
            (one,) = await b.context(NAME).streams()
            assert one.text == "so far and further"
        await give(a, b)
        assert (await same(a, b))[-1] == ("assistant", "so far and further")
    sound(a.path)
    sound(b.path)


async def test_what_is_written_comes_on_disk_without_flush(place: Path) -> None:
    async with at(place, "a") as a:
        chat = a.context(NAME)
        async with chat.stream() as s:
            await s.write("x")
            async with asyncio.timeout(30):
                while not (found := await chat.streams()) or found[0].text != "x":  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            before = (await a.state(chat.name)).records  # type: ignore[union-attr]
            began_s = asyncio.get_running_loop().time()
            for _ in range(200):
                await s.write("token ")
            await s.flush()
            took_s = asyncio.get_running_loop().time() - began_s
            after = (await a.state(chat.name)).records  # type: ignore[union-attr]
            assert after - before <= 3 + took_s / STREAM_GATHER_S
            for _ in range(40):
                await s.write("y" * 8192)
            assert s._waiting_bytes <= 256 * 1024 + 8192


async def test_an_exception_leaves_what_there_was_and_goes_on(place: Path) -> None:
    async with at(place, "a") as a, at(place, "b") as b:
        chat = a.context(NAME)
        await chat.append("Hi")
        s = chat.stream(author="bot", name="bot")
        with pytest.raises(ZeroDivisionError):
            await break_off(s, "Half an ans", Call("c1", "look", "{}"))
        assert await shown(chat) == [("user", "Hi"), ("assistant", "Half an ans")]
        (_, said) = [one async for one in chat.history()]
        assert (said.id, said.is_interrupted, said.event.author) == (s.id, True, "bot")
        assert said.event.body == Message(
            Role.ASSISTANT, (Text("Half an ans"), Call("c1", "look", "{}")), "bot"
        )
        events = [one.event.body async for one in chat.events()]
        assert [type(body) for body in events] == [Message, Interrupted]
        await chat.append("Go on")
        await give(a, b)
        assert len(await same(a, b)) == 3
        # Its call is answered as pending calls are: no view is invalid.
        roles = [m["role"] for m in (await chat.view(budget=4000)).openai()]
        assert roles == ["user", "assistant", "tool", "user"]
    sound(a.path)


async def test_a_cancelled_task_leaves_what_there_was(place: Path) -> None:
    async with at(place, "a") as a:
        chat = a.context(NAME)

        written = asyncio.Event()

        async def generate() -> None:
            async with chat.stream() as s:
                await s.write("part")
                written.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(generate())
        await written.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await shown(chat) == [("assistant", "part")]


async def test_an_empty_stream_leaves_nothing(place: Path) -> None:
    async with at(place, "a") as a, at(place, "b") as b:
        chat = a.context(NAME)
        await chat.append("Hi")
        async with chat.stream():
            pass
        with pytest.raises(ZeroDivisionError):
            await break_off(chat.stream(), "")
        await give(a, b)
        assert await same(a, b) == [("user", "Hi")]
        assert await chat.streams() == []
    sound(a.path)


async def test_a_store_that_closes_ends_its_streams(place: Path) -> None:
    async with at(place, "a") as a:
        stream = a.context(NAME).stream()
        await stream.__aenter__()
        await stream.write("so far")
    with pytest.raises(StoreClosed):
        await stream.write("more")
    with pytest.raises(StoreClosed):
        await stream.__aexit__(None, None, None)
    async with at(place, "a", 1) as again:
        assert again.journal.streams_left == []
        assert await shown(again.context(NAME)) == [("assistant", "so far")]
        assert await again.context(NAME).streams() == []


@pytest.mark.parametrize("is_leaving", [False, True])
async def test_who_flushes_or_leaves_while_another_one_interrupts_is_told(
    place: Path, is_leaving: bool
) -> None:
    async with at(place, "a") as a:
        stream = a.context(NAME).stream()
        await stream.__aenter__()
        await stream.write("so far")
        await stream.flush()
        interrupting = asyncio.create_task(stream.interrupt())
        while not stream._writing.locked():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0)
        await stream.write(" and more")
        with pytest.raises(CallerError, match="was interrupted"):
            await (stream.__aexit__(None, None, None) if is_leaving else stream.flush())
        told = await interrupting
        assert await shown(a.context(NAME)) == [("assistant", "so far")]
        assert [one.id async for one in a.context(NAME).events()] == [told]


async def test_what_a_crash_broke_off_is_ended_at_the_next_open(place: Path) -> None:
    async with at(place, "a") as a, at(place, "b") as b:
        await a.context(NAME).append("Hi")
        id_ = await abandon(a.context(NAME), "some", " text")
        await give(a, b)
    async with at(place, "a", 1) as a, at(place, "b", 1) as b:
        said = [one async for one in a.context(NAME).history()]
        assert (said[-1].id, said[-1].is_interrupted) == (id_, True)
        (open_there,) = await b.context(NAME).streams()
        assert open_there.text == "some text"
        await give(a, b)
        assert await same(a, b) == [("user", "Hi"), ("assistant", "some text")]
    async with at(place, "a", 2) as a:
        assert a.journal.streams_left == []
        assert len([one async for one in a.context(NAME).events()]) == 2
    sound(a.path)


async def test_another_replica_may_interrupt_and_the_message_wins(place: Path) -> None:
    async with at(place, "a") as a, at(place, "b") as b:
        chat, there = a.context(NAME), b.context(NAME)
        await chat.append("Hi")
        async with chat.stream() as s:
            await s.write("one")
            await s.flush()
            await give(a, b)
            told = await there.interrupt(s.id)
            assert told != s.id
            assert await shown(there) == [("user", "Hi"), ("assistant", "one")]
            assert await there.streams() == []
            with pytest.raises(NotFound):
                await there.interrupt(s.id)
            await there.append("Well?")
            await s.write(" two")
            await s.flush()
            await give(b, a)
            await give(a, b)
            assert await same(a, b) == [("user", "Hi"), ("assistant", "one"), ("user", "Well?")]
        assert await shown(chat) == [("user", "Hi"), ("assistant", "one two"), ("user", "Well?")]
        await give(a, b)
        await same(a, b)
    sound(a.path)
    sound(b.path)


async def test_the_longest_of_several_interrupted_counts_whatever_comes_first(place: Path) -> None:
    async with at(place, "a") as a, at(place, "b") as b, at(place, "c") as c:
        id_ = await abandon(a.context(NAME), "one")
        await give(a, b)
        await give(a, c)
        stream = await a.context(NAME).streams()
        assert stream[0].id == id_
        await b.context(NAME).interrupt(id_)
        async with a.context(NAME).stream() as other:
            await other.write("of another")
        # The writer had come further than b knew.
        await give(a, c)
        await c.context(NAME).interrupt(id_)
        await give(b, a)
        await give(c, a)
        await give(c, b)
        await give(a, b)
        await give(b, c)
        await give(a, c)
        first = await same(a, b)
        assert first == await same(b, c)
        assert ("assistant", "one") in first


async def test_a_restored_writer_tells_the_rest_that_others_did_not_know(place: Path) -> None:
    async with at(place, "a") as a, at(place, "b") as b:
        stream = a.context(NAME).stream()
        await stream.__aenter__()
        await stream.write("one")
        await stream.flush()
        await give(a, b)
        await b.context(NAME).interrupt(stream.id)
        await stream.write(" two")
        await stream.flush()
        await give(b, a)
        assert await shown(a.context(NAME)) == [("assistant", "one")]
        forget(a.context(NAME), stream.id)
    async with at(place, "a", 1) as a, at(place, "b", 1) as b:
        assert await shown(a.context(NAME)) == [("assistant", "one two")]
        await give(a, b)
        await give(b, a)
        assert await same(a, b) == [("assistant", "one two")]
    async with at(place, "a", 2) as a:
        assert a.journal.streams_left == []


async def test_two_streams_at_once_and_messages_between_them(place: Path) -> None:
    async with at(place, "a") as a, at(place, "b") as b:
        chat = a.context(NAME)
        await chat.append("Hi")
        async with chat.stream(author="x") as x, chat.stream(author="y") as y:
            for n in range(20):
                await x.write(f"x{n} ")
                await y.write(f"y{n} ")
                if n % 5 == 0:
                    await x.flush()
                    await y.flush()
            assert [one.id for one in await chat.streams()] == [x.id, y.id]
            await chat.append("Meanwhile")
        await give(a, b)
        found = await same(a, b)
        assert sorted(found) == sorted(
            [
                ("user", "Hi"),
                ("assistant", "".join(f"x{n} " for n in range(20))),
                ("assistant", "".join(f"y{n} " for n in range(20))),
                ("user", "Meanwhile"),
            ]
        )
        # Neither had seen what was said meanwhile.
        assert found[-1] == ("user", "Meanwhile")


async def test_a_streamed_answer_is_a_waist_as_an_appended_one_is(place: Path) -> None:
    async with at(place, "a") as a:
        chat = a.context(NAME)
        for n in range(30):
            await chat.append(f"question {n}")
            view = await chat.view(budget=4000)
            async with chat.stream(view=view) as s:
                await s.write(f"answer {n}")
                await s.flush()
        await shown(chat)
        await chat.note("plan").append("x")
        async with chat.stream() as s:
            await s.write("last")
        await shown(chat)
    with opened(a.path) as store:
        ((waists, rows),) = store.execute("SELECT sum(waist), count(*) FROM events").fetchall()
    assert (waists, rows) == (31, 61)
    sound(a.path)


async def test_the_document_keeps_neither_the_pieces_nor_the_text_twice(place: Path) -> None:
    async with at(place, "a") as a:
        chat = a.context(NAME)
        async with chat.stream() as s:
            await s.write("secret text")
            await s.flush()
            live = await document(a)
            assert "secret text" in live.get("streams", type=pycrdt.Map).to_py().values()
            del live
        doc = await document(a)
        assert doc.get("streams", type=pycrdt.Map).to_py() == {}
        assert list(doc.get("events", type=pycrdt.Map)) == [s.id]
        assert doc.get_update().count(b"secret text") == 1
        await chat.note("plan").append("note")
        assert await chat.note("plan").text() == "note"
        assert await chat.kept_out() == []
        await a.context(NAME)._notes.settled()
    gc.collect()
    sound(a.path)


async def document(replica: Replica) -> pycrdt.Doc:  # type: ignore[type-arg]
    doc: pycrdt.Doc = pycrdt.Doc()  # type: ignore[type-arg]
    for stored in await all_records(replica):
        if stored.record.envelope.kind is Kind.NATIVE:
            doc.apply_update(stored.record.payload)
    return doc


async def test_watchers_hear_what_grew(place: Path) -> None:
    async with at(place, "a") as a, at(place, "b") as b:
        chat, there = a.context(NAME), b.context(NAME)
        heard = ""
        ids: set[str] = set()
        more = asyncio.Event()

        async def listen() -> None:
            nonlocal heard
            async for change in there.watch():
                for grown in change.streams:
                    assert grown.text is not None
                    heard += grown.text
                    ids.add(grown.id)
                    more.set()
                if change.events:
                    assert change.events == (s.id,)
                    return

        listening = asyncio.create_task(listen())
        await asyncio.sleep(0)
        async with linked(a, b):
            async with chat.stream() as s:
                said = ""
                for n in range(10):
                    said += f"token{n} "
                    await s.write(f"token{n} ")
                    while heard != said:
                        more.clear()
                        async with asyncio.timeout(10):
                            await more.wait()
            async with asyncio.timeout(10):
                await listening
        assert heard == said
        assert ids == {s.id}
        assert await shown(there) == [("assistant", said)]


async def test_a_growing_stream_does_not_spoil_views(place: Path) -> None:
    async with at(place, "a") as a:
        chat = a.context(NAME)
        await chat.append("Hi")
        before = await chat.view(budget=4000)
        timeline = chat._timeline
        async with chat.stream() as s:
            await s.write("live")
            await s.flush()
            during = await chat.view(budget=4000)
            assert chat._timeline is timeline
            assert during.messages == before.messages


async def test_surrogates(place: Path) -> None:
    async with at(place, "a") as a:
        chat = a.context(NAME)
        async with chat.stream() as s:
            await s.write("a\ud83d")
            await s.flush()
            assert (await chat.streams())[0].text == "a"
            await s.write("\ude00b\udc00c\ud800")
        assert await shown(chat) == [("assistant", "a\U0001f600b\ufffdc\ufffd")]


async def test_a_stream_that_grows_too_large_keeps_what_it_has(place: Path) -> None:
    async with at(place, "a") as a:
        chat = a.context(NAME)
        big = "\x01" * 1_000_000  # six bytes each, as JSON
        with pytest.raises(LimitExceeded):
            await break_off(chat.stream(), *([big] * 10))
        assert await shown(chat) == [("assistant", big)]


async def test_what_it_becomes_can_be_said(place: Path) -> None:
    async with at(place, "a") as a:
        chat = a.context(NAME)
        async with chat.stream() as s:
            await s.write("streamed")
            message = Message(Role.ASSISTANT, (Text("final"), Call("c", "f", "{}")))
            with pytest.raises(InvalidMessage):
                s.finish(Message(Role.USER, (Text("x"),)))
            s.finish(message, tokens=7, provider="p", model="m")
        (said,) = [one async for one in chat.history()]
        assert isinstance(said.event.body, Message)
        assert said.event.body.parts == message.parts
        assert (said.event.body.tokens, said.event.body.via.model) == (7, "m")  # type: ignore[union-attr]
        with pytest.raises(CallerError):
            await s.write("more")
        with pytest.raises(CallerError):
            chat.stream(role="tool")
        with pytest.raises(CallerError):
            await chat.stream().write("x")


async def test_a_retired_writer_loses_nothing(place: Path) -> None:
    async with at(place, "a") as a, at(place, "b") as b:
        chat = a.context(NAME)
        async with chat.stream() as s:
            await s.write("one")
            await s.flush()
            a.scribe.retire()
            await s.write(" two")
            await s.flush()
            assert await shown(chat) == [("assistant", "one two")]
            await s.write(" three")
        await give(a, b)
        assert await same(a, b) == [("assistant", "one two three")]
    sound(a.path)


async def test_what_others_write_into_a_stream_counts_for_nothing(place: Path) -> None:
    async with at(place, "a") as a, at(place, "b") as b:
        chat = a.context(NAME)
        async with chat.stream() as s:
            await s.write("mine")
            await s.flush()
            await give(a, b)
            from weft_engine.replica.scribe import Native, Standpoint
            from weft_engine.yjs.encoder import encode_stream_append

            def forge(at_: Standpoint) -> Native:
                entries = [(f"{s.id}/1", b"forged"), (s.id, b"{}"), ("junk", b"x")]
                return Native(encode_stream_append(at_.client, at_.clock, entries), 3)

            await b.scribe.append_native(chat.name, forge)
            await give(b, a)
            for replica in (a, b):
                (one,) = await replica.context(NAME).streams()
                assert one.text == "mine"
        await give(a, b)
        assert await same(a, b) == [("assistant", "mine")]


async def test_pieces_after_the_end_count_for_nothing(place: Path) -> None:
    async with at(place, "a") as a, at(place, "b") as b:
        chat = a.context(NAME)
        async with chat.stream() as s:
            await s.write("all")
        await s._writer.add(["late"])
        await give(a, b)
        assert await same(a, b) == [("assistant", "all")]
        assert await chat.streams() == []
    sound(a.path)


async def test_many_streams_left_open_are_listed_in_one_go(place: Path) -> None:
    async with at(place, "a") as a:
        chat = a.context(NAME)
        streams = [chat.stream() for _ in range(300)]
        await asyncio.gather(*(s.__aenter__() for s in streams))
        for s in streams:
            await s.write(f"text {s.id}")
        await asyncio.gather(*(s.flush() for s in streams))
        found = await chat.streams()
        assert [(one.id, one.text) for one in found] == sorted(
            (s.id, f"text {s.id}") for s in streams
        )
        assert [one.id for one in await chat.streams(limit=3)] == [one.id for one in found[-3:]]
    async with at(place, "a", 1) as a:
        assert len(await shown(a.context(NAME))) == 300
        assert await a.context(NAME).streams() == []
    sound(a.path)


# ---- erasing --------------------------------------------------------------------------------

SECRET = "unsayable"


@pytest.mark.parametrize("end", ["sealed", "broken", "told twice", "open"])
async def test_nothing_is_left_of_an_erased_stream(place: Path, end: str) -> None:
    async with at(place, "a") as a, at(place, "b") as b:
        chat = a.context(NAME)
        await chat.append("Hi")
        async with linked(a, b) as link:
            if end == "sealed":
                async with chat.stream() as s:
                    await s.write(f"{SECRET} once ")
                    await s.flush()
                    await s.write(f"{SECRET} twice")
                    await s.flush()
                id_ = s.id
            elif end == "broken":
                s = chat.stream()
                with pytest.raises(ZeroDivisionError):
                    await break_off(s, SECRET)
                id_ = s.id
            else:
                id_ = await abandon(a.context(NAME), SECRET)
                await link.settled()
                if end == "told twice":
                    await b.context(NAME).interrupt(id_)
            await link.settled()
            await chat.erase(event=id_, reason="test")
            await link.settled()
        assert await same(a, b) == [("user", "Hi")]
        assert await chat.streams() == []
    for name in ("a", "b"):
        async with at(place, name, 1) as again:
            assert await shown(again.context(NAME)) == [("user", "Hi")]
        assert files_with(place / name, SECRET.encode()) == []
        sound(place / name / f"{name}.db")


async def test_who_tells_of_an_erased_stream_later_is_not_heard(place: Path) -> None:
    async with at(place, "a") as a, at(place, "b") as b:
        chat, there = a.context(NAME), b.context(NAME)
        await chat.append("Hi")
        id_ = await abandon(a.context(NAME), SECRET)
        await give(a, b)
        await there.interrupt(id_)
        await chat.erase(event=id_, reason="test")
        async with linked(a, b) as link:
            await link.settled()
        assert await same(a, b) == [("user", "Hi")]
    for name in ("a", "b"):
        assert files_with(place / name, SECRET.encode()) == []
        sound(place / name / f"{name}.db")


async def test_erasing_the_event_that_tells_of_a_stream_erases_the_stream(place: Path) -> None:
    async with at(place, "a") as a:
        chat = a.context(NAME)
        id_ = await abandon(a.context(NAME), SECRET)
        told = await chat.interrupt(id_)
        await chat.erase(event=told, reason="test")
        assert await shown(chat) == []
        assert await chat.streams() == []
    assert files_with(place / "a", SECRET.encode()) == []


async def test_damage_to_the_list_of_open_streams_is_found(place: Path) -> None:
    async with at(place, "a") as a:
        await abandon(a.context(NAME), "text")
        await a.context(NAME).streams()
    sound(a.path)
    for change in ("DELETE FROM streams", "UPDATE streams SET position = 9 WHERE position = 2"):
        copy = place / "copy.db"
        copy.write_bytes(a.path.read_bytes())
        with opened(copy) as store:
            store.execute(change)
        assert len(verify(copy, progress=lambda *_: None).findings) == 1
        copy.unlink()


async def test_pieces_that_arrive_do_not_spoil_views(place: Path) -> None:
    async with at(place, "a") as a, at(place, "b") as b:
        await a.context(NAME).append("Hi")
        await give(a, b)
        there = b.context(NAME)
        before = await there.view(budget=4000)
        timeline = there._timeline
        async with a.context(NAME).stream() as s:
            await s.write("live")
            await s.flush()
            await give(a, b)
            during = await there.view(budget=4000)
            assert there._timeline is timeline
            assert during.messages == before.messages
            assert during.cut == await there.frontier()
        await give(a, b)
        assert len((await there.view(budget=4000)).messages) == 2


async def test_a_reader_beside_the_writer_sees_it_grow(place: Path) -> None:
    async with at(place, "a") as a:
        chat = a.context(NAME)
        async with chat.stream() as s:
            await s.write("one")
            await s.flush()
            assert (await chat.streams())[0].text == "one"
            await s.write(" two")
            await s.flush()
            async with open_replica(a.path, readonly=True) as reader:
                assert [one.text for one in await reader.context(NAME).streams()] == ["one two"]

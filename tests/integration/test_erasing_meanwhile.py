"""Erasing beside everything else that a replica does: reopening, checkpoints, readers, other
processes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.erasing import files_with, linked, until
from tests.linked import pipe
from tests.stores import all_records, folder, give, open_replica
from weft_engine.errors import StoreClosed, StoreError
from weft_engine.names import ContextName, EventId
from weft_engine.records.identity import client_id
from weft_engine.replica import erasing
from weft_engine.replica.replica import Replica
from weft_engine.storage import checkpoints
from weft_engine.storage.checkpoints import Checkpoint
from weft_engine.sync.driving.link import Link
from weft_engine.sync.driving.transport import Transport
from weft_engine.sync.end.ending import End
from weft_engine.yjs.encoder import encode_event_append

CHAT = ContextName("a/b")


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as found:
        yield found


async def test_a_store_that_is_opened_again_still_knows_what_was_erased(place: Path) -> None:
    path = place / "a.db"
    async with open_replica(path) as replica:
        (event,) = await replica.context(CHAT).append("SECRET")
        await replica.context(CHAT).erase(event=event, reason="private")
    async with open_replica(path, seed=1) as replica:
        async with open_replica(place / "x.db", seed=2) as x:
            await _write_again(x, event)
            await give(x, replica)
        texts = [one.event async for one in replica.context(CHAT).events()]
        assert "SECRET" not in repr(texts)
        assert not [one for one in await all_records(replica) if b"SECRET" in one.record.payload]


async def _write_again(replica: Replica, event: EventId) -> None:
    """Another's event, as an honest replica never does."""
    clock = await replica.scribe.settled_clock(CHAT)
    client = client_id(replica.scribe.incarnation, CHAT)
    payload = encode_event_append(client, clock, [(event, b'{"x":"SECRET"}')]).payload
    await replica.scribe.append_update(CHAT, payload, 1)


async def test_an_erasure_that_the_disk_stops_goes_on_by_itself(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "_RETRY_LAST_S", 0.01)
    path = place / "a.db"
    async with open_replica(path) as replica:
        chat = replica.context(CHAT)
        (event,) = await chat.append("SECRET")
        await _forbid(replica, "OF payload ON records")
        with pytest.raises(StoreError):
            await chat.erase(event=event, reason="private")
        assert [row.is_done for row in await replica.erasing.all()] == [False]
        await _allow(replica)

        async def is_done() -> bool:
            return all(row.is_done for row in await replica.erasing.all())

        await until(is_done)
        assert files_with(place, b"SECRET") == []


async def test_erasing_does_not_say_done_when_the_store_closes_first(place: Path) -> None:
    path = place / "a.db"
    replica = open_replica(path)
    chat = replica.context(CHAT)
    (event,) = await chat.append("SECRET")
    # Somebody reads an older state, so the log can't be cut: the work has to wait.
    reader = sqlite3.connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM records").fetchone()
    erasing_it = asyncio.create_task(chat.erase(event=event, reason="private"))

    async def is_journaled() -> bool:
        return bool(await replica.erasing.all())

    await until(is_journaled)
    await replica.close()
    with pytest.raises(StoreClosed, match="before everything was gone"):
        await erasing_it
    reader.close()
    async with open_replica(path, seed=1) as replica:
        await replica.erasing.done()
        assert files_with(place, b"SECRET") == []


async def test_a_store_whose_erasing_failed_can_be_closed(place: Path) -> None:
    path = place / "a.db"
    async with open_replica(path) as replica:
        chat = replica.context(CHAT)
        (event,) = await chat.append("SECRET")
        await _forbid(replica, "OF payload ON records")
        with pytest.raises(StoreError):
            await chat.erase(event=event, reason="private")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TRIGGER fails")
    async with open_replica(path, seed=1) as replica:
        await replica.erasing.done()
        assert [row.is_done for row in await replica.erasing.all()] == [True]


async def _forbid(replica: Replica, what: str) -> None:
    """From now on the database refuses an update as it does on a disk that fails."""
    await replica.journal.write(
        lambda c: c.execute(
            f"CREATE TRIGGER fails BEFORE UPDATE {what} BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    )


async def _allow(replica: Replica) -> None:
    await replica.journal.write(lambda c: c.execute("DROP TRIGGER fails"))


async def test_no_checkpoint_is_written_while_an_eraser_waits_for_its_work(place: Path) -> None:
    """Made of the records before they are replaced, written behind that: it would stay."""
    async with open_replica(place / "a.db") as replica:
        await replica.context(CHAT).note("plan").append("SECRET")
        state = await replica.state(CHAT)
        assert state is not None

        def save(connection: sqlite3.Connection) -> bool:
            before = checkpoints.erasures(connection, state.id)
            made = Checkpoint(state.position, b"SECRET", {})
            return checkpoints.save(connection, state, made, before)

        def begin(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO erasures VALUES (99, ?, 0)", (state.id,))

        assert await replica.journal.write(save)
        await replica.journal.write(begin)
        assert not await replica.journal.write(save)


async def test_folding_waits_for_an_erasure_that_waited_itself(place: Path) -> None:
    async with open_replica(place / "a.db") as replica:
        projector = replica.projector
        is_paused, may_end, folded = asyncio.Event(), asyncio.Event(), asyncio.Event()
        first = projector.paused(CHAT)
        await first.__aenter__()

        async def erase() -> None:
            async with projector.paused(CHAT):
                is_paused.set()
                await may_end.wait()

        async def fold() -> None:
            await projector.catch_up(CHAT)
            folded.set()

        erasing_ = asyncio.create_task(erase())
        await asyncio.sleep(0)
        await first.__aexit__(None, None, None)
        await is_paused.wait()
        folding = asyncio.create_task(fold())
        await replica.journal.write(lambda _: None)
        await replica.journal.read(lambda _: None)
        await asyncio.sleep(0)
        assert not folded.is_set()
        may_end.set()
        await asyncio.gather(erasing_, folding)


async def test_a_read_only_store_hears_of_what_another_process_erased(place: Path) -> None:
    path = place / "a.db"
    async with open_replica(path) as replica:
        chat = replica.context(CHAT)
        (event,) = await chat.append("SECRET")
        await chat.append("more")
        await chat.note("plan").append("SECRET")
        cut = await chat.frontier()
        async with open_replica(path, readonly=True) as other:
            seen = other.context(CHAT)
            await replica.projector.catch_up(CHAT)
            assert await seen.note("plan").text() == "SECRET"
            assert await seen.at(cut).note("plan").text() == "SECRET"
            assert len([one async for one in seen.at(cut).history()]) == 2
            await chat.erase(event=event, reason="private")
            await chat.erase(note="plan", reason="private")
            assert await seen.note("plan").text() == ""
            assert await seen.at(cut).note("plan").text() == ""
            assert len([one async for one in seen.at(cut).history()]) == 1
            assert len([one async for one in seen.history()]) == 1


async def test_readers_of_the_past_see_what_was_or_what_is_left(place: Path) -> None:
    """Nobody gets bytes of records that were replaced under him."""
    async with open_replica(place / "a.db") as replica:
        chat = replica.context(CHAT)
        ids = [id_ for n in range(40) for id_ in await chat.append(f"SECRET {n:03} " + "x" * 40)]
        cut = await chat.frontier()
        is_done = False

        async def read() -> None:
            while not is_done:
                for said in [one async for one in chat.at(cut).history()]:
                    (part,) = said.event.body.parts  # type: ignore[union-attr]
                    assert part.text.startswith("SECRET")  # type: ignore[union-attr]
                assert len([one async for one in chat.history()]) <= 40

        readers = [asyncio.create_task(read()) for _ in range(3)]
        for id_ in ids[:20]:
            await chat.erase(event=id_, reason="private")
        is_done = True
        await asyncio.gather(*readers)
        await chat.erase(everything=True, reason="private")
        assert [one async for one in chat.at(cut).history()] == []
        assert not replica.projector._counts


async def test_a_read_only_store_is_told_of_confirmations_in_vain(place: Path) -> None:
    """It can keep none of them, and its link goes on all the same."""
    path = place / "a.db"
    async with open_replica(path) as a, open_replica(place / "b.db") as b:
        (event,) = await a.context(CHAT).append("SECRET")
        await a.context(CHAT).erase(event=event, reason="private")
        async with linked(a, b) as link:
            await link.settled()
        async with open_replica(place / "c.db") as c, linked(b, c) as link:
            await link.settled()
        async with open_replica(path, readonly=True) as reader:
            left, right = pipe()
            links = (Link(left, reader), Link(right, b))
            running = [asyncio.create_task(one.run()) for one in links]
            await links[0].until_synced(timeout=20)
            await links[1].until_synced(timeout=20)
            for _ in range(3):  # questions of b that follow: its confirmations have been read
                await b.journal.read(lambda _: None)
                await asyncio.sleep(0.02)
            links[1].close()
            assert {end.code for end in await asyncio.gather(*running)} == {"closed"}


class Overheard:
    """One end of a pipe; `said` is what came out of it."""

    def __init__(self, end: Transport) -> None:
        self._end = end
        self.said = b""

    async def send(self, frame: bytes, /) -> None:
        await self._end.send(frame)

    async def receive(self) -> bytes | None:
        frame = await self._end.receive()
        self.said += frame or b""
        return frame

    async def close(self, code: str, reason: str, /) -> None:
        await self._end.close(code, reason)


async def test_what_was_read_for_links_goes_with_what_is_erased(place: Path) -> None:
    """Who joins after an erasure is sent none of the words, though many joined just before."""
    running: list[asyncio.Task[End]] = []

    async def join(name: str) -> bytes:
        async with open_replica(place / name, seed=len(running) + 1) as joiner:
            left, right = pipe()
            overheard = Overheard(right)
            running.append(asyncio.create_task(Link(left, replica).run()))
            link = Link(overheard, joiner)
            joining = asyncio.create_task(link.run())
            await link.until_synced(timeout=20)
            link.close()
            await joining
            return overheard.said

    async with open_replica(place / "a.db") as replica:
        chat = replica.context(CHAT)
        (event,) = await chat.append("SECRET")
        # So much that what was read first would not be read again for what comes behind it.
        for _ in range(4):
            await chat.append("something else" + "." * 60_000)
        async with open_replica(place / "stays.db", seed=9) as stays, linked(replica, stays) as two:
            await two.settled()
            assert b"SECRET" in await join("early.db")
            assert replica.hub.pages.size > 0
            await chat.erase(event=event, reason="private")
            said = await join("late.db")
            assert b"something else" in said
            assert b"SECRET" not in said
        await asyncio.gather(*running)

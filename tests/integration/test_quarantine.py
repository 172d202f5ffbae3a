"""What a link refuses is kept with its sender and the evidence, whatever the disk says."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeVar

from tests.linked import PipeEnd, Store, pipe, stores
from weft_engine.errors import StoreError
from weft_engine.names import ContextName
from weft_engine.records.digest import record_digest
from weft_engine.records.envelope import Record
from weft_engine.records.identity import SignatureItem
from weft_engine.storage.journal import Identity, SqliteJournal
from weft_engine.storage.ledger import Stored
from weft_engine.storage.quarantine import Refused, entries
from weft_engine.sync.driving.link import Link, LinkStore
from weft_engine.sync.driving.link_store import Journal
from weft_engine.sync.end.ending import End
from weft_engine.sync.framing.frames import encode
from weft_engine.sync.framing.messages import Hello, Records, Window
from weft_engine.sync.interest import EVERYTHING

T = TypeVar("T")
SENDER = b"p" * 16
HELLO = encode(Hello(1, SENDER, b"e" * 8, None, 1, EVERYTHING, Window(8, 1 << 20)))


async def offered(store: LinkStore, *frames: bytes, quota: bytes | None = None) -> End:
    """How a link ends whose peer says this."""
    ours, theirs = pipe()
    link = asyncio.create_task(Link(ours, store, quota=quota).run())
    reader = asyncio.create_task(_drain(theirs))
    for frame in frames:
        await theirs.send(frame)
    end = await asyncio.wait_for(link, 20)
    theirs.cut()
    await reader
    return end


async def _drain(end: PipeEnd) -> None:
    while await end.receive() is not None:
        pass


async def kept(store: Store) -> list[Refused]:
    return await store.journal.read(entries)


def record_in(store: Store) -> Record:
    return store.make(ContextName("acme/chat"), "said", ())


def test_a_record_that_is_not_sound_is_kept_with_its_sender() -> None:
    async def run() -> None:
        async with stores(2) as (store, author):
            good, other = record_in(author), record_in(author)
            records = Records(
                1,
                None,
                (
                    (good.envelope_bytes, good.payload),
                    (other.envelope_bytes, other.payload + b"!"),
                ),
                (),
            )
            end = await offered(store, HELLO, encode(records))
            assert end.code == "record"
            (found,) = await kept(store)
            assert found.sender == SENDER
            assert found.context == "acme/chat"
            assert found.hash == record_digest(other.envelope_bytes) == other.hash
            assert "its payload is not the one its envelope names" in found.reason
            assert found.evidence == other.envelope_bytes + other.payload + b"!"
            assert found.size == len(found.evidence)

    asyncio.run(run())


def test_a_frame_that_is_none_is_kept_even_before_a_hello() -> None:
    async def run() -> None:
        async with stores(1) as (store,):
            assert (await offered(store, b"\x01\xff junk")).code == "malformed"
            assert (await offered(store, HELLO, HELLO, quota=b"token")).code == "malformed"
            assert [(one.sender, one.evidence) for one in await kept(store)] == [
                (b"token", HELLO),
                (b"", b"\x01\xff junk"),
            ]

    asyncio.run(run())


def test_what_the_gate_refuses_is_kept() -> None:
    async def run() -> None:
        async with stores(2) as (store, author):
            first = record_in(author)
            again = record_in(author)
            # The same place in the chain as `again`, but after a record of another context.
            stray = author.make(ContextName("acme/other"), "stray", (first.hash,))
            items = (author.key.sign(again.hash), author.key.sign(stray.hash))
            both = [(one.envelope_bytes, one.payload) for one in (first, again, stray)]
            end = await offered(store, HELLO, encode(Records(1, None, tuple(both), items)))
            assert end.code == "record"
            (found,) = await kept(store)
            assert (found.hash, found.context) == (stray.hash, "acme/other")
            assert "depends on a record of context 'acme/chat'" in found.reason

    asyncio.run(run())


class FullDisk:
    """A real journal that takes nothing beside records any more."""

    def __init__(self, journal: SqliteJournal) -> None:
        self._journal = journal
        self.offer = journal.offer
        self.room = journal.room
        self.confirm = journal.confirm
        self.listen_confirmed = journal.listen_confirmed
        self.asked = 0

    @property
    def is_full(self) -> bool:
        return self._journal.is_full

    async def read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        return await self._journal.read(question)

    async def write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        self.asked += 1
        raise StoreError("the disk is full", hint="make room")


class OnFullDisk:
    def __init__(self, store: Store) -> None:
        self._store = store
        self.full = FullDisk(store.journal)
        self.journal: Journal = self.full
        self.presence = store.presence
        self.reach = store.reach
        self.hub = store.hub

    @property
    def identity(self) -> Identity:
        return self._store.identity

    guard = None

    def random(self, size: int) -> bytes:
        return self._store.random(size)

    def now_ms(self) -> int:
        return self._store.now_ms()

    async def signature_items(self, stored: Sequence[Stored]) -> list[SignatureItem]:
        return await self._store.signature_items(stored)


def test_a_full_disk_does_not_change_how_a_link_ends() -> None:
    async def run() -> None:
        async with stores(1) as (store,):
            full = OnFullDisk(store)
            assert (await offered(full, b"\x01\xff junk")).code == "malformed"
            assert full.full.asked == 1
            assert not await kept(store)

    asyncio.run(run())


def test_an_orderly_end_leaves_nothing() -> None:
    async def run() -> None:
        async with stores(1) as (store,):
            ours, theirs = pipe()
            link = Link(ours, store)
            task = asyncio.create_task(link.run())
            reader = asyncio.create_task(_drain(theirs))
            await theirs.send(HELLO)
            link.close()
            await asyncio.wait_for(task, 20)
            theirs.cut()
            await reader
            assert not await kept(store)

    asyncio.run(run())

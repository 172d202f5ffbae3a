"""What a relay writes down of what Yjs clients send, and the document that it keeps for them."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pycrdt
import pytest

from tests.stores import open_replica
from tests.worlds import CONTEXT, Author, sign
from weft_engine.document.offered import Offered, read_offered
from weft_engine.errors import MalformedUpdate
from weft_engine.limits import WOVEN_STRUCTS_MAX
from weft_engine.names import Hlc, event_id
from weft_engine.records.clock import HybridClock
from weft_engine.records.envelope import Kind, Record
from weft_engine.records.identity import WriterKey, client_id
from weft_engine.replica.live import LiveDocument
from weft_engine.replica.replica import Replica
from weft_engine.storage.ledger import Stored
from weft_engine.yjs.lib0 import var_uint
from weft_engine.yjs.reader import read_update

NAME = CONTEXT
FIRST = bytes.fromhex("010107002801066576656e7473026b310177077b2261223a317d00")
"""Sets the key k1 of `events`."""
OVERWRITE = bytes.fromhex("01010701a807000177077b2261223a327d0107010001")
DELETE = bytes.fromhex("000107010001")


def offered(data: bytes) -> Offered:
    return read_offered(data, time.thread_time)


class Room:
    """As the relay's: offers, then writes down."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.live = LiveDocument(replica, NAME)
        self.payloads: list[bytes] = []
        self._offering = False
        self._end = replica.journal.listen(self._committed)

    def _committed(self, stored: Sequence[Stored], session: bytes) -> None:
        for one in stored:
            is_foreign = one.record.envelope.kind is Kind.FOREIGN
            if is_foreign:
                self.payloads.append(one.record.payload)
            self.live.tell(one, was_offered=self._offering and is_foreign)

    async def take(self, data: bytes) -> bool:
        """Whether it lacked nothing."""
        one = offered(data)
        if await self.live.lacks(one):
            return False
        await self._write(one)
        return True

    async def take_part(self, data: bytes) -> None:
        """As the answer of a client to a question."""
        one: Offered | None = offered(data)
        if one is not None and await self.live.lacks(one):
            one = (await self.live.part(one, time.thread_time)).offered
        if one is not None and not one.is_empty:
            await self._write(one)

    async def _write(self, one: Offered) -> None:
        made = await self.live.offer(one)
        if made:
            self._offering = True
            await self.replica.scribe.append_foreign(NAME, made)
            self._offering = False
        await self.follow()

    async def follow(self) -> None:
        await self.live.follow()
        if self.live.is_torn:
            await self.live.load()


@asynccontextmanager
async def room(folder: Path) -> AsyncIterator[Room]:
    async with open_replica(folder / "store.db") as replica:
        found = Room(replica)
        await found.live.load()
        yield found
        # What was taken is what the journal gives again.
        text = document(found.live.encoded())
        again = LiveDocument(replica, NAME)
        await again.load()
        assert document(again.encoded()) == text


def document(state: bytes) -> dict[str, Any]:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    doc.apply_update(state)
    events = doc.get("events", type=pycrdt.Map)
    return {"events": events.to_py(), "n": str(doc.get("note:n", type=pycrdt.Text))}


async def test_what_changes_the_document_is_written_once(tmp_path: Path) -> None:
    async with room(tmp_path) as found:
        assert await found.take(FIRST)
        assert await found.take(FIRST)
        assert found.payloads == [FIRST]


async def test_a_state_that_brings_one_thing_more_is_written_as_that(tmp_path: Path) -> None:
    client: pycrdt.Doc[Any] = pycrdt.Doc(client_id=9)
    text = client.get("note:n", type=pycrdt.Text)
    text += "known"
    async with room(tmp_path) as found:
        await found.take(client.get_update())
        before = client.get_state()
        text += " new"
        await found.take(client.get_update())
        assert found.payloads[1] == client.get_update(before)


async def test_an_event_that_is_overwritten_in_the_same_update_is_written_as_sent(
    tmp_path: Path,
) -> None:
    both = bytes.fromhex(
        "01020700" + FIRST[4:-1].hex() + "a807000177077b2261223a327d" + "0107010001"
    )
    assert len(read_update(both).structs) == 2
    async with room(tmp_path) as found:
        await found.take(both)
        assert found.payloads == [both]


async def test_an_event_whose_place_is_taken_by_nothing_is_still_written(tmp_path: Path) -> None:
    """Another tab has told of the clock, but not of what stood there."""
    gone = bytes.fromhex("01010700" + "0001" + "00")
    async with room(tmp_path) as found:
        await found.take(gone)
        await found.take(FIRST)
        assert found.payloads[1:] == [FIRST]
        await found.take(FIRST)
        assert found.payloads[1:] == [FIRST], "a record holds it now"


async def test_deletes_are_written_when_they_are_news(tmp_path: Path) -> None:
    async with room(tmp_path) as found:
        assert not await found.take(DELETE), "it lacks what is deleted"
        await found.take(FIRST)
        await found.take(DELETE)
        await found.take(DELETE)
        assert found.payloads == [FIRST, DELETE]
        assert not await found.take(OVERWRITE[:3] + b"\x05" + OVERWRITE[4:]), "a gap"


async def test_native_records_and_clients_edit_one_document(tmp_path: Path) -> None:
    async with room(tmp_path) as found:
        context = found.replica.context(NAME)
        await context.note("n").append("weft ")
        updates = await found.live.follow()
        client: pycrdt.Doc[Any] = pycrdt.Doc(client_id=9)
        client.apply_update(updates[0])
        before = client.get_state()
        text = client.get("note:n", type=pycrdt.Text)
        text += "yjs"
        await found.take(client.get_update(before))
        assert await context.note("n").text() == "weft yjs"


async def test_a_large_state_becomes_several_records(tmp_path: Path) -> None:
    letters = WOVEN_STRUCTS_MAX + 10
    pieces = [b"\x04\x01\x06note:n\x01y"]
    pieces += [b"\x44\x07" + var_uint(clock) + b"\x01y" for clock in range(letters - 1)]
    data = b"\x01" + var_uint(letters) + b"\x07\x00" + b"".join(pieces) + b"\x00"
    with pytest.raises(MalformedUpdate, match="interwoven"):
        read_update(data)
    async with room(tmp_path) as found:
        await found.take(data)
        assert len(found.payloads) == 2
        await found.take(data)
        assert len(found.payloads) == 2
        assert document(found.live.encoded())["n"] == "y" * letters


def test_an_update_that_costs_too_much_is_refused() -> None:
    """Many clients that all insert at one place, in ignorance of each other."""
    one = b"\x00" + b"\x04\x01\x06note:n\x01y"
    count = 2000
    sections = b"".join(var_uint(1) + var_uint(client + 10) + one for client in range(count))
    clock = iter(range(10**9))
    with pytest.raises(MalformedUpdate, match="in each other's way"):
        read_offered(var_uint(count) + sections + b"\x00", lambda: float(next(clock)))


async def test_what_is_erased_is_not_written_again_before_that_is_followed(tmp_path: Path) -> None:
    tab: pycrdt.Doc[Any] = pycrdt.Doc(client_id=9)
    event = event_id(Hlc(1 << 20), WriterKey(bytes(32)).incarnation)
    tab.get("events", type=pycrdt.Map)[event] = "a word too much"
    async with room(tmp_path) as found:
        await found.take(tab.get_update())
        await found.replica.erasing.erase(NAME, "said too much", events=[event])
        assert found.live.has_arrived
        await found.take(tab.get_update())
        assert found.payloads == [tab.get_update()], "not a second time"
        await found.live.load()


async def bring(found: Room, key: WriterKey, record: Record) -> None:
    item = sign(key, record)
    await found.replica.journal.admit([record], [item], session=b"s", now_ms=0)
    await found.follow()


@pytest.mark.parametrize("seed", range(4))
async def test_what_was_left_out_takes_nobody_along_and_is_not_written_for_ever(
    tmp_path: Path, seed: int
) -> None:
    """A client has typed into what turned out to be the losing side of an equivocation."""
    rng = random.Random(seed)
    key = WriterKey(rng.randbytes(32))
    own = client_id(key.incarnation, NAME)
    sides: list[Record] = []
    while len(sides) < 2 or sides[0].hash < sides[1].hash:
        native: pycrdt.Doc[Any] = pycrdt.Doc(client_id=own)
        native.get("note:n", type=pycrdt.Text).insert(0, rng.choice("abc") * 6)
        author = Author(key, HybridClock(), wall_ms=rng.randrange(1 << 40))
        sides = [*sides[-1:], author.write_update(native.get_update(), 6)]
    async with open_replica(tmp_path / "store.db") as replica:
        found = Room(replica)
        await found.live.load()
        await bring(found, key, sides[0])
        tab: pycrdt.Doc[Any] = pycrdt.Doc(client_id=9)
        tab.apply_update(found.live.encoded())
        text = tab.get("note:n", type=pycrdt.Text)
        for at in (3, 4):
            text.insert(at, "T")
            await found.take_part(tab.get_update(found.live.state_vector()))
        await bring(found, key, sides[1])
        assert "T" not in document(found.live.encoded())["n"], "it is left out"
        for _ in range(6):
            await found.take_part(tab.get_update(found.live.state_vector()))
        assert len(found.payloads) <= 3, "said twice at most"
        # What somebody else writes at the same relay is shown, and stays.
        other: pycrdt.Doc[Any] = pycrdt.Doc(client_id=11)
        other.apply_update(found.live.encoded())
        before = other.get_state()
        other.get("note:n", type=pycrdt.Text).insert(0, "other ")
        assert await found.take(other.get_update(before))
        again = LiveDocument(replica, NAME)
        for live in (found.live, again):
            await live.load()
            assert document(live.encoded())["n"].startswith("other ")

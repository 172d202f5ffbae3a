"""Writing while things go wrong around it: a lease that can't be taken up, callers that leave, an
incarnation that ends in the middle."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.erasing import until
from tests.stores import Clock, all_records, folder, open_replica
from tests.worlds import CONTEXT, Author
from weft_engine.errors import StoreClosed, StoreError
from weft_engine.events.codec import encode_event
from weft_engine.events.event import Event, Message, Role
from weft_engine.events.part import Text
from weft_engine.names import ContextName, Hlc, event_id
from weft_engine.records.certificate import RegionKey
from weft_engine.records.clock import HybridClock
from weft_engine.records.envelope import Kind
from weft_engine.records.identity import WriterKey, client_id
from weft_engine.records.sound import read_record
from weft_engine.replica.replica import Replica
from weft_engine.replica.scribe import Native, Standpoint
from weft_engine.storage.machine import Machine
from weft_engine.storage.verify import verify
from weft_engine.yjs.encoder import encode_event_append

CHAT = ContextName("a/b")
HOME = Machine("home", "boot-1")


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as found:
        yield found


def open_at_home(path: Path) -> Replica:
    return Replica.open(path, now_ms=Clock(), random=bytes_of(path), machine=HOME)


def bytes_of(path: Path) -> Callable[[int], bytes]:
    return random.Random(path.name).randbytes


def assert_sound(path: Path) -> None:
    assert verify(path, progress=lambda *_: None).findings == ()


async def test_what_was_refused_with_its_lease_is_no_link_of_a_chain(place: Path) -> None:
    """The next append builds on nothing that was not written."""
    path = place / "s.db"
    async with open_at_home(path) as replica:
        await replica.context(CHAT).append("one")
    lease = path.with_name("s.db.lease")
    kept = path.with_name("kept")
    async with open_at_home(path) as replica:
        chat = replica.context(CHAT)
        lease.rename(kept)
        lease.mkdir()  # can't be unlinked
        both = [asyncio.create_task(chat.append(text)) for text in ("lost", "lost too")]
        found = await asyncio.gather(*both, return_exceptions=True)
        assert [type(error) for error in found] == [StoreError, StoreError]
        lease.rmdir()
        kept.rename(lease)
        await chat.append("two")
        assert [r.record.envelope.seq for r in await all_records(replica)] == [1, 1]
    assert_sound(path)


async def test_what_no_other_replica_would_take_is_an_error_and_is_not_written(place: Path) -> None:
    def ahead(at: Standpoint) -> Native:
        """An event that is stamped after its record."""
        id_ = event_id(Hlc(at.hlc + (1 << 16)), at.incarnation)
        body = encode_event(Event("t", Message(Role.USER, (Text("too soon"),))))
        return Native(encode_event_append(at.client, at.clock, [(id_, body)]).payload, 1)

    async with open_replica(place / "s.db", seed=1) as replica:
        chat = replica.context(CHAT)
        await chat.append("one")
        writer = replica.scribe.incarnation
        with pytest.raises(StoreError, match=r"nothing was written: .* stamped after its record"):
            await replica.scribe.append_native(CHAT, ahead)
        assert replica.scribe.incarnation != writer
        await chat.append("two")
        records = await all_records(replica)
        assert [one.record.envelope.seq for one in records] == [1, 1]
        for one in records:
            read_record(one.record.envelope_bytes, one.record.payload)
    assert_sound(place / "s.db")


async def test_what_is_turned_down_at_the_end_is_no_link_of_a_chain(place: Path) -> None:
    """The next session goes on where this one has ended."""
    path = place / "s.db"
    async with open_at_home(path) as replica:
        await replica.context(CHAT).append("one")
        (stored,) = await all_records(replica)
        await replica.scribe.close()
        with pytest.raises(StoreClosed):
            await replica.scribe.append_update(CHAT, stored.record.payload, 1)
    async with open_at_home(path) as replica:
        await replica.context(CHAT).append("two")
        one, two = [stored.record for stored in await all_records(replica)]
        assert two.envelope.origin == one.envelope.origin
        assert (two.envelope.seq, two.envelope.prev) == (2, one.hash)
    assert_sound(path)


async def test_those_who_wait_behind_callers_that_left_are_served(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context(CHAT)
        await chat.append("first")
        held = asyncio.create_task(chat.append("a batch that is under way"))
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(chat.append(str(n))) for n in range(300)]
        await asyncio.sleep(0)
        for task in waiting[:280]:
            task.cancel()
        await asyncio.wait_for(asyncio.gather(held, *waiting[280:]), timeout=30)


async def test_an_erasure_after_a_jump_of_the_clock_is_by_somebody_new(place: Path) -> None:
    """The machine may have been set back to a snapshot: a sequence number is used once."""
    now_ms, monotonic_ms = 1_700_000_000_000, 0
    replica = Replica.open(
        place / "s.db",
        now_ms=lambda: now_ms,
        random=bytes_of(place / "s.db"),
        monotonic_ms=lambda: monotonic_ms,
    )
    async with replica:
        chat = replica.context(CHAT)
        (event,) = await chat.append("SECRET")
        before = replica.scribe.incarnation
        now_ms += 3_600_000
        (row,) = await chat.erase(event=event, reason="private")
        assert row.by != before


async def test_a_note_can_be_edited_after_a_relay_wrote_under_our_client_id(place: Path) -> None:
    """A foreign record may hold what any Yjs client wrote, ours among them."""
    region = RegionKey(b"r" * 32)
    async with open_replica(place / "s.db") as replica:
        chat = replica.context(CONTEXT)
        await chat.note("plan").append("mine")
        clock = await replica.scribe.settled_clock(CONTEXT)
        relay = Author(WriterKey(bytes(32)), HybridClock(), client_clock=clock, wall_ms=1)
        before = replica.scribe.incarnation
        record = relay.write(
            [(relay.new_id(), b"{}")],
            kind=Kind.FOREIGN,
            foreign_client=client_id(before, CONTEXT),
        )
        item = replace(
            relay.key.sign(record.hash), certificate=region.certify(record.envelope.origin)
        )
        await replica.journal.admit([record], [item], session=b"x", now_ms=replica.now_ms())
        await asyncio.wait_for(chat.note("plan").append(" and mine"), timeout=20)
        assert await chat.note("plan").text() == "mine and mine"
        assert replica.scribe.incarnation != before


async def test_who_begins_while_another_ends_sees_what_that_one_wrote(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context(CHAT)
        await chat.append("first")
        gate = threading.Event()
        held = asyncio.create_task(replica.journal.write(lambda _: gate.wait()))
        await asyncio.sleep(0)
        under_way = asyncio.create_task(chat.append("under way"))
        await asyncio.sleep(0)
        replica.scribe.retire()
        begun = asyncio.create_task(replica.scribe.settled_clock(CHAT))

        async def has_begun() -> bool:
            return replica.scribe.clock_now(CHAT) is not None

        await until(has_begun)
        assert not under_way.done()
        gate.set()
        await asyncio.gather(held, under_way, begun)
        await chat.append("last")
        assert len(await chat.frontier()) == 1
    assert_sound(place / "s.db")

"""What others write under our ids and our name, and what becomes of our earlier names. All of it
was found by simulated histories."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores import all_records, folder, open_replica
from tests.worlds import CONTEXT, Author
from weft_engine.events.codec import encode_event
from weft_engine.events.event import Event, Message, Role
from weft_engine.events.part import Text
from weft_engine.names import event_id_hlc
from weft_engine.records.clock import HybridClock
from weft_engine.records.identity import WriterKey
from weft_engine.storage import reading
from weft_engine.storage.verify import verify


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as found:
        yield found


def said(text: str) -> bytes:
    return encode_event(Event("a", Message(Role.USER, (Text(text),))))


async def test_the_tokens_of_an_event_are_not_those_of_another_of_its_id(place: Path) -> None:
    """Both come in one batch, the one that loses first."""
    owner = Author(WriterKey(bytes(32)), HybridClock(), wall_ms=1_000)
    other = Author(WriterKey(bytes(31) + b"1"), HybridClock(), wall_ms=2_000)
    id_ = owner.new_id()
    other.clock.observe(event_id_hlc(id_))
    taken = other.write([(id_, said("a rather longer text than the one of the owner"))])
    own = owner.write([(id_, said("short"))])
    async with open_replica(place / "s.db") as replica:
        await replica.journal.admit(
            [taken, own],
            [other.key.sign(taken.hash), owner.key.sign(own.hash)],
            session=b"test",
            now_ms=3_000,
        )
        (shown,) = [one async for one in replica.context(CONTEXT).events()]
        assert shown.tokens is not None
        assert shown.tokens < 10
    assert verify(place / "s.db", progress=lambda what, done, total: None).is_sound


async def test_who_hears_of_a_copy_of_himself_writes_on_under_another_name(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        context = replica.context(CONTEXT)
        await context.append("ours")
        await context.note("plan").append("ours, ")
        before = replica.scribe.incarnation
        seeds = await replica.journal.read(reading.seeds)
        copy = Author(WriterKey(seeds[before]), HybridClock(), wall_ms=replica.now_ms())
        record = copy.write([(copy.new_id(), said("of the copy"))])
        await replica.journal.admit(
            [record], [copy.key.sign(record.hash)], session=b"test", now_ms=replica.now_ms()
        )
        assert replica.scribe.incarnation != before
        async with asyncio.timeout(30):
            await context.append("ours again")
            await context.note("todo").append("and ours")
        assert await context.note("todo").text() == "and ours"
        assert len([one async for one in context.events()]) == 3
    assert verify(place / "s.db", progress=lambda what, done, total: None).is_sound


async def test_what_was_written_under_an_earlier_name_can_still_be_signed(place: Path) -> None:
    """A name of one process that came and went between two looks at its keys."""
    async with open_replica(place / "s.db") as replica:
        context = replica.context(CONTEXT)
        await context.append("first")
        await replica.signature_items(await all_records(replica))
        replica.scribe.failed()
        await context.append("second")
        replica.scribe.failed()
        await context.append("third")
        records = await all_records(replica)
        items = await replica.signature_items(records)
        assert {item.tip for item in items} == {stored.record.hash for stored in records}

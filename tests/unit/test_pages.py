"""What many links catch up with is read once, and each is sent what it would have read itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from tests.unit.test_live import Writer
from weft_engine.limits import (
    FRAME_BYTES_MAX,
    PAGES_IDLE_TICKS,
    PAGES_PER_READING,
    RECORDS_BYTES,
    RECORDS_PER_FRAME,
)
from weft_engine.names import ContextName, Position
from weft_engine.records.identity import SignatureItem
from weft_engine.storage.ledger import Stored
from weft_engine.sync.end.closure import closed, needed
from weft_engine.sync.end.live import whole_head
from weft_engine.sync.end.pages import Pages
from weft_engine.sync.end.record_questions import Part, ReadRecords, RecordsRead
from weft_engine.sync.framing.frames import decode_message, encode
from weft_engine.sync.framing.messages import Records

CHAT = ContextName("c/1")


class Shelf:
    """Records in journal order, read as a journal is; how often, and as long as somebody likes."""

    def __init__(self) -> None:
        self.stored: list[Stored] = []
        self.items: list[SignatureItem] = []
        self.readings = 0
        self.open = asyncio.Event()
        self.open.set()

    def add(self, writer: Writer, *sizes: int) -> None:
        """Records under one signature."""
        writer.position = len(self.stored)
        some = [writer.write(size=size) for size in sizes]
        self.stored += some
        self.items += writer.sign(some[-1])

    async def fetch(self, question: ReadRecords) -> RecordsRead:
        self.readings += 1
        held = list(self.stored)
        await self.open.wait()
        (part,) = question.parts
        found: list[Stored] = []
        size = 0
        for one in held:
            if not part.after < one.position <= part.upto:
                continue
            size += one.record.size
            if found and (size > question.bytes_max or len(found) == question.records_max):
                break
            found.append(one)
        return RecordsRead(question, (tuple(found),))

    async def sign(self, stored: Sequence[Stored]) -> list[SignatureItem]:
        tips = {one.record.hash for one in stored}
        return [item for item in self.items if item.tip in tips]


def question(after: int, upto: int) -> ReadRecords:
    part = Part(CHAT, (), (), Position(after), Position(upto))
    return ReadRecords((part,), RECORDS_PER_FRAME, RECORDS_BYTES)


async def all_after(pages: Pages, shelf: Shelf, after: int, upto: int) -> list[RecordsRead]:
    found: list[RecordsRead] = []
    while after < upto:
        asked = question(after, upto)
        read = pages.get(asked) or await pages.read(asked, shelf.fetch, shelf.sign)
        assert read.question == asked or read.whole is not None
        found.append(read)
        after = read.all[-1].position
    return found


def check(read: RecordsRead) -> None:
    """The bytes are those that this link would have made of these records."""
    assert read.whole is not None
    stored = read.all
    assert len(closed(stored, read.items)) == len(stored)
    records = tuple((one.record.envelope_bytes, one.record.payload) for one in stored)
    message = Records(7, Position(9), records, needed(stored, read.items))
    said = whole_head(7, Position(9)) + read.whole.shared
    assert said == encode(message)
    assert len(said) <= FRAME_BYTES_MAX
    assert decode_message(said) == message
    assert read.whole.sent.size == sum(one.record.size for one in stored)
    assert read.whole.lasts == (stored[-1].position,)


@pytest.mark.parametrize("seed", range(8))
async def test_whoever_asks_gets_all_that_follows_once(seed: int) -> None:
    rng = random.Random(seed)
    shelf, pages = Shelf(), Pages(bytes_max=rng.choice([200_000, 50_000_000]))
    writers = [Writer(seed=number) for number in range(3)]
    for _ in range(12):
        for _ in range(rng.randint(1, 20)):
            sizes = [rng.choice([5, 500, 9_000]) for _ in range(rng.randint(1, 6))]
            shelf.add(rng.choice(writers), *sizes)
        head = len(shelf.stored)
        begins = [0, *(rng.randint(0, head - 1) for _ in range(3))]
        for after in begins:
            # Where a signed stretch begins: a link stops nowhere else.
            ends = {item.tip for item in shelf.items}
            while after and shelf.stored[after - 1].record.hash not in ends:
                after -= 1
            reads = await all_after(pages, shelf, after, head)
            assert [one for read in reads for one in read.all] == shelf.stored[after:]
            for read in reads:
                check(read)


async def test_those_who_ask_at_the_same_time_share_one_reading() -> None:
    shelf, pages = Shelf(), Pages()
    shelf.add(Writer(), *[1000] * 10)
    shelf.open.clear()
    asking = [
        asyncio.create_task(pages.read(question(0, 10), shelf.fetch, shelf.sign)) for _ in range(20)
    ]
    await asyncio.sleep(0)
    asking[0].cancel()  # It was the one that reads.
    await asyncio.gather(asking[0], return_exceptions=True)
    shelf.open.set()
    reads = await asyncio.gather(*asking[1:])
    assert shelf.readings == 2
    assert len({id(read.whole) for read in reads}) == 1
    later = pages.get(question(0, 10))
    assert later is not None
    assert later.whole is reads[0].whole


async def test_who_stopped_in_the_middle_of_a_page_gets_its_rest() -> None:
    shelf, pages = Shelf(), Pages()
    writer = Writer()
    for _ in range(8):
        shelf.add(writer, *[10_000] * 2)
    await pages.read(question(0, 16), shelf.fetch, shelf.sign)
    rest = pages.get(question(4, 16))
    assert rest is not None
    assert shelf.readings == 1
    assert [one.position for one in rest.all] == list(range(5, 17))
    check(rest)


async def test_a_page_at_the_end_is_read_again_when_there_is_more() -> None:
    shelf, pages = Shelf(), Pages()
    writer = Writer()
    shelf.add(writer, 10)
    await pages.read(question(0, 1), shelf.fetch, shelf.sign)
    shelf.add(writer, 10)
    assert pages.get(question(0, 2)) is None
    read = await pages.read(question(0, 2), shelf.fetch, shelf.sign)
    assert len(read.all) == 2
    # And who was told of less is not given more than it was told of.
    assert pages.get(question(0, 1)) is None


async def test_several_pages_are_read_at_once_and_ahead() -> None:
    shelf, pages = Shelf(), Pages()
    writer = Writer()
    for _ in range(100):
        shelf.add(writer, *[30_000] * 2)
    reads = await all_after(pages, shelf, 0, 200)
    assert shelf.readings <= len(reads) / (PAGES_PER_READING - 1)
    pages.forget(CHAT)
    await pages.read(question(0, 200), shelf.fetch, shelf.sign)
    asked = question(0, 200)
    while (page := pages.get(asked)) is not None:
        ahead = pages.ahead(asked)
        asked = question(page.all[-1].position, 200)
    assert ahead is not None
    assert ahead.parts == asked.parts


async def test_nothing_from_before_an_erasure_is_given_after_it() -> None:
    shelf, pages = Shelf(), Pages()
    shelf.add(Writer(), 10)
    await pages.read(question(0, 1), shelf.fetch, shelf.sign)
    shelf.open.clear()
    pages.forget(CHAT)
    assert pages.get(question(0, 1)) is None
    assert pages.size == 0
    before = asyncio.create_task(pages.read(question(0, 1), shelf.fetch, shelf.sign))
    await asyncio.sleep(0)
    pages.forget(CHAT)
    after = asyncio.create_task(pages.read(question(0, 1), shelf.fetch, shelf.sign))
    await asyncio.sleep(0)
    assert shelf.readings == 3, "who asks from now on does not wait for what was read before"
    shelf.open.set()
    one, other = await before, await after
    kept = pages.get(question(0, 1))
    assert kept is not None
    assert kept.whole is other.whole
    assert kept.whole is not one.whole


async def test_what_is_kept_is_bounded_and_goes_when_nobody_asks() -> None:
    shelf, pages = Shelf(), Pages(bytes_max=1_000_000)
    writer = Writer()
    for _ in range(200):
        shelf.add(writer, 30_000)
    for read in await all_after(pages, shelf, 0, 200):
        check(read)
        assert pages.size <= 1_000_000
    assert pages.size > 0
    for _ in range(PAGES_IDLE_TICKS):
        pages.tick()
    assert pages.size == 0


async def test_what_is_not_closed_is_left_to_who_asked() -> None:
    shelf, pages = Shelf(), Pages()
    writer = Writer()
    shelf.add(writer, *[10_000] * 3)
    shelf.items.clear()
    read = await pages.read(question(0, 3), shelf.fetch, shelf.sign)
    assert read.whole is None
    assert len(read.all) == 3
    assert pages.size == 0
    shelf.add(writer, 10)
    del shelf.items[:-1]
    whole = await pages.read(question(0, 4), shelf.fetch, shelf.sign)
    check(whole)

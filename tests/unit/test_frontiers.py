"""Frontiers are looked up once for all that ask for the same, and are never older than asked."""

from __future__ import annotations

import asyncio

from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.sync.driving.frontiers import Frontiers
from weft_engine.sync.end.questions import FrontiersRead, ReadFrontiers

ONE = ReadFrontiers((ContextName("c/1"),))


class Journal:
    def __init__(self, *, hashes: int = 1) -> None:
        self.position = Position(1)
        self.readings = 0
        self.open = asyncio.Event()
        self.open.set()
        self._hashes = hashes

    def journaled(self) -> Position:
        return self.position

    async def fetch(self, question: ReadFrontiers) -> FrontiersRead:
        self.readings += 1
        at = self.position
        await self.open.wait()
        hashes = tuple(RecordHash(bytes([at]) * 32) for _ in range(self._hashes))
        return FrontiersRead(tuple((name, hashes, ()) for name in question.contexts))


def test_all_that_ask_at_once_share_a_reading() -> None:
    async def asking() -> None:
        journal, frontiers = Journal(), Frontiers()
        journal.open.clear()
        asked = [
            asyncio.create_task(frontiers.read(ONE, journal.fetch, journal.journaled))
            for _ in range(50)
        ]
        await asyncio.sleep(0)
        journal.open.set()
        found = await asyncio.gather(*asked)
        assert journal.readings == 1
        assert all(one is found[0] for one in found)
        frontiers.clear()
        await frontiers.read(ONE, journal.fetch, journal.journaled)
        assert journal.readings == 2

    asyncio.run(asking())


def test_who_asks_after_a_commit_is_told_what_holds_then() -> None:
    async def asking() -> None:
        journal, frontiers = Journal(), Frontiers()
        journal.open.clear()
        early = asyncio.create_task(frontiers.read(ONE, journal.fetch, journal.journaled))
        await asyncio.sleep(0)
        journal.position = Position(2)
        late = asyncio.create_task(frontiers.read(ONE, journal.fetch, journal.journaled))
        await asyncio.sleep(0)
        journal.open.set()
        assert (await early).frontiers[0][1][0] == bytes([1]) * 32
        assert (await late).frontiers[0][1][0] == bytes([2]) * 32
        again = await frontiers.read(ONE, journal.fetch, journal.journaled)
        assert again is late.result()
        journal.position = Position(3)
        assert (await frontiers.read(ONE, journal.fetch, journal.journaled)) is not again

    asyncio.run(asking())


def test_one_that_ends_while_it_reads_leaves_it_to_the_next() -> None:
    async def asking() -> None:
        journal, frontiers = Journal(), Frontiers()
        journal.open.clear()
        asked = [
            asyncio.create_task(frontiers.read(ONE, journal.fetch, journal.journaled))
            for _ in range(3)
        ]
        await asyncio.sleep(0)
        asked[0].cancel()
        await asyncio.sleep(0)
        journal.open.set()
        assert (await asked[1]) is (await asked[2])
        assert journal.readings == 2

    asyncio.run(asking())


def test_what_is_kept_is_bounded() -> None:
    async def asking() -> None:
        long, frontiers = Journal(hashes=2000), Frontiers()
        for _ in range(2):
            await frontiers.read(ONE, long.fetch, long.journaled)
        assert long.readings == 2
        journal = Journal()
        questions = [ReadFrontiers((ContextName(f"c/{i}"),)) for i in range(100)]
        for question in questions + questions[-60:]:
            await frontiers.read(question, journal.fetch, journal.journaled)
        assert journal.readings == 100
        await frontiers.read(questions[0], journal.fetch, journal.journaled)
        assert journal.readings == 101

    asyncio.run(asking())

"""A room whose document is torn again and again by what arrives from elsewhere."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_yjs_silent import relay_of
from tests.stores import folder, open_replica
from tests.worlds import CONTEXT, Author, sign
from tests.yjs_client import YjsClient, yjs_client
from weft_engine.names import Hlc, event_id
from weft_engine.records.clock import HybridClock
from weft_engine.records.envelope import Record
from weft_engine.records.identity import WriterKey
from weft_engine.replica.replica import Replica

RECORDS = 300
"""So many that more equivocations come while they are loaded."""
SOME = 10
TYPED = "between the forks"


@pytest.fixture
def place() -> Iterator[Path]:
    """Where forks come faster than a document is loaded."""
    with folder() as found:
        yield found


async def test_who_edits_has_a_turn_whatever_comes_meanwhile(place: Path) -> None:
    """One writer forks its chain, without end: each fork makes the document anew."""
    async with open_replica(place / "relay.db") as replica, relay_of(replica) as (_, url):
        forks = Forks(replica)
        await forks.begin()
        async with yjs_client(url, CONTEXT) as writer, yjs_client(url, CONTEXT) as reader:
            await writer.synced()
            await reader.synced()
            tasks = [asyncio.create_task(forks.go_on())]
            try:
                await forks.have_come.wait()
                await writer.edit("n", 0, TYPED)
                await reader.until(lambda: reader.text("n") == TYPED, "it is read")
                await writer.until(lambda: bool(writer.updates), "it is acknowledged")
                tasks.append(asyncio.create_task(go_on_typing(writer)))
                async with yjs_client(url, CONTEXT) as late:
                    await late.synced()
                    assert late.text("n").endswith(TYPED)
                assert not any(task.done() for task in tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)


async def go_on_typing(client: YjsClient) -> None:
    while True:
        await client.edit("n", 0, "and ")
        await asyncio.sleep(0.002)


class Forks:
    """A writer that comes back to its first record again and again."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._key = WriterKey(random.Random(1).randbytes(32))
        self._author = Author(self._key, HybridClock(), wall_ms=1_700_000_000_000)
        self._number = itertools.count(1)
        self.have_come = asyncio.Event()

    async def begin(self) -> None:
        """A chain of RECORDS."""
        await self._admit([self._write(None) for _ in range(RECORDS)])

    async def go_on(self) -> None:
        first = self._author.chain[0]
        for number in itertools.count():
            await self._admit([self._write(first)])
            if number == SOME:
                self.have_come.set()

    def _write(self, after: Record | None) -> Record:
        event = event_id(Hlc(next(self._number) << 16), self._key.incarnation)
        return self._author.write([(event, b"1")], after=after)

    async def _admit(self, records: list[Record]) -> None:
        items = [sign(self._key, record) for record in records]
        await self._replica.journal.admit(records, items, session=b"s", now_ms=0)

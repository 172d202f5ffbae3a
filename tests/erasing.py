"""For tests of erasure: linked replicas, and a search through every byte of a replica's folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.linked import pipe
from weft_engine.replica.replica import Replica
from weft_engine.sync.driving.link import Link
from weft_engine.sync.end.ending import End

TIMEOUT_S = 20.0


def files_with(folder: Path, secret: bytes) -> list[str]:
    """The files below a folder in which these bytes stand."""
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and secret in p.read_bytes())


class Linked:
    """Two replicas with a link between them."""

    def __init__(self, a: Replica, b: Replica, links: tuple[Link, Link]) -> None:
        self._replicas = (a, b)
        self._links = links

    async def settled(self) -> None:
        """Until both hold the same, erasures are done and each knows what the other confirms."""
        for _ in range(2):
            for link in self._links:
                await link.until_synced(timeout=TIMEOUT_S)
            for replica in self._replicas:
                await replica.erasing.done()
        await until(self._agree)

    async def _agree(self) -> bool:
        first, second = [
            {(row.eraser, row.confirmed) for row in await replica.erasing.all()}
            for replica in self._replicas
        ]
        return first == second


@asynccontextmanager
async def linked(a: Replica, b: Replica) -> AsyncIterator[Linked]:
    left, right = pipe()
    links = (Link(left, a), Link(right, b))
    running: list[asyncio.Task[End]] = [asyncio.create_task(link.run()) for link in links]
    try:
        yield Linked(a, b, links)
    finally:
        links[0].close()
        ends = await asyncio.gather(*running)
    assert {end.code for end in ends} == {"closed"}, ends


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not await holds():  # noqa: ASYNC110 - nothing tells when a file has changed
            await asyncio.sleep(0.005)

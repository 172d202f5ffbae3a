"""Machines for tests: replicas on a machine that the test makes up, clones that nothing can tell
from what they were made of, and links between them in memory."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

from tests.linked import PipeEnd, pipe
from weft_engine.names import Hlc, Incarnation
from weft_engine.replica.replica import Replica
from weft_engine.storage.identity import Standing, leave
from weft_engine.storage.machine import Machine
from weft_engine.sync.driving.keeping import KeptLink
from weft_engine.sync.driving.link import Link
from weft_server.door.permission import ANYTHING
from weft_server.relay import Relay

HOME = Machine("home", "boot 1")
TIMEOUT_S = 20.0
NOW_MS = 1_700_000_000_000
DAY_MS = 24 * 3_600_000


class Clocks:
    """A wall clock that a test sets, and a monotonic one."""

    def __init__(self, wall_ms: int = NOW_MS) -> None:
        self.wall_ms = wall_ms
        self.monotonic_ms = 5_000

    def now(self) -> int:
        self.wall_ms += 1
        return self.wall_ms

    def monotonic(self) -> int:
        self.monotonic_ms += 1
        return self.monotonic_ms


_seeds = iter(range(1, 1_000_000))


def opened(
    path: Path,
    *,
    machine: Machine = HOME,
    clocks: Clocks | None = None,
    is_monotonic: bool = False,
    readonly: bool = False,
) -> Replica:
    """Each with a randomness of its own."""
    clocks = clocks or Clocks()
    return Replica.open(
        path,
        now_ms=clocks.now,
        random=random.Random(next(_seeds)).randbytes,
        readonly=readonly,
        monotonic_ms=clocks.monotonic if is_monotonic else None,
        machine=machine,
    )


def clone(store: Path, into: Path) -> Path:
    """A copy of a store that was closed, with everything that proves that it is none: as if the
    whole disk had been copied below the file system."""
    copy = Path(shutil.copy(store, into))
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        meta = dict(connection.execute("SELECT key, value FROM meta"))
        connection.execute("BEGIN")
        connection.execute(
            "UPDATE meta SET value = ? WHERE key = 'inode'", (str(copy.stat().st_ino),)
        )
        incarnation = meta.get("incarnation")
        standing = Standing(
            None if incarnation is None else Incarnation(incarnation),
            Hlc(int.from_bytes(meta["clock"], "big")),
            (),
        )
        leave(copy, connection, HOME, standing, random=random.Random(next(_seeds)).randbytes)
        connection.execute("COMMIT")
    return copy


def incarnations(store: Path) -> list[bytes]:
    """Who wrote each record, in journal order."""
    with reading(store) as connection:
        return [
            row[0]
            for row in connection.execute(
                "SELECT incarnation FROM records JOIN origins ON origins.id = origin"
                " ORDER BY position"
            )
        ]


@contextmanager
def reading(store: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        yield connection


class Wire(PipeEnd):
    """The relay's end of a pipe."""

    closing_code: int | None = None


class RelayHouse:
    """A relay in memory; `open` is how many connections were made to it."""

    def __init__(self, replica: Replica) -> None:
        self.relay = Relay(replica, region="eu", doorkeeper=lambda token, now_s: ANYTHING)
        self.opened = 0
        self._serving: set[asyncio.Task[None]] = set()

    def connect(self) -> PipeEnd:
        """The client's end of a new connection."""
        ours, theirs = pipe(frames_max=64)
        theirs.__class__ = Wire
        assert isinstance(theirs, Wire)
        self.opened += 1
        self._serving.add(asyncio.create_task(self.relay.serve(theirs, ANYTHING)))
        return ours

    @asynccontextmanager
    async def dial(self) -> AsyncIterator[PipeEnd]:
        end = self.connect()
        try:
            yield end
        finally:
            end.cut()

    async def until_one_ends(self, *, timeout_s: float) -> None:
        """Wait until the relay has let go of one of the connections that were made."""
        await asyncio.wait(self._serving, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)

    async def close(self) -> None:
        await self.relay.close()
        await asyncio.gather(*self._serving)


@asynccontextmanager
async def relay_house(path: Path, *, clocks: Clocks | None = None) -> AsyncIterator[RelayHouse]:
    async with opened(path, clocks=clocks) as replica:
        house = RelayHouse(replica)
        try:
            yield house
        finally:
            await house.close()


async def no_pause(_: float) -> None:
    """Dial again at once."""


def kept(replica: Replica, house: RelayHouse) -> KeptLink:
    return KeptLink(house.dial, replica, random=lambda: 0.0, sleep=no_pause)


@asynccontextmanager
async def linked(replica: Replica, house: RelayHouse) -> AsyncIterator[Link]:
    """One link to the relay, ended afterwards."""
    link = Link(house.connect(), replica)
    running = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        link.close()
        await running

"""Stores for tests: replicas on a fast disk, with a clock and randomness the test chooses."""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from weft_engine.names import Position, RecordHash
from weft_engine.replica.replica import Replica
from weft_engine.storage import reading
from weft_engine.storage.ledger import Stored

FAST_DISK = "/dev/shm" if Path("/dev/shm").is_dir() else None


@contextmanager
def folder() -> Iterator[Path]:
    """An empty folder, in memory where there is such a place, gone afterwards."""
    with TemporaryDirectory(dir=FAST_DISK) as name:
        yield Path(name)


class Clock:
    """Milliseconds that rise by one each time they are asked for."""

    def __init__(self, start_ms: int = 1_700_000_000_000) -> None:
        self._ticks = itertools.count(start_ms)

    def __call__(self) -> int:
        return next(self._ticks)


def open_replica(
    path: Path, *, seed: int = 0, readonly: bool = False, clock: Clock | None = None
) -> Replica:
    rng = random.Random(f"{path.name}-{seed}")
    return Replica.open(path, now_ms=clock or Clock(), random=rng.randbytes, readonly=readonly)


async def all_records(replica: Replica) -> list[Stored]:
    """Everything in the journal, in its order."""

    def question(connection: sqlite3.Connection) -> list[Stored]:
        positions = [
            Position(row[0])
            for row in connection.execute("SELECT position FROM records ORDER BY position")
        ]
        return reading.records_at(connection, positions, bytes_max=1 << 40)

    return await replica.journal.read(question)


async def give(source: Replica, target: Replica) -> None:
    """Hand everything that `source` holds to `target`, through the gate."""
    stored = await all_records(source)
    items = await source.signature_items(stored)
    outcome = await target.journal.admit(
        [one.record for one in stored], items, session=b"test", now_ms=target.now_ms()
    )
    assert not outcome.refused
    assert not outcome.parked


def hashes(path: Path) -> set[RecordHash]:
    """The names of the records in a store file."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        return {RecordHash(row[0]) for row in connection.execute("SELECT hash FROM records")}
    finally:
        connection.close()

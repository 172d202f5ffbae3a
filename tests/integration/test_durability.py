"""An acknowledgement means: on disk. Killing a process shows nothing about that, because the
system's memory outlives it; so one test watches the sync calls, and others kill."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores import folder, open_replica
from weft_engine.storage.verify import verify

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as found:
        yield found


def start(
    path: Path,
    count: int,
    in_flight: int,
    environment: dict[str, str],
    passed: tuple[int, ...] = (),
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.appender", str(path), str(count), str(in_flight)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        pass_fds=passed,
    )


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler for the sync watch")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sync watch is for Linux")
@pytest.mark.parametrize("in_flight", [1, 8])
def test_the_log_is_synced_between_its_write_and_the_acknowledgement(
    place: Path, in_flight: int
) -> None:
    library = place / "syncwatch.so"
    source = Path(__file__).with_name("syncwatch.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    log = place / "log"
    with log.open("wb") as file:
        process = start(
            place / "s.db",
            40,
            in_flight,
            {"LD_PRELOAD": str(library), "SYNCWATCH_FD": str(file.fileno())},
            (file.fileno(),),
        )
        process.communicate(timeout=60)
    assert process.returncode == 0
    lines = log.read_text().splitlines()
    assert lines.count("ack") == 40
    writes = 0
    unsynced = 0
    for line in lines:
        if line == "write s.db-wal":
            writes += 1
            unsynced += 1
        elif line == "sync s.db-wal":
            unsynced = 0
        elif line == "ack" and in_flight == 1:
            assert unsynced == 0, "acknowledged before the log was synced"
            assert writes > 0, "acknowledged without anything new in the log"
            writes = 0
    # With several in flight the next batch may be on its way when an older one is acknowledged;
    # but no more acknowledgements than commits times the batch can come without as many syncs.
    assert lines.count("sync s.db-wal") >= 40 / in_flight


@pytest.mark.parametrize(
    ("in_flight", "rounds"),
    [
        (1, 6),
        (16, 6),
        pytest.param(1, 100, marks=pytest.mark.deep),
        pytest.param(16, 100, marks=pytest.mark.deep),
    ],
)
def test_killed_at_random_moments_nothing_acknowledged_is_lost(
    place: Path, in_flight: int, rounds: int
) -> None:
    rng = random.Random(in_flight)
    path = place / "s.db"
    acknowledged: list[str] = []
    for _ in range(rounds):
        process = start(path, 100_000, in_flight, {})
        assert process.stdout is not None
        for _ in range(rng.randint(1, 150)):
            acknowledged.append(process.stdout.readline().decode().strip())
        process.kill()
        acknowledged += process.stdout.read().decode().split("\n")[:-1]
        process.stdout.close()
        process.wait()
        report = verify(path, progress=lambda what, done, total: None)
        assert not report.findings
    held = set(_event_ids(path))
    assert len(acknowledged) > 2 * rounds
    assert held.issuperset(acknowledged)


def _event_ids(path: Path) -> list[str]:
    import asyncio

    async def read() -> list[str]:
        async with open_replica(path, readonly=True) as replica:
            return [said.id async for said in replica.context("durable/chat").history()]

    return asyncio.run(read())

"""A writer that is killed in mid-stream: what was flushed is there, shown as interrupted."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.streamer import NAME, text
from tests.stores import folder, give, open_replica
from weft_engine.events.event import Interrupted, Message
from weft_engine.events.streams import text_of
from weft_engine.storage.verify import verify

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as found:
        yield found


def stream_and_die(path: Path, rng: random.Random) -> list[bytes]:
    """What a writer said before it was killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.streamer", str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(rng.randint(1, 60))]
    time.sleep(rng.random() * 0.02)
    process.kill()
    lines += process.stdout.read().split(b"\n")[:-1]
    process.stdout.close()
    process.wait()
    return lines


@pytest.mark.parametrize("rounds", [6, pytest.param(100, marks=pytest.mark.deep)])
async def test_killed_at_random_moments_nothing_flushed_is_lost(place: Path, rounds: int) -> None:
    rng = random.Random(rounds)
    path = place / "s.db"
    flushed: dict[str, int] = {}
    for _ in range(rounds):
        for line in stream_and_die(path, rng):
            id_, size = line.decode().split()
            flushed[id_] = max(flushed.get(id_, 0), int(size))
        assert not verify(path, progress=lambda *_: None).findings
    async with open_replica(path) as again, open_replica(place / "other.db") as other:
        chat = again.context(NAME)
        shown = {}
        async for said in chat.history():
            assert isinstance(said.event.body, Message)
            shown[str(said.id)] = (text_of(said.event.body.parts), said.is_interrupted)
        assert flushed.keys() <= shown.keys()
        for id_, least in flushed.items():
            told, _ = shown[id_]
            assert len(told) >= least
            assert told == text(len(told))
        broken = [one async for one in chat.events() if isinstance(one.event.body, Interrupted)]
        assert 1 <= len(broken) <= rounds
        assert await chat.streams() == []
        await give(again, other)
        assert [(s.id, s.event) async for s in other.context(NAME).history()] == [
            (s.id, s.event) async for s in chat.history()
        ]
    assert not verify(path, progress=lambda *_: None).findings

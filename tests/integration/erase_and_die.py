"""A process that dies with SIGKILL between the commit of an eraser and the work it leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from weft_engine.records.envelope import Kind
from weft_engine.replica.replica import Replica
from weft_engine.storage.ledger import Stored


def die(stored: Sequence[Stored], _: bytes) -> None:
    if any(one.record.envelope.kind is Kind.ERASE for one in stored):
        os.kill(os.getpid(), signal.SIGKILL)


async def main(path: Path, what: str) -> None:
    replica = Replica.open(
        path, now_ms=lambda: time.time_ns() // 1_000_000, random=os.urandom, readonly=False
    )
    chat = replica.context("a/b")
    said = await chat.append(["before", "the SECRET", "after"])
    await chat.note("plan").append("a SECRET plan")
    replica.journal.listen(die)
    match what:
        case "event":
            await chat.erase(event=said[1], reason="test")
        case "note":
            await chat.erase(note="plan", reason="test")
        case _:
            await chat.erase(everything=True, reason="test")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))

"""A process that appends and says so: prints the id of each event once it is acknowledged.

Run as ``python -m tests.integration.appender STORE COUNT IN_FLIGHT``. With SYNCWATCH_FD set, it
writes ``ack`` lines there too, between the lines of the sync watch.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from weft_engine.replica.replica import Replica


async def main(path: Path, count: int, in_flight: int) -> None:
    watch = os.environ.get("SYNCWATCH_FD")
    numbers = iter(range(count))
    async with Replica.open(
        path, now_ms=lambda: time.time_ns() // 1_000_000, random=os.urandom
    ) as replica:
        chat = replica.context("durable/chat")

        async def append() -> None:
            for number in numbers:
                (event,) = await chat.append(f"message {number} " + "x" * (number % 700))
                if watch is not None:
                    os.write(int(watch), b"ack\n")
                os.write(1, f"{event}\n".encode())

        await asyncio.gather(*(append() for _ in range(in_flight)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))

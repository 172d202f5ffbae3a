"""A process that streams and says what is flushed: prints ``<stream id> <characters>`` each time.

Run as ``python -m tests.integration.streamer STORE``; ends when it is killed.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from pathlib import Path

from weft_engine.replica.replica import Replica

NAME = "durable/stream"


def text(length: int) -> str:
    """The beginning of what every stream says."""
    return "".join(f"{number} " for number in range(length))[:length]


async def main(path: Path) -> None:
    rng = random.Random()
    said = text(200_000)
    async with Replica.open(
        path, now_ms=lambda: time.time_ns() // 1_000_000, random=os.urandom
    ) as replica:
        chat = replica.context(NAME)
        while True:
            async with chat.stream() as stream:
                at = 0
                for _ in range(rng.randint(1, 60)):
                    end = at + rng.randint(1, 12)
                    await stream.write(said[at:end])
                    at = end
                    if rng.random() < 0.2:
                        await stream.flush()
                        os.write(1, f"{stream.id} {at}\n".encode())
            os.write(1, f"{stream.id} {at}\n".encode())


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

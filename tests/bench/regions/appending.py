"""A region's share of the load: devices that append, sync, and are thrown away.

``python -m tests.bench.regions.appending FOLDER NAME RATE URL [URL ...]`` appends RATE messages a
second, one context of its own and one shared with the other regions at a time. Every few seconds
the device is replaced by a new one; the old one goes on until a relay has acknowledged all it
wrote, appends the hashes of all records that it holds to FOLDER/NAME.acknowledged, and its store is
deleted: from then on the regions alone hold them. Ends when its stdin does, then prints one line of
JSON. Must never know: what happens to the regions.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import weft
from tests.command_line import record_set

LIFE_S = 6.0
"""Of a device until it is replaced."""
SHARED_EVERY = 5
"""One message of so many goes into the shared context."""
PATIENCE_S = 120.0


class Appending:
    def __init__(self, folder: Path, name: str, rate: float, urls: Sequence[str]) -> None:
        self._folder = folder
        self._name = name
        self._rate = rate
        self._urls = urls
        self._stop = asyncio.Event()
        self._acknowledged = (folder / f"{name}.acknowledged").open("a")
        self.appended = 0

    async def run(self) -> None:
        """Until `stop`, and then until everything is acknowledged."""
        async with asyncio.TaskGroup() as devices:
            while not self._stop.is_set():
                replaced = asyncio.Event()
                devices.create_task(self._device(replaced))
                await replaced.wait()
        self._acknowledged.close()

    def stop(self) -> None:
        self._stop.set()

    async def _device(self, replaced: asyncio.Event) -> None:
        # Of all regions at the same time, so that they meet in the shared one.
        number = int(time.time() / LIFE_S)
        contexts = (f"chaos/{self._name}/{number}", f"chaos/shared/{number}")
        path = self._folder / f"{self._name}-{number}.db"
        async with weft.open(path) as store:
            store.connect(self._urls, contexts=contexts)
            began_s = time.monotonic()
            due = 0
            while not self._stop.is_set() and int(time.time() / LIFE_S) == number:
                due += 1
                wait_s = began_s + due / self._rate - time.monotonic()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
                context = contexts[due % SHARED_EVERY == 0]
                said = f"message {due} of {self._name}, device {number}: " + "and so on " * 8
                await store.context(context).append(said, author=self._name)
                self.appended += 1
            replaced.set()
            await store.synced(timeout=PATIENCE_S)
        for hash_ in record_set(path):
            print(hash_.hex(), file=self._acknowledged)
        for left in self._folder.glob(f"{path.name}*"):
            left.unlink()


async def main(folder: str, name: str, rate: str, urls: Sequence[str]) -> None:
    appending = Appending(Path(folder), name, float(rate), urls)
    running = asyncio.create_task(appending.run())
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    await asyncio.wait([running, ended], return_when=asyncio.FIRST_COMPLETED)
    appending.stop()
    await running
    print(json.dumps({"appended": appending.appended}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]))

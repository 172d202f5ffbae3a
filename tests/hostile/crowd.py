"""A process full of clients of one relay: `python -m tests.hostile.crowd URL COUNT STORES`.

COUNT of them are frames alone, STORES are real stores. It prints `linked` when each has had a
record acknowledged, and goes on; after the relay was killed, each that is back (a record of its
own, written after the connection was lost, is acknowledged) is a line `back SECONDS KIND`, by the
system's monotonic clock. An error that an application would see is a line `error TEXT`. Ends when
its stdin does. Must never know: when the relay dies.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from contextlib import AsyncExitStack

from websockets.exceptions import InvalidHandshake

import weft
from tests.hostile.raw_client import RawClient
from tests.stores import folder
from weft_engine.sync.driving.keeping import delay_s

MEMBERS = 10
"""Clients that share a context."""
AT_ONCE = 32
PATIENCE_S = 300.0


def say(*words: object) -> None:
    print(*words, flush=True)


class Crowd:
    def __init__(self, url: str, rng: random.Random) -> None:
        self._url = url
        self._rng = rng
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def frame_client(self, number: int, linked: asyncio.TaskGroup) -> None:
        client = RawClient(self._url, f"crowd/{number}")
        async with self._turns:
            await client.connect()
            await client.say("here", timeout_s=PATIENCE_S)
        linked.create_task(self._back(client))

    async def _back(self, client: RawClient) -> None:
        await client.gone.wait()
        again = asyncio.create_task(self._again(client))
        await client.say("back", timeout_s=PATIENCE_S)
        say("back", time.monotonic(), "frames")
        await again
        await client.gone.wait()
        await client.aclose()

    async def _again(self, client: RawClient) -> None:
        """As `KeptLink` does it."""
        attempt = 0
        while not client.live.is_set():
            attempt += 1
            await asyncio.sleep(delay_s(attempt, self._rng.random()))
            await client.aclose()
            try:
                await client.connect()
                attempt = 0
                live = asyncio.create_task(client.live.wait())
                gone = asyncio.create_task(client.gone.wait())
                await asyncio.wait({live, gone}, return_when=asyncio.FIRST_COMPLETED)
                live.cancel()
                gone.cancel()
            except (OSError, InvalidHandshake, EOFError):
                continue

    async def store_client(self, store: weft.Store, number: int, left: asyncio.TaskGroup) -> None:
        link = store.connect(self._url, prefixes=[f"stores/{number}"])
        async with self._turns:
            await store.context(f"stores/{number}").append("here")
            await link.synced(timeout=PATIENCE_S)
        left.create_task(self._store_back(store, link, number))

    async def _store_back(self, store: weft.Store, link: weft.Link, number: int) -> None:
        while link.status in ("comparing", "live"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        try:
            await store.context(f"stores/{number}").append("back")
            await link.synced(timeout=PATIENCE_S)
        except (weft.WeftError, OSError, TimeoutError) as error:
            say("error", repr(error))
            return
        say("back", time.monotonic(), "store")


async def main(url: str, count: int, stores: int) -> None:
    crowd = Crowd(url, random.Random(time.monotonic_ns()))
    base = random.randrange(1 << 32)
    with folder() as place:
        async with AsyncExitStack() as stack:
            opened = [
                await stack.enter_async_context(weft.open(place / f"{n}.db")) for n in range(stores)
            ]
            async with asyncio.TaskGroup() as left:
                async with asyncio.TaskGroup() as linking:
                    for number in range(count):
                        name = base + number // MEMBERS
                        linking.create_task(crowd.frame_client(name, left))
                    for number, store in enumerate(opened):
                        linking.create_task(crowd.store_client(store, base + number, left))
                say("linked")
                ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
                left.create_task(_end_after(ended))


async def _end_after(ended: asyncio.Future[str]) -> None:
    await ended
    raise SystemExit(0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))

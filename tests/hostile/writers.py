"""Those who write while a relay is killed: each knows what it saw acknowledged, and how to look
for it afterwards. A further dialect is a further class. Must never know: when the relay dies.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, Final, Protocol

import pycrdt
from websockets.exceptions import ConnectionClosed, InvalidHandshake

import weft
from tests.hostile.raw_client import RawClient
from tests.stores import hashes
from tests.yjs_client import YjsClient, yjs_client

_AGAIN_S: Final = 0.05
_EVENT_ID: Final = re.compile(rb"[0-9a-f]{16}-[0-9a-f]{32}")
_PAUSE_S: Final = 0.02


class Writer(Protocol):
    """Writes for as long as it is entered, over as many connections as that takes. What is
    acknowledged is named in a way of its own."""

    @property
    def acknowledged(self) -> set[str]: ...

    async def missing(self, url: str, store: Path) -> set[str]:
        """What was acknowledged and is not in the store of the relay at `url`, which runs."""


Writing = Callable[[str, Path, int], AbstractAsyncContextManager[Writer]]
"""A writer for the relay at an address, with a folder of its own, and its number."""


class FrameWriter:
    """Frames alone: a record is acknowledged when the Ack of its message comes."""

    def __init__(self, url: str, number: int) -> None:
        self._client = RawClient(url, f"kill/{number % 2}")

    @property
    def acknowledged(self) -> set[str]:
        return {hash_.hex() for hash_ in self._client.acknowledged}

    async def missing(self, url: str, store: Path) -> set[str]:
        wanted = set(self.acknowledged)
        held = await asyncio.to_thread(hashes, store)
        return wanted - {hash_.hex() for hash_ in held}

    async def keep_linked(self) -> None:
        while True:
            try:
                await self._client.connect()
                await self._client.gone.wait()
            except (OSError, InvalidHandshake, EOFError):
                await asyncio.sleep(_AGAIN_S)
            finally:
                await self._client.aclose()

    async def write(self) -> None:
        """Four records under way, of one to three messages; with pauses, or a test would spend its
        time on checking how much it wrote."""
        numbers = itertools.count()

        async def one_by_one() -> None:
            for number in numbers:
                texts = [f"message {number} " + "x" * (number % 700)] * (1 + number % 3)
                await self._client.say(*texts)
                await asyncio.sleep(_PAUSE_S)

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(one_by_one())


@asynccontextmanager
async def frame_writer(url: str, _: Path, number: int) -> AsyncIterator[FrameWriter]:
    writer = FrameWriter(url, number)
    async with _running(writer.keep_linked, writer.write):
        yield writer


class StoreWriter:
    """A real store: an event is acknowledged when `link.synced()` has returned after it."""

    def __init__(self, store: weft.Store, url: str, number: int) -> None:
        self._acknowledged: set[str] = set()
        self._context = store.context(f"kill/{number % 2}")
        self._link = store.connect(url, prefixes=["kill/"])

    async def write(self) -> None:
        for number in itertools.count():
            found = await self._context.append([f"said {number}.{part}" for part in range(4)])
            await self._link.synced(timeout=120)
            self._acknowledged.update(found)

    @property
    def acknowledged(self) -> set[str]:
        return self._acknowledged

    async def missing(self, url: str, store: Path) -> set[str]:
        wanted = set(self.acknowledged)
        return wanted - await asyncio.to_thread(_event_ids, store)


def _event_ids(store: Path) -> set[str]:
    """Every event id that stands in the payload of a record. To read the history would take longer
    than all the rest of a test."""
    with closing(sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT payload FROM records").fetchall()
    return {id_.decode() for (payload,) in rows for id_ in _EVENT_ID.findall(payload)}


@asynccontextmanager
async def store_writer(url: str, folder: Path, number: int) -> AsyncIterator[StoreWriter]:
    async with weft.open(folder / f"writer-{number}.db") as store:
        writer = StoreWriter(store, url, number)
        async with _running(writer.write):
            yield writer


class YjsWriter:
    """A page: an update is acknowledged when its own bytes come back. It keeps its document over
    the connections, and brings what it was not told is there."""

    def __init__(self, url: str, number: int) -> None:
        self._url = url
        self._context = f"kill-yjs/{number % 2}"
        self._document: pycrdt.Doc[Any] = pycrdt.Doc()
        self._name = f"by-{number}"
        self._sent: dict[bytes, str] = {}
        self._numbers = itertools.count()
        self.acknowledged: set[str] = set()

    async def write(self) -> None:
        while True:
            with suppress(OSError, InvalidHandshake, EOFError, ConnectionClosed):
                async with yjs_client(self._url, self._context, document=self._document) as client:
                    await self._write_to(client)
            await asyncio.sleep(_AGAIN_S)

    async def _write_to(self, client: YjsClient) -> None:
        await client.until(lambda: client.is_synced or client.close is not None, "synced")
        heard = 0
        while client.close is None:
            for _ in range(3):
                number = next(self._numbers)
                key = f"{self._name}.{number}"
                self._sent[await client.set(key, "x" * (number % 700))] = key
            await asyncio.sleep(_PAUSE_S)
            for update in client.updates[heard:]:
                if update in self._sent:
                    self.acknowledged.add(self._sent.pop(update))
            heard = len(client.updates)

    async def missing(self, url: str, store: Path) -> set[str]:
        wanted = set(self.acknowledged)
        # Another client, which has nothing: what this one would bring is no proof.
        async with yjs_client(url, self._context, answers=False) as looking:
            await looking.synced()
            return wanted - set(looking.document.get("events", type=pycrdt.Map))


@asynccontextmanager
async def yjs_writer(url: str, _: Path, number: int) -> AsyncIterator[YjsWriter]:
    writer = YjsWriter(url, number)
    async with _running(writer.write):
        yield writer


@asynccontextmanager
async def _running(*jobs: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Jobs that go on without end; the first fault of one is raised here."""
    tasks = [asyncio.create_task(job()) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for result in ended:
        if isinstance(result, Exception):
            raise result

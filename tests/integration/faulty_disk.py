"""A process whose disk fails: works on a store while calls fail, and checks what is left.

Run as ``python -m tests.integration.faulty_disk LIBRARY FOLDER STORY ...`` with LIBRARY
(diskfault.c) preloaded; the stories are at the end. `every_call` lets every STRIDE-th call fail,
and what follows it, with every fault, and checks that the caller sees only clear errors, that
nothing acknowledged is lost, nothing is half written, and that the store works again once the disk
does, without being opened anew. With BULK bytes in each message the log is checkpointed meanwhile.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import gc
import itertools
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import IntFlag
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest

from tests.stores import all_records, open_replica
from weft_engine.errors import MachineError, NotFound, StoreError
from weft_engine.formats.openai_chat import Conversation, import_conversation
from weft_engine.records.envelope import Record
from weft_engine.records.identity import SignatureItem
from weft_engine.replica.context import Context
from weft_engine.replica.past import Past
from weft_engine.replica.replica import Replica
from weft_engine.storage.schema import connect
from weft_engine.storage.verify import verify

CONTEXT = "faulty/chat"
FOR_EVER: Final = 1 << 40
FILE = Conversation("file", tuple(f'{{"role":"user","content":"imported {n}"}}' for n in range(5)))


class Calls(IntFlag):
    """As in diskfault.c."""

    WRITE = 1
    SYNC = 2
    TRUNCATE = 4
    READ = 8
    OPEN = 16
    NAME = 32


@dataclass(frozen=True)
class Fault:
    """`times`: calls that fail; FOR_EVER until it is repaired."""

    calls: Calls
    error: int
    times: int = FOR_EVER
    shorten: bool = False
    forget: bool = False

    def __str__(self) -> str:
        while_ = "until repaired" if self.times == FOR_EVER else f"{self.times} times"
        more = ", after a short write" if self.shorten else ""
        more += ", and what was not synced is gone" if self.forget else ""
        return f"{self.calls!r} fails with {errno.errorcode[self.error]} {while_}{more}"


_CHANGES = Calls.WRITE | Calls.TRUNCATE | Calls.OPEN
FAULTS: Final = (
    Fault(_CHANGES, errno.ENOSPC),
    Fault(Calls.WRITE, errno.ENOSPC, shorten=True),
    Fault(_CHANGES, errno.ENOSPC, times=1),
    Fault(Calls.SYNC, errno.EIO),
    Fault(Calls.SYNC, errno.EIO, times=1),
    Fault(Calls.SYNC, errno.EIO, forget=True),
    Fault(Calls.SYNC, errno.EIO, times=1, forget=True),
    Fault(_CHANGES | Calls.SYNC | Calls.NAME, errno.EIO),
    Fault(_CHANGES | Calls.SYNC | Calls.NAME, errno.EIO, times=2),
    Fault(_CHANGES | Calls.NAME, errno.EROFS),
    Fault(Calls.OPEN | Calls.NAME, errno.EACCES),
    Fault(Calls.READ, errno.EIO),
    Fault(Calls.READ, errno.EIO, times=1),
    Fault(_CHANGES | Calls.SYNC | Calls.NAME | Calls.READ, errno.EIO, times=3),
)


class Disk:
    """The switch of the preloaded library, for one folder."""

    def __init__(self, library: str, folder: Path) -> None:
        self._library = ctypes.CDLL(library)
        self._library.diskfault_arm.argtypes = [
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_long,
            ctypes.c_long,
        ]
        for name in ("end", "failures", "calls"):
            getattr(self._library, f"diskfault_{name}").restype = ctypes.c_long
        self._folder = os.fsencode(folder)

    def fail(self, fault: Fault, *, first: int = 0) -> None:
        """From the call of this number on."""
        self._library.diskfault_arm(
            self._folder,
            fault.calls,
            fault.error,
            fault.shorten,
            fault.forget,
            first,
            fault.times,
        )

    @property
    def failures(self) -> int:
        return int(self._library.diskfault_failures())

    def repair(self) -> int:
        """How many calls have failed."""
        return int(self._library.diskfault_end())

    @contextmanager
    def failing(self, fault: Fault, *, first: int = 0) -> Iterator[None]:
        self.fail(fault, first=first)
        try:
            yield
        finally:
            self.repair()


@dataclass
class Told:
    """What a peer offers."""

    records: list[Record]
    items: list[SignatureItem]


async def a_peer(folder: Path) -> Told:
    async with open_replica(folder / "peer.db") as peer:
        chat = peer.context(CONTEXT)
        await chat.append(["from afar", "and more"])
        await chat.note("plan").append("<peer>")
        stored = await all_records(peer)
        return Told([one.record for one in stored], await peer.signature_items(stored))


@dataclass
class Worker:
    """One run of the story. `acknowledged` events, notes and traces must be there ever after."""

    disk: Disk
    path: Path
    peer: Told
    seeds: Iterator[int]
    events: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)
    bulk: int = 500
    has_peer: bool = False
    errors: list[MachineError] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def attempt(self, step: Callable[[], Awaitable[Any]]) -> Any:
        """Do something on a disk that may fail: then twice in vain, and once more after repair."""
        for _ in range(2):
            try:
                return await step()
            except MachineError as error:
                self.errors.append(error)
        self.disk.repair()
        return await step()

    async def open(self) -> Replica:
        async def step() -> Replica:
            return open_replica(self.path, seed=next(self.seeds))

        replica: Replica = await self.attempt(step)
        return replica

    async def run(self) -> None:
        replica = await self.open()
        try:
            chat = replica.context(CONTEXT)
            await self.attempt(lambda: self.append(chat))
            await self.attempt(lambda: self.edit(chat))
            await self.attempt(lambda: self.several(chat))
            await self.attempt(lambda: chat.import_messages(import_conversation(FILE)))
            await self.attempt(lambda: self.view(replica, chat))
            await self.attempt(lambda: self.admit(replica))
            await self.attempt(lambda: self.edit(chat))
            for _ in range(8):
                await self.attempt(lambda: self.append(chat))
            await self.attempt(lambda: self.look_back(chat))
            await self.attempt(lambda: self.answer(chat))
            await self.attempt(lambda: self.view(replica, chat))
        finally:
            await self.close(replica)
        self.disk.repair()

    async def close(self, replica: Replica) -> None:
        try:
            await replica.close()
        except MachineError as error:
            self.errors.append(error)
        await replica.close()
        held = [os.readlink(f"/proc/self/fd/{name}") for name in _descriptors()]
        still = [name for name in held if name.startswith(str(self.path))]
        assert not still, f"still open: {still}"

    async def append(self, chat: Context) -> None:
        text = "word " * (self.bulk // 5)
        self.events += await chat.append(f"message {next(self.numbers)} {text}")

    async def several(self, chat: Context) -> None:
        results = await asyncio.gather(
            *(self.append(chat) for _ in range(3)), return_exceptions=True
        )
        for result in results:
            if result is not None:
                raise result

    async def edit(self, chat: Context) -> None:
        mark = f"<{next(self.numbers)}>"
        await chat.note("plan").append(mark)
        self.notes.append(mark)

    async def view(self, replica: Replica, chat: Context) -> None:
        trace = f"trace {next(self.numbers)}"
        await chat.view(trace_id=trace)
        await replica.receipts.flush()
        self.traces.append(trace)

    async def answer(self, chat: Context) -> None:
        view = await chat.view(budget=3_000)
        self.events += await chat.append({"role": "assistant", "content": "so"}, view=view)

    async def admit(self, replica: Replica) -> None:
        outcome = await replica.journal.admit(
            self.peer.records, self.peer.items, session=b"peer", now_ms=replica.now_ms()
        )
        assert not outcome.refused
        assert not outcome.parked
        self.has_peer = True

    async def look_back(self, chat: Context) -> None:
        assert await shown(chat.at(await chat.frontier())) == await shown(chat)

    async def check(self) -> None:
        """All is there, all is sound, and it is what the replica showed that wrote it."""
        async with open_replica(self.path, readonly=True) as reader:
            chat = reader.context(CONTEXT)
            before = await shown(chat)
            assert {*before[0]}.issuperset(self.events), "an acknowledged event is lost"
            assert all(mark in before[1] for mark in self.notes), "an acknowledged edit is lost"
            for trace in self.traces:
                await chat.replay(await reader.receipts.find(trace))
            hashes = {one.record.hash for one in await all_records(reader)}
        assert hashes.issuperset(r.hash for r in self.peer.records if self.has_peer)
        check_sound(self.path)
        async with open_replica(self.path, seed=next(self.seeds)) as again:
            chat = again.context(CONTEXT)
            assert await shown(chat) == before
            await self.append(chat)
            await self.edit(chat)
            after = await shown(chat)
            assert after[0][-1] == self.events[-1]
            assert after[1] == before[1] + self.notes[-1]
        check_sound(self.path)


async def shown(chat: Context | Past) -> tuple[list[str], str, str]:
    return (
        [said.id async for said in chat.history()],
        await chat.note("plan").text(),
        (await chat.view(budget=50_000)).fingerprint,
    )


def check_sound(path: Path) -> None:
    report = verify(path, progress=lambda what, done, total: None)
    assert not report.findings, report.findings


def check_nothing_left(path: Path) -> None:
    expected = {path.name + end for end in ("", ".lock", ".lease", "-wal", "-shm")}
    leftovers = {p.name for p in path.parent.iterdir()} - expected
    assert not leftovers, f"left behind: {leftovers}"


def remove_drafts(folder: Path) -> None:
    for draft in folder.glob("*.new"):
        draft.unlink()


def _descriptors() -> list[str]:
    return [name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]


@contextmanager
def nothing_leaks(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Exceptions that reach nobody fail the run."""
    leaks: list[object] = []
    loop.set_exception_handler(lambda _, told: leaks.append(told))
    sys.unraisablehook = leaks.append
    threading.excepthook = leaks.append
    yield
    gc.collect()
    assert not leaks, leaks


async def one_run(
    disk: Disk, place: Path, peer: Told, fault: Fault, *, first: int, bulk: int
) -> int:
    """How many calls failed: none when `first` is behind the last of them."""
    with TemporaryDirectory(dir=place) as folder:
        worker = Worker(disk, Path(folder) / "s.db", peer, itertools.count(), bulk=bulk)
        with nothing_leaks(asyncio.get_running_loop()):
            disk.fail(fault, first=first)
            try:
                await worker.run()
            finally:
                failed = disk.repair()
            if Calls.NAME in fault.calls:
                # The second name of a new store stays where names can't be removed.
                remove_drafts(Path(folder))
            await worker.check()
            check_nothing_left(worker.path)
        for error in worker.errors:
            assert isinstance(error, StoreError), repr(error)
            assert str(worker.path) in error.message, repr(error)
            assert error.hint, repr(error)
        return failed


# ---- stories ----------------------------------------------------------------------------------


async def every_call(disk: Disk, place: Path, stride: int, bulk: int) -> None:
    peer = await a_peer(place)
    for number, fault in enumerate(FAULTS):
        runs = 0
        # There are few syncs, and each matters.
        step = -(-stride // 16) if fault.calls == Calls.SYNC else stride
        for first in itertools.count(number % step, step):
            try:
                failed = await asyncio.wait_for(
                    one_run(disk, place, peer, fault, first=first, bulk=bulk), 60
                )
            except BaseException as error:
                error.add_note(f"{fault}, from call {first} on")
                raise
            if not failed:
                break
            runs += 1
        assert runs, f"{fault}: nothing failed"
        print(f"{fault}: {runs} runs", flush=True)


async def in_the_background(disk: Disk, place: Path) -> None:
    """The index and the receipts are brought up by themselves once the disk works again."""
    path = place / "s.db"
    full = Fault(_CHANGES, errno.ENOSPC)
    with nothing_leaks(asyncio.get_running_loop()):
        async with open_replica(path) as replica:
            chat = replica.context(CONTEXT)
            await chat.append("one")
            await chat.view(trace_id="one")
            await chat.append("two")
            await chat.view(trace_id="two")
            with disk.failing(full):
                # Each commit that is tried fails with its first call.
                await until(lambda: disk.failures >= 6)
                await fails(lambda: replica.receipts.flush(), "disk is full")
                await fails(lambda: chat.append("three"), "disk is full")
                await fails(lambda: chat.page(), "disk is full")
            await until(lambda: is_up(path))
            await chat.append("four")
            assert len(await chat.page()) == 3
            await chat.append("five")
            await chat.view(trace_id="five")
            disk.fail(full)
            await fails(replica.close, "disk is full")
            disk.repair()
        async with open_replica(path, readonly=True) as reader:
            assert len(await reader.context(CONTEXT).page()) == 4
            with pytest.raises(NotFound):
                await reader.receipts.find("five")
    check_sound(path)


def is_up(path: Path) -> bool:
    """Whether everything is indexed and both receipts are kept, as others see it."""
    with closing(connect(path, readonly=True)) as connection:
        (lagging,) = connection.execute(
            "SELECT count(*) FROM contexts WHERE projected < position"
        ).fetchone()
        (receipts,) = connection.execute("SELECT count(*) FROM receipts").fetchone()
    return (lagging, receipts) == (0, 2)


async def on_a_readonly_disk(disk: Disk, place: Path) -> None:
    """Readers work where nothing can be written; writers are told so when they open."""
    path = place / "s.db"
    peer = await a_peer(place)
    worker = Worker(disk, path, peer, itertools.count())
    await worker.run()
    for error in (errno.EROFS, errno.EACCES, errno.EPERM):
        async with open_replica(path, readonly=True) as before:
            expected = await shown(before.context(CONTEXT))
            with disk.failing(Fault(_CHANGES | Calls.NAME | Calls.SYNC, error)):
                await fails(worker_opens(path), "can't be")
                async with open_replica(path, readonly=True) as reader:
                    chat = reader.context(CONTEXT)
                    assert await shown(chat) == expected
                    assert await shown(chat.at(await chat.frontier())) == expected
        async with open_replica(path, seed=error) as writer:
            await writer.context(CONTEXT).append("again")
    for error in (errno.EROFS, errno.EACCES, errno.ENOSPC):
        for first in range(3):
            none = place / f"none-{error}-{first}.db"
            with disk.failing(Fault(_CHANGES | Calls.NAME, error), first=first):
                await fails(worker_opens(none), "can't be")
                assert not none.exists()
    check_sound(path)


async def while_reading(disk: Disk, place: Path) -> None:
    """A read that fails is a clear error, and the next one works."""
    path = place / "s.db"
    broken = Fault(Calls.READ, errno.EIO)
    async with open_replica(path) as replica:
        for number in range(30):
            await replica.context(CONTEXT).append(f"{number} " + "x" * 100_000)
    with nothing_leaks(asyncio.get_running_loop()):
        async with (
            open_replica(path, seed=1) as writer,
            open_replica(path, readonly=True) as reader,
        ):
            for replica in (writer, reader):
                chat = replica.context(CONTEXT)
                then = await chat.frontier()
                questions: list[Callable[[], Awaitable[Any]]] = [
                    chat.page,
                    partial(chat.view, budget=100_000),
                    chat.export,
                    chat.at(then).page,
                    chat.at(then).note("plan").text,
                ]
                for question in questions:
                    with disk.failing(broken):
                        # Which of the two is SQLite's choice: to it, what can't be read is damaged.
                        await fails(question, "disk I/O error|malformed")
                    await question()
    check_sound(path)


def worker_opens(path: Path) -> Callable[[], Awaitable[Any]]:
    async def opens() -> None:
        await open_replica(path, seed=99).close()

    return opens


async def until(holds: Callable[[], bool]) -> None:
    def wait() -> None:
        while not holds():
            time.sleep(0.05)

    await asyncio.to_thread(wait)


async def fails(step: Callable[[], Awaitable[Any]], message: str) -> None:
    with pytest.raises(StoreError, match=message) as raised:
        await step()
    assert raised.value.hint


STORIES: Final[dict[str, Callable[..., Coroutine[Any, Any, None]]]] = {
    story.__name__: story
    for story in (every_call, in_the_background, on_a_readonly_disk, while_reading)
}

if __name__ == "__main__":
    library, where, story, *numbers = sys.argv[1:]
    place = Path(where)
    asyncio.run(STORIES[story](Disk(library, place), place, *map(int, numbers)))

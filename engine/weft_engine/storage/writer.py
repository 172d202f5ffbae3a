"""The writer: whatever waits shares one commit, and nothing is answered before it.

Jobs that are submitted in one turn of the event loop are handed over together; while a commit is
under way the next batch gathers by itself, so nothing that somebody waits for waits for a timer (a
2 ms tick made the median latency three times worse). What `may_wait` gathers for COMMIT_GATHER_S
after a commit, and goes with whatever is submitted before that is over.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from weft_engine.errors import CallerError, PeerError, StoreClosed, StoreError
from weft_engine.limits import (
    BATCH_BYTES_MAX,
    BATCH_ITEMS_MAX,
    COMMIT_GATHER_BYTES,
    COMMIT_GATHER_S,
    QUEUED_BYTES_MAX,
)
from weft_engine.storage.lane import Lane
from weft_engine.storage.log_file import AFTER_COMMITS, grow_log
from weft_engine.storage.schema import damaged
from weft_engine.storage.write_back import WriteBack

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]


@dataclass(slots=True, eq=False)
class _Submitted:
    job: Callable[[sqlite3.Connection], Any]
    size: int
    failures_known: int
    """Failed commits that its submitter knew of."""
    done: Callable[[Any, BaseException | None], None]
    is_alone: bool = False
    """Runs between two transactions, not in one."""
    result: Any = None
    error: BaseException | None = None


def settle(future: asyncio.Future[T], result: T, error: BaseException | None) -> None:
    """Answer whoever waits for `future`, if anybody still does."""
    if not future.cancelled():
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


class Unit(Protocol):
    """What wraps a batch: the buffered rows of the journal."""

    def flush(self) -> None:
        """Write what is buffered; called just before the commit."""

    def reset(self) -> None:
        """Forget what was buffered or cached; called after a rollback."""


class Writer:
    """Owns the one writing connection and the lane that uses it.

    A job runs inside the batch's transaction. It may raise a CallerError or PeerError only before
    it has changed anything; any other error, the machine's own among them, rolls the whole batch
    back. Then every job of it fails, and so does every job that was submitted before its callers
    knew: it may build on what was lost.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        unit: Unit,
        *,
        lane: Lane,
        write_back: WriteBack,
    ) -> None:
        self._path = path
        self._connection = connection
        self._unit = unit
        self._lane = lane
        self._write_back = write_back
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Submitted] = deque()
        self._gathered: list[_Submitted] = []
        """Behind what is `_waiting`; on the loop only."""
        self._gathered_bytes = 0
        self._gathering: asyncio.TimerHandle | None = None
        self._handed_s = 0.0
        """When something was put to what waits last, by the loop's clock."""
        self._queued_bytes = 0
        self._room = asyncio.Event()
        self._room.set()
        self._hand_over_planned = False
        self._is_working = False
        """The lane looks at what waits, or is about to, so it need not be woken. Set on the loop
        before it is, cleared on the lane, which then looks once more."""
        self._closed = False
        self.on_failure: Callable[[], None] = lambda: None
        self._last_batch = 1
        self._commits = 0
        self._failures = 0
        self._failure: tuple[int, BaseException] | None = None

    async def run(self, job: Job[T], *, size: int = 0) -> T:
        """What `job` returns, once it is durable. `size` is the bytes it will write, for the
        limit on what may be queued."""
        await self.room()
        future: asyncio.Future[T] = self._loop.create_future()
        self.submit(job, size=size, done=partial(settle, future))
        return await future

    async def run_alone(self, job: Job[T]) -> T:
        """As `run`, for what can't stand in a transaction. It fails by itself."""
        future: asyncio.Future[T] = self._loop.create_future()
        self.submit(job, size=0, done=partial(settle, future), is_alone=True)
        return await future

    @property
    def is_full(self) -> bool:
        """Whether more bytes are queued than the limit allows."""
        return self._queued_bytes > QUEUED_BYTES_MAX and not self._closed

    async def room(self) -> None:
        """Wait while `is_full`."""
        while self.is_full:
            self._room.clear()
            await self._room.wait()

    def submit(
        self,
        job: Job[T],
        *,
        size: int,
        done: Callable[[Any, BaseException | None], None],
        is_alone: bool = False,
        may_wait: bool = False,
    ) -> None:
        """As `run`, without waiting for room: order of calls = order of jobs. `done` is called on
        the loop with the result once it is durable, or with the error. `may_wait`: nobody waits
        for it so urgently that it should have a commit of its own."""
        if self._closed:
            raise StoreClosed("the store is closed")
        self._gathered.append(_Submitted(job, size, self._failures, done, is_alone))
        self._gathered_bytes += size
        self._queued_bytes += size
        if may_wait and self._gathered_bytes <= COMMIT_GATHER_BYTES:
            if self._gathering is not None:
                return
            due_s = self._handed_s + COMMIT_GATHER_S
            if due_s > self._loop.time():
                self._gathering = self._loop.call_at(due_s, self._put)
                return
        self._put()

    def _put(self) -> None:
        """What was gathered waits for the lane."""
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        self._waiting += self._gathered
        self._gathered.clear()
        self._gathered_bytes = 0
        self._handed_s = self._loop.time()
        if not self._hand_over_planned and not self._is_working:
            self._hand_over_planned = True
            if self._last_batch > 1:
                self._loop.call_soon(self._hand_over)
            else:
                # One writer at a time so far: there is nobody to wait for.
                self._hand_over()

    async def close(self) -> None:
        """Finish what was submitted, then end the lane and close the connection."""
        if self._closed:
            return
        self._closed = True
        self._room.set()
        if self._gathered:
            self._put()
        if self._hand_over_planned:
            self._hand_over()
        await self._lane.end()
        await self._write_back.close()
        self._connection.close()

    def _hand_over(self) -> None:
        self._hand_over_planned = False
        self._is_working = True
        self._lane.run(self._work)

    # ---- on the lane --------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            while self._waiting:
                if self._waiting[0].is_alone:
                    self._run_alone(self._waiting.popleft())
                else:
                    self._commit(self._take())
            # Who submits from here on wakes the lane; who did so just before is seen now. Said even
            # if there was nothing to do: what is put here just before the lane looks for the last
            # time is written by then, and the lane is woken for it once more.
            self._is_working = False
            if not self._waiting:
                return

    def _take(self) -> list[_Submitted]:
        batch: list[_Submitted] = []
        size = 0
        while self._waiting and len(batch) < BATCH_ITEMS_MAX and size < BATCH_BYTES_MAX:
            if self._waiting[0].is_alone:
                break
            submitted = self._waiting.popleft()
            batch.append(submitted)
            size += submitted.size
        return batch

    def _run_alone(self, submitted: _Submitted) -> None:
        try:
            submitted.result = submitted.job(self._connection)
        except BaseException as error:  # noqa: BLE001 - handed to its caller
            submitted.error = error
            if isinstance(error, sqlite3.Error):
                submitted.error = damaged(self._path, error)
                submitted.error.__cause__ = error
        self._lane.answer(self._deliver, [submitted], False)

    def _commit(self, batch: list[_Submitted]) -> None:
        failed = False
        try:
            if self._connection.in_transaction:
                # The last one failed so badly that it could not even be rolled back.
                self._connection.execute("ROLLBACK")
            self._connection.execute("BEGIN IMMEDIATE")
            for submitted in batch:
                if self._failure is not None and submitted.failures_known < self._failure[0]:
                    submitted.error = self._failure[1]
                    continue
                try:
                    submitted.result = submitted.job(self._connection)
                except (CallerError, PeerError) as error:
                    submitted.error = error
            self._unit.flush()
            self._connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - handed to every caller of the batch
            failed = True
            failure = self._roll_back(error)
            for submitted in batch:
                submitted.result, submitted.error = None, failure
            self._failure = (max(one.failures_known for one in batch) + 1, failure)
        self._lane.answer(self._deliver, batch, failed)
        self._commits += 1
        if self._commits == AFTER_COMMITS:
            grow_log(self._path)

    def _roll_back(self, error: BaseException) -> BaseException:
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error as second:
                error.add_note(f"and the rollback failed: {second}")
        self._unit.reset()
        if isinstance(error, sqlite3.Error):
            failure: StoreError = damaged(self._path, error)
            failure.__cause__ = error
            return failure
        return error

    # ---- back on the loop ---------------------------------------------------------------------

    def _deliver(self, batch: list[_Submitted], failed: bool) -> None:
        self._last_batch = len(batch)
        if failed:
            self._failures += 1
            self.on_failure()
        size = sum([submitted.size for submitted in batch])
        self._queued_bytes -= size
        for submitted in batch:
            try:
                submitted.done(submitted.result, submitted.error)
            except Exception as error:  # noqa: BLE001 - nobody else waits for ever because of it
                self._loop.call_exception_handler(
                    {"message": "who was told of a commit has failed", "exception": error}
                )
        if self._queued_bytes <= QUEUED_BYTES_MAX:
            self._room.set()
        self._write_back.committed(size)

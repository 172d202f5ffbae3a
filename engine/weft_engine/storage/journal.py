"""The journal over SQLite: append, admit, read; one writer thread and readers of their own.

Commit, then answer, then tell those who listen: a record that a listener hears of is on disk.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from weft_engine.errors import StoreClosed
from weft_engine.names import ContextName, EventId, Hlc, RecordHash
from weft_engine.records.envelope import Kind, Record
from weft_engine.records.erasure import Eraser
from weft_engine.records.gate import Outcome, admit
from weft_engine.records.identity import SignatureItem, WriterKey
from weft_engine.storage.draft import undo_unfinished
from weft_engine.storage.erasing import Plan, clear_rooms, pending
from weft_engine.storage.erasures import keep_confirmations
from weft_engine.storage.identity import NOBODY, Resumable, Standing, renew, take_up
from weft_engine.storage.identity import Identity as Identity
from weft_engine.storage.lane import Lane, ThreadLane
from weft_engine.storage.ledger import Ledger, Stored
from weft_engine.storage.lock import WriterLock
from weft_engine.storage.log_file import truncate_log
from weft_engine.storage.machine import Machine, this_machine
from weft_engine.storage.schema import (
    bring_up,
    check_header,
    check_writable,
    connect,
    create,
    damaged,
)
from weft_engine.storage.shelf import SqliteShelf
from weft_engine.storage.skew import flag_skewed
from weft_engine.storage.streams import own_open
from weft_engine.storage.tenure import Tenure
from weft_engine.storage.write_back import WriteBack
from weft_engine.storage.writer import Writer, settle

T = TypeVar("T")
Listener = Callable[[Sequence[Stored], bytes], None]
"""Called on the event loop after a commit with what it brought, in journal order, and the session
that brought it (empty for our own writes)."""
Admitted = tuple[Outcome, list[Stored], list[SignatureItem]]
CommitListener = Callable[[Sequence[Stored], Sequence[SignatureItem]], None]
"""Called as a Listener is, before it, with the signatures that came with the records."""


class SqliteJournal:
    """Open with `SqliteJournal.open`; close with `close`."""

    def __init__(
        self,
        path: Path,
        identity: Identity,
        *,
        lock: WriterLock | None,
        writing: tuple[Writer, Ledger] | None,
        resumable: Resumable | None = None,
        tenure: Tenure | None = None,
    ) -> None:
        self.path = path
        self.identity = identity
        self.resumable = resumable
        """The incarnation that may go on, because the last close was clean."""
        self._tenure = tenure
        self._opened_by = os.getpid()
        self._lock = lock
        self._writing = writing
        self._listeners: list[Listener] = []
        self._commit_listeners: list[CommitListener] = []
        self._failed: list[Callable[[], None]] = []
        self._confirmed: list[Callable[[], None]] = []
        if writing is not None:
            writing[0].on_failure = self._tell_failed
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="weft-reader")
        self._reading: sqlite3.Connection | None = None
        self._closed = False
        self.has_erasing_left = False
        """Whether, when it was opened, an eraser was in it whose work was not done."""
        self.streams_left: Sequence[tuple[ContextName, EventId]] = ()
        """The streams of this store that had not ended when it was opened."""

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        readonly: bool,
        now_ms: int,
        random: Callable[[int], bytes],
        machine: Machine | None = None,
        lane: Callable[[], Lane] = ThreadLane,
    ) -> Self:
        """The journal in the file at `path`, made if it is absent and may be written.
        `machine` is this one unless somebody simulates another; `lane` makes what its commits
        run on.

        Raises StoreLocked, NotAStore, NewerFormat or StoreError; then nothing was changed.
        """
        lock = None
        if readonly or path.exists():
            check_header(path, readonly=readonly)
        if not readonly:
            machine = machine or this_machine()
            lock = WriterLock(path)
            lock.acquire()
        try:
            if lock is not None and not path.exists():
                create(
                    path,
                    store_id=random(16),
                    epoch=random(8),
                    created_ms=now_ms,
                    machine=machine,
                )
            if lock is not None:
                undo_unfinished(path)
            connection = connect(path, readonly=readonly)
            try:
                if not readonly:
                    bring_up(path, connection)
                    check_writable(path, connection)
                if lock is None or machine is None:
                    meta = dict(connection.execute("SELECT key, value FROM meta"))
                    identity = Identity(meta["store"], meta["epoch"])
                    journal = cls(path, identity, lock=None, writing=None)
                    journal._reading = connection
                    return journal
                identity, resumable, is_leased = take_up(path, connection, machine, random=random)
                ledger = Ledger(connection)
                write_back = WriteBack(path, lane())
                writer = Writer(path, connection, ledger, lane=lane(), write_back=write_back)
                journal = cls(
                    path,
                    identity,
                    lock=lock,
                    writing=(writer, ledger),
                    resumable=resumable,
                    tenure=Tenure(path, machine, random, is_leased),
                )
                journal.has_erasing_left = bool(pending(connection))
                journal.streams_left = own_open(connection)
                return journal
            except BaseException as error:
                connection.close()
                if isinstance(error, sqlite3.Error):
                    raise damaged(path, error) from error
                raise
        except BaseException:
            if lock is not None:
                lock.release()
            raise

    @property
    def readonly(self) -> bool:
        return self._writing is None

    async def close(self, standing: Standing | None = NOBODY) -> None:
        """Finish what was handed over, then let go of the file. The next open may go on where this
        one stands; with None it takes the close for an unclean one."""
        if self._closed or not self.is_ours:
            return
        try:
            if standing is not None and self._tenure is not None:
                await self.write(partial(self._tenure.end, standing, self.resumable))
        finally:
            await self._let_go()

    async def _let_go(self) -> None:
        self._closed = True
        # The writer's connection goes last: the last one to close folds the write-ahead log into
        # the file, and a read-only one can't.
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._reader, self._close_reading)
        self._reader.shutdown()
        if self._writing is not None:
            await self._writing[0].close()
        if self._lock is not None:
            self._lock.release()

    def listen(
        self, listener: Listener, *, failed: Callable[[], None] | None = None
    ) -> Callable[[], None]:
        """Call `listener` after every commit, and `failed` when one failed, before its callers
        learn of it; returns what ends that."""
        self._listeners.append(listener)
        if failed is not None:
            self._failed.append(failed)

        def end() -> None:
            self._listeners.remove(listener)
            if failed is not None:
                self._failed.remove(failed)

        return end

    def listen_commits(self, listener: CommitListener) -> Callable[[], None]:
        """Call `listener` after every commit; returns what ends that."""
        self._commit_listeners.append(listener)
        return lambda: self._commit_listeners.remove(listener)

    async def read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """What `question` answers on a reader's connection, which sees all that is committed."""
        self.check_process()
        if self._closed:
            raise StoreClosed("the store is closed")
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._ask, question)

    async def write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """What `job` returns, once what it wrote beside the journal is durable."""
        return await self._writer.run(job)

    async def flag_skewed(self, name: ContextName, latest_ms: int) -> Hlc:
        """Flag what is stamped behind `latest_ms` in a context; the highest HLC of the rest."""
        _, ledger = self._open_for_writing()
        return await self.write(lambda c: flag_skewed(c, ledger, name, latest_ms))

    async def renew_identity(self) -> None:
        """Take another store id and epoch, durably."""
        tenure = self._tenure
        assert tenure is not None, "a store that is read only is nobody's"
        self.identity = await self.write(lambda c: renew(c, random=tenure.random))

    def submit(
        self,
        records: Sequence[Record],
        key: WriterKey,
        done: Callable[[BaseException | None], None],
        *,
        beside: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        """Append our own `records`, in this order, behind everything submitted before. `done` is
        called when they are durable and listeners have heard of them, or with the error. `key` is
        kept with the first of its records in each context. What `beside` writes is committed with
        them."""
        writer, ledger = self._open_for_writing()

        def committed(stored: list[Stored], error: BaseException | None) -> None:
            if error is None:
                self._tell(stored, b"")
            done(error)

        writer.submit(
            partial(self._append, ledger, records, key, beside),
            size=sum([len(record.payload) for record in records]),
            done=committed,
        )

    @property
    def is_full(self) -> bool:
        """Whether so much is queued for the writer that one should wait for `room`."""
        return self._writing is not None and self._writing[0].is_full

    async def room(self) -> None:
        """Wait while too much is queued for the writer."""
        await self._writer.room()

    async def admit(
        self,
        records: Sequence[Record],
        items: Sequence[SignatureItem],
        *,
        session: bytes,
        now_ms: int,
        proofs: Mapping[RecordHash, Sequence[Eraser]] | None = None,
    ) -> Outcome:
        """As `offer`, when there is room for it."""
        await self._writer.room()
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.offer(
            records,
            items,
            session=session,
            now_ms=now_ms,
            proofs=proofs,
            done=partial(settle, future),
        )
        return await future

    def offer(
        self,
        records: Sequence[Record],
        items: Sequence[SignatureItem],
        *,
        session: bytes,
        now_ms: int,
        proofs: Mapping[RecordHash, Sequence[Eraser]] | None = None,
        done: Callable[[Outcome, BaseException | None], None],
        may_wait: bool = False,
    ) -> None:
        """Pass what a peer offers through the gate, behind everything submitted before; `items` are
        verified signatures, `proofs` the erasers that came beside those records whose payloads are
        stand-ins. `done` is called with what came of it, once that is durable and listeners have
        heard of it, or with an error. `may_wait`: it can share a commit with what comes in the next
        milliseconds."""
        writer, ledger = self._open_for_writing()

        def job(connection: sqlite3.Connection) -> Admitted:
            self._begin()
            shelf = SqliteShelf(connection, ledger, session=session, now_ms=now_ms, proofs=proofs)
            outcome = admit(shelf, records, items)
            if shelf.items:
                ledger.sign(shelf.items)
            return outcome, shelf.stored, [item for _, item in shelf.items]

        def committed(result: Admitted | None, error: BaseException | None) -> None:
            outcome = Outcome()
            if result is not None:
                # Listeners hear of what is journaled even if nobody waits for it any more.
                outcome, stored, signed = result
                self._tell(stored, session, signed)
            done(outcome, error)

        size = sum([record.size for record in records])
        writer.submit(job, size=size, done=committed, may_wait=may_wait)

    async def keep_signatures(self, items: Sequence[tuple[Stored, SignatureItem]]) -> None:
        """Keep signatures that we made ourselves, over tips that are journaled."""
        _, ledger = self._open_for_writing()
        await self.write(lambda _: ledger.sign([(stored.position, item) for stored, item in items]))

    # ---- erasing ------------------------------------------------------------------------------

    async def clear_rooms(self, work: Plan) -> None:
        """Rid the waiting room and the quarantine of what an eraser names."""
        _, ledger = self._open_for_writing()
        await self.write(lambda connection: clear_rooms(connection, ledger.erasers, work))

    async def truncate_log(self) -> bool:
        """Write the log into the file and cut it to nothing. False while a reader holds it."""
        return await self._writer.run_alone(truncate_log)

    async def confirm(self, confirmations: Sequence[tuple[RecordHash, Sequence[bytes]]]) -> None:
        """Keep which stores say that they have erased what a record names; whoever listens for
        that hears of it if something is new. Erasers that are not held are passed over, and a
        store that is open for reading only keeps nothing."""
        if self.readonly:
            return
        if await self.write(partial(keep_confirmations, confirmations)):
            self.tell_confirmed()

    def listen_confirmed(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` when confirmations of erasures came; returns what ends that."""
        self._confirmed.append(listener)
        return lambda: self._confirmed.remove(listener)

    def tell_confirmed(self) -> None:
        for listener in tuple(self._confirmed):
            listener()

    # ---- inside -------------------------------------------------------------------------------

    @property
    def _writer(self) -> Writer:
        return self._open_for_writing()[0]

    def _open_for_writing(self) -> tuple[Writer, Ledger]:
        if self._closed:
            raise StoreClosed("the store is closed")
        self.check_process()
        if self._writing is None:
            raise StoreClosed(
                f"the store {self.path} is open for reading only",
                hint="open it without readonly to write",
            )
        return self._writing

    @property
    def is_ours(self) -> bool:
        """Whether this process has opened the store; not so in one that was forked from it."""
        return os.getpid() == self._opened_by

    def check_process(self) -> None:
        """StoreClosed in a process that was forked from the one that opened the store."""
        if not self.is_ours:
            raise StoreClosed(
                f"the store {self.path} was opened by process {self._opened_by}, and this is"
                f" process {os.getpid()}, forked from it",
                hint="open the store in the process that uses it, after the fork",
            )

    def _begin(self) -> None:
        """On the writer's thread, before a record is written."""
        if self._tenure is not None:
            self._tenure.begin()

    def _tell(
        self, stored: Sequence[Stored], session: bytes, items: Sequence[SignatureItem] = ()
    ) -> None:
        if stored:
            for hear in tuple(self._commit_listeners):
                hear(stored, items)
            for listener in tuple(self._listeners):
                listener(stored, session)

    def _tell_failed(self) -> None:
        for failed in tuple(self._failed):
            failed()

    def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        if self._reading is None:
            self._reading = connect(self.path, readonly=True)
        try:
            return question(self._reading)
        except sqlite3.Error as error:
            raise damaged(self.path, error) from error

    def _close_reading(self) -> None:
        if self._reading is not None:
            self._reading.close()

    def _append(
        self,
        ledger: Ledger,
        records: Sequence[Record],
        key: WriterKey,
        beside: Callable[[sqlite3.Connection], None] | None,
        connection: sqlite3.Connection,
    ) -> list[Stored]:
        self._begin()
        stored = [ledger.append(record) for record in records]
        # An eraser goes beside what it erased, wherever that is sent, so it has a signature of its
        # own.
        erasers = [one for one in stored if one.record.envelope.kind is Kind.ERASE]
        if erasers:
            ledger.sign([(one.position, key.sign(one.record.hash)) for one in erasers])
        if records[0].envelope.seq == 1:
            connection.execute(
                "UPDATE origins SET public_key = ?, seed = ? WHERE id = ? AND seed IS NULL",
                (key.public_key, key.seed, ledger.origin(key.incarnation)),
            )
        if beside is not None:
            beside(connection)
        return stored

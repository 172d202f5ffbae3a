"""Links with their real driver, over pipes in memory and over websockets on loopback."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.linked import PipeEnd, Store, pipe, stores
from weft_engine.errors import LinkRefused, StoreError
from weft_engine.limits import RECONNECT_LAST_S
from weft_engine.names import RecordHash
from weft_engine.records.envelope import Record
from weft_engine.records.erasure import Eraser
from weft_engine.records.gate import Outcome
from weft_engine.records.identity import SignatureItem
from weft_engine.storage.journal import Identity, SqliteJournal
from weft_engine.storage.ledger import Stored
from weft_engine.sync.driving.hub import Hub
from weft_engine.sync.driving.keeping import KeptLink, delay_s, keep_linked
from weft_engine.sync.driving.link import Link, LinkStore, Transport
from weft_engine.sync.driving.link_store import Journal
from weft_engine.sync.end.ending import End, State
from weft_engine.sync.faults import LinkLost
from weft_engine.sync.framing.messages import ByeCode, Window
from weft_engine.sync.interest import EVERYTHING, Interest
from weft_engine.sync.presence import Presence
from weft_engine.sync.reach import Reach

T = TypeVar("T")

TIMEOUT_S = 20.0


class Socket:
    """A websocket as a transport."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def send(self, frame: bytes) -> None:
        try:
            await self._connection.send(frame)
        except ConnectionClosed as error:
            raise LinkLost(f"the websocket is closed: {error}") from error

    async def receive(self) -> bytes | None:
        try:
            message = await self._connection.recv()
        except ConnectionClosed:
            return None
        return message if isinstance(message, bytes) else message.encode()

    async def close(self, code: str, reason: str) -> None:
        await self._connection.close(1000, code)


@asynccontextmanager
async def running(
    a: LinkStore, b: LinkStore, *, frames_max: int = 8, window: Window | None = None
) -> AsyncIterator[tuple[Link, Link, list[asyncio.Task[End]], tuple[PipeEnd, PipeEnd]]]:
    ends = pipe(frames_max=frames_max)
    links = Link(ends[0], a, window=window), Link(ends[1], b, region="eu", window=window)
    tasks = [asyncio.create_task(one.run()) for one in links]
    try:
        yield *links, tasks, ends
    finally:
        for one in links:
            one.close()
        await asyncio.wait(tasks)


def test_a_link_over_a_pipe_from_hello_to_bye() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            await a.write("c/1", *(f"{i}" for i in range(1500)))
            await b.write("c/1", "from b")
            async with running(a, b) as (left, right, tasks, _):
                await left.until_synced(timeout=TIMEOUT_S)
                assert await a.fingerprints() == await b.fingerprints()
                assert left.state is State.LIVE
                await b.write("c/2", "live")
                await right.synced(timeout=TIMEOUT_S)
                assert await a.fingerprints() == await b.fingerprints()
                await a.write("c/2", "live too", "x" * 600_000)
                await left.synced(timeout=TIMEOUT_S)
                assert left.session.regions == {"eu": await a.last_position()}
                left.close("enough")
                ends = [await task for task in tasks]
                assert [(e.code, e.reason, e.by_peer) for e in ends] == [
                    ("closed", "enough", False),
                    ("closed", "enough", True),
                ]
                assert (left.state, right.state) == (State.CLOSED, State.CLOSED)
                # What is durable there stays so; what is new can't come there any more.
                await left.synced(timeout=TIMEOUT_S)
                await b.write("c/2", "too late")
                with pytest.raises(LinkLost, match="enough"):
                    await right.synced(timeout=TIMEOUT_S)

    asyncio.run(run())


def test_a_narrow_pipe_and_a_narrow_window_lose_nothing() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            async with running(a, b, frames_max=1, window=Window(1, 1)) as (left, right, _, _):
                for index in range(30):
                    await a.write(f"c/{index % 3}", f"a {index}", "x" * 1000)
                    await b.write(f"c/{index % 3}", f"b {index}")
                await left.synced(timeout=TIMEOUT_S)
                await right.synced(timeout=TIMEOUT_S)
                assert await a.fingerprints() == await b.fingerprints()

    asyncio.run(run())


def test_synced_times_out_and_says_so() -> None:
    async def run() -> None:
        async with stores(1) as (a,):
            await a.write("c/1", "x")
            mine, _ = pipe()
            link = Link(mine, a)
            task = asyncio.create_task(link.run())
            with pytest.raises(TimeoutError):
                await link.synced(timeout=0.01)
            assert link.state is State.CONNECTING
            link.close()
            assert (await task).code == ByeCode.CLOSED

    asyncio.run(run())


def test_a_cut_connection_ends_both_sides_and_leaves_no_task() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            await a.write("c/1", *("x" * 1000 for _ in range(500)))
            async with running(a, b, frames_max=1) as (left, _, tasks, ends):
                await left.until(lambda: left.session.peer is not None, timeout=TIMEOUT_S)
                ends[0].cut()
                found = [await task for task in tasks]
                assert {end.code for end in found} == {ByeCode.FAULT}
                assert [end.is_refusal for end in found] == [False, False]
                with pytest.raises(LinkLost):
                    await left.synced(timeout=TIMEOUT_S)
            names = {task.get_name() for task in asyncio.all_tasks()}
            assert not any(name.startswith("weft-link") for name in names)
            # What was admitted was admitted as a whole.
            assert await b.waiting() == 0

    asyncio.run(run())


def test_a_cancelled_link_lets_go_of_everything() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            async with running(a, b) as (left, _, tasks, ends):
                await left.synced(timeout=TIMEOUT_S)
                tasks[0].cancel()
                with pytest.raises(asyncio.CancelledError):
                    await tasks[0]
                assert ends[0].is_closed
                assert (await tasks[1]).by_peer
                await a.write("c/1", "nobody listens")
                assert left.state is State.CLOSED

    asyncio.run(run())


def test_what_the_gate_has_begun_is_finished_before_a_cancelled_link_ends() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            await a.write("c/1", "x")
            busy = BusyJournal(b.journal)
            told: list[Stored] = []
            b.journal.listen(lambda stored, _: told.extend(stored))
            async with running(a, Replacing(b, journal=busy)) as (_, _, tasks, _):
                await busy.begun.wait()
                tasks[1].cancel()
                asyncio.get_running_loop().call_later(0.02, busy.go_on.set)
                with pytest.raises(asyncio.CancelledError):
                    await tasks[1]
                assert busy.go_on.is_set()
                assert [one.record.hash for one in told] == await a.hashes()

    asyncio.run(run())


class BusyJournal:
    """A real journal whose gate waits for the test."""

    def __init__(self, journal: SqliteJournal) -> None:
        self._journal = journal
        self.listen_confirmed = journal.listen_confirmed
        self.confirm = journal.confirm
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()

    async def read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        return await self._journal.read(question)

    async def write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        return await self._journal.write(job)

    @property
    def is_full(self) -> bool:
        return self._journal.is_full

    async def room(self) -> None:
        await self._journal.room()

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
        async def later() -> None:
            await self.go_on.wait()
            self._journal.offer(
                records,
                items,
                session=session,
                now_ms=now_ms,
                proofs=proofs,
                done=done,
                may_wait=may_wait,
            )

        self.begun.set()
        self.offering = asyncio.create_task(later())


class FailingJournal:
    """A real journal whose disk fails at the first record of a peer, so many times."""

    def __init__(self, journal: SqliteJournal, *, times: int = 1) -> None:
        self.left = times
        self._journal = journal
        self.listen_confirmed = journal.listen_confirmed
        self.confirm = journal.confirm

    async def read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        return await self._journal.read(question)

    async def write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        return await self._journal.write(job)

    @property
    def is_full(self) -> bool:
        return self._journal.is_full

    async def room(self) -> None:
        await self._journal.room()

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
        if self.left:
            self.left -= 1
            done(Outcome(), StoreError("the disk is full", hint="make room"))
            return
        self._journal.offer(
            records,
            items,
            session=session,
            now_ms=now_ms,
            proofs=proofs,
            done=done,
            may_wait=may_wait,
        )


class Replacing:
    """A store with another journal, or one that signs wrongly."""

    def __init__(self, store: Store, *, journal: Journal | None = None, lies: bool = False) -> None:
        self._store = store
        self._lies = lies
        self.journal: Journal = journal or store.journal

    @property
    def identity(self) -> Identity:
        return self._store.identity

    @property
    def presence(self) -> Presence:
        return self._store.presence

    @property
    def reach(self) -> Reach:
        return self._store.reach

    @property
    def hub(self) -> Hub:
        return self._store.hub

    @property
    def guard(self) -> None:
        return None

    def now_ms(self) -> int:
        return self._store.now_ms()

    def random(self, size: int) -> bytes:
        return self._store.random(size)

    async def signature_items(self, stored: Sequence[Stored]) -> list[SignatureItem]:
        found = await self._store.signature_items(stored)
        return [replace(item, signature=bytes(64)) for item in found] if self._lies else found


def test_a_fault_of_this_machine_is_raised_here_and_told_there() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            await a.write("c/1", "x")
            full = Replacing(b, journal=FailingJournal(b.journal))
            async with running(a, full) as (_, _, tasks, _):
                with pytest.raises(StoreError, match="disk is full"):
                    await tasks[1]
                end = await tasks[0]
                assert (end.code, end.by_peer, end.is_refusal) == (ByeCode.FAULT, True, False)
                assert "disk" not in end.reason, "what fails here is not the peer's business"

    asyncio.run(run())


def test_a_wrong_signature_ends_the_link_and_nothing_is_stored() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            await a.write("c/1", "x")
            async with running(Replacing(a, lies=True), b) as (_, _, tasks, _):
                end = await tasks[0]
                assert (end.code, end.by_peer) == (ByeCode.RECORD, True)
                assert "signature" in end.reason
                assert not (await tasks[1]).by_peer
                assert await b.hashes() == []

    asyncio.run(run())


# ---- websockets and reconnecting ------------------------------------------------------------


class Relay:
    """A store behind a websocket server, whose connections a test can cut."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.connections: set[ServerConnection] = set()
        self.permitted = EVERYTHING
        self.refuses = False
        self.port = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with serve(self.handle, "127.0.0.1", 0, compression=None) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            yield

    async def handle(self, connection: ServerConnection) -> None:
        self.connections.add(connection)
        link = Link(Socket(connection), self.store, interest=self.permitted, region="eu")
        if self.refuses:
            link.close("the token has expired", code=ByeCode.DENIED, hint="get a new one")
        await link.run()
        self.connections.discard(connection)

    @asynccontextmanager
    async def dial(self) -> AsyncIterator[Transport]:
        async with connect(f"ws://127.0.0.1:{self.port}", compression=None) as connection:
            yield Socket(connection)

    def cut(self) -> None:
        for connection in self.connections:
            connection.transport.abort()


async def no_pause(_: float) -> None:
    """Reconnect at once."""


def test_two_clients_meet_at_a_relay_over_websockets() -> None:
    async def run() -> None:
        async with stores(3) as (a, relay_store, b):
            relay = Relay(relay_store)
            await a.write("acme/1", "before", "x" * 700_000)
            async with relay.serving():
                wanted = Interest.of(prefixes=["acme/"])
                left = keep_linked(relay.dial, a, random=random.random)
                await left.synced(timeout=TIMEOUT_S)
                async with (
                    left,
                    keep_linked(relay.dial, b, random=random.random, interest=wanted) as right,
                ):
                    await right.until_synced(timeout=TIMEOUT_S)
                    assert await b.fingerprints() == await a.fingerprints()
                    await b.write("acme/1", "answer")
                    await a.write("private", "not for b")
                    await right.synced(timeout=TIMEOUT_S)
                    await left.synced(timeout=TIMEOUT_S)
                    assert {left.status, right.status} == {State.LIVE}
                    assert len(await relay_store.hashes()) == 4
                    assert set(await b.fingerprints()) == {"acme/1"}
                assert {left.status, right.status} == {State.CLOSED}
                await b.write("acme/1", "too late")
                with pytest.raises(LinkLost):
                    await right.synced(timeout=TIMEOUT_S)

    asyncio.run(run())


def test_a_kept_link_comes_back_and_loses_nothing() -> None:
    async def run() -> None:
        rng = random.Random(5)
        async with stores(2) as (a, relay_store):
            relay = Relay(relay_store)
            async with relay.serving():
                kept = KeptLink(relay.dial, a, random=rng.random, sleep=no_pause)
                for round_ in range(12):
                    await a.write("c/1", *(f"{round_} {i}" for i in range(60)))
                    await relay_store.write("c/1", f"relay {round_}")
                    if kept.link is not None and round_ % 2:
                        await kept.link.until(
                            lambda: kept.link is None or kept.link.session.peer is not None
                        )
                    relay.cut()
                await kept.until_synced(timeout=TIMEOUT_S)
                held = set(await relay_store.hashes())
                assert held.issuperset(await a.hashes())
                assert len(held) == 12 * 61
                await kept.aclose()
                assert kept.status is State.CLOSED

    asyncio.run(run())


def test_a_kept_link_outlives_a_full_disk() -> None:
    async def run() -> None:
        async with stores(2) as (a, relay_store):
            relay = Relay(relay_store)
            await relay_store.write("c/1", "one", "two")
            full = FailingJournal(a.journal, times=3)
            async with relay.serving():
                kept = KeptLink(
                    relay.dial, Replacing(a, journal=full), random=random.random, sleep=no_pause
                )
                await kept.until_synced(timeout=TIMEOUT_S)
                assert full.left == 0
                assert await a.hashes() == await relay_store.hashes()
                assert kept.status is State.LIVE
                assert isinstance(kept.error, StoreError), "why the connection before ended"
                await kept.aclose()

    asyncio.run(run())


def test_a_refused_link_is_not_tried_again() -> None:
    async def run() -> None:
        async with stores(2) as (a, relay_store):
            relay = Relay(relay_store)
            relay.refuses = True
            pauses: list[float] = []

            async def pause(seconds: float) -> None:
                pauses.append(seconds)

            async with relay.serving():
                kept = KeptLink(relay.dial, a, random=random.random, sleep=pause)
                with pytest.raises(LinkRefused, match="expired"):
                    await kept.synced(timeout=TIMEOUT_S)
                assert kept.status is State.REFUSED
                assert isinstance(kept.error, LinkRefused)
                assert kept.error.hint == "get a new one"
                assert pauses == []
                await kept.aclose()
                assert kept.status is State.REFUSED

    asyncio.run(run())


def test_a_relay_that_is_away_is_dialled_again_and_again() -> None:
    async def run() -> None:
        async with stores(2) as (a, relay_store):
            relay = Relay(relay_store)
            pauses: list[float] = []
            enough = asyncio.Event()
            go_on = asyncio.Event()

            async def pause(seconds: float) -> None:
                pauses.append(seconds)
                if len(pauses) == 9:
                    enough.set()
                    await go_on.wait()

            relay.port = 1  # Nobody listens there.
            kept = KeptLink(relay.dial, a, random=lambda: 0.5, sleep=pause)
            await enough.wait()
            assert kept.status is State.CONNECTING
            assert isinstance(kept.error, OSError)
            assert pauses == [delay_s(attempt, 0.5) for attempt in range(1, 10)]
            assert pauses[:3] == [0.375, 0.75, 1.5]
            assert pauses[-1] == RECONNECT_LAST_S * 0.75
            async with relay.serving():
                go_on.set()
                await a.write("c/1", "x")
                await kept.synced(timeout=TIMEOUT_S)
                assert await relay_store.hashes() == await a.hashes()
                await kept.aclose()

    asyncio.run(run())


def test_several_places_are_tried_in_turn_and_each_round_waits_longer() -> None:
    async def run() -> None:
        async with stores(3) as (a, far_store, near_store):
            far, near = Relay(far_store), Relay(near_store)
            tried: list[int] = []
            pauses: list[float] = []

            async def pause(seconds: float) -> None:
                tried.append(kept.place)
                pauses.append(seconds)
                if len(pauses) == 7:
                    enough.set()
                    await far_is_up.wait()

            enough, far_is_up = asyncio.Event(), asyncio.Event()
            far.port = near.port = 1  # Nobody listens there.
            nowhere = Relay(a)
            nowhere.port = 1
            dials = [nowhere.dial, far.dial, near.dial]
            kept = KeptLink(dials, a, random=lambda: 0.5, sleep=pause)
            written = await a.write("c/1", "one", "two")
            await enough.wait()
            async with far.serving():
                far_is_up.set()
                await kept.synced(timeout=TIMEOUT_S)
                assert kept.place == 1
                # The next place that is to be tried, when it pauses.
                assert tried[:7] == [1, 2, 0, 1, 2, 0, 1]
                assert pauses[:7] == [delay_s(1 + n // 3, 0.5) for n in range(7)]
                assert len(await far_store.hashes()) == 2
                async with near.serving():
                    far.cut()
                    written += await a.write("c/1", "three")
                    await kept.synced(timeout=TIMEOUT_S)
                    assert kept.place == 2
                    assert await near_store.hashes() == [record.hash for record in written]
                    await kept.aclose()

    asyncio.run(run())


def test_a_place_that_refuses_is_left_out_and_the_others_are_not() -> None:
    async def run() -> None:
        async with stores(3) as (a, strict_store, open_store):
            strict, willing = Relay(strict_store), Relay(open_store)
            strict.refuses = True
            async with strict.serving(), willing.serving():
                kept = KeptLink(
                    [strict.dial, willing.dial], a, random=random.random, sleep=no_pause
                )
                for text in ("one", "two"):
                    await a.write("c/1", text)
                    await kept.synced(timeout=TIMEOUT_S)
                    assert kept.place == 1
                    assert list(kept.refusals) == [0]
                    assert kept.status is State.LIVE
                    willing.cut()
                willing.refuses = True
                await a.write("c/1", "three")
                with pytest.raises(LinkRefused, match=r"every relay refused.*expired"):
                    await kept.synced(timeout=TIMEOUT_S)
                assert kept.status is State.REFUSED
                await kept.aclose()

    asyncio.run(run())


def test_closing_between_two_attempts_ends_at_once() -> None:
    async def run() -> None:
        async with stores(1) as (a,):

            @asynccontextmanager
            async def nowhere() -> AsyncIterator[Transport]:
                raise LinkLost("there is nothing")
                yield pipe()[0]

            paused = asyncio.Event()

            async def pause(_: float) -> None:
                paused.set()
                await asyncio.Event().wait()

            kept = KeptLink(nowhere, a, random=random.random, sleep=pause)
            await paused.wait()
            await kept.aclose()
            assert kept.status is State.CLOSED
            with pytest.raises(LinkLost):
                await kept.synced(timeout=TIMEOUT_S)

    asyncio.run(run())


def test_a_bug_in_dialling_is_not_swallowed() -> None:
    async def run() -> None:
        async with stores(1) as (a,):

            @asynccontextmanager
            async def broken() -> AsyncIterator[Transport]:
                raise KeyError("a bug")
                yield pipe()[0]

            kept = KeptLink(broken, a, random=random.random)
            with pytest.raises(KeyError):
                await kept.synced(timeout=TIMEOUT_S)
            with pytest.raises(KeyError):
                await kept.aclose()

    asyncio.run(run())

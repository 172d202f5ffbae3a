"""Links that begin where an earlier one ended: what goes over the wire, and when everything is
compared instead."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import TypeVar

import pytest

from tests.linked import NOW_MS, End, Store, cut, settle, stores
from weft_engine.names import ContextName, Position
from weft_engine.storage import tickets
from weft_engine.storage.identity import renew
from weft_engine.sync.end.questions import answer
from weft_engine.sync.end.session import Session
from weft_engine.sync.framing.frames import encode
from weft_engine.sync.framing.messages import (
    Contexts,
    Cursor,
    Frontier,
    Message,
    Resume,
    Resumed,
)
from weft_engine.sync.interest import EVERYTHING, Interest

Pair = tuple[End, End]


def link(client: Store, relay: Store, *, interest: Interest = EVERYTHING) -> Pair:
    return End(client, interest=interest), End(relay, region="eu")


async def part(pair: Pair) -> None:
    """The connection is gone, and the client keeps how far it came."""
    cut(pair)
    client = pair[0]
    question = client.session.cursors.last()
    if question is not None:
        await client.store.journal.write(lambda connection: answer(connection, question))


async def met(client: Store, relay: Store, *, interest: Interest = EVERYTHING) -> None:
    """One link from its begin to its end, some seconds later."""
    pair = link(client, relay, interest=interest)
    for now_ms in (0, 2_000):
        for end in pair:
            end.session.tick(now_ms)
        await settle(pair)
    assert all(end.session.end is None for end in pair)
    assert all(end.session.progress.is_synced for end in pair)
    await part(pair)


F = TypeVar("F")


def of(kind: type[F], frames: Sequence[Message]) -> list[F]:
    return [frame for frame in frames if isinstance(frame, kind)]


def has_resumed(pair: Pair) -> bool:
    listed = of(Contexts, [*pair[0].sent, *pair[1].sent])
    resumed = of(Resumed, pair[1].sent) == [Resumed(True)]
    assert resumed != bool(listed), "either lists or none"
    return resumed


async def again(client: Store, relay: Store, *, interest: Interest = EVERYTHING) -> Pair:
    """The next link, settled; both ends agree whatever way that took."""
    pair = link(client, relay, interest=interest)
    await settle(pair)
    assert all(end.session.end is None for end in pair)
    assert all(end.session.progress.is_synced for end in pair)
    assert await client.fingerprints(interest) == await relay.fingerprints(interest)
    return pair


# ---- resuming -------------------------------------------------------------------------------


def test_what_is_equal_costs_no_list_and_no_record() -> None:
    async def run() -> None:
        async with stores(2) as (a, relay):
            await a.write("c/1", "one")
            await relay.write("c/2", "two")
            await met(a, relay)
            pair = await again(a, relay)
            assert has_resumed(pair)
            assert not pair[0].records_sent
            assert not pair[1].records_sent
            assert not of(Frontier, [*pair[0].sent, *pair[1].sent])

    asyncio.run(run())


def test_each_end_sends_what_the_other_lacks_and_nothing_else() -> None:
    async def run() -> None:
        async with stores(3) as (a, relay, c):
            await relay.write("c/1", "one")
            await relay.write("c/2", "two")
            await met(a, relay)
            await met(c, relay)
            here = await a.write("c/1", "from a", "and on")
            new = await a.write("new/a", "begun offline")
            await c.write("c/1", "from c")
            await c.write("new/c", "begun elsewhere")
            await met(c, relay)
            there = [r for r in await relay.hashes() if r not in await a.hashes()]
            assert len(there) == 2
            pair = await again(a, relay)
            assert has_resumed(pair)
            assert pair[0].records_sent == [r.envelope_bytes for r in (*here, *new)]
            assert len(pair[1].records_sent) == 2
            assert set(there) <= set(await a.hashes())

    asyncio.run(run())


def test_what_was_sent_to_another_region_is_compared_and_not_sent_again() -> None:
    """The region that was left got it from there, or did not: lists tell."""

    async def run() -> None:
        async with stores(3) as (a, relay, other):
            await a.write("c/1", "one")
            for one in (relay, other):
                await met(a, one)
            there = await a.write("c/1", "while it is there")
            await met(a, other)
            regions = End(relay, region="eu"), End(other, region="us")
            await settle(regions)
            cut(regions)
            pair = await again(a, relay)
            assert not has_resumed(pair)
            assert not pair[0].records_sent
            assert not pair[1].records_sent
            await part(pair)
            # What the region that was left has not got yet is offered to it, once.
            late = await a.write("c/2", "that region is cut off")
            await met(a, other)
            pair = await again(a, relay)
            assert pair[0].records_sent == [record.envelope_bytes for record in late]
            await part(pair)
            assert {record.hash for record in (*there, *late)} <= set(await relay.hashes())
            # Nothing was sent elsewhere since: it resumes.
            here = await a.write("c/1", "and on")
            pair = await again(a, relay)
            assert has_resumed(pair)
            assert pair[0].records_sent == [record.envelope_bytes for record in here]

    asyncio.run(run())


def test_a_resumed_link_says_when_all_has_come() -> None:
    """As after lists: whoever waits for what the relay holds waits for its records."""

    async def run() -> None:
        async with stores(2) as (a, relay):
            await relay.write("c/1", "one")
            await met(a, relay)
            await relay.write("c/1", "two")
            end, other = pair = link(a, relay)
            while not of(Resumed, other.sent):
                for one, its in (pair, pair[::-1]):
                    one.flush(its)
                    while one.read_one():
                        pass
                    await one.ask_one()
            other.flush(end)
            while end.inbox:
                end.read_one()
                if await a.fingerprints() != await relay.fingerprints():
                    assert not end.session.progress.has_received_all
            await settle(pair)
            assert end.session.progress.has_received_all
            assert await a.fingerprints() == await relay.fingerprints()

    asyncio.run(run())


def test_what_is_written_while_resuming_comes_too() -> None:
    async def run() -> None:
        async with stores(2) as (a, relay):
            await a.write("c/1", "one")
            await met(a, relay)
            await a.write("c/1", "offline")
            pair = link(a, relay)
            for step in range(12):
                await a.write("c/1", f"here {step}")
                await relay.write("c/1", f"there {step}")
                for end, other in (pair, pair[::-1]):
                    end.flush(other)
                    end.read_one()
                    await end.ask_one()
                    await end.admit_one()
            await settle(pair)
            assert has_resumed(pair)
            assert all(end.session.progress.is_synced for end in pair)
            assert await a.fingerprints() == await relay.fingerprints()
            assert len(set(pair[0].records_sent)) == len(pair[0].records_sent)

    asyncio.run(run())


@pytest.mark.parametrize("contexts", [500, pytest.param(10_000, marks=pytest.mark.deep)])
def test_ten_contexts_of_many_cost_little_more_than_their_records(contexts: int) -> None:
    """One round trip: the resume goes out, and the records come with its answer."""

    async def run() -> None:
        async with stores(2) as (a, relay):
            empty = [relay.make(ContextName(f"c/{i:05}"), "first", ()) for i in range(contexts)]
            done: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
            relay.journal.submit(empty, relay.key, done.set_result)
            assert await done is None
            await met(a, relay)
            payload = 0
            for i in range(10):
                written = await relay.write(f"c/{i * 49:05}", "a message of some length " * 40)
                payload += sum(record.size for record in written)
            pair = link(a, relay)
            end = pair[0]
            rounds = size = 0
            while not end.session.progress.is_synced:
                for one, its in (pair, pair[::-1]):
                    while await one.ask_one() | await one.admit_one():
                        pass
                    for frame in one.session.frames_to_send():
                        size += len(frame)
                        its.session.receive(frame)
                rounds += 1
            # The hellos, the resume with its answer, the acknowledgement.
            assert rounds <= 3
            assert size <= 1.3 * payload, (size, payload)
            assert await a.fingerprints() == await relay.fingerprints()

    asyncio.run(run())


# ---- comparing instead ----------------------------------------------------------------------


async def set_back(relay: Store, to: Store) -> None:
    """`to` takes the place of a relay, with its name and epoch: as if its disk had been set back
    and nobody had noticed."""
    to.journal.identity = relay.identity


@pytest.mark.parametrize("records", [0, 1, 2, 3])
def test_a_cursor_of_a_past_that_is_no_more_is_refused(records: int) -> None:
    """Its journal is shorter now, or holds something else where the cursor stands."""

    async def run() -> None:
        async with stores(3) as (a, relay, other):
            await relay.write("c/1", "one", "two")
            await met(a, relay)
            if records:
                await other.write("c/1", *(f"else {i}" for i in range(records)))
            await set_back(relay, other)
            pair = await again(a, other)
            assert of(Resume, pair[0].sent) != [Resume(None)]
            assert of(Resumed, pair[1].sent) == [Resumed(False)]
            assert len(await other.hashes()) == 2 + records

    asyncio.run(run())


async def know(relay: Store, client: Store) -> None:
    """A relay knows the ticket that the client holds of it."""
    store, peer = client.identity.store, relay.journal.identity.store
    ticket = await client.journal.read(lambda connection: tickets.held(connection, peer))
    assert ticket is not None
    await relay.journal.write(lambda connection: tickets.confirm(connection, store, ticket))


@pytest.mark.parametrize("records", [2, 3])
def test_a_cursor_is_refused_for_its_row_alone(records: int) -> None:
    """A running machine was set back to after the ticket of the link and before its records: it
    has the same epoch, knows the ticket, and has got something else since."""

    async def run() -> None:
        async with stores(3) as (a, relay, other):
            await relay.write("c/1", "one", "two")
            await met(a, relay)
            await other.write("c/1", *(f"else {i}" for i in range(records)))
            await set_back(relay, other)
            await know(other, a)
            pair = await again(a, other)
            assert pair[1].session.tickets.peer_is_current
            assert of(Resumed, pair[1].sent) == [Resumed(False)]
            assert len(await other.hashes()) == 2 + records

    asyncio.run(run())


def test_a_cursor_that_stands_again_by_chance_is_refused() -> None:
    """What is at its position came there anew, behind something else; only the client's ticket
    shows it."""

    async def run() -> None:
        only = Interest.of(contexts=[ContextName("c/2")])
        async with stores(4) as (a, b, relay, other):
            await relay.write("c/1", "one")
            await a.write("c/2", "two")
            await met(a, relay)
            await met(b, relay, interest=only)
            await other.write("c/1", "else")
            await met(b, other, interest=only)
            await set_back(relay, other)
            pair = await again(a, other)
            assert of(Resume, pair[0].sent) != [Resume(None)]
            assert of(Resumed, pair[1].sent) == [Resumed(False)]
            assert len(await other.hashes()) == 3

    asyncio.run(run())


def test_a_cursor_of_another_epoch_is_not_shown() -> None:
    async def run() -> None:
        async with stores(2, seed=3) as (a, relay):
            await relay.write("c/1", "one")
            await met(a, relay)
            relay.journal.identity = type(relay.identity)(relay.identity.store, b"another!")
            pair = await again(a, relay)
            assert of(Resume, pair[0].sent) == [Resume(None)]

    asyncio.run(run())


@pytest.mark.parametrize("part_of_it", ["store", "epoch"])
def test_a_store_that_is_not_proven_to_be_the_same_compares(part_of_it: str) -> None:
    async def run() -> None:
        async with stores(2) as (a, relay):
            await relay.write("c/1", "one")
            await met(a, relay)
            was = a.identity
            store = b"another store id" if part_of_it == "store" else was.store
            a.journal.identity = type(was)(store, b"new ones" if store == was.store else was.epoch)
            assert of(Resume, (await again(a, relay))[0].sent) == [Resume(None)]

    asyncio.run(run())


def test_a_copy_forgets_its_cursors() -> None:
    async def run() -> None:
        async with stores(2) as (a, relay):
            await relay.write("c/1", "one")
            await met(a, relay)
            count = "SELECT count(*) FROM cursors"
            assert await a.journal.read(lambda c: c.execute(count).fetchone()[0]) == 1
            await a.journal.write(lambda c: renew(c, random=lambda size: b"r" * size))
            assert await a.journal.read(lambda c: c.execute(count).fetchone()[0]) == 0

    asyncio.run(run())


def test_another_interest_compares_and_then_has_a_cursor_of_its_own() -> None:
    async def run() -> None:
        async with stores(2) as (a, relay):
            narrow = Interest.of(contexts=["c/1"])
            await relay.write("c/1", "one")
            await relay.write("c/2", "two")
            await met(a, relay, interest=narrow)
            assert not has_resumed(await again(a, relay, interest=Interest.of(prefixes=["c/"])))
            assert has_resumed(await again(a, relay, interest=narrow))

    asyncio.run(run())


def test_what_came_from_elsewhere_is_compared_so_that_nothing_goes_in_circles() -> None:
    async def run() -> None:
        async with stores(3) as (a, eu, us):
            await eu.write("c/1", "one")
            await met(a, eu)
            await us.write("c/2", "two", "three")
            # Both relays come to hold it, each by its own way.
            await met(a, us)
            await met(us, eu)
            pair = await again(a, eu)
            assert of(Resume, pair[0].sent) == [Resume(None)]
            assert not pair[0].records_sent
            assert not pair[1].records_sent

    asyncio.run(run())


def test_what_came_from_elsewhere_meanwhile_is_compared_too() -> None:
    """The link broke while it was under way to the peer."""

    async def run() -> None:
        async with stores(3) as (a, eu, us):
            await eu.write("c/1", "one")
            end, other = pair = link(a, eu)
            await settle(pair)
            (theirs,) = await us.write("c/2", "two")
            beside = link(a, us)
            await settle(beside)
            await part(beside)
            # A place is kept at the end, as something came over this link, too.
            await eu.write("c/1", "three")
            await other.ask_one()
            other.flush(end)
            while end.read_one():
                pass
            await end.admit_one()
            await part(pair)
            assert len(await a.hashes()) == 3
            assert theirs.hash not in await eu.hashes()
            pair = await again(a, eu)
            assert not has_resumed(pair)
            assert pair[0].records_sent == [theirs.envelope_bytes]

    asyncio.run(run())


def test_records_of_the_peer_do_not_go_back_when_ours_was_under_way() -> None:
    """The link broke while a record of ours was not acknowledged, and theirs had come behind it."""

    async def run() -> None:
        async with stores(2) as (a, relay):
            await relay.write("c/1", "one")
            end, other = pair = link(a, relay)
            await settle(pair)
            await a.write("c/1", "lost on its way")
            while await end.ask_one():
                pass
            end.session.frames_to_send()
            await relay.write("c/2", "came behind it")
            await relay.write("c/2", "this, too")
            for _ in range(4):
                await other.ask_one()
                other.flush(end)
                while end.read_one():
                    pass
                await end.admit_one()
            assert len(await a.hashes()) == 4
            await part(pair)
            next_ = await again(a, relay)
            assert has_resumed(next_)
            assert len(next_[0].records_sent) == 1

    asyncio.run(run())


# ---- when a cursor is kept ------------------------------------------------------------------


async def kept(client: Store, relay: Store) -> Position | None:
    def read(connection: sqlite3.Connection) -> Position | None:
        found = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'cursors'").fetchone()
        row = (
            found
            and connection.execute(
                "SELECT position FROM cursors WHERE peer = ?", (relay.identity.store,)
            ).fetchone()
        )
        return Position(row[0]) if row else None

    return await client.journal.read(read)


def test_a_cursor_is_kept_when_all_before_it_is_durable() -> None:
    async def run() -> None:
        async with stores(2) as (a, relay):
            await relay.write("c/1", "one", "two")
            end, other = pair = link(a, relay)
            while not of(Cursor, other.sent):
                for one, its in (pair, pair[::-1]):
                    while await one.ask_one():
                        pass
                    one.flush(its)
                    while one.read_one():
                        pass
            while end.read_one() or await end.ask_one():
                pass
            # The cursor is here, the records are not.
            assert not await a.hashes()
            assert await kept(a, relay) is None
            await part(pair)
            assert await kept(a, relay) is None
            pair = await again(a, relay)
            assert not has_resumed(pair)
            assert len(await a.hashes()) == 2
            assert await kept(a, relay) == 2

    asyncio.run(run())


def test_a_cursor_is_told_when_it_moved_and_not_at_every_record() -> None:
    async def run() -> None:
        async with stores(2) as (a, relay):
            end, other = pair = link(a, relay, interest=Interest.of(prefixes=["in/"]))
            await relay.write("in/1", "x")
            now_ms = 5_000
            for one in pair:
                one.session.tick(now_ms)
            await settle(pair)
            assert len(of(Cursor, other.sent)) == 1

            async def told_after(ms: int) -> list[Cursor]:
                nonlocal now_ms
                now_ms += ms
                before = len(other.sent)
                for one in pair:
                    one.session.tick(now_ms)
                await settle(pair)
                return of(Cursor, other.sent[before:])

            assert await told_after(0) == []
            for step in range(10):
                await relay.write("in/1", f"{step}")
                assert await told_after(50) == []
            await relay.write("in/1", "later")
            await settle(pair)
            assert [c.position for c in await told_after(600)] == [12]
            assert await told_after(5_000) == []
            await relay.write("out/1", "the link is not about this")
            assert await told_after(5_000) == []
            assert len(await told_after(55_000)) == 1
            assert await told_after(65_000) == []
            # The client says once that the relay has all it had in the beginning.
            assert [frame.position for frame in of(Cursor, end.sent)] == [1]

    asyncio.run(run())


def test_a_link_without_a_region_knows_no_cursors() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            await a.write("c/1", "one")
            pair = End(a), End(b)
            await settle(pair)
            assert all(end.session.progress.is_synced for end in pair)
            everything = [*pair[0].sent, *pair[1].sent]
            assert not [f for f in everything if isinstance(f, Resume | Resumed | Cursor)]

    asyncio.run(run())


# ---- what has no place ----------------------------------------------------------------------


ROW = b"r" * 8


@pytest.mark.parametrize(
    "frames",
    [
        [Resume(None), Resume(None)],
        [Resume(Cursor(Position(1), ROW)), Resume(None)],
        [Resumed(True)],
        [Resume(None), Cursor(Position(1), ROW)],
        [Contexts((), True)],
        [Resume(Cursor(Position(1), ROW)), Contexts((), True)],
    ],
    ids=str,
)
def test_a_relay_takes_each_frame_in_its_turn(frames: list[Message]) -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            end = End(b, region="eu")
            hello = Session(a.identity, interest=EVERYTHING, now_ms=NOW_MS).hello
            end.session.receive(encode(hello))
            for frame in frames:
                assert end.session.end is None
                end.session.receive(encode(frame))
            assert end.session.end is not None
            assert end.session.end.code == "malformed"

    asyncio.run(run())


@pytest.mark.parametrize(
    "frame",
    [Resume(None), Resumed(True), Cursor(Position(1), ROW), Contexts((), True)],
    ids=str,
)
def test_a_client_takes_nothing_before_it_asked(frame: Message) -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            end = End(a)
            other = End(b, region="eu")
            end.session.receive(encode(other.session.hello))
            end.session.receive(encode(frame))
            assert end.session.end is not None
            assert end.session.end.code == "malformed"

    asyncio.run(run())

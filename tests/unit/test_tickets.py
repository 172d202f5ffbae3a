"""Tickets at the beginning of a link: what each end says, and what is left of it after a crash at
any point."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.linked import NOW_MS, End, Store, cut, settle, stores
from weft_engine.storage import tickets
from weft_engine.storage.migration import _STEPS
from weft_engine.sync.end.session import Session
from weft_engine.sync.framing.frames import encode
from weft_engine.sync.framing.messages import Contexts, Cursor, Issue, Kept, Records, Ticket
from weft_engine.sync.interest import EVERYTHING

PEER = b"p" * 16
STORE = b"s" * 16
A, B, C = (bytes([letter]) * 16 for letter in b"abc")


@pytest.fixture
def table() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in _STEPS[1].split(";\n"):
            if "tickets" in statement:
                connection.execute(statement)
        yield connection


# ---- the two tables -------------------------------------------------------------------------


def test_a_store_and_a_relay_that_lose_nothing(table: sqlite3.Connection) -> None:
    shown: bytes | None = None
    for fresh in (A, B, C):
        assert tickets.held(table, PEER) == shown
        assert tickets.issue(table, STORE, shown, fresh)
        tickets.keep(table, PEER, fresh)
        tickets.confirm(table, STORE, fresh)
        shown = fresh


def test_the_answer_was_lost_or_the_store_crashed_before_it_kept_it(
    table: sqlite3.Connection,
) -> None:
    assert tickets.issue(table, STORE, None, A)
    assert tickets.issue(table, STORE, None, A), "at the first contact"
    tickets.confirm(table, STORE, A)
    assert tickets.issue(table, STORE, A, B)
    assert tickets.issue(table, STORE, A, C), "and later"


def test_the_word_that_it_was_kept_was_lost(table: sqlite3.Connection) -> None:
    assert tickets.issue(table, STORE, None, A)
    assert tickets.issue(table, STORE, A, B), "at the first contact"
    assert tickets.issue(table, STORE, B, C), "and later"
    # What was kept counts from then on: the one before is old.
    assert not tickets.issue(table, STORE, A, b"x" * 16)


def test_the_word_of_an_earlier_link_comes_late(table: sqlite3.Connection) -> None:
    assert tickets.issue(table, STORE, None, A)
    assert tickets.issue(table, STORE, A, B), "on the next link, which offers another"
    tickets.confirm(table, STORE, A)
    assert tickets.issue(table, STORE, B, C), "which it keeps; the word of that was lost"


@pytest.mark.parametrize("shown", [None, A, b"?" * 16])
def test_whatever_is_not_the_last_is_old_and_changes_nothing(
    table: sqlite3.Connection, shown: bytes | None
) -> None:
    for last, fresh in ((None, A), (A, B)):
        assert tickets.issue(table, STORE, last, fresh)
        tickets.confirm(table, STORE, fresh)
    assert not tickets.issue(table, STORE, shown, C)
    assert tickets.issue(table, STORE, B, C)


def test_a_relay_that_has_forgotten_a_store_takes_what_it_shows(table: sqlite3.Connection) -> None:
    assert tickets.issue(table, STORE, A, B)


def test_both_tables_stay_within_their_limits(
    table: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tickets, "TICKETS_MAX", 10)
    monkeypatch.setattr(tickets, "ISSUED_TICKETS_MAX", 20)
    for number in range(50):
        name = number.to_bytes(16, "big")
        tickets.keep(table, name, A)
        assert tickets.issue(table, name, None, A)
        tickets.confirm(table, name, A)
        # Whoever keeps coming is kept.
        tickets.keep(table, STORE, B)
        assert tickets.issue(table, STORE, B, B)
    assert tickets.held(table, STORE) == B
    for one in ("tickets", "issued_tickets"):
        assert table.execute(f"SELECT count(*) FROM {one}").fetchone()[0] <= 20
    assert not tickets.issue(table, STORE, A, C)


# ---- sessions -------------------------------------------------------------------------------


def region(store: Store) -> End:
    return End(store, region="eu")


async def last(store: Store, peer: Store) -> bytes | None:
    return await store.journal.read(lambda c: tickets.held(c, peer.identity.store))


def test_a_ticket_is_kept_before_the_first_record_is_sent() -> None:
    async def run() -> None:
        async with stores(2) as (a, relay):
            await a.write("c/1", "x")
            for number in range(3):
                pair = End(a), region(relay)
                await settle(pair)
                sent = [type(frame) for frame in pair[0].sent]
                assert [kind for kind in sent if kind in (Ticket, Kept)] == [Ticket, Kept]
                if number == 0:
                    assert sent.index(Kept) < sent.index(Records)
                shown, issued = (
                    next(f for f in end.sent if isinstance(f, (Ticket, Issue))) for end in pair
                )
                assert isinstance(shown, Ticket)
                assert isinstance(issued, Issue)
                assert (shown.shown is None) is (number == 0)
                assert issued.fresh == await last(a, relay)
                assert issued.fresh != shown.shown
                assert pair[1].session.tickets.peer_is_current
                assert pair[0].session.progress.is_synced
                cut(pair)

    asyncio.run(run())


def test_nothing_is_sent_while_the_fresh_ticket_has_not_come() -> None:
    async def run() -> None:
        async with stores(2) as (a, relay):
            await a.write("c/1", "x")
            end, other = End(a), region(relay)
            end.session.receive(encode(other.session.hello))
            while await end.ask_one():
                end.flush(other)
            end.session.receive(encode(Contexts((), True)))
            while await end.ask_one():
                pass
            end.flush(other)
            assert Ticket(None) in end.sent
            assert not end.records_sent
            end.session.receive(encode(Issue(A)))
            while await end.ask_one():
                end.flush(other)
            assert await last(a, relay) == A
            # And then a cursor: that was all there was.
            assert [type(frame) for frame in end.sent[-3:]] == [Kept, Records, Cursor]

    asyncio.run(run())


def test_two_regions_show_each_other_their_tickets() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            await a.write("c/1", "x")
            await b.write("c/1", "y")
            pair = End(a, region="us"), region(b)
            await settle(pair)
            assert await last(a, b) is not None
            assert await last(b, a) is not None
            assert await a.fingerprints() == await b.fingerprints()

    asyncio.run(run())


def test_ends_without_a_region_have_no_tickets() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            await a.write("c/1", "x")
            pair = End(a), End(b)
            await settle(pair)
            kinds = {type(frame) for end in pair for frame in end.sent}
            assert kinds.isdisjoint({Ticket, Issue, Kept})
            assert await a.fingerprints() == await b.fingerprints()

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(60))
def test_a_store_that_is_cut_off_anywhere_is_never_taken_for_a_copy(seed: int) -> None:
    """One end after the other is cut off at any step, with what is under way lost and what is
    committed kept."""

    async def run() -> None:
        rng = random.Random(seed)
        async with stores(2, seed=seed) as (a, relay):
            for _ in range(8):
                await a.write("c/1", "x")
                pair = End(a), region(relay)
                for _ in range(rng.randint(0, 24)):
                    end, other = pair if rng.random() < 0.5 else pair[::-1]
                    match rng.randrange(4):
                        case 0:
                            end.flush(other)
                        case 1:
                            end.read_one()
                        case 2:
                            await end.ask_one()
                        case 3:
                            await end.admit_one()
                assert Issue(None) not in pair[1].sent
                cut(pair)
            pair = End(a), region(relay)
            await settle(pair)
            assert pair[0].session.end is None
            assert pair[1].session.tickets.peer_is_current
            assert await a.fingerprints() == await relay.fingerprints()

    asyncio.run(run())


def test_an_older_ticket_is_answered_with_nil_and_records_flow_all_the_same() -> None:
    async def run() -> None:
        async with stores(2) as (a, relay):
            for _ in range(2):
                pair = End(a), region(relay)
                await settle(pair)
                cut(pair)
            await a.journal.write(lambda c: tickets.keep(c, relay.identity.store, A))
            await a.write("c/1", "x")
            pair = End(a), region(relay)
            await settle(pair)
            assert Issue(None) in pair[1].sent
            assert not pair[1].session.tickets.peer_is_current
            assert Kept() not in pair[0].sent
            assert await a.fingerprints() == await relay.fingerprints()

    asyncio.run(run())


# ---- what has no place ----------------------------------------------------------------------


@pytest.mark.parametrize("frame", [Ticket(None), Ticket(A), Issue(A), Issue(None), Kept()])
def test_a_ticket_where_there_are_none_ends_the_link(frame: Ticket | Issue | Kept) -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            end = End(a)
            hello = Session(b.identity, interest=EVERYTHING, now_ms=NOW_MS).hello
            end.session.receive(encode(hello))
            end.session.receive(encode(frame))
            assert end.session.end is not None
            assert end.session.end.code == "malformed"

    asyncio.run(run())


@pytest.mark.parametrize(
    "frames",
    [
        [Ticket(None), Ticket(None)],
        [Kept()],
        [Issue(A)],
        [Ticket(None), Kept()],
    ],
    ids=str,
)
def test_a_relay_takes_each_frame_once_and_in_its_turn(frames: list[Ticket | Kept]) -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            end = region(b)
            end.session.receive(
                encode(Session(a.identity, interest=EVERYTHING, now_ms=NOW_MS).hello)
            )
            for frame in frames:
                assert end.session.end is None
                end.session.receive(encode(frame))
            assert end.session.end is not None

    asyncio.run(run())


def test_a_second_issue_ends_the_link() -> None:
    async def run() -> None:
        async with stores(2) as (a, relay):
            pair = End(a), region(relay)
            await settle(pair)
            pair[0].session.receive(encode(Issue(A)))
            assert pair[0].session.end is not None

    asyncio.run(run())

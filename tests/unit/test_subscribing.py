"""A link that is to be about something else: what is newly covered is compared, everything else
goes on."""

from __future__ import annotations

import asyncio
import random
from unittest.mock import patch

import pytest

from tests.linked import NOW_MS, End, Store, cut, settle, stores, wander
from weft_engine.errors import CallerError
from weft_engine.limits import CURSOR_QUIET_MS
from weft_engine.names import ContextName, Position
from weft_engine.sync.end.session import Session
from weft_engine.sync.framing.frames import encode
from weft_engine.sync.framing.messages import Contexts, Cursor, Message, Resume, Subscribe
from weft_engine.sync.interest import EVERYTHING, Interest

Pair = tuple[End, End]


def about(*contexts: str, prefixes: tuple[str, ...] = ()) -> Interest:
    return Interest.of(contexts=contexts, prefixes=prefixes)


def link(
    client: Store, relay: Store, *, asks: Interest, permits: Interest = EVERYTHING
) -> tuple[End, End]:
    return End(client, interest=asks), End(relay, interest=permits, region="eu")


async def live(client: Store, relay: Store, *, asks: Interest) -> Pair:
    pair = link(client, relay, asks=asks)
    await settle(pair)
    assert_synced(pair)
    return pair


def assert_synced(pair: Pair) -> None:
    for end in pair:
        assert end.session.end is None
        assert end.session.progress.is_synced


async def names(store: Store) -> set[str]:
    return set(await store.fingerprints())


# ---- what is asked for ----------------------------------------------------------------------


def test_what_is_newly_covered_comes_and_stays_live() -> None:
    async def run() -> None:
        async with stores(2) as (a, relay):
            await relay.write("c/1", "one")
            await relay.write("c/2", "two")
            await a.write("c/2", "mine, of before")
            end, _ = pair = await live(a, relay, asks=about("c/1"))
            end.session.ask(about("c/1", "c/2"))
            assert not end.session.progress.has_received_all
            assert end.session.progress.durable_upto() is None
            await settle(pair)
            assert_synced(pair)
            assert await a.fingerprints() == await relay.fingerprints()
            await relay.write("c/2", "later")
            await a.write("c/2", "here, too")
            await settle(pair)
            assert await a.fingerprints() == await relay.fingerprints()

    asyncio.run(run())


def test_only_the_difference_is_compared() -> None:
    async def run() -> None:
        async with stores(2) as (a, relay):
            for i in range(20):
                await relay.write(f"c/{i:02}", "x")
            end, other = pair = await live(a, relay, asks=about("c/03", "c/04"))
            before = len(other.sent)
            end.session.ask(about(prefixes=("c/0",)))
            await settle(pair)
            assert_synced(pair)
            listed = [f for f in other.sent[before:] if isinstance(f, Contexts)]
            assert {name for f in listed for name, _ in f.entries} == {
                f"c/{i:02}" for i in range(10) if i not in (3, 4)
            }
            assert len(other.records_sent) == len(set(other.records_sent)) == 10

    asyncio.run(run())


def test_what_is_not_covered_any_more_stops() -> None:
    async def run() -> None:
        async with stores(2) as (a, relay):
            await relay.write("c/1", "one")
            await relay.write("c/2", "two")
            end, _ = pair = await live(a, relay, asks=about("c/1", "c/2"))
            end.session.ask(about("c/2"))
            await settle(pair)
            await relay.write("c/1", "not told")
            await a.write("c/1", "nor this")
            await relay.write("c/2", "told")
            await settle(pair)
            assert_synced(pair)
            assert await a.fingerprints(about("c/2")) == await relay.fingerprints(about("c/2"))
            assert await a.fingerprints(about("c/1")) != await relay.fingerprints(about("c/1"))
            end.session.ask(about("c/1", "c/2"))
            await settle(pair)
            assert_synced(pair)
            assert await a.fingerprints() == await relay.fingerprints()

    asyncio.run(run())


def test_what_is_asked_for_again_sends_nothing_twice() -> None:
    async def run() -> None:
        async with stores(2) as (a, relay):
            await relay.write("c/1", *("x" * 12))
            end, other = pair = await live(a, relay, asks=about("c/1"))
            await a.write("c/1", *("y" * 11))
            await settle(pair)
            end.session.ask(about("c/2"))
            await settle(pair)
            # Neither knows the other's frontier: a sample is all they have in common.
            await relay.write("c/1", *("x" * 2))
            await a.write("c/1", *("y" * 3))
            end.session.ask(about(prefixes=("c/",)))
            await settle(pair)
            assert_synced(pair)
            assert await a.fingerprints() == await relay.fingerprints()
            assert len(end.records_sent) == 11 + 3
            assert len(other.records_sent) == 12 + 2

    asyncio.run(run())


def test_no_cursor_tells_of_what_links_have_not_been_told_of() -> None:
    """The list of a round is read when something of a context that stays was just committed."""

    async def run() -> None:
        async with stores(2) as (a, relay):
            await relay.write("c/1", "one")
            await relay.write("c/2", "two")
            end, other = pair = await live(a, relay, asks=about("c/1"))
            before = len(other.sent)
            other.session.tick(NOW_MS + CURSOR_QUIET_MS)
            with patch.object(relay.hub, "flush", lambda: None):
                end.session.ask(about("c/1", "c/2"))
                await relay.write("c/1", "late")
                await settle(pair)
            told = [f.position for f in other.sent[before:] if isinstance(f, Cursor)]
            assert told == [Position(2)]
            relay.hub.flush()
            await settle(pair)
            assert_synced(pair)
            assert await a.fingerprints() == await relay.fingerprints()

    asyncio.run(run())


def test_what_had_not_arrived_when_it_was_left_is_sent_when_it_is_asked_for_again() -> None:
    async def run() -> None:
        async with stores(2) as (a, relay):
            end, _ = pair = await live(a, relay, asks=about("c/1", "c/2"))
            await a.write("c/2", "stays")
            await a.write("c/1", "not sent, or not taken")
            end.session.ask(about("c/2"))
            await settle(pair)
            assert await names(relay) == {"c/2"}
            end.session.ask(about("c/1", "c/2"))
            await settle(pair)
            assert_synced(pair)
            assert await a.fingerprints() == await relay.fingerprints()

    asyncio.run(run())


def test_what_is_not_permitted_is_not_carried() -> None:
    async def run() -> None:
        async with stores(2) as (a, relay):
            await relay.write("open/1", "x")
            await relay.write("secret/1", "y")
            pair = link(a, relay, asks=about("open/1"), permits=about(prefixes=("open/",)))
            await settle(pair)
            pair[0].session.ask(EVERYTHING)
            await relay.write("open/2", "z")
            await a.write("secret/2", "nobody else's")
            await settle(pair)
            assert_synced(pair)
            assert await names(a) == {"open/1", "open/2", "secret/2"}
            assert await names(relay) == {"open/1", "open/2", "secret/1"}

    asyncio.run(run())


def test_what_is_asked_for_meanwhile_is_the_next_round() -> None:
    async def run() -> None:
        async with stores(2) as (a, relay):
            for i in range(5):
                await relay.write(f"c/{i}", "x")
            end, _ = pair = link(a, relay, asks=about("c/0"))
            for i in range(1, 5):
                end.session.ask(about("c/0", f"c/{i}"))
                await wander(random.Random(i), i, pair)
            await settle(pair)
            assert_synced(pair)
            assert {"c/0", "c/4"} <= await names(a)
            rounds = [f.round for f in end.sent if isinstance(f, Subscribe)]
            assert rounds == list(range(1, len(rounds) + 1))
            end.session.ask(about("c/0", "c/4"))
            await settle(pair)
            assert len([f for f in end.sent if isinstance(f, Subscribe)]) == len(rounds)

    asyncio.run(run())


def test_the_next_link_resumes_with_what_was_asked_for_last() -> None:
    async def run() -> None:
        async with stores(2) as (a, relay):
            await relay.write("c/1", "one")
            await relay.write("c/2", "two")
            end, _ = pair = await live(a, relay, asks=about("c/1"))
            end.session.ask(about("c/1", "c/2"))
            await settle(pair)
            cut(pair)
            await relay.write("c/2", "missed")
            pair = await live(a, relay, asks=about("c/1", "c/2"))
            assert not [f for end in pair for f in end.sent if isinstance(f, Contexts)]
            assert await a.fingerprints() == await relay.fingerprints()

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(20))
def test_rounds_in_any_order_of_things_end_with_equal_stores(seed: int) -> None:
    async def run() -> None:
        rng = random.Random(seed)
        everything = [f"c/{i}" for i in range(6)]
        async with stores(2, seed=seed) as (a, relay):
            pair = link(a, relay, asks=about("c/0"))
            for _ in range(12):
                chosen = about(
                    *rng.sample(everything, rng.randint(1, 4)),
                    prefixes=rng.choice(((), (), ("c/",))),
                )
                pair[0].session.ask(chosen)
                for _ in range(rng.randint(1, 4)):
                    await rng.choice((a, relay)).write(rng.choice(everything), "w")
                    await wander(rng, rng.randint(0, 25), pair)
                assert [end.session.end for end in pair] == [None, None]
                if rng.random() < 0.1:
                    cut(pair)
                    pair = link(a, relay, asks=chosen)
            last = about(*rng.sample(everything, 3))
            pair[0].session.ask(last)
            await settle(pair)
            assert_synced(pair)
            assert await a.fingerprints(last) == await relay.fingerprints(last)
            pair[0].session.ask(EVERYTHING)
            await settle(pair)
            assert_synced(pair)
            assert await a.fingerprints() == await relay.fingerprints()
            cut(pair)

    asyncio.run(run())


# ---- what has no place ----------------------------------------------------------------------


def test_a_relay_asks_for_nothing() -> None:
    async def run() -> None:
        async with stores(1) as (relay,):
            with pytest.raises(CallerError):
                End(relay, region="eu").session.ask(EVERYTHING)

    asyncio.run(run())


def test_who_is_linked_to_no_relay_links_again() -> None:
    """Between two ends without a region nothing says who would begin a round."""

    async def run() -> None:
        async with stores(2) as (a, b):
            pair = End(a, interest=about("c/1")), End(b)
            await settle(pair)
            pair[0].session.ask(about("c/2"))
            assert pair[0].session.end is not None
            assert pair[0].session.end.code == "closed"

    asyncio.run(run())


@pytest.mark.parametrize(
    "frames",
    [
        [Subscribe(1, about("c/1"))],
        [Resume(None), Subscribe(1, about("c/1"))],
        [Resume(None), Contexts((), True), Subscribe(2, about("c/1"))],
        [
            Resume(None),
            Contexts((), True),
            Subscribe(1, about("c/1")),
            Subscribe(2, about("c/2")),
        ],
        [
            Resume(None),
            Contexts((), True),
            Subscribe(1, about("c/1", prefixes=("d/",))),
            Contexts(((ContextName("e/1"), bytes(32)),), True),
        ],
    ],
    ids=lambda frames: " ".join(type(frame).__name__ for frame in frames),
)
def test_a_round_where_none_may_begin_ends_the_link(frames: list[Message]) -> None:
    async def run() -> None:
        async with stores(2) as (a, relay):
            end = End(relay, region="eu")
            asks = about("b/1")
            hello = Session(a.identity, interest=asks, now_ms=NOW_MS).hello
            end.session.receive(encode(hello))
            for frame in frames:
                assert end.session.end is None
                while await end.ask_one():
                    end.session.frames_to_send()
                end.session.receive(encode(frame))
            assert end.session.end is not None
            assert end.session.end.code in ("malformed", "record")

    asyncio.run(run())


@pytest.mark.parametrize("region", [None, "us"])
def test_only_a_client_begins_rounds(region: str | None) -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            pair = End(a, region="eu" if region else None), End(b, region=region)
            await settle(pair)
            pair[1].session.receive(encode(Subscribe(1, about("c/1"))))
            assert pair[1].session.end is not None
            assert pair[1].session.end.code == "malformed"

    asyncio.run(run())

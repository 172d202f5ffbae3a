"""A region that has a token of a peer and does what it likes: what it costs a store is bounded, and
what others bring does not wait for it."""

from __future__ import annotations

import asyncio

import pytest

from tests.linked import NOW_MS, End, Store, cut, link, settle, stores
from weft_engine.limits import (
    ASKED_STILL_MS,
    FORMAT_VERSION,
    LIVE_REGIONS_MAX,
)
from weft_engine.names import ContextName, RecordHash
from weft_engine.sync.end.regions.neighbour import Neighbour
from weft_engine.sync.framing.frames import encode
from weft_engine.sync.framing.messages import (
    ByeCode,
    Compared,
    Frontier,
    Hello,
    Live,
    Message,
    Records,
    Sample,
    Tree,
    Window,
    Zoom,
)
from weft_engine.sync.interest import EVERYTHING

NAME = ContextName("c/1")
UNKNOWN = tuple(RecordHash(bytes([byte]) * 32) for byte in range(1, 5))
EMPTY = Tree(0, bytes(8), bytes(8))
"""A tree of no contexts: so the other end announces all that it has."""


async def told(end: End, *messages: Message) -> list[Message]:
    """What a store says to these of a region that is only words."""
    for message in messages:
        end.receive(encode(message))
    before = len(end.sent)
    moved = True
    while moved:
        end.store.hub.flush()
        moved = end.flush(end) or await end.ask_one() or await end.admit_one()
        end.inbox.clear()  # There is nobody.
    return end.sent[before:]


async def greeted(store: Store, *, tree: Tree = EMPTY) -> End:
    """An end of the store to such a region, with the trees compared."""
    end = End(store, region="eu")
    hello = Hello(
        FORMAT_VERSION,
        b"rogue" + bytes(11),
        bytes(8),
        "us",
        NOW_MS,
        EVERYTHING,
        Window(64, 1 << 23),
    )
    await told(end, hello, tree)
    return end


def why(end: End) -> str:
    assert end.session.end is not None
    assert (end.session.end.code, end.session.end.by_peer) == (ByeCode.MALFORMED, False)
    end.stop()
    return end.session.end.reason


def test_a_newer_frontier_of_what_was_never_announced_ends_the_link() -> None:
    async def run() -> None:
        async with stores(1) as (a,):
            await a.write(NAME, "text")
            end = await greeted(a)
            await told(end, Compared(0), Zoom(NAME, 1, b"", False))
            assert end.session.end is None
            await told(end, Frontier(NAME, UNKNOWN[:1], ()))
            assert "no frontier of context 'c/1' is due" in why(end)

    asyncio.run(run())


def test_newer_frontiers_of_one_context_do_not_pile_up() -> None:
    async def run() -> None:
        async with stores(1) as (a,):
            await a.write(NAME, "text")
            end = await greeted(a)
            await told(end, Frontier(NAME, UNKNOWN[:1], ()), Compared(1))
            await told(end, Zoom(NAME, 1, b"\x00", False), Frontier(NAME, UNKNOWN[:2], ()))
            assert end.session.end is None
            await told(end, Frontier(NAME, UNKNOWN[:3], ()))
            assert "no frontier of context 'c/1' is due" in why(end)

    asyncio.run(run())


def test_who_is_asked_and_sends_something_else_makes_way() -> None:
    """It goes on sending, so it is not idle; what it was asked for it never sends."""

    async def run() -> None:
        async with stores(3) as (a, b, c):
            await a.write(NAME, "one")
            seconds = ASKED_STILL_MS // 1000
            others = [
                Records(0, None, await one_record(b, f"other/{n}"), ()) for n in range(seconds + 1)
            ]
            dead = await greeted(c)
            await told(dead, Frontier(NAME, UNKNOWN[:1], ()), Compared(1))
            alive = link(a, c, regions=("a", "eu"))
            await settle(alive)
            assert await c.hashes() == []
            for serial, message in enumerate(others, 1):
                items = (b.key.sign(await tip(b, serial - 1)),)
                await told(dead, Records(serial, None, message.records, items))
                await settle(alive)
                assert len(await c.hashes()) == serial, "only what the other has sent"
                dead.session.tick(1000 * serial)
            assert dead.session.end is None
            await settle(alive)
            assert set(await a.hashes()) <= set(await c.hashes())
            dead.stop()
            cut(alive)

    asyncio.run(run())


async def one_record(store: Store, context: str) -> tuple[tuple[bytes, bytes], ...]:
    (record,) = await store.write(context, "text")
    return ((record.envelope_bytes, record.payload),)


async def tip(store: Store, index: int) -> RecordHash:
    return (await store.hashes())[index]


@pytest.mark.parametrize("rounds", [40])
def test_samples_of_unknown_records_cost_an_answer_each(rounds: int) -> None:
    """One at a time, however often: nothing is kept of them."""

    async def run() -> None:
        async with stores(1) as (a,):
            await a.write(NAME, "text")
            end = await greeted(a)
            await told(end, Frontier(NAME, UNKNOWN[:1], ()), Zoom(NAME, 1, b"\x00", True))
            held_bytes = end.session.held_bytes
            for number in range(rounds):
                hashes = tuple(RecordHash(bytes([number, n]) + bytes(30)) for n in range(100))
                answers = await told(end, Sample(NAME, (), hashes))
                assert [type(one) for one in answers].count(Zoom) == 1
            assert end.session.end is None
            assert end.session.held_bytes < held_bytes + 20_000
            await told(end, Sample(NAME, (), UNKNOWN), Sample(NAME, (), UNKNOWN))
            assert "no sample of context 'c/1' is due" in why(end)

    asyncio.run(run())


def test_no_more_regions_are_named_than_the_other_end_takes() -> None:
    neighbour = Neighbour("us", {})
    regions = neighbour.to_tell(f"r{number}" for number in range(LIVE_REGIONS_MAX + 9))
    assert regions is not None
    assert len(regions) == LIVE_REGIONS_MAX
    encode(Live(regions))

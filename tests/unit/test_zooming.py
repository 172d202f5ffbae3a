"""What regions tell each other of contexts that differ: what has no place there ends the link, and
what is untrue costs bytes only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.linked import End, Store, cut, link, settle, stores
from weft_engine.limits import ASKED_IDLE_MS, ASKED_LONGEST_MS, ASKED_STILL_MS
from weft_engine.names import ContextName, RecordHash
from weft_engine.sync.end.regions.claims import Claims
from weft_engine.sync.end.session import Session
from weft_engine.sync.framing.frames import encode
from weft_engine.sync.framing.messages import ByeCode, Frontier, Message, Records, Sample, Zoom

NAME = ContextName("c/1")
UNKNOWN = tuple(RecordHash(bytes([byte]) * 32) for byte in range(1, 5))


async def forked(a: Store, b: Store) -> tuple[End, End]:
    """Two regions that have both written, with both frontiers on their way to the other."""
    await a.write(NAME, "a")
    await b.write(NAME, "b")
    pair = link(a, b, regions=("a", "b"))
    for _ in range(60):
        for end, other in (pair, pair[::-1]):
            if any(isinstance(message, Frontier) for message in end.sent):
                continue
            end.flush(other)
            while end.read_one():
                pass
            await end.ask_one()
    assert all(any(isinstance(m, Frontier) for m in end.sent) for end in pair)
    return pair


def heard(end: End, *messages: Message) -> Session:
    for message in messages:
        end.session.receive(encode(message))
    return end.session


HOSTILE: dict[str, Callable[[], list[Message]]] = {
    "no zoom of context 'c/2'": lambda: [Zoom(ContextName("c/2"), 1, b"", True)],
    "no zoom of context 'c/1'": lambda: [Zoom(NAME, 2, b"\x01", True)],
    "has 2 bytes for 1 hashes": lambda: [Zoom(NAME, 1, b"\x01\x00", True)],
    "has 1 bytes for 1 hashes": lambda: [Zoom(NAME, 1, b"\x02", True)],
    "was put off twice": lambda: [Zoom(NAME, 1, b"\x00", False)] * 2,
    "no sample of context 'c/1'": lambda: [Sample(NAME, UNKNOWN[:2], ())],
    "no sample of context 'c/2'": lambda: [Sample(ContextName("c/2"), UNKNOWN[:2], ())],
    "no frontier of context 'c/1'": lambda: [Frontier(NAME, UNKNOWN[:1], ())] * 2,
}


@pytest.mark.parametrize("complaint", HOSTILE)
def test_what_has_no_place_ends_the_link(complaint: str) -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            pair = await forked(a, b)
            end = heard(pair[0], *HOSTILE[complaint]()).end
            assert end is not None
            assert (end.code, end.by_peer) == (ByeCode.MALFORMED, False)
            assert complaint in end.reason
            cut(pair)

    asyncio.run(run())


def test_unknown_hashes_cost_one_answer_each_and_no_record_is_held_back() -> None:
    """A peer that never tells anything that is here is told all, in lists that grow."""

    async def run() -> None:
        async with stores(2) as (a, b):
            await a.write(NAME, *("text" for _ in range(700)))
            pair = await forked(a, b)
            end = pair[0]
            while end.read_one() or await end.ask_one():
                pass
            for round_ in range(1, 9):
                end.flush(pair[1])
                told = [m for m in end.sent if isinstance(m, Frontier | Sample)]
                if len(told) < round_:
                    break
                last = told[-1]
                hashes = last.frontier if isinstance(last, Frontier) else (*last.ends, *last.floor)
                heard(end, Zoom(NAME, len(told), bytes((len(hashes) + 7) // 8), round_ == 1))
                heard(end, Sample(NAME, (), UNKNOWN)) if round_ > 1 else None
                while await end.ask_one():
                    pass
            assert end.session.end is None
            samples = [m for m in end.sent if isinstance(m, Sample)]
            # 64, 512 and all of 701 records back.
            assert len(samples) == 3
            assert samples[-1].floor == ()
            cut(pair)

    asyncio.run(run())


class Asker:
    def __init__(self) -> None:
        self.freed_of: list[str] = []

    def freed(self, context: ContextName, /) -> None:
        self.freed_of.append(context)


def test_one_is_asked_and_then_the_next() -> None:
    claims, one, other = Claims(), Asker(), Asker()
    for asker in (one, other):
        claims.join(asker)
    assert claims.take(NAME, one)
    assert claims.take(NAME, one)
    assert not claims.take(NAME, other)
    claims.done(NAME, other)
    assert other.freed_of == []
    claims.done(NAME, one)
    assert other.freed_of == [NAME]
    assert not claims.take(NAME, one)
    claims.leave(other)
    assert one.freed_of == [NAME]
    claims.leave(one)
    assert claims.take(NAME, other)


def tick(claims: Claims, asker: Asker, *seconds: int, is_slow: bool) -> None:
    for second in seconds:
        claims.tick(asker, 1000 * second, passed_ms=1000, is_slow=is_slow)


def test_who_brings_something_else_makes_way_and_is_asked_for_little() -> None:
    claims, one, other = Claims(), Asker(), Asker()
    for asker in (one, other):
        claims.join(asker)
    second, third = ContextName("c/2"), ContextName("c/3")
    for context in (NAME, second):
        assert claims.take(context, one)
    still_s, longest_s = ASKED_STILL_MS // 1000, ASKED_LONGEST_MS // 1000
    tick(claims, one, *range(2 * still_s), is_slow=True)
    for context in (NAME, second):
        assert not claims.take(context, other), "for whom nobody waits it is kept"
    tick(claims, one, *range(2 * still_s), is_slow=False)
    assert other.freed_of == [], "it may be busy with others that it was asked for"
    assert claims.came(NAME, one)
    tick(claims, one, 2 * still_s, is_slow=True)
    assert other.freed_of == [second]
    assert not claims.has_room(one)
    assert claims.has_room(other)
    for now_s in range(2 * still_s, longest_s - 1):
        assert claims.came(NAME, one)
        tick(claims, one, now_s, is_slow=True)
    assert other.freed_of == [second], "something comes of it"
    claims.brought(NAME, one)
    assert other.freed_of == [second, NAME]
    assert claims.has_room(one), "it has brought all of one"
    assert claims.take(third, one)
    assert not claims.take(third, other)
    tick(claims, one, 0, is_slow=False)
    tick(claims, one, longest_s, is_slow=False)
    assert other.freed_of == [second, NAME, third]
    assert not claims.came(NAME, one)


def test_who_is_asked_and_sends_nothing_makes_way() -> None:
    async def run() -> None:
        async with stores(3) as (a, b, c):
            await a.write(NAME, "one")
            first = link(a, b, regions=("a", "b"))
            await settle(first)
            dead, alive = link(a, c, regions=("a", "c")), link(b, c, regions=("b", "c"))
            # The first is asked, and what it says is not heard any more.
            while not any(isinstance(message, Zoom) for message in dead[1].sent):
                await settle_some(dead)
            dead[1].inbox.clear()
            await settle(alive)
            assert await c.hashes() == []
            for now_ms in (0, 4 * ASKED_IDLE_MS):
                dead[1].session.tick(now_ms)
            await settle(alive)
            assert await c.hashes() == [], "what came while nobody ticked is not read yet"
            for second in range(1, 1 + ASKED_IDLE_MS // 1000):
                dead[1].session.tick(4 * ASKED_IDLE_MS + 1000 * second)
            await settle(alive)
            assert await c.hashes() == await a.hashes()
            for pair in (first, dead, alive):
                cut(pair)

    asyncio.run(run())


def test_what_a_link_was_asked_for_is_asked_of_others_at_its_end() -> None:
    async def run() -> None:
        async with stores(3) as (a, b, c):
            await a.write(NAME, "one")
            first = link(a, b, regions=("a", "b"))
            await settle(first)
            asked, other = link(a, c, regions=("a", "c")), link(b, c, regions=("b", "c"))
            while not any(isinstance(message, Zoom) for message in asked[1].sent):
                await settle_some(asked)
            await settle(other)
            assert await c.hashes() == []
            cut(asked)
            await settle(other)
            assert await c.hashes() == await a.hashes()
            for pair in (first, other):
                cut(pair)

    asyncio.run(run())


async def settle_some(pair: tuple[End, End]) -> None:
    for end, other in (pair, pair[::-1]):
        end.flush(other)
        while end.read_one():
            pass
        await end.ask_one()


def test_what_waits_here_for_its_turn_is_not_the_peers_delay() -> None:
    async def run() -> None:
        async with stores(3) as (a, b, c):
            await a.write(NAME, "one")
            first = link(a, b, regions=("a", "b"))
            await settle(first)
            slow, other = link(a, c, regions=("a", "c")), link(b, c, regions=("b", "c"))
            # Its records are here, and not through the gate.
            for _ in range(60):
                slow[0].flush(slow[1])
                slow[1].flush(slow[0])
                while slow[0].read_one() or slow[1].read_one() or await slow[0].ask_one():
                    pass
                if slow[1].session.incoming.has_admissions:
                    break
                await slow[1].ask_one()
            assert slow[1].session.incoming.has_admissions
            for now_ms in range(0, 4 * ASKED_IDLE_MS, 1000):
                slow[1].session.tick(now_ms)
            await settle(other)
            assert not any(isinstance(message, Records) for message in other[0].sent)
            await settle(slow, other)
            assert await c.hashes() == await a.hashes()
            assert not any(isinstance(message, Records) for message in other[0].sent)
            for pair in (first, slow, other):
                cut(pair)

    asyncio.run(run())

"""Two regions compare their trees again while they are linked, when nothing moves."""

from __future__ import annotations

import asyncio

import pytest

from tests.linked import End, Store, cut, link, settle, stores
from weft_engine.limits import (
    REPEAT_AGAIN_MS,
    REPEAT_LONGEST_MS,
    REPEAT_MS,
    REPEAT_PEERS_MAX,
    STILL_MS,
    TREE_DIGEST_BYTES,
)
from weft_engine.names import ContextName, Position
from weft_engine.sync import tree
from weft_engine.sync.end.regions.repeating import Doubts, Repeating
from weft_engine.sync.end.regions.resting import Resting
from weft_engine.sync.end.regions.tree_questions import TreeRead
from weft_engine.sync.framing.frames import encode
from weft_engine.sync.framing.messages import Branches, ByeCode, Tree
from weft_engine.sync.interest import EVERYTHING, Interest
from weft_engine.sync.tree import ROOT

STEP_MS = 1_000
LONGEST_MS = REPEAT_MS * 3 // 2 + STEP_MS
"""Until the first comparison is due at both ends."""
Pair = tuple[End, End]


async def pass_time(pair: Pair, span_ms: int, *, since_ms: int = 0) -> int:
    """Ticks, with all that follows from each."""
    for now_ms in range(since_ms, since_ms + span_ms, STEP_MS):
        for end in pair:
            end.session.tick(now_ms)
        await settle(pair)
    return since_ms + span_ms


def trees(pair: Pair) -> list[Tree]:
    return [message for end in pair for message in end.sent if isinstance(message, Tree)]


async def lose(end: End, context: str) -> None:
    """A record is written, and this link is never told of it."""
    end.store.hub.leave(end)
    await end.store.write(context, "lost")
    end.store.hub.flush()
    end.store.hub.join(end)


async def linked(a: Store, b: Store, *, interest: Interest = EVERYTHING) -> Pair:
    pair = link(a, b, regions=("eu", "us"), interests=(interest, EVERYTHING))
    await settle(pair)
    assert all(end.session.progress.is_synced for end in pair)
    return pair


def test_a_link_on_which_nothing_moves_compares_roots_now_and_then() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            await a.write("acme/1", "hello")
            pair = await linked(a, b)
            now_ms = await pass_time(pair, LONGEST_MS)
            again = trees(pair)[2:]
            assert len(again) == 2, "one tells its root, the other answers"
            assert sum(len(encode(message)) for message in again) <= 64
            await pass_time(pair, 3 * LONGEST_MS, since_ms=now_ms)
            assert 6 <= len(trees(pair)[2:]) <= 12
            assert [end.session.end for end in pair] == [None, None]

    asyncio.run(run())


def test_what_got_lost_in_silence_ends_the_link_and_the_next_one_mends_it() -> None:
    async def run() -> None:
        for loser in (0, 1):
            async with stores(2) as (a, b):
                await a.write("acme/1", "hello")
                pair = await linked(a, b)
                await lose(pair[loser], "acme/1")
                now_ms = await pass_time(pair, LONGEST_MS - REPEAT_AGAIN_MS)
                assert all(end.session.progress.is_synced for end in pair), "nobody knows"
                await pass_time(pair, 3 * REPEAT_AGAIN_MS, since_ms=now_ms)
                ends = [end.session.end for end in pair]
                assert all(one is not None and one.code == ByeCode.CLOSED for one in ends)
                assert await a.fingerprints() != await b.fingerprints()
                cut(pair)
                await linked(a, b)
                assert await a.fingerprints() == await b.fingerprints()

    asyncio.run(run())


def test_what_differs_once_is_compared_again_before_anything_is_done() -> None:
    """The record was on its way after all."""

    async def run() -> None:
        async with stores(2) as (a, b):
            pair = await linked(a, b)
            await lose(pair[0], "acme/1")
            before = len(trees(pair))
            now_ms = 0
            while len(trees(pair)) < before + 2:
                now_ms = await pass_time(pair, STEP_MS, since_ms=now_ms)
                assert now_ms < LONGEST_MS
            other = link(a, b, regions=("eu", "us"))
            await settle(pair, other)
            cut(other)
            now_ms = await pass_time(pair, 2 * LONGEST_MS, since_ms=now_ms)
            assert len(trees(pair)) >= before + 4
            assert [end.session.end for end in pair] == [None, None]

    asyncio.run(run())


def test_nothing_is_compared_while_something_moves() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            pair = await linked(a, b)
            for now_ms in range(0, LONGEST_MS + STEP_MS, STEP_MS):
                await a.write(f"acme/{now_ms % 7}", "more")
                await pass_time(pair, STEP_MS, since_ms=now_ms)
            assert len(trees(pair)) == 2
            # Nor where it is not said yet that it arrived, nor at an end that does not know that.
            await a.write("acme/1", "more")
            for _ in range(3):
                pair[0].store.hub.flush()
                pair[0].flush(pair[1])
                await pair[0].ask_one()
            held, pair[1].inbox = list(pair[1].inbox), pair[1].inbox.__class__()
            for now_ms in range(2 * LONGEST_MS, 4 * LONGEST_MS, STEP_MS):
                pair[0].session.tick(now_ms)
                while await pair[0].ask_one():
                    pass  # It looks at its tree, to compare what rests.
            pair[1].inbox.extend(held)
            await settle(pair)
            assert len(trees(pair)) == 2

    asyncio.run(run())


def nothing_rests() -> Resting:
    return Resting(lambda: None, list)


def tells_its_root(repeating: Repeating, head: Position) -> bool:
    if repeating.next_question(head=head) is None:
        return False
    told = repeating.supply(TreeRead(tree.Tree(), head), head=head, is_idle=True)
    return isinstance(told, Tree)


def test_no_root_is_told_before_it_has_been_still_for_a_while() -> None:
    repeating = Repeating(Doubts(), bytes(8), nothing_rests())
    repeating.greeted(b"p", EVERYTHING)
    for now_ms in range(0, 2 * LONGEST_MS, STEP_MS):
        # Each record is acknowledged before the next one comes.
        head = Position(1 + now_ms)
        repeating.tick(now_ms, head=head, is_compared=True, is_idle=True)
        assert not tells_its_root(repeating, head)
    repeating.tick(now_ms + STILL_MS - 1, head=head, is_compared=True, is_idle=True)
    assert not tells_its_root(repeating, head)
    told = 0
    for later_ms in range(now_ms + STILL_MS, now_ms + STILL_MS + LONGEST_MS, STEP_MS):
        repeating.tick(later_ms, head=head, is_compared=True, is_idle=True)
        told += tells_its_root(repeating, head)
    assert told == 1


def test_a_tree_says_nothing_if_something_came_while_it_was_read() -> None:
    for came, is_idle in ((1, True), (0, False), (0, True)):
        repeating, head = Repeating(Doubts(), bytes(8), nothing_rests()), Position(7)
        repeating.greeted(b"p", EVERYTHING)
        repeating.tick(0, head=head, is_compared=True, is_idle=True)
        repeating.tick(LONGEST_MS, head=head, is_compared=True, is_idle=True)
        assert repeating.next_question(head=head) is not None
        read = TreeRead(tree.Tree(), head)
        told = repeating.supply(read, head=Position(head + came), is_idle=is_idle)
        assert (told is None) == bool(came or not is_idle)


def test_who_has_moved_passes_the_question_over() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            pair = await linked(a, b)
            asking, asked = pair
            now_ms = 0
            while not asking.session.sending.has_frames:
                asking.session.tick(now_ms)
                await asking.ask_one()
                now_ms += STEP_MS
            await b.write("acme/1", "just now")
            for _ in range(20):
                asking.flush(asked)
                asked.read_one()
                await asked.ask_one()
            assert not [one for one in asked.sent[1:] if isinstance(one, Tree)][1:]
            await settle(pair)
            assert [end.session.end for end in pair] == [None, None]

    asyncio.run(run())


def test_many_trees_make_an_end_read_one() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            pair = await linked(a, b)
            await pass_time(pair, LONGEST_MS)
            told = encode(trees(pair)[-1])
            before = len(trees(pair))
            for _ in range(100):
                pair[0].receive(told)
            questions = 0
            while await pair[0].ask_one():
                questions += 1
            assert questions <= 1
            assert pair[0].session.end is None
            await settle(pair)
            assert len(trees(pair)) <= before + 2, "ours, and one that takes it for a question"

    asyncio.run(run())


def test_less_than_everything_is_not_compared_again() -> None:
    """Its tree is not kept."""

    async def run() -> None:
        async with stores(2) as (a, b):
            await a.write("acme/1", "hello")
            pair = await linked(a, b, interest=Interest.of(prefixes=["acme/"]))
            await pass_time(pair, 3 * LONGEST_MS)
            assert len(trees(pair)) == 2
            assert "acme/1" in await b.fingerprints()

    asyncio.run(run())


def test_who_never_agrees_is_linked_anew_ever_more_rarely() -> None:
    doubts = Doubts()
    pauses = [doubts.pause_ms(b"p")]
    for _ in range(40):
        doubts.differ(b"p")
        pauses.append(doubts.pause_ms(b"p"))
    assert pauses[:4] == [REPEAT_MS, 2 * REPEAT_MS, 4 * REPEAT_MS, 8 * REPEAT_MS]
    assert pauses[-1] == REPEAT_LONGEST_MS
    assert doubts.pause_ms(b"other") == REPEAT_MS
    doubts.equal(b"p")
    assert doubts.pause_ms(b"p") == REPEAT_MS
    for index in range(2 * REPEAT_PEERS_MAX):
        doubts.differ(index.to_bytes(2, "big"))
    known = [doubts.pause_ms(i.to_bytes(2, "big")) > REPEAT_MS for i in range(2 * REPEAT_PEERS_MAX)]
    assert sum(known) == REPEAT_PEERS_MAX


def test_a_context_name_is_all_that_differs() -> None:
    """Nothing of what is compared is taken from the link's own books."""

    async def run() -> None:
        async with stores(2) as (a, b):
            pair = await linked(a, b)
            for index in range(3):
                await lose(pair[index % 2], ContextName(f"acme/{index}"))
            await pass_time(pair, 2 * LONGEST_MS)
            assert all(end.session.end is not None for end in pair)

    asyncio.run(run())


# ---- while something moves --------------------------------------------------------------------


async def busy_time(pair: Pair, span_ms: int, *, since_ms: int = 0) -> int:
    """As `pass_time`, and one of a few contexts moves in each second, until the link ends."""
    for now_ms in range(since_ms, since_ms + span_ms, STEP_MS):
        if any(end.session.end is not None for end in pair):
            return now_ms
        writer = pair[now_ms // STEP_MS % 2].store
        await writer.write(f"busy/{now_ms // STEP_MS % 3}", "more")
        await pass_time(pair, STEP_MS, since_ms=now_ms)
    return since_ms + span_ms


def rested(pair: Pair) -> list[Branches]:
    return [message for end in pair for message in end.sent if isinstance(message, Branches)]


def test_a_link_on_which_something_always_moves_compares_what_rests() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            for index in range(40):
                await a.write(f"acme/{index}", "hello")
            pair = await linked(a, b)
            before = len(rested(pair))
            await busy_time(pair, 2 * LONGEST_MS)
            assert [end.session.end for end in pair] == [None, None]
            assert len(trees(pair)) == 2, "nobody was still"
            again = rested(pair)[before:]
            assert 2 <= len(again) <= 6
            # Of 64 ranges, in which 43 contexts are.
            assert all(len(encode(message)) <= 64 * TREE_DIGEST_BYTES + 20 for message in again)
            empty = bytes(TREE_DIGEST_BYTES)
            for message in again:
                [(_, levels, digests)] = message.opened
                some = [digests[i : i + 5] for i in range(0, len(digests), TREE_DIGEST_BYTES)]
                assert len(some) == 1 << levels == 64
                assert 20 <= 64 - some.count(empty) < 40, "most contexts rest"

    asyncio.run(run())


@pytest.mark.parametrize("context", ["acme/7", "acme/new"])
@pytest.mark.parametrize("loser", [0, 1])
def test_what_got_lost_where_something_moves_is_found(loser: int, context: str) -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            for index in range(40):
                await a.write(f"acme/{index}", "hello")
            pair = await linked(a, b)
            now_ms = await busy_time(pair, 20 * STEP_MS)
            await lose(pair[loser], context)
            await busy_time(pair, 3 * LONGEST_MS, since_ms=now_ms)
            ends = [end.session.end for end in pair]
            assert all(one is not None and one.code == ByeCode.CLOSED for one in ends)
            cut(pair)
            await linked(a, b)
            assert await a.fingerprints() == await b.fingerprints()

    asyncio.run(run())


def test_what_is_late_once_is_no_reason_to_link_anew() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            for index in range(40):
                await a.write(f"acme/{index}", "hello")
            pair = await linked(a, b)
            before = len(rested(pair))
            now_ms = await busy_time(pair, 20 * STEP_MS)
            await lose(pair[0], "acme/7")
            while len(rested(pair)) == before:
                now_ms = await busy_time(pair, STEP_MS, since_ms=now_ms)
            other = link(a, b, regions=("eu", "us"))
            await settle(pair, other)
            cut(other)
            await busy_time(pair, 3 * LONGEST_MS, since_ms=now_ms)
            assert [end.session.end for end in pair] == [None, None]

    asyncio.run(run())


def test_what_a_peer_says_of_its_ranges_takes_one_look_at_a_time() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            pair = await linked(a, b)
            for levels in (1, 12, 3):
                digests = b"\x01" * (TREE_DIGEST_BYTES << levels)
                pair[1].session.receive(encode(Branches(((ROOT, levels, digests),), (), ())))
            assert await pair[1].ask_one()
            assert not await pair[1].ask_one()
            assert pair[1].session.end is None
            pair[0].session.receive(encode(Branches(((2, 1, bytes(10)),), (), ())))
            end = pair[0].session.end
            assert end is not None
            assert "out of turn" in end.reason

    asyncio.run(run())

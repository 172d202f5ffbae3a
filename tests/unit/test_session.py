"""Two sessions facing each other over bytes, with real journals behind them."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from tests.linked import NOW_MS, End, Store, cut, link, settle, stores
from weft_engine.limits import HEARTBEAT_MS, LINK_DEAD_MS, RECORDS_PER_FRAME
from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.records.digest import record_digest
from weft_engine.records.envelope import Record, decode_envelope
from weft_engine.records.identity import SignatureItem
from weft_engine.storage.ledger import Stored
from weft_engine.sync.end.closure import closed, needed
from weft_engine.sync.end.ending import State
from weft_engine.sync.end.questions import ListContexts, Listed, ReadLacking, answer
from weft_engine.sync.end.session import Session
from weft_engine.sync.framing.fragments import FRAGMENT_BYTES
from weft_engine.sync.framing.frames import decode_frame, encode
from weft_engine.sync.framing.messages import (
    Ack,
    Bye,
    ByeCode,
    Contexts,
    Fragment,
    Frontier,
    Heartbeat,
    Message,
    Records,
    Resume,
    Want,
    Window,
)
from weft_engine.sync.interest import Interest

NAME = ContextName("c/1")
HASH = RecordHash(b"\x07" * 32)


async def meet(a: Store, b: Store) -> tuple[list[bytes], list[bytes]]:
    """Link, settle, check, part; the envelopes that each end sent."""
    pair = link(a, b)
    await settle(pair)
    assert [end.session.state for end in pair] == [State.LIVE, State.LIVE]
    assert [end.session.progress.is_synced for end in pair] == [True, True]
    assert await a.fingerprints() == await b.fingerprints()
    cut(pair)
    return pair[0].records_sent, pair[1].records_sent


# ---- catching up ----------------------------------------------------------------------------


def test_empty_and_equal_stores_exchange_nothing() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            assert await meet(a, b) == ([], [])
            for index in range(600):
                await a.write(f"c/{index}", "one")
            sent, back = await meet(a, b)
            assert (len(sent), back) == (600, [])
            assert await meet(a, b) == ([], [])
            pair = link(a, b)
            await settle(pair)
            # 600 contexts are two pages; nothing else is said.
            assert [type(m).__name__ for m in pair[0].sent] == ["Hello", "Contexts", "Contexts"]
            assert pair[0].session.progress.durable_upto() == await a.last_position()

    asyncio.run(run())


def test_one_side_has_all() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            written = [await a.write("c/1", "x", "y"), await a.write("c/2", "z")]
            sent, back = await meet(b, a)
            assert sent == []
            assert sorted(back) == sorted(r.envelope_bytes for some in written for r in some)

    asyncio.run(run())


def test_what_is_common_is_not_sent_again() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            await a.write("c/1", *(f"common {i}" for i in range(100)))
            await meet(a, b)
            ours = await a.write("c/1", *(f"a {i}" for i in range(30)))
            theirs = await b.write("c/1", *(f"b {i}" for i in range(20)))
            sent, back = await meet(a, b)
            # Diverged: neither knows the other's frontier, the sample finds the common past.
            assert {r.envelope_bytes for r in ours} <= set(sent)
            assert {r.envelope_bytes for r in theirs} <= set(back)
            assert len(sent) <= 2 * 30
            assert len(back) <= 2 * 20
            more = await a.write("c/1", *(f"more {i}" for i in range(5)))
            sent, back = await meet(a, b)
            # b holds all of what a builds on, so a knows exactly; b finds it in the sample.
            assert sent == [r.envelope_bytes for r in more]
            assert len(back) <= 2 * 30

    asyncio.run(run())


def test_two_thousand_records_in_many_contexts() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            for index in range(40):
                await a.write(f"c/{index}", *(f"{i} " * 40 for i in range(50)))
            pair = link(a, b)
            await settle(pair)
            assert await a.fingerprints() == await b.fingerprints()
            frames = [m for m in pair[0].sent if isinstance(m, Records)]
            assert sum(len(m.records) for m in frames) == 2000
            assert not any(isinstance(m, Fragment) for m in pair[0].sent)
            # One signature for each chain in a frame, and the last statement covers everything.
            for frame in frames:
                chains = {decode_envelope(envelope).context for envelope, _ in frame.records}
                assert len(frame.items) == len(chains)
            assert frames[-1].upto == await a.last_position()
            # A statement is true when it is made.
            ours, gone = await a.hashes(), set()
            for frame in frames:
                gone |= {record_digest(envelope) for envelope, _ in frame.records}
                assert frame.upto is None or gone.issuperset(ours[: frame.upto])

    asyncio.run(run())


def test_a_record_larger_than_a_frame_goes_in_fragments() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            large = await a.write("c/1", "x" * 1_000_000)
            small = await a.write("c/1", "after")
            pair = link(a, b)
            await settle(pair)
            fragments = [m for m in pair[0].sent if isinstance(m, Fragment)]
            assert len(fragments) == -(-len(large[0].payload) // FRAGMENT_BYTES)
            assert await b.hashes() == [large[0].hash, small[0].hash]
            assert pair[0].session.progress.is_synced

    asyncio.run(run())


# ---- live -----------------------------------------------------------------------------------


def test_live_push_both_ways_and_nothing_comes_back() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            await a.write("c/1", "before")
            pair = link(a, b)
            await settle(pair)
            for round_ in range(10):
                await a.write("c/1", f"a {round_}")
                if round_ % 3:
                    await settle(pair)
                await b.write("c/1", f"b {round_}")
                await b.write(f"new/{round_}", "from b")
                await settle(pair)
            assert await a.fingerprints() == await b.fingerprints()
            assert len(pair[0].records_sent) == 1 + 10
            assert len(pair[1].records_sent) == 20
            assert all(end.session.progress.is_synced for end in pair)

    asyncio.run(run())


def test_a_third_writer_is_passed_on_once() -> None:
    async def run() -> None:
        async with stores(3) as (a, relay, b):
            left, right = link(a, relay), link(relay, b)
            await settle(left, right)
            for round_ in range(5):
                await a.write("c/1", f"a {round_}")
                await b.write("c/1", f"b {round_}")
                await relay.write("c/1", f"r {round_}")
                await settle(left, right)
            assert await a.fingerprints() == await b.fingerprints() == await relay.fingerprints()
            assert [len(end.records_sent) for end in (*left, *right)] == [5, 10, 10, 5]

    asyncio.run(run())


def test_links_in_a_ring_come_to_rest() -> None:
    async def run() -> None:
        async with stores(3) as (a, b, c):
            ring = link(a, b), link(b, c), link(c, a)
            await settle(*ring)
            for store in (a, b, c):
                await store.write("c/1", "from each", "twice")
            await settle(*ring)
            assert await a.fingerprints() == await b.fingerprints() == await c.fingerprints()
            assert all(end.session.progress.is_synced for pair in ring for end in pair)

    asyncio.run(run())


def test_only_the_interest_of_both_is_carried() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            for store in (a, b):
                for name in ("acme/1", "acme/2", "team/1", "other"):
                    await store.write(name, "x")
            wanted = Interest.of(contexts=["other", "acme/1"], prefixes=["team/"])
            permitted = Interest.of(prefixes=["acme/", "team/"])
            both = Interest.of(contexts=["acme/1"], prefixes=["team/"])
            pair = link(a, b, interests=(wanted, permitted))
            await settle(pair)
            assert pair[0].session.interest == pair[1].session.interest == both
            for name in ("team/2", "acme/3", "other", "acme/1"):
                await a.write(name, "y")
            await settle(pair)
            assert await a.fingerprints(both) == await b.fingerprints(both)
            assert set(await b.fingerprints()) == {"acme/1", "acme/2", "team/1", "team/2", "other"}
            assert (await a.fingerprints())["other"] != (await b.fingerprints())["other"]
            assert pair[0].session.progress.is_synced
            assert pair[0].session.progress.durable_upto() == await a.last_position()

    asyncio.run(run())


def test_a_fault_free_link_with_nothing_in_common_is_synced() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            await a.write("x/1", "x")
            pair = link(a, b, interests=(Interest.of(prefixes=["x/"]), Interest.of(prefixes=["y"])))
            await settle(pair)
            assert pair[0].session.progress.is_synced
            assert await b.hashes() == []

    asyncio.run(run())


# ---- acknowledgement ------------------------------------------------------------------------


def test_what_is_not_durable_there_is_not_synced_here() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            await a.write("c/1", "x")
            pair = link(a, b)
            await settle(pair)
            before = await a.last_position()
            assert pair[0].session.progress.durable_upto() == before
            await a.write("c/1", "y")
            assert pair[0].session.progress.durable_upto() == before
            await pair[0].ask_one()
            pair[0].flush(pair[1])
            while pair[1].read_one():
                pass
            # It has arrived and is not journaled.
            pair[1].flush(pair[0])
            while pair[0].read_one():
                pass
            assert pair[0].session.progress.durable_upto() == before
            assert not pair[0].session.progress.is_synced
            await settle(pair)
            assert pair[0].session.progress.durable_upto() == await a.last_position() == before + 1

    asyncio.run(run())


def test_regions_say_what_they_hold() -> None:
    async def run() -> None:
        async with stores(2) as (client, relay):
            pair = End(client), End(relay, region="eu-1")
            await settle(pair)
            for index in range(3):
                await client.write("c/1", f"{index}")
                await settle(pair)
                assert pair[0].session.regions == {"eu-1": index + 1}
            await relay.write("c/1", "down")
            await settle(pair)
            assert pair[1].session.regions == {}

    asyncio.run(run())


def test_a_slow_reader_gets_a_window_and_no_more() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            for index in range(30):
                await a.write("c/1", f"{index} " + "x" * 100_000)
            window = Window(3, 1 << 20)
            pair = link(a, b, windows=(None, window))
            # b reads but its gate is busy.
            for _ in range(50):
                await pair[0].ask_one()
                pair[0].flush(pair[1])
                while pair[1].read_one():
                    pass
                await pair[1].ask_one()
                pair[1].flush(pair[0])
                while pair[0].read_one():
                    pass
            assert sum(isinstance(m, Records) for m in pair[0].sent) == 3
            assert pair[0].session.next_question() is None
            await settle(pair)
            assert pair[0].session.progress.is_synced
            assert await a.fingerprints() == await b.fingerprints()

    asyncio.run(run())


# ---- signatures -----------------------------------------------------------------------------


async def forwarded(
    carrier: Store, author: Store, texts: int, *, signed: list[int]
) -> list[Record]:
    """Give `carrier` a chain of `author`, with signatures at these places only."""
    name = ContextName("c/1")
    records: list[Record] = []
    for index in range(texts):
        records.append(author.make(name, f"{index}", [records[-1].hash] if records else []))
    outcome = await carrier.admit(records, [author.key.sign(records[i].hash) for i in signed])
    assert not outcome.refused
    return records


def test_a_signed_stretch_longer_than_a_frame_is_sent_whole() -> None:
    async def run() -> None:
        async with stores(3) as (author, a, b):
            count = 3 * RECORDS_PER_FRAME + 7
            records = await forwarded(a, author, count, signed=[count - 1])
            assert len(await a.hashes()) == count
            pair = link(a, b, windows=(None, Window(1, 1)))
            await settle(pair)
            assert await b.hashes() == [r.hash for r in records]
            assert await b.waiting() == 0
            assert pair[0].session.progress.is_synced

    asyncio.run(run())


def test_a_tail_without_signature_is_withheld_until_it_is_signed() -> None:
    async def run() -> None:
        async with stores(3) as (author, a, b):
            records = await forwarded(a, author, 10, signed=[9])
            # As if the signed tip had been parked: its signature is not among the kept ones.
            await a.journal.write(
                lambda c: c.execute("DELETE FROM signatures WHERE position = 10").rowcount
            )
            await a.journal.keep_signatures(
                [
                    (
                        Stored((await a.last_position()), records[5], 0),
                        author.key.sign(records[5].hash),
                    )
                ]
            )
            await a.journal.write(
                lambda c: c.execute("UPDATE signatures SET position = 6").rowcount
            )
            pair = link(a, b)
            await settle(pair)
            assert await b.hashes() == [r.hash for r in records[:6]]
            assert await b.waiting() == 0
            assert not pair[0].session.progress.is_synced
            assert pair[0].session.progress.durable_upto() == 6
            own = await a.write("elsewhere", "still flows")
            await settle(pair)
            assert own[0].hash in await b.hashes()
            signed = author.make(ContextName("c/1"), "signed", [records[-1].hash])
            await a.admit([signed], [author.key.sign(signed.hash)])
            await settle(pair)
            assert len(await b.hashes()) == 12
            assert pair[0].session.progress.is_synced

    asyncio.run(run())


def test_both_sides_of_an_equivocation_of_our_own_arrive() -> None:
    async def run() -> None:
        async with stores(3) as (a, b, clone):
            clone.key = a.key
            first = await a.write("c/1", "the original")
            other = await clone.write("c/1", "the clone", "and more")
            await a.admit(other, [clone.key.sign(other[-1].hash)])
            await a.write("c/1", "goes on")
            assert first[0].envelope.seq == other[0].envelope.seq
            sent, _ = await meet(a, b)
            assert len(sent) == 4
            assert await b.hashes() == await a.hashes()

    asyncio.run(run())


def test_closed_leaves_out_what_is_not_covered_and_what_depends_on_it() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            name = ContextName("c/1")
            a1 = a.make(name, "a1", [])
            b1 = b.make(name, "b1", [])
            a2 = a.make(name, "a2", [b1.hash])
            a3 = a.make(name, "a3", [])
            stored = [Stored(Position(i), r, 0) for i, r in enumerate((a1, b1, a2, a3), 1)]
            sign = a.key.sign

            def left(*items: SignatureItem) -> list[Record]:
                return [one.record for one in closed(stored, items)]

            assert left(sign(a3.hash), b.key.sign(b1.hash)) == [a1, b1, a2, a3]
            assert left(sign(a3.hash)) == []
            assert left(sign(a1.hash), sign(a3.hash)) == [a1]
            assert left(b.key.sign(b1.hash)) == [b1]
            assert left(b.key.sign(b1.hash), sign(a2.hash)) == [a1, b1, a2]
            items = [sign(a1.hash), sign(a3.hash), b.key.sign(b1.hash)]
            assert set(needed(stored, items)) == set(items[1:])

    asyncio.run(run())


# ---- out of order ---------------------------------------------------------------------------


async def greeted(store: Store, peer: Store, *, interest: Interest | None = None) -> End:
    """An end whose peer, played by the test, has said hello and listed nothing."""
    end = End(store, interest=interest) if interest else End(store)
    hello = Session(peer.identity, interest=Interest.of(prefixes=[""]), now_ms=NOW_MS).hello
    say(end, hello, Contexts((), True))
    await react(end)
    return end


def say(end: End, *messages: Message) -> None:
    for message in messages:
        end.receive(encode(message))


async def react(end: End) -> list[Message]:
    """What the end answers when it has done all it can."""
    moved = True
    answers: list[Message] = []
    while moved:
        moved = await end.ask_one() | await end.admit_one()
        end.store.hub.flush()
        frames = end.session.frames_to_send()
        answers += [m for frame in frames if (m := decode_frame(frame)) is not None]
        moved |= bool(frames)
    return answers


def records(serial: int, some: list[Record], *items: SignatureItem) -> Records:
    return Records(serial, None, tuple((r.envelope_bytes, r.payload) for r in some), items)


def test_what_comes_out_of_order_waits_unacknowledged_and_is_asked_for() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            name = ContextName("c/1")
            r1 = b.make(name, "1", [])
            r2 = b.make(name, "2", [r1.hash])
            r3 = b.make(name, "3", [r2.hash])
            end = await greeted(a, b)
            say(end, records(1, [r3], b.key.sign(r3.hash)))
            assert await react(end) == [Want((r2.hash,))]
            assert (await a.hashes(), await a.waiting()) == ([], 1)
            # It comes without a signature of its own: the one of r3 covers it.
            say(end, records(2, [r2]))
            assert await react(end) == [Want((r1.hash,))]
            assert not end.session.progress.has_received_all
            say(end, records(3, [r1]))
            answers = await react(end)
            acked = [range(m.first, m.last + 1) for m in answers if isinstance(m, Ack)]
            assert sorted(serial for run in acked for serial in run) == [1, 2, 3]
            assert await a.hashes() == [r1.hash, r2.hash, r3.hash]
            assert end.session.progress.has_received_all
            assert end.session.end is None

    asyncio.run(run())


def test_what_is_asked_for_is_sent_if_the_link_is_about_it() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            inside = await a.write("in/1", "x", "y")
            outside = await a.write("out/1", "z")
            end = await greeted(a, b, interest=Interest.of(prefixes=["in/"]))
            say(end, Ack(1, 1, ()))
            asked = sorted([inside[0].hash, outside[0].hash, RecordHash(bytes(32))])
            say(end, Want(tuple(asked)))
            answers = await react(end)
            assert [type(m) for m in answers] == [Records]
            assert isinstance(answers[0], Records)
            assert [e for e, _ in answers[0].records] == [inside[0].envelope_bytes]
            assert end.session.next_question() is None

    asyncio.run(run())


def test_an_acknowledgement_of_a_client_calls_for_nothing_when_nothing_is_left() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            (first,) = await a.write("c/1", "x")
            end = End(a, region="here")
            hello = Session(b.identity, interest=Interest.of(prefixes=[""]), now_ms=NOW_MS).hello
            say(end, hello, Resume(None), Contexts((), True))
            said = await react(end)
            assert [m.serial for m in said if isinstance(m, Records)] == [1]
            assert not end.session.receive(encode(Ack(1, 1, ())))
            assert end.session.progress.is_synced
            assert end.session.receive(encode(Want((first.hash,))))
            assert end.session.receive(encode(Ack(1, 1, ()))), "it is wrong, and ends the link"
            assert end.session.end is not None

    asyncio.run(run())


def test_known_records_are_acknowledged_and_not_sent_back() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            name = ContextName("c/1")
            r1 = b.make(name, "1", [])
            end = await greeted(a, b)
            for serial in (1, 2, 3):
                say(end, records(serial, [r1], b.key.sign(r1.hash)))
                assert await react(end) == [Ack(serial, serial, ())]
            assert await a.hashes() == [r1.hash]
            assert end.session.progress.is_synced

    asyncio.run(run())


def test_another_link_may_bring_what_this_one_waits_for() -> None:
    async def run() -> None:
        async with stores(3) as (a, b, c):
            name = ContextName("c/1")
            r1 = b.make(name, "1", [])
            r2 = b.make(name, "2", [r1.hash])
            first, second = await greeted(a, b), await greeted(a, c)
            say(first, records(1, [r2], b.key.sign(r2.hash)))
            assert await react(first) == [Want((r1.hash,))]
            say(second, records(1, [r1], b.key.sign(r1.hash)))
            # The second link is sent what it does not have, the first only its acknowledgement.
            answers = await react(second)
            assert [type(m) for m in answers] == [Ack, Records]
            assert isinstance(answers[1], Records)
            assert answers[1].records == ((r2.envelope_bytes, r2.payload),)
            assert [m for m in await react(first) if isinstance(m, Ack)] == [Ack(1, 1, ())]

    asyncio.run(run())


def test_what_the_peer_sends_is_not_sent_back_with_our_own() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            end = await greeted(a, b)
            # Ours is still to be sent when theirs of the same context comes, before and behind it.
            theirs = [b.make(NAME, "1", []), b.make(NAME, "2", [])]
            ours = await a.write("c/1", "ours")
            say(end, records(1, theirs, b.key.sign(theirs[-1].hash)))
            assert await end.admit_one()
            ours += await a.write("c/1", "ours, after")
            sent = [m for m in await react(end) if isinstance(m, Records)]
            assert [e for m in sent for e, _ in m.records] == [r.envelope_bytes for r in ours]

    asyncio.run(run())


def test_what_is_committed_while_a_difference_is_looked_at_is_sent() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            await a.write("c/1", "before")
            end = End(a)
            hello = Session(b.identity, interest=Interest.of(prefixes=[""]), now_ms=NOW_MS).hello
            foreign = b.make(NAME, "1", [])
            say(end, hello, Contexts(((NAME, bytes(32)),), True))
            await react(end)
            say(end, Frontier(NAME, (foreign.hash,), (foreign.hash,)))
            question = end.session.next_question()
            assert isinstance(question, ReadLacking)
            found = await a.journal.read(lambda c: answer(c, question))
            await a.write("c/1", "meanwhile")
            await a.write("c/2", "elsewhere")
            end.session.supply(found)
            sent = [m for m in await react(end) if isinstance(m, Records)]
            assert sum(len(m.records) for m in sent) == 3

    asyncio.run(run())


def test_what_was_listed_before_we_were_told_is_not_sent_twice() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            end = End(a)
            end.stop()
            hello = Session(b.identity, interest=Interest.of(prefixes=[""]), now_ms=NOW_MS).hello
            say(end, hello)
            question = end.session.next_question()
            assert isinstance(question, ListContexts)
            before = await a.last_position()
            record = (await a.write("c/1", "x"))[0]
            found = await a.journal.read(lambda c: answer(c, question))
            assert isinstance(found, Listed)
            # As if the commit had come between the two looks of the answer.
            end.session.supply(replace(found, position=before))
            say(end, Contexts(tuple((name, print_) for name, print_, _ in found.entries), True))
            end.session.following.committed([Stored(Position(1), record, 0)])
            assert not [m for m in await react(end) if isinstance(m, Records)]
            assert end.session.progress.is_synced

    asyncio.run(run())


# ---- refusals -------------------------------------------------------------------------------


async def refusal(end: End, *messages: Message) -> Bye:
    say(end, *messages)
    answers = await react(end)
    last = answers[-1]
    assert isinstance(last, Bye)
    assert end.session.end is not None
    assert not end.session.end.by_peer
    assert end.session.state is State.CLOSED
    # Whatever comes now is not looked at.
    say(end, Heartbeat())
    assert end.session.frames_to_send() == []
    return last


@pytest.mark.parametrize("case", ["payload", "envelope", "signature", "foreign key", "no tip"])
def test_unsound_records_end_the_link_and_change_nothing(case: str) -> None:
    async def run() -> None:
        async with stores(3) as (a, b, c):
            await a.write("c/1", "x")
            before = await a.hashes(), await a.fingerprints()
            end = await greeted(a, b)
            name = ContextName("c/2")
            good, bad = b.make(name, "1", []), b.make(name, "2", [])
            item = b.key.sign(bad.hash)
            match case:
                case "payload":
                    bad = replace(bad, payload=bad.payload[:-2] + b"\x01\x00")
                case "envelope":
                    bad = replace(bad, envelope_bytes=bad.envelope_bytes[:-1] + b"\x00")
                case "signature":
                    item = replace(item, signature=bytes(64))
                case "foreign key":
                    item = c.key.sign(good.hash)
                    item = replace(item, tip=bad.hash)
                case _:
                    item = b.key.sign(c.make(name, "3", []).hash)
            said = await refusal(end, records(1, [good, bad], item))
            assert said.code == (ByeCode.MALFORMED if case == "no tip" else ByeCode.RECORD)
            assert said.reason
            assert (await a.hashes(), await a.fingerprints()) == before
            assert await a.waiting() == 0

    asyncio.run(run())


def test_a_record_that_does_not_continue_its_chain_ends_the_link() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            name = ContextName("c/1")
            r1 = b.make(name, "1", [])
            r2 = b.make(name, "2", [r1.hash])
            wrong = replace(r2.envelope, seq=7)
            data = wrong.encode()
            bad = Record(RecordHash(b""), wrong, data, r2.payload)
            end = await greeted(a, b)
            item = b.key.sign(RecordHash(record_digest(data)))
            said = await refusal(end, records(1, [r1, bad], b.key.sign(r1.hash), item))
            assert (said.code, "seq 7" in said.reason) == (ByeCode.RECORD, True)
            assert await a.hashes() == []
            assert await a.waiting() == 0

    asyncio.run(run())


def test_records_outside_the_interest_end_the_link() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            end = await greeted(a, b, interest=Interest.of(prefixes=["in/"]))
            bad = b.make(ContextName("out/1"), "x", [])
            said = await refusal(end, records(1, [bad], b.key.sign(bad.hash)))
            assert (said.code, "out/1" in said.reason) == (ByeCode.RECORD, True)
            assert await a.hashes() == []

    asyncio.run(run())


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([Contexts((), True)], ByeCode.MALFORMED),
        ([Frontier(NAME, (HASH,), ())], ByeCode.MALFORMED),
        ([Ack(1, 1, ())], ByeCode.MALFORMED),
        ([records(2, [])], ByeCode.MALFORMED),
        ([Fragment(1, 1, 2, b"x")], ByeCode.MALFORMED),
        ([Want(tuple(RecordHash(i.to_bytes(32, "big")) for i in range(n, n + 1000))) for n in
          range(0, 9000, 1000)], ByeCode.LIMIT),
    ],
)  # fmt: skip
def test_what_has_no_place_ends_the_link(messages: list[Message], code: ByeCode) -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            end = await greeted(a, b)
            assert (await refusal(end, *messages)).code == code

    asyncio.run(run())


def test_lists_are_checked() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            hello = Session(b.identity, interest=Interest.of(prefixes=["c/"]), now_ms=0).hello
            one = Contexts(((NAME, bytes(32)),), False)
            for messages, code in (
                ([hello, one, one], ByeCode.MALFORMED),
                ([hello, Contexts(((ContextName("d"), bytes(32)),), True)], ByeCode.RECORD),
                ([hello, hello], ByeCode.MALFORMED),
                ([one], ByeCode.MALFORMED),
                ([Fragment(1, 0, 2, bytes(FRAGMENT_BYTES))], ByeCode.MALFORMED),
            ):
                end = End(a)
                said = await refusal(end, *messages)
                assert said.code == code
                end.stop()

    asyncio.run(run())


def test_a_window_that_is_not_kept_ends_the_link() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            end = End(a, window=Window(2, 1 << 20))
            peer = Session(b.identity, interest=Interest.of(prefixes=[""]), now_ms=0)
            say(end, peer.hello, Contexts((), True))
            some = [b.make(NAME, str(i), []) for i in range(3)]
            messages = [records(i, [r]) for i, r in enumerate(some, 1)]
            assert (await refusal(end, *messages)).code == ByeCode.LIMIT

    asyncio.run(run())


def test_a_full_waiting_room_ends_the_link() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            end = await greeted(a, b)
            missing = b.make(NAME, "never sent", [])
            chain = [missing]
            for index in range(4200):
                chain.append(b.make(NAME, str(index), []))
            parts = [chain[i : i + 350] for i in range(1, 4201, 350)]
            for serial, part in enumerate(parts, 1):
                say(end, records(serial, part, b.key.sign(part[-1].hash)))
            answers = await react(end)
            assert isinstance(answers[-1], Bye)
            assert answers[-1].code == ByeCode.LIMIT
            assert "no room" in answers[-1].reason
            assert await a.hashes() == []

    asyncio.run(run())


def test_a_refusal_of_what_another_link_parked_is_not_this_links_fault() -> None:
    async def run() -> None:
        async with stores(3) as (a, b, c):
            r1 = b.make(NAME, "1", [])
            r2 = b.make(NAME, "2", [r1.hash])
            wrong = replace(r2.envelope, seq=7).encode()
            bad = Record(RecordHash(record_digest(wrong)), r2.envelope, wrong, r2.payload)
            first, second = await greeted(a, b), await greeted(a, c)
            say(first, records(1, [bad], b.key.sign(bad.hash)))
            await react(first)
            say(second, records(1, [r1], b.key.sign(r1.hash)))
            assert await react(second) == [Ack(1, 1, ())]
            assert second.session.end is None

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(30))
def test_random_frames_end_the_link_and_change_nothing(seed: int) -> None:
    async def run() -> None:
        rng = random.Random(seed)
        async with stores(2) as (a, b):
            await a.write("c/1", "x")
            before = await a.fingerprints()
            end = await greeted(a, b)
            frame = b"\x01" * rng.randrange(2) + rng.randbytes(rng.randrange(40))
            end.session.receive(frame)
            await react(end)
            if end.session.end is None:
                assert decode_frame(frame) is None, "only a reserved type is ignored"
                return
            assert end.session.end.code in (ByeCode.MALFORMED, ByeCode.FORMAT)
            assert await a.fingerprints() == before

    asyncio.run(run())


def test_other_versions_are_refused_for_good() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            hello = Session(b.identity, interest=Interest.of(prefixes=[""]), now_ms=0).hello
            for frame in (
                b"\x02" + encode(hello)[1:],
                encode(replace(hello, format_version=2)),
            ):
                end = End(a)
                end.session.receive(frame)
                assert end.session.state is State.REFUSED
                assert end.session.end is not None
                assert "version" in end.session.end.reason
                assert "upgrade" in end.session.end.hint
                end.stop()
            pair = link(a, b)
            pair[0].session.close(ByeCode.DENIED, "the token has expired", "get a new one")
            await settle(pair)
            assert pair[1].session.state is State.REFUSED
            assert pair[1].session.end is not None
            assert (pair[1].session.end.by_peer, pair[1].session.end.hint) == (
                True,
                "get a new one",
            )

    asyncio.run(run())


def test_frames_of_later_versions_are_ignored() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            end = await greeted(a, b)
            end.session.receive(b"\x01\x92\x40\xa1x")
            assert end.session.state is State.LIVE

    asyncio.run(run())


# ---- time -----------------------------------------------------------------------------------


def test_heartbeats_and_the_death_of_a_silent_link() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            pair = link(a, b)
            await settle(pair)
            for now_ms in range(0, 3 * HEARTBEAT_MS + 1, 1000):
                for end in pair:
                    end.session.tick(now_ms)
                await settle(pair)
            assert sum(isinstance(m, Heartbeat) for m in pair[0].sent) in (2, 3)
            assert pair[0].session.state is State.LIVE
            start = 3 * HEARTBEAT_MS
            last_alive = start
            say(pair[0], Heartbeat())
            for now_ms in range(start, start + 2 * LINK_DEAD_MS, 1000):
                pair[0].session.tick(now_ms)
                if pair[0].session.end is None:
                    last_alive = now_ms
            assert LINK_DEAD_MS - 2000 <= last_alive - start <= LINK_DEAD_MS + 1000
            assert pair[0].session.end is not None
            assert pair[0].session.end.code == ByeCode.SILENT

    asyncio.run(run())


def test_a_pause_of_our_own_is_no_silence_of_the_peer() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            end = await greeted(a, b)
            end.session.tick(0)
            end.session.tick(1000)
            end.session.tick(3_600_000)
            assert end.session.end is None

    asyncio.run(run())

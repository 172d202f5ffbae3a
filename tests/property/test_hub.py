"""A relay and its clients in random order: what is new is pushed or read, whatever comes between,
and each client gets all of its interest, nothing that is its own, and only what is closed."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.linked import End, Store, cut, link, settle, stores, wander
from weft_engine.names import RecordHash
from weft_engine.records.digest import record_digest
from weft_engine.records.gate import Outcome
from weft_engine.sync.driving.inspection import inspect
from weft_engine.sync.end.live import Body
from weft_engine.sync.framing.messages import Window
from weft_engine.sync.interest import EVERYTHING, Interest

CONTEXTS = ["a/1", "a/2", "b/1"]
INTERESTS = [EVERYTHING, EVERYTHING, Interest.of(prefixes=["a/"]), Interest.of(contexts=["b/1"])]


async def own(store: Store) -> set[RecordHash]:
    """The records that this store has written."""
    rows = await store.journal.read(
        lambda c: c.execute(
            "SELECT hash FROM records JOIN origins ON origins.id = origin WHERE incarnation = ?",
            (store.key.incarnation,),
        ).fetchall()
    )
    return {RecordHash(row[0]) for row in rows}


@given(
    seed=st.integers(0, 2**32),
    clients=st.integers(2, 4),
    window=st.sampled_from([None, None, Window(1, 1), Window(3, 900)]),
)
@settings(max_examples=40, deadline=None)
def test_everybody_gets_everything_and_nothing_goes_back(
    seed: int, clients: int, window: Window | None
) -> None:
    async def run() -> None:
        rng = random.Random(seed)
        async with stores(clients + 1, seed=seed) as (relay, *others):
            interests = [rng.choice(INTERESTS) for _ in others]
            pairs: list[tuple[End, End]] = []
            for store, interest in zip(others, interests, strict=True):
                pairs.append(
                    link(store, relay, interests=(interest, EVERYTHING), windows=(window, None))
                )
            for _ in range(rng.randint(1, 8)):
                await wander(rng, rng.randint(0, 30), *pairs)
                writer = rng.choice([relay, *others])
                texts = [f"{number}" for number in range(rng.randint(1, 4))]
                await writer.write(rng.choice(CONTEXTS), *texts)
                if rng.random() < 0.1:
                    index = rng.randrange(clients)
                    cut(pairs[index])
                    pairs[index] = link(
                        others[index], relay, interests=(interests[index], EVERYTHING)
                    )
            await settle(*pairs)
            for (end, at_relay), store, interest in zip(pairs, others, interests, strict=True):
                assert end.session.end is None
                assert at_relay.session.progress.is_synced
                assert await store.fingerprints(interest) == await relay.fingerprints(interest)
                assert (end.parked, at_relay.parked) == (0, 0)
                sent = {record_digest(envelope) for envelope in at_relay.records_sent}
                assert sent.isdisjoint(await own(store))
                assert at_relay.session.following.is_settled

    asyncio.run(run())


def test_links_that_have_nothing_else_to_send_are_pushed_to() -> None:
    async def run() -> None:
        async with stores(4) as (relay, writer, *readers):
            pairs = [link(store, relay) for store in (writer, *readers)]
            await settle(*pairs)
            for number in range(3):
                await writer.write("c/1", f"{number}", "and more")
                await settle(*pairs)
            assert [at_relay.pushed for _, at_relay in pairs] == [0, 3, 3]
            # What one of them did not take it reads, and is pushed to again behind that.
            slow = pairs[1][1]
            slow.is_congested = True
            await writer.write("c/1", "not pushed")
            await settle(*pairs)
            slow.is_congested = False
            await writer.write("c/1", "pushed")
            await settle(*pairs)
            assert [at_relay.pushed for _, at_relay in pairs] == [0, 4, 5]
            assert await readers[0].hashes() == await relay.hashes()

    asyncio.run(run())


def test_who_wrote_is_told_before_the_others_are() -> None:
    happened: list[str] = []

    class Noting(End):
        def changed(self) -> None:
            happened.append("told" if self.session.sending.has_frames else "looked")
            super().changed()

        def push(self, body: Body, /) -> bool:
            happened.append("pushed" if body.shared else "has it")
            return super().push(body)

    async def run() -> None:
        async with stores(3) as (relay, writer, reader):
            pairs = [
                (End(writer), Noting(relay, region="eu")),
                (End(reader), Noting(relay, region="eu")),
            ]
            await settle(*pairs)
            await writer.write("c/1", "it")
            end, at_relay = pairs[0]
            end.store.hub.flush()
            while await end.ask_one():
                pass
            end.flush(at_relay)
            while at_relay.read_one():
                pass
            incoming = at_relay.session.incoming
            admission = incoming.next_admission()
            assert admission is not None
            inspected = inspect(admission)
            hashes = [record.hash for record in inspected.records]
            incoming.offer(admission.serial, inspected.records)
            relay.hub.offered(at_relay, hashes)
            answered = asyncio.Event()

            def done(outcome: Outcome, error: BaseException | None) -> None:
                assert error is None
                at_relay.session.admitted(admission.serial, outcome)
                relay.hub.admitted(at_relay, hashes)
                relay.hub.answered(at_relay)
                answered.set()

            happened.clear()
            relay.journal.offer(
                inspected.records, inspected.items, session=b"one", now_ms=0, done=done
            )
            await answered.wait()
            assert happened == ["told", "has it", "pushed"]

    asyncio.run(run())


def test_a_turn_that_brings_what_several_wrote_leaves_out_their_own() -> None:
    async def run() -> None:
        async with stores(3) as (relay, a, b):
            pairs = [link(store, relay) for store in (a, b)]
            await settle(*pairs)
            await a.write("c/1", "from a")
            await b.write("c/2", "from b")
            for end, at_relay in pairs:
                end.store.hub.flush()
                while await end.ask_one():
                    pass
                end.flush(at_relay)
                while at_relay.read_one():
                    pass
            before = [at_relay.pushed for _, at_relay in pairs]
            # Both are committed before the hub has its turn.
            await asyncio.gather(*(at_relay.admit_one() for _, at_relay in pairs))
            await settle(*pairs)
            assert await a.fingerprints() == await b.fingerprints()
            for (_, at_relay), store in zip(pairs, (a, b), strict=True):
                sent = {record_digest(envelope) for envelope in at_relay.records_sent}
                assert sent.isdisjoint(await own(store))
            assert before == [0, 0]

    asyncio.run(run())

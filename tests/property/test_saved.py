"""What a session says is durable at the peer is there, at every moment, context by context."""

from __future__ import annotations

import asyncio
import random
import sqlite3

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.linked import End, Store, cut, settle, stores, wander
from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.sync.end.saved import Saved
from weft_engine.sync.framing.messages import Window
from weft_engine.sync.interest import Interest

CONTEXTS = [ContextName(name) for name in ("a", "b", "c")]


async def upto(store: Store, context: ContextName, held: set[RecordHash]) -> Position:
    """Up to where in this journal all of the context is in `held`."""

    def question(connection: sqlite3.Connection) -> Position:
        rows = connection.execute(
            "SELECT r.position, r.hash FROM records AS r JOIN contexts AS c ON c.id = r.context"
            " WHERE c.name = ? ORDER BY r.position",
            (context,),
        )
        for position, hash_ in rows:
            if hash_ not in held:
                return Position(position - 1)
        return Position(1 << 60)

    return await store.journal.read(question)


async def check(end: End, peer: End, known: Saved | None) -> Saved | None:
    held = set(await peer.store.hashes())
    session = end.session
    saved = session.progress.saved()
    for context in CONTEXTS:
        truth = await upto(end.store, context, held)
        said = session.progress.saved_of(context)
        assert said is None or said <= truth
        if saved is not None:
            assert (saved.of(context) or 0) == (said or 0)
            now = saved.after(known)
            assert (now.of(context) or 0) <= truth
            assert (now.of(context) or 0) >= (said or 0)
    return known if saved is None else saved.after(known)


@settings(max_examples=25)
@given(st.integers(0, 1 << 32))
def test_what_is_said_to_be_saved_is_saved(seed: int) -> None:
    async def run() -> None:
        rng = random.Random(seed)
        interest = Interest.of(contexts=rng.sample(CONTEXTS, rng.randint(1, 3)))
        async with stores(2, seed=seed) as (a, b):
            known: dict[Store, Saved | None] = {a: None, b: None}
            for _ in range(3):
                for store in (a, b):
                    for _ in range(rng.randrange(4)):
                        await store.write(rng.choice(CONTEXTS), "x" * rng.choice((1, 90_000)))
                windows = (Window(rng.randint(1, 3), 1 << 20), Window(2, 1 << 20))
                # With a region they resume where they were, if they got so far.
                region = rng.choice((None, "eu"))
                pair = (
                    End(a, interest=interest, window=windows[0]),
                    End(b, interest=interest, window=windows[1], region=region),
                )
                for _ in range(12):
                    await wander(rng, rng.randrange(12), pair)
                    if rng.random() < 0.5:
                        await rng.choice((a, b)).write(rng.choice(CONTEXTS), "more")
                    for end, peer in (pair, pair[::-1]):
                        known[end.store] = await check(end, peer, known[end.store])
                if rng.random() < 0.5:
                    await settle(pair)
                    for end, peer in (pair, pair[::-1]):
                        saved = await check(end, peer, known[end.store])
                        assert saved is not None
                        assert not saved.behind
                        assert saved.upto == await end.store.last_position()
                cut(pair)

    asyncio.run(run())

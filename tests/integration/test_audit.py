"""What a relay finds in its own journal in the course of time: chains that fork, clocks ahead."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from tests.linked import NOW_MS, Store, stores
from tests.running_relay import until
from weft_engine.limits import CLOCK_SKEW_MS_MAX
from weft_engine.names import ContextName, Position
from weft_engine.storage.audit import Audited, audit
from weft_engine.storage.schema import connect
from weft_server.mesh import audit as slices
from weft_server.mesh.audit import Audit


async def fork(store: Store, author: Store, context: str) -> None:
    """Journal two records that both follow the first of a chain."""
    name = ContextName(context)
    first = author.make(name, "one", ())
    sides = []
    for text in ("left", "right"):
        author._tips[name] = first
        sides.append(author.make(name, text, (first.hash,)))
    for record in (first, *sides):
        await store.admit([record], [author.key.sign(record.hash)])


async def test_forks_and_clocks_ahead_are_found_in_whatever_slices() -> None:
    async with stores(2) as (store, author):
        for number in range(10):
            await store.write(f"c/{number}", "one", "two", "three")
        await fork(store, author, "c/forked")
        author.clock.tick(NOW_MS + 10 * CLOCK_SKEW_MS_MAX)
        late = author.make(ContextName("c/ahead"), "from next year", ())
        await store.admit([late], [author.key.sign(late.hash)])

        with closing(connect(store.journal.path, readonly=True)) as connection:
            ids = dict(connection.execute("SELECT name, id FROM contexts"))
            for contexts_max, records_max in ((100, 1000), (1, 1000), (100, 1), (3, 7)):
                forked: set[int] = set()
                skewed: set[int] = set()
                after: int | None = 0
                looks = 0
                while after is not None:
                    found = audit(
                        connection,
                        after=after,
                        since=Position(0),
                        contexts_max=contexts_max,
                        records_max=records_max,
                    )
                    forked |= found.forked
                    skewed |= found.skewed
                    after = found.last
                    looks += 1
                    assert looks < 50
                assert (forked, skewed) == ({ids["c/forked"]}, {ids["c/ahead"]})
            head = await store.last_position()
            found = audit(connection, after=0, since=head, contexts_max=100, records_max=1000)
            assert found == Audited(frozenset(), frozenset(), None)


async def test_what_comes_later_is_found_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "REST_S_MIN", 0.0)
    monkeypatch.setattr(slices, "SLICE_CONTEXTS", 3)
    async with stores(2) as (store, author):
        for number in range(10):
            await store.write(f"c/{number}", "one")
        looking = Audit(Path(store.journal.path))
        keeping = asyncio.create_task(looking.keep())

        async def has_seen_all() -> bool:
            return looking.looked_at == 1

        async def has_found() -> bool:
            return len(looking.forked) == 1

        try:
            await until(has_seen_all, what="all contexts were looked at")
            assert looking.forked == looking.skewed == set()
            await fork(store, author, "c/later")
            await until(has_found, what="a fork that came later")
            assert not keeping.done()
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])

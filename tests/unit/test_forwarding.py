"""Regions forward by who is live with whom: what another region sends is announced, and pulled
when it does not come."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from tests.linked import cut, stores
from tests.meshed import NAMES, Mesh, sent
from weft_engine.limits import LIVE_QUIET_MS
from weft_engine.names import Position, RecordHash
from weft_engine.sync.end.regions.held_questions import HeldRead, ReadHeld
from weft_engine.sync.framing.frames import encode
from weft_engine.sync.framing.messages import Live, Records, Tips, Want, Window


def test_each_record_crosses_to_each_region_once() -> None:
    async def run() -> None:
        async with stores(4) as found:
            mesh = Mesh(found)
            await mesh.settle()
            for number in range(3):
                for index, store in enumerate(found):
                    await store.write(f"c/{index}", f"{number}", "and more")
                    await store.write("c/all", f"{index} {number}")
                    await mesh.settle()
            await mesh.until(mesh.is_done)
            received = [
                sum(mesh.end(a, b).session.incoming.records_received for b in range(4) if b != a)
                for a in range(4)
            ]
            assert received == [27, 27, 27, 27]
            assert not any(sent(end, Want) for pair in mesh.pairs.values() for end in pair)

    asyncio.run(run())


def test_each_says_with_whom_it_is_live() -> None:
    async def run() -> None:
        async with stores(3) as found:
            mesh = Mesh(found)
            await mesh.until(mesh.agree)
            for a, b in ((0, 1), (0, 2), (1, 2)):
                other = NAMES[3 - a - b]
                assert mesh.end(a, b).session.between.neighbour is not None
                assert mesh.end(a, b).session.between.neighbour.live == {other}  # type: ignore[union-attr]
                assert mesh.end(b, a).session.between.neighbour.live == {other}  # type: ignore[union-attr]
            cut(mesh.pairs.pop((1, 2)))
            await asyncio.sleep(0)
            await mesh.settle()
            for at in (1, 2):
                assert sent(mesh.end(at, 0), Live)[-1] == Live(())
                assert mesh.end(0, at).session.between.neighbour.live == frozenset()  # type: ignore[union-attr]

    asyncio.run(run())


def test_a_region_of_which_nothing_is_heard_is_not_told_of() -> None:
    async def run() -> None:
        async with stores(3) as found:
            mesh = Mesh(found)
            await mesh.until(mesh.agree)
            end = mesh.end(1, 0)
            assert end.session.between.live_with == "ap"
            for now_ms in range(0, LIVE_QUIET_MS + 2_000, 1_000):
                end.session.tick(now_ms)
            end.changed()
            assert end.session.end is None
            await asyncio.sleep(0)
            await mesh.settle()
            assert sent(mesh.end(1, 2), Live)[-1] == Live(())
            # What the first writes is pushed on to it, though the first says to be live with it.
            await found[0].write("c/1", "not relied on")
            dead = mesh.pairs.pop((0, 1))
            await mesh.settle()
            assert await found[1].hashes() == await found[2].hashes() != []
            mesh.pairs[0, 1] = dead
            await mesh.settle()
            end.session.tick(LIVE_QUIET_MS + 3_000)
            end.changed()
            await mesh.until(mesh.is_done)
            assert sent(mesh.end(1, 2), Live)[-1] == Live(("ap",))

    asyncio.run(run())


def test_what_is_not_live_everywhere_is_pushed_on() -> None:
    async def run() -> None:
        async with stores(4) as found:
            mesh = Mesh(found, links=[(0, 1), (1, 2), (2, 3), (0, 3)])
            await mesh.settle()
            await found[0].write("c/1", "round the ring")
            await mesh.until(mesh.is_done)
            assert not any(sent(end, Tips) for pair in mesh.pairs.values() for end in pair)

    asyncio.run(run())


@pytest.mark.parametrize("window", [None, Window(1, 1), Window(2, 400)])
def test_what_was_announced_and_does_not_come_is_pulled(window: Window | None) -> None:
    async def run() -> None:
        async with stores(3) as found:
            mesh = Mesh(found, window=window)
            await mesh.settle()
            # The first says that it is live with the third, and nothing that it sends comes there.
            dead = mesh.pairs.pop((0, 2))
            written = 0
            for number in range(4):
                written += len(await found[0].write("c/1", *[f"{number} {i}" for i in range(5)]))
                await mesh.settle()
                # What depends on it, and is not announced.
                await found[1].write("c/1", f"reply {number}")
                await mesh.settle()

            async def has_come() -> bool:
                return await found[1].fingerprints() == await found[2].fingerprints()

            await mesh.until(has_come)
            assert sent(mesh.end(2, 1), Want)
            upto = await found[1].last_position()

            async def is_durable() -> bool:
                return mesh.end(1, 2).session.progress.durable_upto() == upto

            await mesh.until(is_durable)
            # Once more, and it is not relied on any more.
            written += len(await found[0].write("c/2", "again"))
            await mesh.until(has_come)
            before = len(sent(mesh.end(2, 1), Want))
            await found[0].write("c/2", "more")
            await mesh.settle()
            assert await has_come()
            assert len(sent(mesh.end(2, 1), Want)) == before
            assert mesh.end(2, 1).session.incoming.records_received == written + 5
            mesh.pairs[0, 2] = dead
            await mesh.until(mesh.is_done)

    asyncio.run(run())


def test_what_was_announced_is_not_taken_for_durable() -> None:
    async def run() -> None:
        async with stores(3) as found:
            mesh = Mesh(found)
            await mesh.until(mesh.is_done)
            dead = mesh.pairs.pop((0, 2))
            end = mesh.end(1, 2)
            await found[1].write("c/1", "pushed")
            await mesh.settle()
            upto = await found[1].last_position()
            assert end.session.progress.durable_upto() == upto
            (record,) = await found[0].write("c/2", "announced")
            await mesh.settle()
            await found[1].write("c/3", "pushed behind it")
            await mesh.settle()
            for _ in range(2):
                assert record.hash in await found[1].hashes()
                assert record.hash not in await found[2].hashes()
                assert end.session.progress.durable_upto() == upto
                assert end.session.regions["us"] == upto
                assert end.session.progress.saved_of(record.envelope.context) == upto
                assert not end.session.progress.is_synced

                async def is_announced() -> bool:
                    return bool(sent(end, Tips))

                await mesh.until(is_announced)
            mesh.pairs[0, 2] = dead
            await mesh.until(mesh.is_done)
            assert end.session.regions["us"] == Position(upto + 2)
            told = [one for one in sent(end, Tips) if isinstance(one, Tips)]
            assert [one.hashes for one in told] == [(record.hash,)]

    asyncio.run(run())


def test_one_of_those_that_announced_is_asked_and_then_the_next() -> None:
    async def run() -> None:
        async with stores(4) as found:
            mesh = Mesh(found)
            await mesh.until(mesh.is_done)
            dead = mesh.pairs.pop((0, 3))
            (record,) = await found[0].write("c/1", "announced by two")

            async def both_announced() -> bool:
                return all(sent(mesh.end(index, 3), Tips) for index in (1, 2))

            await mesh.until(both_announced)
            # Nothing that these send comes there, either.
            held = {index: mesh.pairs.pop((index, 3)) for index in (1, 2)}

            async def asked(count: int) -> bool:
                for far, near in held.values():
                    near.flush(far)
                return sum(len(sent(near, Want)) for _, near in held.values()) >= count

            await mesh.until(partial(asked, 2))
            assert [sent(near, Want) for _, near in held.values()] == [[Want((record.hash,))]] * 2
            for index, pair in held.items():
                mesh.pairs[index, 3] = pair
            await mesh.until(mesh.agree)
            mesh.pairs[0, 3] = dead
            await mesh.until(mesh.is_done)

    asyncio.run(run())


def test_a_region_that_goes_leaves_nobody_without() -> None:
    async def run() -> None:
        async with stores(3) as found:
            mesh = Mesh(found)
            await mesh.until(mesh.is_done)
            at_first, at_second = mesh.pairs.pop((0, 1))
            await found[0].write("c/1", "on its way")
            found[0].hub.flush()
            while await at_first.ask_one():
                pass
            at_first.flush(at_second)
            while at_second.read_one():
                pass
            await at_second.admit_one()
            for pair in ((at_first, at_second), mesh.pairs.pop((0, 2))):
                cut(pair)

            async def agree() -> bool:
                return await found[1].fingerprints() == await found[2].fingerprints() != {}

            await mesh.until(agree)
            records = [one for one in sent(mesh.end(1, 2), Records) if isinstance(one, Records)]
            assert sum(len(one.records) for one in records) == 1

    asyncio.run(run())


def test_what_is_held_and_was_not_told_of_counts_as_committed() -> None:
    """A reading may be ahead of the commits that links were told of: what is said of an
    announcement that is closed by it must not be placed before it."""

    async def run() -> None:
        async with stores(2) as found:
            mesh = Mesh(found)
            await mesh.settle()
            session = mesh.end(1, 0).session
            hash_ = RecordHash(bytes(32))
            session.receive(encode(Tips(session.incoming.last_serial + 1, Position(9), (hash_,))))
            question = session.next_question()
            assert isinstance(question, ReadHeld)
            told: list[Position] = []

            def note(upto: Position) -> None:
                assert upto == 9
                told.append(session.sending.outgoing.journaled)

            session.incoming.on_stated = note
            session.supply(HeldRead(question, frozenset([hash_]), Position(5)))
            assert told == [5]

    asyncio.run(run())

"""Equivocations end to end: cloned stores over links, and what relays pass on whatever it is."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.linked import PipeEnd, pipe
from tests.stores import Clock, all_records, hashes, open_replica
from tests.worlds import CONTEXT, REGION, Author, make_world, sign
from weft_engine.events.codec import encode_event
from weft_engine.events.event import Event, Message, Role
from weft_engine.events.part import Text
from weft_engine.names import event_id_hlc
from weft_engine.records.clock import HybridClock
from weft_engine.records.envelope import Kind, Record
from weft_engine.records.identity import SignatureItem, WriterKey
from weft_engine.replica.replica import Replica
from weft_engine.storage.verify import verify
from weft_engine.sync.driving.link import Link
from weft_engine.sync.end.ending import End
from weft_engine.sync.interest import EVERYTHING
from weft_server.door.permission import Permission
from weft_server.relay import Relay

TIMEOUT_S = 20.0


async def meet(one: Replica, other: Replica) -> None:
    """Link the two until both hold the same and know it."""
    ends = pipe()
    links = Link(ends[0], one), Link(ends[1], other)
    tasks = [asyncio.create_task(link.run()) for link in links]
    try:
        for _ in range(2):
            for link in links:
                await link.until_synced(timeout=TIMEOUT_S)
    finally:
        for link in links:
            link.close()
        for task in tasks:
            end: End = await task
            assert end.code == "closed", end


def cloned(path: Path, folder: Path) -> Path:
    """The files of a store in use, copied as a backup or a machine's image would."""
    folder.mkdir()
    for file in path.parent.glob(path.name + "*"):
        if not file.name.endswith("-shm"):
            shutil.copy(file, folder / file.name)
    return folder / path.name


@dataclass(frozen=True)
class Shown:
    """What a user can see of the context."""

    fingerprint: str
    events: list[str]
    exported: list[str]
    plan: str
    problems: list[tuple[str, str]]


async def shown(replica: Replica) -> Shown:
    chat = replica.context("shared/chat")
    return Shown(
        await chat.fingerprint(),
        [str(said.id) async for said in chat.events()],
        await chat.export(),
        await chat.note("plan").text(),
        sorted(await chat.problems()),
    )


@pytest.mark.parametrize("seed", range(6))
def test_a_cloned_store_loses_nothing_and_goes_on(tmp_path: Path, seed: int) -> None:
    """A live store is copied, and both go on as one and the same incarnation (the machine was
    cloned in mid-run, random numbers and all). They meet through a third store."""

    async def run() -> None:
        origin = tmp_path / "origin" / "s.db"
        origin.parent.mkdir()
        async with open_replica(origin, seed=seed) as first:
            await first.context("shared/chat").append("from the beginning")
            await first.context("shared/chat").note("plan").append("plan: ")
            one, two = (cloned(origin, tmp_path / name) for name in ("one", "two"))
        third = open_replica(tmp_path / "third.db")
        # Both clones draw the same key.
        # They write at different times, or their events would have the same ids.
        draws = [random.Random(seed + 100) for _ in range(2)]
        a, b = (
            Replica.open(path, now_ms=Clock(start_ms), random=rng.randbytes)
            for path, start_ms, rng in zip(
                (one, two), (1_700_000_100_000, 1_700_000_200_000), draws, strict=True
            )
        )
        assert a.scribe.incarnation == b.scribe.incarnation
        async with a, b, third:
            said: list[str] = []
            for replica, name in ((a, "a"), (b, "b")):
                chat = replica.context("shared/chat")
                for number in range(3):
                    await chat.append(f"{name} says {number}")
                    said.append(f"{name} says {number}")
                    await chat.note("plan").append(f"[{name} notes {number}]")
            for replica in (a, b, a):
                await meet(replica, third)
            draws[1].seed(seed + 200)
            await asyncio.wait_for(go_on(a, b, third), TIMEOUT_S)
            views = [await shown(replica) for replica in (a, b, third)]
            assert views[0] == views[1] == views[2]
            plan = views[0].plan
            for text in (*said, "a goes on", "b goes on"):
                assert sum(text in line for line in views[0].exported) == 1, text
            assert "<a goes on>" in plan
            assert "<b goes on>" in plan
            # Whatever was noted is in the note or under problems, and one side is so whole.
            lost = "".join(reason for key, reason in views[0].problems if key == "note:plan")
            winner, loser = ("a", "b") if "[a notes 0]" in plan else ("b", "a")
            for number in range(3):
                assert f"[{winner} notes {number}]" in plan
                assert f"[{loser} notes {number}]" in lost
                assert f"[{winner} notes {number}]" not in lost
            texts = await a.context("shared/chat").left_out()
            assert {text.note for text in texts} == {"plan"}
            assert [text.text for text in texts] == [f"[{loser} notes {n}]" for n in range(3)]
            assert a.scribe.incarnation != b.scribe.incarnation
        for path in (one, two, tmp_path / "third.db"):
            report = verify(path, progress=lambda *_: None)
            assert report.is_sound, report.findings

    async def go_on(a: Replica, b: Replica, third: Replica) -> None:
        for replica, name in ((a, "a"), (b, "b")):
            chat = replica.context("shared/chat")
            await chat.append(f"{name} goes on")
            await chat.note("plan").append(f"<{name} goes on>")
        for replica in (a, b, a):
            await meet(replica, third)

    asyncio.run(run())


def test_each_candidate_of_an_id_has_its_own_count(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_replica(tmp_path / "s.db") as replica:
            short, long = (Message(Role.USER, (Text(text),)) for text in ("a", "a lot more of it"))
            id_ = Author(WriterKey(bytes(32)), HybridClock()).new_id()
            counts = [replica.projector.count(id_, said) for said in (short, long, short)]
            assert counts[0] == counts[2] < counts[1]

    asyncio.run(run())


# ---- what one relay has journaled, another takes ------------------------------------------------


async def fill(replica: Replica, records: Sequence[Record], items: Sequence[SignatureItem]) -> None:
    of = {item.tip: item for item in items}
    for start in range(0, len(records), 7):
        some = records[start : start + 7]
        beside = [of[record.hash] for record in some]
        await replica.journal.admit(some, beside, session=b"s", now_ms=replica.now_ms())


class RelayPipe(PipeEnd):
    closing_code: int | None = None


def relay_pipe() -> tuple[PipeEnd, RelayPipe]:
    near, far = pipe()
    far.__class__ = RelayPipe
    assert isinstance(far, RelayPipe)
    return near, far


AS_PEER = Permission(EVERYTHING, True, True, None, None, is_peer=True)
AS_CLIENT = Permission(EVERYTHING, True, True, None, None)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("permission", [AS_PEER, AS_CLIENT], ids=["peer", "client"])
def test_a_relay_takes_what_another_has_journaled(
    tmp_path: Path, seed: int, permission: Permission
) -> None:
    """Events set twice, by their owner and by others; equivocations; clocks a year ahead; ids of
    others; events that are none; foreign records. No relay refuses a record for what it knows
    besides it, and no link between relays ends for that. A client who refills a relay brings the
    same, if the relay trusts the region."""
    rng = random.Random(seed)
    world = make_world(seed, steps=80, forks=0.2)
    late = Author(WriterKey(rng.randbytes(32)), HybridClock(), wall_ms=32_503_680_000_000)
    body = encode_event(Event("u", Message(Role.USER, (Text("from the year 3000"),))))
    ahead = late.write([(late.new_id(), body)])
    taken = late.new_id()
    for _ in range(2):
        late.write([(taken, body)])
    records = [*world.records, ahead, *late.chain[1:]]
    items = [*world.items, *(sign(late.key, record) for record in late.chain)]
    assert any(record.envelope.kind is Kind.FOREIGN for record in records)
    assert len({(r.envelope.origin, r.envelope.seq) for r in records}) < len(records)
    assert event_id_hlc(taken) >> 16 >= late.wall_ms

    async def run() -> None:
        x, y = open_replica(tmp_path / "x.db"), open_replica(tmp_path / "y.db")
        async with x, y:
            await fill(x, rng.sample(records, len(records)), items)
            assert hashes(x.path) == {record.hash for record in records}
            # What y knows already is another part of it.
            await fill(y, records[::3], items)
            relay = Relay(
                y, region="y", doorkeeper=lambda *_: permission, trusted=frozenset({REGION.public})
            )
            near, far = relay_pipe()
            link = Link(near, x)
            tasks = [
                asyncio.create_task(link.run()),
                asyncio.create_task(relay.serve(far, permission)),
            ]
            await link.until_synced(timeout=TIMEOUT_S)
            await x.context(CONTEXT).append("and live")
            await link.synced(timeout=TIMEOUT_S)
            link.close()
            await asyncio.gather(*tasks)
            assert link.session.end is not None
            assert link.session.end.code == "closed"
            assert hashes(y.path) == hashes(x.path)
            views = [[str(s.id) async for s in r.context(CONTEXT).events()] for r in (x, y)]
            assert views[0] == views[1]
            problems = [sorted(await r.context(CONTEXT).problems()) for r in (x, y)]
            assert problems[0] == problems[1]
            assert len(await all_records(y)) == len(records) + 1
        report = verify(tmp_path / "y.db", progress=lambda *_: None)
        assert report.is_sound, report.findings

    asyncio.run(run())

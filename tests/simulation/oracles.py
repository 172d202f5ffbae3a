"""What must hold when every fault has healed: the laws of the store, checked from outside."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import pycrdt

from tests.simulation import streams, tabs
from tests.simulation.beside import PASSING, summarize
from tests.simulation.machine import SPOILS, Machine
from tests.simulation.marks import erased
from tests.simulation.merging import merged, without_hollow
from tests.simulation.views import FORMATS, sent
from tests.simulation.world import World, context_names
from tests.worlds import causal_shuffle, reference_orders
from weft_engine.document.assembly import Assembly
from weft_engine.document.document import Document, is_panic
from weft_engine.document.replay import replayed
from weft_engine.errors import (
    BudgetTooSmall,
    ErasedContent,
    MissingRecords,
    NotFound,
    OverBudget,
    WeftError,
)
from weft_engine.events.codec import encode_event
from weft_engine.names import ClientId, ContextName, EventId, RecordHash, event_id_incarnation
from weft_engine.records.envelope import Record
from weft_engine.replica.context import Context
from weft_engine.storage.marks import load_marks
from weft_engine.storage.verify import verify
from weft_engine.sync.end.ending import State

SETTLED_S: Final = 80.0
"""Within this time after the last fault has healed everything has arrived: a dead link is noticed
after 25 s, an attempt that gets no answer takes 10 s, the pause before another one is at most 30 s,
and 15 s are left for a dozen messages on each of six links, 0.3 s there and back."""
NOTES: Final = ("plan", "todo")
_CONTEXTS_BYTES: Final = 220
"""What one context may cost on a link whose ends agree: its name and its fingerprint, each way."""
_HELLO_BYTES: Final = 700
_REFERENCE_RECORDS_MAX: Final = 150
_BRANCHES_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class Picture:
    """All that a replica shows of one context."""

    fingerprint: str
    events: tuple[tuple[str, bytes, int], ...]
    history: tuple[str, ...]
    problems: tuple[tuple[str, str], ...]
    views: tuple[str, ...]
    beside: tuple[object, ...]
    """Branches, and of main and the newest of them facts, summaries, marks."""
    branches: tuple[tuple[EventId, tuple[str, ...]], ...]
    """The newest, each with the order of its messages."""
    notes: tuple[str, ...]


# ---- waiting --------------------------------------------------------------------------------


def is_settled(world: World) -> bool:
    for machine in world.machines.values():
        if not machine.is_up or not (machine.kept or machine.region is not None):
            return False
        for kept in machine.kept:
            link = kept.link
            if link is None or link.state is not State.LIVE or not link.session.progress.is_synced:
                return False
    return not _differences(world)


def _differences(world: World) -> list[str]:
    """Contexts that machines hold differently that take part in them."""
    found: list[str] = []
    states: dict[str, tuple[bytes, str]] = {}
    for machine in world.machines.values():
        frontiers = machine.frontiers()
        for name in world.names_of(machine):
            frontier = frontiers.get(name, b"")
            first = states.setdefault(name, (frontier, machine.name))
            if first[0] != frontier:
                found.append(f"{name} at {first[1]} and {machine.name}")
    return found


async def settle(world: World) -> None:
    """Wait until nothing is under way any more; a violation if that takes too long."""
    end = world.loop.time() + SETTLED_S
    while not is_settled(world):
        world.check()
        for machine in world.machines.values():
            # One that slept through it all may have been told to stop, and has stopped only now.
            world.bring_up(machine)
            world.dial_again(machine)
        if world.loop.time() > end:
            links = [
                f"{machine.name}->{machine.leads_to(kept)}: {kept.status}"
                + ("" if kept.link is None else f" synced={kept.link.session.progress.is_synced}")
                + f" {kept.error}"
                for machine in world.machines.values()
                for kept in machine.kept
            ]
            world.fail(
                f"not settled {SETTLED_S:.0f} s after the last fault: differs:"
                f" {_differences(world)}; links: {links}"
            )
            world.check()
        await asyncio.sleep(0.5)


async def stay_quiet(world: World) -> None:
    """Links whose ends agree say nothing but that they live; made anew, they find out that they
    agree and send no record, but what a client has had behind its cursor from another region that
    it now comes back to."""
    tap = world.wiretap
    before = tap.records
    await asyncio.sleep(2.0)
    if tap.records != before:
        world.fail(f"{tap.records - before} records were sent though all is settled")
    before = tap.needless
    frames, size = world.network.frames, world.network.bytes
    size -= tap.beside_bytes
    foreign = set(world.contexts_of)
    for wire in list(world.network.wires):
        wire.reset()
    await asyncio.sleep(1.0)
    await settle(world)
    said_again = {world.contexts_of[one] for one in world.contexts_of.keys() - foreign}
    if said_again and not any(
        tabs.is_plain(world, machine, name)
        for name in said_again
        for machine in world.machines.values()
    ):
        # What a contested document leaves out its tab has all the same, and says at each return.
        return
    if tap.needless != before:
        world.fail(f"{tap.needless - before} records were sent between equal replicas")
    links = sum(len(machine.kept) for machine in world.machines.values())
    allowed = links * 2 * (_HELLO_BYTES + len(world.names) * _CONTEXTS_BYTES)
    size = world.network.bytes - tap.beside_bytes - size
    if size > allowed:
        world.fail(
            f"{links} links between equal replicas cost {size} bytes in"
            f" {world.network.frames - frames} frames"
        )
    world.check()


def check_traffic(world: World) -> None:
    """Nothing goes back to where it came from, and nothing goes twice over one connection."""
    tap = world.wiretap
    allowed = 2 + tap.records // 50
    if tap.echoes > allowed:
        world.fail(f"{tap.echoes} of {tap.records} records went back to where they came from")
    if tap.repeats > allowed:
        world.fail(f"{tap.repeats} of {tap.records} records went twice over one connection")


# ---- records --------------------------------------------------------------------------------


def check_kept(world: World) -> None:
    """Everything acknowledged is held by everybody who takes part; nothing waits."""
    held = {machine.name: machine.hashes() for machine in world.machines.values()}
    journaled: set[RecordHash] = set().union(*held.values())
    for machine in world.machines.values():
        takes_part = set(world.names_of(machine))
        lost = [
            hash_
            for hash_ in world.must
            if hash_ not in held[machine.name] and world.contexts_of[hash_] in takes_part
        ]
        if lost:
            world.fail(
                f"{machine.name} lacks {len(lost)} records that were acknowledged, the first by"
                f" {world.must[lost[0]]}"
            )
        if not held[machine.name].isdisjoint(world.impostors):
            world.fail(f"{machine.name} has journaled what its writer never signed")
        _check_waiting(world, machine, journaled)
    world.counts["records kept"] += len(journaled)
    world.counts["records acknowledged"] += len(world.must)


def _check_waiting(world: World, machine: Machine, journaled: set[RecordHash]) -> None:
    by_session: dict[bytes, int] = {}
    for hash_, session, covered in machine.waiting():
        by_session[session] = by_session.get(session, 0) + 1
        if hash_ in journaled:
            world.fail(f"{machine.name} lets a record wait that others have journaled")
        elif covered and hash_ not in world.garbage:
            world.fail(f"{machine.name} lets a record of an honest writer wait")
    if max(by_session.values(), default=0) > world.waiting_records_max:
        world.fail(f"{machine.name} lets {max(by_session.values())} records of one peer wait")


# ---- what is shown --------------------------------------------------------------------------


async def check_pictures(world: World, rng: random.Random) -> None:
    """Replicas that hold the same records show the same; and what two other ways of working it
    out from the records give."""
    first: dict[str, tuple[str, Picture]] = {}
    formats = rng.sample(FORMATS, 2)
    small = set(rng.sample(world.small, 2)) if world.small else set()
    for machine in world.compared:
        for name in world.names_of(machine):
            if name in world.small and name not in small:
                continue
            picture = await _picture(machine, name, formats)
            if name not in first:
                first[name] = machine.name, picture
                _check_said(world, machine, name, picture)
                records, _, _ = machine.look_at(name)
                _check_order(world, name, picture, records)
                await _check_streams(world, machine, name)
                _check_notes(world, name, picture, records, rng)
            elif first[name][1] != picture:
                other, theirs = first[name]
                what = [
                    field
                    for field in Picture.__slots__
                    if getattr(theirs, field) != getattr(picture, field)
                ]
                world.fail(f"{machine.name} and {other} show different {what} of {name}")


async def load_notes_again(world: World, rng: random.Random) -> None:
    """Notes are the same in a document that is loaded anew, from a checkpoint where there is one,
    even if that is no good any more."""
    spoils = rng.random() < 0.2
    for machine in world.compared:
        assert machine.replica is not None
        for name in context_names(machine):
            context = machine.replica.context(name)
            before = tuple([await context.note(note).text() for note in NOTES])
            await context._notes.settled()
            if spoils:
                world.counts["checkpoints spoiled"] += machine.spoil(rng.choice(SPOILS))
            await context._notes.forget()
            after = tuple([await context.note(note).text() for note in NOTES])
            if after != before:
                world.fail(f"{machine.name} has notes {before!r} in {name}, loaded anew {after!r}")


async def _picture(machine: Machine, name: ContextName, formats: Sequence[str]) -> Picture:
    assert machine.replica is not None
    context = machine.replica.context(name)
    branches = await context.branches()
    views = []
    for budget, format_ in zip((None, 150), formats, strict=True):
        views.append(await _viewed(context, budget, format_))
    beside: list[object] = [branches, await context.streams(), await _beside(context)]
    orders: list[tuple[EventId, tuple[str, ...]]] = []
    for branch in branches[-_BRANCHES_MAX:]:
        on = context.on(branch.id)
        orders.append((branch.id, tuple([said.id async for said in on.history()])))
        beside.append(await _beside(on))
        views.append(await _viewed(on, 150, formats[0]))
    return Picture(
        await context.fingerprint(),
        tuple([(s.id, encode_event(s.event), s.time_ms) async for s in context.events()]),
        tuple([said.id async for said in context.history()]),
        tuple(sorted(await context.problems())),  # listed as they came
        tuple(views),
        tuple(beside),
        tuple(orders),
        tuple([await context.note(note).text() for note in NOTES]),
    )


async def _viewed(context: Context, budget: int | None, format_: str) -> str:
    try:
        view = await context.view(budget=budget, format=format_, trace_id="oracle")
    except (BudgetTooSmall, OverBudget) as error:
        return str(error)
    return f"{view.fingerprint} {sent(view)}"


async def _beside(context: Context) -> object:
    """What one branch amounts to beside its messages."""
    marks = await context._ask(load_marks)
    return (
        dict(await context.facts()),
        await context.summaries(),
        await context.siblings(),
        None if marks is None else (marks.pins, marks.hidden, marks.summary, marks.closes),
    )


async def _check_streams(world: World, machine: Machine, name: ContextName) -> None:
    assert machine.replica is not None
    taken = erased(world, machine, name)
    gone = taken.named | {
        id_
        for id_ in world.streams.opened
        if not taken.blank.isdisjoint(world.streams.records.get(id_, ()))
    }
    try:
        await streams.check(world, machine, machine.replica.context(name), frozenset(gone))
    except NotFound:
        if not taken.blank:
            raise


async def check_summary_taken_back(world: World, rng: random.Random) -> None:
    """A summary that is revoked leaves everything as it was, byte by byte."""
    machine = rng.choice(world.clients)
    assert machine.replica is not None
    context = machine.replica.context(rng.choice(context_names(machine)))
    branches = await context.branches()
    if branches and rng.random() < 0.5:
        context = context.on(rng.choice(branches).id)
    asked = None if rng.random() < 0.5 else 400, rng.choice(FORMATS)
    before = await _viewed(context, *asked)
    try:
        said = await context.compact(summarize, keep=rng.choice((0, 30)), by="oracle")
    except (BudgetTooSmall, *PASSING):
        return  # there is no room for a summary, or the branch takes nothing more
    if said is None:
        return
    standing = [info.id for info in await context.summaries() if info.state == "stands"]
    if standing != [said]:
        world.fail(f"{machine.name} has made summary {said}, and {standing} stand")
    await context.revoke(said)
    after = await _viewed(context, *asked)
    if after != before:
        world.fail(f"{machine.name} sends {after!r} without a summary, before it {before!r}")
    world.counts["summaries taken back"] += 1


def _check_said(world: World, machine: Machine, name: ContextName, picture: Picture) -> None:
    """What was acknowledged is shown, word by word, whoever tried to overwrite it, unless it was
    erased; and what was erased is not. In the place of what went with everything may stand what
    somebody else wrote under its id meanwhile."""
    gone = erased(world, machine, name)
    shown = {id_: json for id_, json, _ in picture.events}
    for id_, context in world.acked.items():
        hash_, json = world.said[id_]
        if context != name or hash_ in world.given_up:
            continue
        if id_ in gone.events:
            if id_ in shown and (id_ in gone.named or (id_, shown[id_]) not in gone.stays):
                world.fail(f"{machine.name} shows the event {id_}, which was erased")
            continue
        if shown.get(id_) != json:
            if event_id_incarnation(id_) in world.tenures.may_fork and any(
                key == id_ for key, _ in picture.problems
            ):
                # Copies with equal ids gave one id to two events: one shows, the other is listed.
                world.counts["events that share an id with a copy's"] += 1
                continue
            world.fail(f"{machine.name} shows {shown.get(id_)!r} for the event {id_}: {json!r}")


def _check_order(
    world: World, name: ContextName, picture: Picture, records: Sequence[Record]
) -> None:
    if len(records) > _REFERENCE_RECORDS_MAX:
        return
    orders = reference_orders(list(records))
    for branch, shown in ((None, picture.history), *picture.branches):
        order = orders.get(branch)
        if order is None or len(order) != len(shown):
            world.fail(f"{name} has {len(shown)} messages on {branch}, the reference {order}")
            return
        for id_, ids in zip(shown, order, strict=True):
            if EventId(id_) not in ids:
                world.fail(f"{name} has {id_} on {branch} where the reference has {ids}")
                return


def _check_notes(
    world: World,
    name: ContextName,
    picture: Picture,
    records: Sequence[Record],
    rng: random.Random,
) -> None:
    """The texts come out the same from another causal order, and from one merged update."""
    kept = {record.hash for record in replayed(records)}
    shuffled = [r for r in causal_shuffle(rng, list(records)) if r.hash in kept]
    if not shuffled:
        return
    in_turn: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    payloads = [record.payload for record in shuffled]
    if payloads == without_hollow(shuffled):
        for payload in payloads:
            in_turn.apply_update(payload)
    else:
        # Where some hold what others repeat without it, a document alone goes by the order.
        assembly = Assembly(partial(Document, ClientId(0)), is_panic)
        assembly.take_all(causal_shuffle(rng, list(records)))
        in_turn.apply_update(assembly.document.encoded())
        world.counts["contested notes compared"] += 1
    at_once: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    at_once.apply_update(merged(record for record in records if record.hash in kept))
    for way, doc in (("in another order", in_turn), ("merged first", at_once)):
        texts = tuple(str(doc.get(f"note:{note}", type=pycrdt.Text)) for note in NOTES)
        if texts != picture.notes:
            world.fail(f"the notes of {name} are {picture.notes!r}, {way} they are {texts!r}")


async def check_receipts(world: World, rng: random.Random, *, most: int) -> None:
    """A view that was given out comes out the same on every replica, now and for ever."""
    receipts = world.views.taken
    for taken in rng.sample(receipts, min(most, len(receipts))):
        for machine in world.compared:
            context = taken.receipt.context
            if machine.replica is None or context not in context_names(machine):
                continue
            try:
                view = await machine.replica.context(context).replay(taken.receipt)
            except MissingRecords as error:
                if any(other.committed_any(error.missing) for other in world.machines.values()):
                    world.fail(f"{machine.name} can't replay a view of {taken.by}: {error}")
                continue
            except ErasedContent as error:
                if not erased(world, machine, context).events:
                    world.fail(f"{machine.name} says that {context} was erased: {error}")
                world.counts["views that were erased"] += 1
                continue
            except WeftError as error:
                world.fail(f"{machine.name} can't replay a view of {taken.by}: {error}")
                continue
            if sent(view) != taken.sent:
                world.fail(f"{machine.name} replays a view of {taken.by} differently")
            world.counts["views replayed"] += 1


def check_file(world: World, machine: Machine) -> None:
    report = verify(machine.path, progress=lambda what, done, total: None)
    findings = [
        finding
        for finding in report.findings
        if not (machine.is_spoiled and "checkpoint" in finding.what)
    ]
    if findings:
        world.fail(f"the file of {machine.name} is not sound: {findings[0]}")
    world.counts["files verified"] += 1

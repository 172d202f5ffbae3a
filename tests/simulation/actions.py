"""What a step of a story does to a world. Every action is one function; all of them can happen at
any moment, and then do nothing if there is nothing they could do."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Final

from tests.simulation import beside, hostile, mesh_actions, rewinding, tab_actions
from tests.simulation.beside import PASSING, somewhere
from tests.simulation.machine import SPOILS, Machine
from tests.simulation.network import Wire
from tests.simulation.story import ALL_FAULTS, Step
from tests.simulation.world import World, context_names
from weft_engine.errors import InvalidMessage, LinkRefused, NotFound, StoreError
from weft_engine.events.event import ImportedFrom, Message, Role
from weft_engine.events.part import Text
from weft_engine.replica.context import Context
from weft_engine.replica.note import Note
from weft_engine.replica.replica import Replica
from weft_engine.sync.faults import LinkLost
from weft_engine.sync.interest import Interest
from weft_engine.views.policies import LastN

Action = Callable[[World, Machine, random.Random], None]

_WORDS: Final = (
    "yes",
    "no",
    "the bridge",
    "tomorrow",
    "naïve",
    "日本",
    "👍🏽",
    "a longer sentence ",
)


def act(world: World, step: Step) -> None:
    machines = list(world.machines.values())
    if world.is_mesh and step.action in ALL_FAULTS and step.n % 2:
        machines = world.relays  # Among many clients they would seldom be hit.
    machine = machines[step.who % len(machines)]
    world.note(f"* {step.action} {machine.name} {step.n}")
    world.counts[f"step {step.action}"] += 1
    _ACTIONS[step.action](world, machine, random.Random(step.n))


def _context(machine: Machine, rng: random.Random) -> Context:
    assert machine.replica is not None
    return machine.replica.context(rng.choice(context_names(machine)))


def _working(
    job: Callable[[World, Machine, Replica, random.Random], Awaitable[None]],
) -> Action:
    """An action that a process does for itself, if it is up."""

    def action(world: World, machine: Machine, rng: random.Random) -> None:
        replica = machine.replica
        if replica is not None:
            world.work(
                machine, job.__name__, _passing(world, partial(job, world, machine, replica, rng))
            )

    return action


def _passing(
    world: World, job: Callable[[], Awaitable[None]]
) -> Callable[[], Coroutine[Any, Any, None]]:
    """`job`, which may come upon what others did meanwhile."""

    async def run() -> None:
        try:
            await job()
        except PASSING as error:
            world.counts[f"work that came upon {error.code}"] += 1

    return run


# ---- work -----------------------------------------------------------------------------------


def _words(world: World, rng: random.Random) -> str:
    words = [rng.choice(_WORDS) for _ in range(rng.choice((1, 1, 2, 5, 30)))]
    words.insert(rng.randint(0, len(words)), world.marks.new())
    return "".join(words)


async def _say(world: World, machine: Machine, _: Replica, rng: random.Random) -> None:
    context = await somewhere(world, machine, rng)
    who = {"role": "system" if rng.random() < 0.05 else "user"}
    if rng.random() < 0.3:
        who["name"] = "ann"
    said = [{**who, "content": _words(world, rng)} for _ in range(rng.choice((1, 1, 1, 3)))]
    crit = rng.choice((None, None, None, "critical", "optional"))
    life = rng.choice((None, None, None, "session"))
    world.acknowledged(machine, await context.append(said, crit=crit, life=life))


async def _answer(world: World, machine: Machine, _: Replica, rng: random.Random) -> None:
    context = await somewhere(world, machine, rng)
    view = await world.views.take(machine, context, world.views.ask(rng))
    answer = {"role": "assistant", "content": _words(world, rng)}
    ids = await context.append(answer, view=view, author=f"agent-{machine.name}")
    world.acknowledged(machine, ids)


async def _burst(world: World, machine: Machine, replica: Replica, rng: random.Random) -> None:
    """Many writers of one process at the same moment."""
    for _ in range(rng.choice((3, 10, 30))):
        one = random.Random(rng.random())
        job = partial(_say, world, machine, replica, one)
        world.work(machine, "burst", _passing(world, job))


async def _note(world: World, machine: Machine, replica: Replica, rng: random.Random) -> None:
    await _edit(world, machine, replica, rng)


async def _edit(world: World, machine: Machine, replica: Replica, rng: random.Random) -> None:
    context = replica.context(rng.choice(context_names(machine)))
    note = context.note(rng.choice(("plan", "plan", "todo")))
    text = await note.text()
    at = rng.randint(0, len(text))
    try:
        if text and rng.random() < 0.3:
            await note.delete(at, rng.randint(0, len(text) - at))
        else:
            words = _words(world, rng)
            edit = note.insert(at, words) if rng.random() < 0.5 else note.append(words)
            try:
                await edit
            except StoreError:
                await _check_not_shown(world, machine, context, note, words)
                raise
            world.note_acknowledged(machine, words)
    except InvalidMessage:
        return  # Somebody else has shortened it meanwhile.
    world.counts["note edits acknowledged"] += 1


async def _check_not_shown(
    world: World, machine: Machine, context: Context, note: Note, words: str
) -> None:
    """An edit whose commit failed: what a note shows stands in the journal."""
    shown = await note.text()
    records, _, _ = machine.look_at(context.name)
    world.counts["failed note edits looked at"] += 1
    if words in shown and not any(words.encode() in record.payload for record in records):
        world.fail(f"{machine.name} shows {words!r} in a note, whose commit failed")


async def _look(world: World, machine: Machine, _: Replica, rng: random.Random) -> None:
    context = await somewhere(world, machine, rng)
    async for said in context.history(newest_first=rng.random() < 0.5):
        assert said.id
    for _again in range(rng.choice((1, 1, 3))):
        await world.views.take(machine, context, world.views.ask(rng))


async def _import(world: World, machine: Machine, _: Replica, rng: random.Random) -> None:
    """One and the same file, a bit longer each time, on any device."""
    source = "openai_chat:file"
    roles = (Role.USER, Role.ASSISTANT)
    messages = [
        Message(roles[index % 2], (Text(f"line {index}"),), ext=ImportedFrom(source, index))
        for index in range(rng.randint(1, 6))
    ]
    new = await _context(machine, rng).import_messages(messages)
    world.counts["messages imported"] += new


async def _configure(world: World, machine: Machine, _: Replica, rng: random.Random) -> None:
    await _context(machine, rng).configure(
        budget=rng.choice((None, 500, 4000)), policy=rng.choice((None, LastN(5), LastN(30)))
    )


async def _sync(world: World, machine: Machine, replica: Replica, rng: random.Random) -> None:
    """Wait until the relay has it all; what it says must be so."""
    if not machine.kept:
        return
    kept = rng.choice(list(machine.kept))
    losses = {one.name: one.losses for one in world.machines.values()}
    mine, asked = machine.hashes(), machine.asked
    try:
        await kept.synced(timeout=60)
    except (TimeoutError, LinkLost, LinkRefused):
        return
    relay = world.find(machine.leads_to(kept))  # Of several it may have gone on to another.
    if machine.interest != relay.interest or relay.losses != losses[relay.name]:
        return
    if not machine.asks_for_all or machine.asked != asked:
        return
    answered = machine.answering(kept)
    if answered is None or answered.is_undone:
        return  # Its word was under way, or held back, when the relay was set back.
    missing = mine - relay.hashes() - world.given_up
    if missing and relay.is_up:
        world.fail(f"{relay.name} lacks {len(missing)} records that {machine.name} has synced")
    relay.revealed |= mine
    world.counts["records synced"] += len(mine)


async def _erase(world: World, machine: Machine, _: Replica, rng: random.Random) -> None:
    """Anybody erases anything; now and then its process ends right behind the commit."""
    context = _context(machine, rng)
    way = rng.choice(("event", "event", "event", "events", "note", "everything"))
    if rng.random() < 0.4:
        world.dying[machine.name] = rng.choice((0, 1, 2, 5, 10, 20))
    try:
        if way in ("event", "events"):
            ids = [said.id for said in await context.page(newest=True, limit=20)]
            if not ids:
                return
            some = rng.sample(ids, 1 if way == "event" else rng.randint(1, len(ids)))
            rows = await context.erase(reason="because", events=some)
        elif way == "note":
            rows = await context.erase(reason="because", note="plan")
        else:
            rows = await context.erase(reason="because", everything=True)
    except NotFound:
        return  # Somebody else was faster, or there is nothing.
    finally:
        world.dying.pop(machine.name, None)
    for row in rows:
        if not row.is_done:
            world.fail(f"{machine.name} has erased something and says that it is not done")
        world.must[row.eraser] = machine.name
        machine.revealed.add(row.eraser)
    world.counts["erasures acknowledged"] += 1


def _spoil_checkpoint(world: World, machine: Machine, rng: random.Random) -> None:
    """Something is wrong with what it remembers of documents."""
    if not machine.is_up or (machine.disk is not None and machine.disk.is_off):
        return
    with suppress(sqlite3.Error):
        world.counts["checkpoints spoiled"] += machine.spoil(rng.choice(SPOILS))


# ---- processes and disks --------------------------------------------------------------------


def _kill(world: World, machine: Machine, rng: random.Random) -> None:
    world.kill(machine, power=False)


def _lose_power(world: World, machine: Machine, rng: random.Random) -> None:
    world.kill(machine, power=True)


def _kill_soon(world: World, machine: Machine, rng: random.Random, *, power: bool = False) -> None:
    """Between any two steps of any of its tasks; with a simulated disk also in a commit."""
    life = machine.life
    if life is None or life.ends_at is not None:
        return
    life.on_end = partial(world.kill, machine, power=power)
    if machine.disk is not None and rng.random() < 0.6:
        machine.disk.fail_in(rng.randint(1, rng.choice((5, 30, 100))))
    else:
        life.ends_at = life.steps + rng.randint(1, rng.choice((5, 50, 300)))


def _stop(world: World, machine: Machine, rng: random.Random) -> None:
    """In good order; now and then somebody goes on to edit notes meanwhile."""
    replica = machine.replica
    if replica is None:
        return
    world.work(machine, "stop", machine.stop)
    for _ in range(rng.choice((0, 0, 4, 12))):
        later = random.Random(rng.random())
        world.work(machine, "note", partial(_note_later, world, machine, replica, later))


async def _note_later(world: World, machine: Machine, replica: Replica, rng: random.Random) -> None:
    await asyncio.sleep(rng.random() * rng.choice((1, 5, 20)) * world.loop.slowness)
    # It has the store that closes in its hands.
    await _edit(world, machine, replica, rng)


def _start(world: World, machine: Machine, rng: random.Random) -> None:
    for one in world.machines.values():
        if rng.random() < 0.7:
            world.bring_up(one)
            if one.disk is None or not one.disk.is_full:
                world.link_again(one)


def _snapshot(world: World, machine: Machine, rng: random.Random) -> None:
    world.snapshots[machine.name] = machine.snapshot()


def _restore(world: World, machine: Machine, rng: random.Random) -> None:
    snapshot = world.snapshots.get(machine.name)
    if snapshot is None:
        return
    way = rng.choice(("files", "files", "without the lease", "disk", "machine"))
    rewinding.set_back(world, machine, snapshot, way)


def _clone(world: World, machine: Machine, rng: random.Random) -> None:
    """A live file is copied to another machine, and both go on."""
    if machine.region is None and world.has_room and machine.is_up:
        _twin(world, machine, is_image=False)


def _twin(world: World, machine: Machine, *, is_image: bool) -> None:
    twin = world.add(f"{machine.name}-twin{len(world.machines)}", interest=machine.interest)
    world.copy(machine, twin, is_image=is_image)
    world.bring_up(twin)


def _clone_disk(world: World, machine: Machine, rng: random.Random) -> None:
    """A machine is stopped well, and its disk copied: nothing tells the copy from the original."""

    def clone() -> None:
        if world.has_room and not machine.is_up and machine.path.exists():
            world.counts["disks copied"] += machine.lease_path.exists()
            _twin(world, machine, is_image=True)
        if rng.random() < 0.8:
            world.bring_up(machine)

    if machine.region is None and world.has_room:
        world.when_down(machine, clone)


def _reopen(world: World, machine: Machine, rng: random.Random) -> None:
    """A clean close, and the next process goes on; now and then behind a start of the machine."""

    def again() -> None:
        if not machine.is_up:
            machine.boots += rng.random() < 0.3
            world.bring_up(machine)

    world.when_down(machine, again)


def _suspend(world: World, machine: Machine, rng: random.Random) -> None:
    """The lid is closed: no process runs, the monotonic clock stands still."""
    life = machine.life
    if life is not None and not life.is_asleep:
        world.sleep(machine, rng.choice((2.0, 8.0, 30.0, 90.0)))


def _step_clock(world: World, machine: Machine, rng: random.Random) -> None:
    year = 365 * 86_400_000
    machine.clock.offset_ms += rng.choice(
        (-3_600_000, -5_000, 5_000, rng.randint(-100_000, 100_000), year, 13 * year, -year)
    )


def _disk_full(world: World, machine: Machine, rng: random.Random) -> None:
    if machine.disk is not None:
        machine.disk.is_full = machine.disk.was_full = True
        if rng.random() < 0.5:
            _working(_note)(world, machine, rng)  # A document must not run ahead of the journal.
        for tab in world.tabs.values():
            if tab.relay == machine.name:
                tab.edit(rng)  # Nor must the one that it shows to tabs.


def _disk_free(world: World, machine: Machine, rng: random.Random) -> None:
    for one in world.machines.values():
        if one.disk is not None:
            one.disk.is_full = False


def _lying_disk(world: World, machine: Machine, rng: random.Random) -> None:
    if machine.disk is not None:
        machine.disk.lies = True


# ---- the network ----------------------------------------------------------------------------


def _wire(world: World, machine: Machine, rng: random.Random) -> Wire | None:
    own = [wire for wire in world.network.wires if machine.name in wire.machines]
    return rng.choice(own) if own else None


def _cut(world: World, machine: Machine, rng: random.Random) -> None:
    wire = _wire(world, machine, rng)
    if wire is not None:
        wire.reset()


def _half_open(world: World, machine: Machine, rng: random.Random) -> None:
    wire = _wire(world, machine, rng)
    if wire is not None:
        wire.swallows.add(rng.choice(wire.machines))


def _partition(world: World, machine: Machine, rng: random.Random) -> None:
    for other in world.machines.values():
        if other is not machine and rng.random() < 0.7:
            way = rng.randrange(3)
            if way != 0:
                world.network.block(machine.name, other.name)
            if way != 1:
                world.network.block(other.name, machine.name)


def _heal(world: World, machine: Machine, rng: random.Random) -> None:
    world.network.heal()


def _slow(world: World, machine: Machine, rng: random.Random) -> None:
    world.network.slow[machine.name] = rng.choice((0.1, 1.0))


def _go_offline(world: World, machine: Machine, rng: random.Random) -> None:
    if machine.region is None:
        world.leave(machine)


def _roam(world: World, machine: Machine, rng: random.Random) -> None:
    if machine.region is None and machine.is_up:
        world.leave(machine)
        machine.link(rng.choice(world.relays).name)


def _second_link(world: World, machine: Machine, rng: random.Random) -> None:
    if machine.region is None and machine.is_up and len(machine.kept) < 3:
        machine.link(rng.choice(world.relays).name)


def _subscribe(world: World, machine: Machine, rng: random.Random) -> None:
    """Its links are about something else from now on; in the end about everything again."""
    if machine.region is not None or not machine.is_up:
        return
    names = context_names(machine)
    few = Interest.of(contexts=rng.sample(names, rng.randint(1, len(names))))
    machine.ask(rng.choice((few, few, Interest.of(prefixes=["sim/"]), machine.interest)))


_ACTIONS: Final[dict[str, Action]] = {
    "say": _working(_say),
    "answer": _working(_answer),
    "burst": _working(_burst),
    "tool": _working(beside.tool),
    "talk": _working(beside.talk),
    "note": _working(_note),
    "look": _working(_look),
    "import": _working(_import),
    "configure": _working(_configure),
    "sync": _working(_sync),
    "fact": _working(beside.fact),
    "mark": _working(beside.mark),
    "revoke": _working(beside.revoke),
    "compact": _working(beside.compact),
    "branch": _working(beside.branch),
    "siblings": _working(beside.siblings),
    "close_branch": _working(beside.close_branch),
    "stream": _working(beside.stream),
    "interrupt": _working(beside.interrupt),
    "erase": _working(_erase),
    "spoil_checkpoint": _spoil_checkpoint,
    "tab_comes": tab_actions.come,
    "tab_types": tab_actions.type_,
    "tab_loses_connection": tab_actions.lose_connection,
    "tab_goes": tab_actions.go,
    "kill": _kill,
    "kill_soon": _kill_soon,
    "lose_power": _lose_power,
    "lose_power_soon": partial(_kill_soon, power=True),
    "stop": _stop,
    "start": _start,
    "snapshot": _snapshot,
    "restore": _restore,
    "rewind": rewinding.rewind,
    "clone": _clone,
    "cut": _cut,
    "partition": _partition,
    "heal": _heal,
    "half_open": _half_open,
    "slow": _slow,
    "roam": _roam,
    "go_offline": _go_offline,
    "second_link": _second_link,
    "subscribe": _subscribe,
    "clone_disk": _clone_disk,
    "reopen": _reopen,
    "suspend": _suspend,
    "step_clock": _step_clock,
    "disk_full": _disk_full,
    "disk_free": _disk_free,
    "lying_disk": _lying_disk,
    "overwrite": hostile.overwrite,
    "forge": hostile.forge,
    "equivocate": hostile.equivocate,
    "skew": hostile.skew,
    "park": hostile.park,
    "garbage": hostile.garbage,
    "stand_in": hostile.stand_in,
    "impersonate": hostile.impersonate,
    "one_way": mesh_actions.one_way,
    "silence": mesh_actions.silence,
    "swallow": mesh_actions.swallow,
    "cut_regions": mesh_actions.cut_regions,
    "split": mesh_actions.split,
    "slow_link": mesh_actions.slow_link,
    "far": mesh_actions.far,
    "add_peer": mesh_actions.add_peer,
    "drop_peer": mesh_actions.drop_peer,
    "region_joins": mesh_actions.region_joins,
    "region_copied": mesh_actions.region_copied,
    "region_away": mesh_actions.region_away,
    "fail_over": mesh_actions.fail_over,
    "reach": mesh_actions.reach,
}

"""One history, from an empty world to the oracles: a function of its seed, or of seed and story."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp
from types import ModuleType
from typing import Any, Final

from tests.simulation import mesh_oracles, oracles, tabs
from tests.simulation.actions import act
from tests.simulation.calm import check_calm, check_stores
from tests.simulation.disk import Disks
from tests.simulation.kinds import Kind, kind_of
from tests.simulation.loop import AtOnce, Life, Stuck, VirtualLoop, close_coroutine
from tests.simulation.marks import check_erased, check_notes
from tests.simulation.mesh import Plan, make_plan
from tests.simulation.network import Network
from tests.simulation.story import Step, make_mesh_story, make_story
from tests.simulation.trace import Trace
from tests.simulation.world import CONTEXTS, WAITING_RECORDS_MAX, Broken, World
from tests.stores import FAST_DISK
from weft_engine.replica import checkpointing, live, note
from weft_engine.storage import identity, lease, log_file, shelf
from weft_engine.sync.end.regions import reconciling, repeating, resting, unannounced
from weft_engine.views.tokenizer import DEFAULT_TOKENIZER, Tokenizer
from weft_server.yjs import circle, first_state, framing, member, rooms

_LOG_BYTES: Final = 64 * 1024
_STOPPING_S: Final = 60
_CHECKPOINT_RECORDS: Final = 8
_UNSENT_BYTES: Final = 2 * 1024
_FRAGMENT_BYTES: Final = 1024
_FRAGMENTING: Final = (circle, first_state, framing, live)
_IDLE_S: Final = 3.0
_NARROW: Final[tuple[tuple[ModuleType, str, Any], ...]] = (
    (reconciling, "ANNOUNCED_AT_ONCE", 2),
    (reconciling, "CONTEXTS_PER_QUESTION", 1),
    (unannounced, "CONTEXTS_PER_QUESTION", 1),
)
_NARROW_SHARE: Final = 0.5
"""Of the histories: regions announce what differs in windows of two contexts."""
_RESTLESS: Final[tuple[tuple[ModuleType, str, Any], ...]] = (
    (repeating, "REPEAT_MS", 4_000),
    (repeating, "REPEAT_AGAIN_MS", 2_000),
    (resting, "REST_MS", 2_000),
)
_RESTLESS_SHARE: Final = 0.25
"""Of the histories: regions compare again every few seconds, not every minute or two."""
_UNDER_WAY_S: Final = 3.0
_CALM_SHARE: Final = 0.5
_LOADED_ANEW_SHARE: Final = 0.5
_SUMMARIZED_SHARE: Final = 0.5
_PARTITION_SHARE: Final = 0.5
"""Of the histories: what costs more than it tells is not looked at in each."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a history. `broken`: what did not hold, None if all did. `digest` is equal
    for equal runs. `virtual_s`: how long it was on its own clock."""

    seed: int
    kind: Kind
    broken: str | None
    digest: str
    counts: Counter[str]
    virtual_s: float
    converged_s: float
    """How long after the last fault all held the same and knew it."""
    cpu_s: float


def run(
    seed: int,
    story: Sequence[Step] | None = None,
    *,
    kind: Kind | None = None,
    show: Callable[[str], None] | None = None,
) -> Result:
    """Run the history of `seed`, of its own kind or another one; `show` is given each line of its
    trace."""
    began = time.process_time()
    _warm_up()
    if kind is None:
        kind = kind_of(seed)
    plan: Plan | None = None
    root_seed: int | str = seed
    if kind is Kind.MESH:
        root_seed = f"mesh-{seed}"
        plan = make_plan(random.Random(f"plan-{seed}"))
    if story is None:
        drawing = random.Random(f"story-{root_seed}")
        story = make_story(drawing) if plan is None else make_mesh_story(drawing, plan.burden)
    root = Path(mkdtemp(prefix="weft-sim-", dir=FAST_DISK))
    # What a relay tells its operator is expected here.
    logging.getLogger("weft.relay").setLevel(logging.CRITICAL)
    trace = Trace(show)
    loop = VirtualLoop(root_seed)
    was_collecting = gc.isenabled()
    gc.disable()
    disks = Disks.find(root)
    world = World(loop, root, seed=root_seed, trace=trace, disks=disks, plan=plan)
    broken: str | None = None
    try:
        asyncio.set_event_loop(loop)
        drawing = random.Random(f"limits-{root_seed}")
        with _small_limits(world.network, drawing), _made_up_files(world):
            loop.run_until_complete(_play(world, story))
    except Broken as error:
        broken = str(error)
    except Stuck as error:
        broken = f"stuck: {error}"
    except Exception as error:  # noqa: BLE001 - an oracle may fall over what it finds
        broken = f"{type(error).__name__}: {error}"
        if show is not None:
            show("".join(_lines_of(error)))
    finally:
        virtual_s = loop.time()
        _bury(world)
        if disks is not None:
            disks.close()
        asyncio.set_event_loop(None)
        loop.close()
        shutil.rmtree(root, ignore_errors=True)
        if was_collecting:
            gc.enable()
    world.counts["frames"] += world.network.frames
    world.counts["bytes"] += world.network.bytes
    world.counts["echoes"] += world.wiretap.echoes
    world.counts["repeats"] += world.wiretap.repeats
    world.counts["records sent"] += world.wiretap.records
    return Result(
        seed,
        kind,
        broken,
        trace.digest,
        world.counts,
        virtual_s,
        world.converged_s,
        time.process_time() - began,
    )


async def _play(world: World, story: Sequence[Step]) -> None:
    world.settle_in()
    for step in story:
        await asyncio.sleep(step.wait_ms / 1000)
        world.check()
        act(world, step)
        if world.is_mesh:
            mesh_oracles.check_reach(world)
    await asyncio.sleep(0.1)
    await asyncio.gather(*world.rewinding)
    world.check()
    await _judge(world)


async def _judge(world: World) -> None:
    """Heal every fault, wait, and look."""
    rng = random.Random(f"judge-{world.rng.random()}")
    world.note("* every fault heals")
    world.is_healing = True
    world.dying.clear()
    await asyncio.gather(*world.errands)
    healed = world.loop.time()
    for life in world.strangers:
        life.is_over = True
        world.network.killed(life)
    for machine in world.machines.values():
        if machine.disk is not None:
            machine.disk.is_full = machine.disk.lies = False
            machine.disk.countdown = None
        if machine.life is not None and not (machine.disk is not None and machine.disk.is_off):
            machine.life.ends_at = None
    world.network.heal()
    await asyncio.sleep(0.2)
    while any(machine.is_up and machine.is_stopping for machine in world.machines.values()):
        await asyncio.sleep(0.5)
        if world.loop.time() > healed + _STOPPING_S:
            world.fail(f"a machine did not stop within {_STOPPING_S} s")
            world.check()
    for machine in world.machines.values():
        world.bring_up(machine)
        if machine.is_up and not machine.asks_for_all:
            machine.ask(machine.interest)
        world.link_again(machine)
        if not machine.kept and machine.region is None:
            machine.link(world.home(machine))
    world.mesh.mend()
    mended = world.loop.time()
    while not world.streams.is_quiet:
        await asyncio.sleep(0.5)
        if world.loop.time() > healed + _STOPPING_S:
            world.fail(f"a stream did not end within {_STOPPING_S} s")
            world.check()
    await oracles.settle(world)
    world.converged_s = world.loop.time() - mended
    # Who was suspended, or is slow, may have something under way that others have brought since.
    await asyncio.sleep(_UNDER_WAY_S)
    await oracles.settle(world)
    await tabs.offer_all(world)
    await tabs.settle(world, seconds=oracles.SETTLED_S)
    await oracles.settle(world)  # What tabs have brought goes everywhere.
    oracles.check_traffic(world)
    await oracles.stay_quiet(world)
    await tabs.settle(world, seconds=oracles.SETTLED_S)
    await tabs.check_new(world)
    world.look_closely(rng)
    check_stores(world)
    world.check()
    if rng.random() < _CALM_SHARE:
        await check_calm(world)
    if world.is_mesh:
        await _judge_mesh(world, rng)
    oracles.check_kept(world)
    await check_erased(world, CONTEXTS)
    if rng.random() < _LOADED_ANEW_SHARE:
        await oracles.load_notes_again(world, rng)
    await oracles.check_pictures(world, rng)
    await check_notes(world, rng.choice(world.relays), CONTEXTS)
    await oracles.check_receipts(world, rng, most=4)
    if rng.random() < _SUMMARIZED_SHARE:
        await oracles.check_summary_taken_back(world, rng)
    world.check()
    for tab in world.tabs.values():
        tab.close()
    await _end(world, rng)


async def _judge_mesh(world: World, rng: random.Random) -> None:
    await mesh_oracles.check_reach_arrives(world)
    await mesh_oracles.check_copies(world)
    if rng.random() < _PARTITION_SHARE:
        await mesh_oracles.check_partition(world, rng)
    await mesh_oracles.check_roaming(world, rng)
    await world.index_checks.check_spoilt(rng)
    world.check()


async def _end(world: World, rng: random.Random) -> None:
    """Everything ends in good order, and leaves sound files behind."""
    machines = list(world.machines.values())
    stops = [machine.task(machine.stop()) for machine in machines]
    done, pending = await asyncio.wait(stops, timeout=_STOPPING_S)
    for task in done:
        if task.exception() is not None:
            world.fail(f"a machine could not stop: {task.exception()!r}")
    if pending:
        world.fail(f"{len(pending)} machines did not stop within {_STOPPING_S} s")
    world.check()
    for machine in machines if rng.random() < 0.1 else rng.sample(machines, 1):
        oracles.check_file(world, machine)
    world.check()


def _bury(world: World) -> None:
    """End the tasks of all who are dead without a word to anybody."""
    world.is_over = True
    lives: list[Life] = [*world.strangers, *(tab.life for tab in world.tabs.values())]
    for machine in world.machines.values():
        lives += machine.lived
        if machine.life is not None:
            machine.life.is_over = True
            lives.append(machine.life)
            machine.let_go()
    for life in lives:
        life.is_over = True
    for life in lives:
        for task in life.tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                close_coroutine(task.get_coro())


@contextmanager
def _made_up_files(world: World) -> Iterator[None]:
    """Stores see the inodes and the paths of their machines."""
    try:
        vars(identity)["os"] = vars(lease)["os"] = world.file_table
        yield
    finally:
        vars(identity)["os"] = vars(lease)["os"] = os


@contextmanager
def _small_limits(network: Network, drawing: random.Random) -> Iterator[None]:
    """Local limits, which may differ from replica to replica."""
    is_narrow = drawing.random() < _NARROW_SHARE
    is_restless = drawing.random() < _RESTLESS_SHARE
    # As on real sockets, a connection that takes no more has let its writers wait before.
    unsent_bytes = network.room_bytes + _UNSENT_BYTES
    limits: list[tuple[ModuleType, str, Any]] = [
        (note, "CHECKPOINT_RECORDS", _CHECKPOINT_RECORDS),
        (checkpointing, "ThreadPoolExecutor", AtOnce),
        (shelf, "WAITING_RECORDS_MAX", WAITING_RECORDS_MAX),
        (log_file, "_BYTES", _LOG_BYTES),
        (circle, "YJS_UNSENT_BYTES_MAX", unsent_bytes),
        (member, "YJS_UNSENT_BYTES_MAX", unsent_bytes),
        *[(one, "YJS_FRAGMENT_BYTES", _FRAGMENT_BYTES) for one in _FRAGMENTING],
        (rooms, "YJS_IDLE_S", _IDLE_S),
        (rooms, "gc", _NoCollector),
        *(_NARROW if is_narrow else ()),
        *(_RESTLESS if is_restless else ()),
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in limits]
    try:
        for module, name, value in limits:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


class _NoCollector:
    """Collecting takes long, and is of no use to a history."""

    @staticmethod
    def collect() -> int:
        return 0


@lru_cache(1)
def _warm_up() -> None:
    """What a process does once belongs to no history."""
    Tokenizer(DEFAULT_TOKENIZER).count("loaded")


def _lines_of(error: Exception) -> list[str]:
    import traceback

    return traceback.format_exception(error)

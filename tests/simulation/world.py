"""A world: machines, a network between them, and what has to hold whatever happens.

The world's own tasks belong to no life. What a step of the story does to a machine it does as that
machine's process, so that a crash ends it like everything else.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.simulation import mesh
from tests.simulation.disk import Disks
from tests.simulation.file_table import FileTable
from tests.simulation.index_checks import IndexChecks
from tests.simulation.loop import Life, VirtualLoop
from tests.simulation.machine import STORE, Clock, Machine, Snapshot, start_or_stay_down
from tests.simulation.marks import MARK, Marks
from tests.simulation.mesh import Mesh, Plan
from tests.simulation.network import Network, WireEnd
from tests.simulation.own import OwnRecords
from tests.simulation.streams import Streams
from tests.simulation.tabs import Tab
from tests.simulation.tenures import Tenures
from tests.simulation.told import Told
from tests.simulation.trace import Trace
from tests.simulation.views import Views
from tests.simulation.wiretap import Wiretap
from weft_engine.errors import MachineError, NotAStore, StoreClosed, StoreError
from weft_engine.events.candidate import candidates
from weft_engine.limits import CLOCK_SKEW_MS_MAX
from weft_engine.names import ContextName, EventId, RecordHash, event_id_hlc
from weft_engine.records.clock import hlc_ms
from weft_engine.records.envelope import Kind
from weft_engine.storage.ledger import Stored
from weft_engine.storage.verify import verify
from weft_engine.sync.driving.keeping import KeptLink
from weft_engine.sync.end.ending import State
from weft_engine.sync.interest import EVERYTHING, Interest
from weft_engine.yjs.reader import read_update

CONTEXTS: Final = (ContextName("sim/a"), ContextName("sim/b"), ContextName("own/c"))
_MACHINES_MAX: Final = 9
_COMPARED: Final = 3
_COPIES_MAX: Final = 4
"""Machines that a mesh may get beside those of its plan."""
WAITING_RECORDS_MAX: Final = 32
"""Of one peer, for each machine: small, so that a history reaches it."""


class Broken(AssertionError):
    """Something that must hold does not."""


class World:
    def __init__(
        self,
        loop: VirtualLoop,
        root: Path,
        *,
        seed: int | str,
        trace: Trace,
        disks: Disks | None,
        plan: Plan | None = None,
    ) -> None:
        self.loop = loop
        self._plan = plan
        self.small: list[ContextName] = [] if plan is None else small_contexts(plan.contexts)
        """Contexts of which each holds a few words, and that are many."""
        self.names = [*CONTEXTS, *self.small]
        self.file_table = FileTable()
        self.tenures = Tenures(self)
        self.network = Network(loop, seed)
        self.mesh = Mesh(self)
        self.rng = random.Random(f"world-{seed}")
        self.trace = trace
        self.disks = disks
        self.counts: Counter[str] = Counter()
        self.machines: dict[str, Machine] = {}
        self.compared: list[Machine] = []
        self.snapshots: dict[str, Snapshot] = {}
        self.must: dict[RecordHash, str] = {}
        """Records that hold something acknowledged, and who acknowledged it."""
        self.given_up: set[RecordHash] = set()
        """Acknowledged, and then lost by what no engine can help: lying disks, old copies."""
        self.views = Views(self)
        self.streams = Streams()
        self.own = OwnRecords()
        self.beside: list[tuple[ContextName, EventId | None, EventId]] = []
        """What was said beside messages, on which branch: it can be revoked."""
        self.has_branches = False
        self.garbage: set[RecordHash] = set()
        """Records of hostile writers that wait for what does not exist."""
        self.waiting_records_max = WAITING_RECORDS_MAX
        self.strangers: list[Life] = []
        self.said: dict[EventId, tuple[RecordHash, bytes]] = {}
        """Every event that an honest process journaled: its record, and its JSON."""
        self.acked: dict[EventId, ContextName] = {}
        self.contexts_of: dict[RecordHash, ContextName] = {}
        self.impostors: set[RecordHash] = set()
        """Records under a name that is not their writer's."""
        self._root = root
        self._seed = seed
        self._suspect: dict[str, None] = {}
        self.broken: list[str] = []
        self.marks = Marks()
        self.dying: dict[str, int] = {}
        """Machines whose process ends so many steps after it has committed an eraser."""
        self.errands: list[asyncio.Task[None]] = []
        """What the world itself has under way."""
        self.rewinding: list[asyncio.Task[None]] = []
        self.is_healing = False
        self.converged_s = 0.0
        self.is_over = False
        self.tabs: dict[str, Tab] = {}
        self.told = Told(self)
        self.wiretap = Wiretap(self)
        self.index_checks = IndexChecks(self, seed)
        self.network.on_sent = self.wiretap.sent
        self.network.on_received = self.wiretap.received
        self.network.on_yjs = self._yjs
        loop.slowness = self.rng.choice((0.0002, 0.002, 0.02))

    # ---- who is there -------------------------------------------------------------------------

    def find(self, name: str) -> Machine:
        return self.machines[name]

    @property
    def relays(self) -> list[Machine]:
        return [machine for machine in self.machines.values() if machine.region is not None]

    def look_closely(self, rng: random.Random) -> None:
        """Decide whose views and notes are compared: in a mesh a few machines; the records of all
        are."""
        self.compared = list(self.machines.values())
        if self.is_mesh:
            some = rng.sample(self.compared, min(_COMPARED, len(self.compared)))
            self.compared = list(dict.fromkeys([rng.choice(self.relays), *some]))

    @property
    def clients(self) -> list[Machine]:
        return [machine for machine in self.machines.values() if machine.region is None]

    def _yjs(self, end: WireEnd, arrow: str, frame: bytes) -> None:
        self.note(f"{end.machine} {arrow} yjs, {len(frame)} bytes {frame[:2].hex()}")

    def note(self, text: str) -> None:
        self.trace.note(self.loop.time(), text)

    def fail(self, text: str) -> None:
        """Note that something does not hold; the history ends with it."""
        if self.is_over:
            return
        self.note(f"BROKEN: {text}")
        self.broken.append(text)

    def check(self) -> None:
        """Raise Broken if anything did not hold so far."""
        for about in self.loop.faults:
            self.fail(f"unhandled: {about.get('message')}: {about.get('exception')!r}")
        self.loop.faults.clear()
        if self.disks is not None:
            for error in self.disks.faults:
                self.fail(f"the simulated disk failed: {error!r}")
            self.disks.faults.clear()
        if self.broken:
            raise Broken(self.broken[0])

    @property
    def is_mesh(self) -> bool:
        return self._plan is not None

    @property
    def has_room(self) -> bool:
        """For a copy of a machine."""
        plan = self._plan
        most = _MACHINES_MAX if plan is None else plan.machines + _COPIES_MAX
        return len(self.machines) < most

    def settle_in(self) -> None:
        """Who a plan says; without one, one to three relays and two to five clients."""
        rng = self.rng
        if self._plan is not None:
            mesh.settle_in(self, self._plan)
            return
        relays = rng.choice((1, 1, 1, 2, 2, 3))
        for index in range(relays):
            name = self.add(f"relay{index}", region=f"r{index}").name
            for relay in self.relays[:-1]:
                self.mesh.join(name, relay.name, dialers=(name,))
        for index in range(rng.choice((2, 2, 3, 3, 4, 5) if relays > 1 else (2, 2, 3, 4))):
            narrow = index > 0 and rng.random() < 0.15
            self.add(
                f"client{index}",
                interest=Interest.of(prefixes=["sim/"]) if narrow else EVERYTHING,
            )
        for machine in list(self.machines.values()):
            self.bring_up(machine)

    def add(
        self, name: str, *, region: str | None = None, interest: Interest = EVERYTHING
    ) -> Machine:
        rng = self.rng
        clock = Clock(
            self.loop,
            offset_ms=rng.choice((0, 0, rng.randint(-20_000, 20_000))),
            rate=rng.choice((1.0, 1.0, 0.999, 1.002)),
        )
        machine = Machine(
            name,
            self._root / name,
            self,
            seed=self._seed,
            disks=self.disks,
            region=region,
            interest=interest,
            clock=clock,
        )
        machine.listener = partial(self._committed, machine)
        self.machines[name] = machine
        if machine.disk is not None:
            machine.disk.failed = partial(self._disk_failed, machine)
        return machine

    # ---- lives --------------------------------------------------------------------------------

    def bring_up(self, machine: Machine) -> bool:
        """Start a machine that is down, and its links. False if its disk does not let it."""
        if machine.is_up:
            return True
        try:
            if not start_or_stay_down(machine):
                return False
            if machine.name in self._suspect:
                self._examine(machine)
        except NotAStore as error:
            if machine.name not in self._suspect:
                raise
            self._start_afresh(machine, error.message)
        self._check_kept(machine)
        self._link_up(machine)
        self.index_checks.keep(machine)
        return True

    def names_of(self, machine: Machine) -> list[ContextName]:
        """The contexts that a machine takes part in."""
        return [name for name in self.names if machine.interest.covers(name)]

    def home(self, client: Machine) -> str:
        return self.rng.choice(self.relays).name

    def _link_up(self, machine: Machine) -> None:
        if machine.region is None:
            machine.link(self.home(machine))
            return
        for to in self.mesh.dialled_by(machine.name):
            machine.link(to)

    def link_again(self, machine: Machine) -> None:
        """A link that a fault of its own machine has ended stays so: whoever uses the store makes
        another when the fault is mended."""
        for kept, to in list(machine.kept.items()):
            if kept.status is State.CLOSED:
                self._replace_link(machine, kept, to)
                self.counts["links ended by a fault of the machine"] += 1

    def dial_again(self, machine: Machine) -> None:
        """A region goes on dialling a peer that was refused."""
        for kept, to in list(machine.kept.items()):
            if kept.status is State.REFUSED and machine.region is not None:
                self._replace_link(machine, kept, to)
                self.counts["regions refused and dialled again"] += 1

    def _replace_link(self, machine: Machine, kept: KeptLink, to: tuple[str, ...]) -> None:
        del machine.kept[kept]
        machine.link(*to)
        self.work(machine, "close a link", kept.aclose)

    def _examine(self, machine: Machine) -> None:
        """What an operator does after a disk has lied: check, and begin anew if it is no good."""
        del self._suspect[machine.name]
        try:
            report = verify(machine.path, progress=_nothing)
            what = None if report.is_sound else str(report.findings[0])
        except StoreError as error:
            what = error.message
        if what is not None:
            self._suspect[machine.name] = None
            machine.kill()
            self._start_afresh(machine, what)

    def _start_afresh(self, machine: Machine, why: str) -> None:
        self.note(f"{machine.name} begins with an empty store: {why}")
        self._suspect.pop(machine.name, None)
        self.counts["stores given up"] += 1
        machine.restore(None)
        machine.revealed.clear()
        machine.start()

    def kill(self, machine: Machine, *, power: bool) -> None:
        if not machine.is_up:
            return
        disk = machine.disk
        lied = disk is not None and disk.lies and power
        before = machine.hashes() if lied else set()
        machine.kill(power=self.rng if power and disk is not None else None)
        if disk is not None and power:
            self.counts["unsynced changes decided"] += disk.unsynced
        if lied:
            self._suspect[machine.name] = None
            self.lost(machine, before)

    def lost(self, machine: Machine, before: set[RecordHash]) -> None:
        """A machine came back with other files: what only it had is gone, and nobody's fault."""
        machine.losses += 1
        for life in machine.lived:
            life.is_undone = True
        after = self._held_safely(machine)
        machine.revealed &= after
        machine.lost |= before - after
        gone = (before - after) & self.must.keys()
        if gone:
            for other in self.machines.values():
                if other is not machine:
                    gone -= self._held_safely(other)
        for hash_ in gone:
            del self.must[hash_]
        self.given_up |= gone
        self.counts["acknowledged records given up with their disk"] += len(gone)

    def _held_safely(self, machine: Machine) -> set[RecordHash]:
        try:
            return machine.hashes()
        except Exception:
            if machine.name not in self._suspect:
                raise
            return set()

    def _check_kept(self, machine: Machine) -> None:
        """What others were told is in the journal of this machine is in it after every start."""
        missing = machine.revealed - machine.hashes()
        if missing:
            self.fail(
                f"{machine.name} came back without {len(missing)} records that it had sent or"
                " acknowledged"
            )

    def copy(self, original: Machine, twin: Machine, *, is_image: bool) -> None:
        """Give a machine that is down what another one's folder holds, or with `is_image` its disk
        and its name, so that nothing tells them apart."""
        twin.clock.highest_ms = original.clock.highest_ms
        if is_image:
            twin.machine_id, twin.boots = original.machine_id, original.boots
            self.file_table.places[str(twin.folder)] = str(original.folder)
        snapshot = original.snapshot()
        twin.restore(snapshot, is_image=is_image)
        if is_image:
            self.copied(snapshot)

    def copied(self, snapshot: Snapshot) -> None:
        """A disk was copied, or set back, with all that would tell it."""
        if snapshot.store is not None and f"{STORE}.lease" in snapshot.files:
            self.tenures.copied.add(snapshot.store)
        last = snapshot.wrote_last
        for one in () if last is None else last.line():
            self.tenures.copied |= {identity.store for identity in one.identities}
            self.tenures.may_fork |= one.incarnations

    def when_down(self, machine: Machine, then: Callable[[], None]) -> None:
        """Stop a machine in good order, then go on."""

        async def run() -> None:
            await self.stopped(machine)
            then()

        self.errands.append(asyncio.get_running_loop().create_task(run()))

    async def stopped(self, machine: Machine) -> None:
        life = machine.life
        if life is not None:
            self.work(machine, "stop", machine.stop)
            until = self.loop.time() + 30.0
            while machine.life is life and self.loop.time() < until:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def leave(self, machine: Machine) -> None:
        """End its links, in good order."""
        if not machine.is_up:
            return
        kept = list(machine.kept)
        machine.kept.clear()

        async def close() -> None:
            for one in kept:
                await one.aclose()

        self.work(machine, "leave", close)

    def sleep(self, machine: Machine, seconds: float) -> None:
        life = machine.life
        assert life is not None
        began = self.loop.time()

        async def wake() -> None:
            end = began + seconds
            while (  # noqa: ASYNC110 - three things may end it
                self.loop.time() < end and not self.is_healing and not life.is_over
            ):
                await asyncio.sleep(min(1.0, end - self.loop.time()))
            machine.slept_s += self.loop.time() - began
            self.loop.wake(life)

        life.is_asleep = True
        self.errands.append(asyncio.get_running_loop().create_task(wake()))

    def _disk_failed(self, machine: Machine) -> None:
        """In the middle of an operation of its process: it ends when that returns."""
        life = machine.life
        if life is not None:
            life.ends_at = life.steps + 1

    # ---- what is acknowledged -----------------------------------------------------------------

    def _committed(self, machine: Machine, stored: Sequence[Stored], session: bytes) -> None:
        missing = len(stored) - machine.committed([one.record.hash for one in stored])
        if missing:
            self.fail(f"{machine.name} tells of {missing} records that it has not committed")
        if machine.tenure is not None and machine.replica is not None:
            origins = {one.record.envelope.origin for one in stored}
            if session:
                self.tenures.met(machine.tenure, origins)
            own = set() if session else origins
            self.tenures.wrote(machine.tenure, machine.replica.identity, own)
        if session:
            return
        for one in stored:
            refusal = self.own.refusal(one.record)
            if refusal is not None:
                self.fail(f"{machine.name} has journaled what others don't take: {refusal}")
            self.marks.journaled(one.record)
            if one.record.envelope.kind is Kind.FOREIGN:
                self.contexts_of[one.record.hash] = one.record.envelope.context
                self.counts["foreign records"] += 1
            if one.record.envelope.kind is Kind.ERASE:
                self.contexts_of[one.record.hash] = one.record.envelope.context
                steps = self.dying.pop(machine.name, None)
                life = machine.life
                if steps is not None and life is not None and life.ends_at is None:
                    life.on_end = partial(self.kill, machine, power=steps % 2 == 0)
                    life.ends_at = life.steps + 1 + steps
                    self.counts["deaths before erasing"] += 1
            if one.record.envelope.kind is Kind.NATIVE:
                payload = one.record.payload
                update = read_update(payload)
                self.streams.journaled(one.record, update)
                for found in candidates(update):
                    json = payload[found.offset : found.offset + found.length]
                    self.said[EventId(found.key)] = (one.record.hash, json)
                    self.contexts_of[one.record.hash] = one.record.envelope.context

    def acknowledged(self, machine: Machine, ids: Sequence[EventId]) -> None:
        """An append returned."""
        # The clock of a relay corrects that of a device; no other one does.
        highest_ms = max(machine.clock.highest_ms, *(r.clock.highest_ms for r in self.relays))
        for id_ in ids:
            ahead = hlc_ms(event_id_hlc(id_)) - highest_ms
            if ahead > CLOCK_SKEW_MS_MAX + 1000:
                self.fail(f"{machine.name} stamps {ahead} ms ahead of all that its clock showed")
            found = self.said.get(id_)
            if found is None:
                self.fail(f"{machine.name} acknowledged {id_}, which it never journaled")
                continue
            hash_ = found[0]
            self.must[hash_] = machine.name
            self.acked[id_] = self.contexts_of[hash_]
            machine.revealed.add(hash_)
        self.counts["events acknowledged"] += len(ids)

    def told_by_relay(self, machine: Machine, context: ContextName, words: Sequence[bytes]) -> None:
        """A tab was sent these words by its relay: they are safe there."""
        for word in words:
            mark = self.marks.found.get(word)
            if mark is None:
                continue  # It stands there in pieces: somebody wrote between its letters.
            # What took an event's place in a document is no event. And another relay may have
            # written the word down, too: what counts is that it is here in a record that was told.
            held = self.told.look(machine, context) if machine.life is not None else None
            if mark.client >= 0 and held is not None and mark.record in held.hashes:
                self.marks.acknowledged[word] = machine.name
                self.must[mark.record] = machine.name
                self.contexts_of[mark.record] = mark.context
        self.counts["words told to tabs"] += len(words)

    def note_acknowledged(self, machine: Machine, words: str) -> None:
        """An edit of a note returned."""
        for word in MARK.findall(words.encode()):
            mark = self.marks.found.get(word)
            if mark is None:
                self.fail(f"{machine.name} acknowledged {word!r}, which it never journaled")
                continue
            self.marks.acknowledged[word] = machine.name
            self.must[mark.record] = machine.name
            self.contexts_of[mark.record] = mark.context
            machine.revealed.add(mark.record)
        self.counts["words in notes acknowledged"] += 1

    def work(
        self, machine: Machine, what: str, job: Callable[[], Coroutine[Any, Any, None]]
    ) -> asyncio.Task[Any]:
        """Run a job as the machine's process. It may fail as its machine may; else it is a bug."""

        async def run() -> None:
            try:
                await job()
            except StoreClosed:
                pass
            except MachineError as error:
                disk = machine.disk
                if disk is None or not (disk.was_full or disk.is_off):
                    self.fail(f"{machine.name}: {what}: {error!r}")
                self.counts["work that failed with its disk"] += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, the history has failed
                self.fail(f"{machine.name}: {what}: {error!r}")

        return machine.task(run())


def small_contexts(count: int) -> list[ContextName]:
    """So many; the first half of them in every interest of the simulation."""
    return [ContextName(f"{'sim' if at < count / 2 else 'own'}/small/{at}") for at in range(count)]


def context_names(machine: Machine) -> list[ContextName]:
    """The contexts that a machine takes part in and in which much happens."""
    return [name for name in CONTEXTS if machine.interest.covers(name)]


def _nothing(what: str, done: int, total: int) -> None:
    pass


async def wait(seconds: float) -> None:
    if seconds > 0:
        await asyncio.sleep(seconds)

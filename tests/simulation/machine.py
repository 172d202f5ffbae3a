"""A machine: a folder with a store, a clock that may be wrong, and one process at a time.

The process is the real thing: a `Replica`, a `Relay` where it is one, and links that are kept.
Names and boots are the machine's own, so that a copy of its folder elsewhere is another machine.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Protocol

from tests.simulation.disk import Disk, Disks
from tests.simulation.file_table import FileTable, Inode
from tests.simulation.loop import Life, VirtualLane, VirtualLoop, in_life
from tests.simulation.network import DirectEnd, Network, Wire, WireEnd
from tests.simulation.tenures import Tenure
from tests.simulation.websocket import accepted
from weft_engine.errors import StoreError
from weft_engine.names import ContextName, Incarnation, Position, RecordHash
from weft_engine.records.certificate import RegionKey
from weft_engine.records.envelope import Record
from weft_engine.records.frontier import Frontier
from weft_engine.replica.replica import Replica
from weft_engine.storage import reading
from weft_engine.storage.journal import Listener
from weft_engine.storage.machine import Machine as Place
from weft_engine.sync.driving.keeping import KeptLink
from weft_engine.sync.driving.link import Link
from weft_engine.sync.end.ending import End
from weft_engine.sync.faults import LinkLost
from weft_engine.sync.interest import EVERYTHING, Interest
from weft_server.door.permission import ANYTHING
from weft_server.mesh.wrong_peer import takes_another_id
from weft_server.relay import Relay

START_MS = 1_700_000_000_000
STORE = "store.weft"


SPOILS: Final = (
    "UPDATE checkpoints SET state = substr(state, 1, length(state) / 2) || x'00'",
    "UPDATE checkpoints SET state = x'0000'",
    "UPDATE checkpoints SET tips = x''",
    # Not where an earlier one has moved a checkpoint to a context without records.
    "UPDATE OR IGNORE checkpoints SET position = (SELECT max(position) FROM records AS r"
    " WHERE r.context = checkpoints.context)",
    "UPDATE OR IGNORE checkpoints SET context = 3 - context WHERE context IN (1, 2)",
    "DELETE FROM checkpoints",
)
"""What may go wrong with checkpoints."""


class Clock:
    """A wall clock: off by `offset_ms`, running at `rate`; steps are changes of the offset."""

    def __init__(self, loop: VirtualLoop, *, offset_ms: int = 0, rate: float = 1.0) -> None:
        self._loop = loop
        self.offset_ms = offset_ms
        self.rate = rate
        self.highest_ms = 0
        """The latest time it ever showed."""

    def now_ms(self) -> int:
        now = START_MS + int(self._loop.time() * 1000 * self.rate) + self.offset_ms
        self.highest_ms = max(self.highest_ms, now)
        return now


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A machine's folder as it was: its files, which files they were, and since when it ran."""

    files: dict[str, bytes]
    inodes: dict[str, Inode]
    boots: int
    wrote_last: Tenure | None
    store: bytes | None
    """The store id of the process that had it open last; it may have written nothing under it, and
    left a lease all the same."""


class Company(Protocol):
    """Who else is there."""

    network: Network
    loop: VirtualLoop
    file_table: FileTable

    def find(self, name: str) -> Machine: ...


class Machine:
    def __init__(
        self,
        name: str,
        folder: Path,
        company: Company,
        *,
        seed: int | str,
        disks: Disks | None,
        region: str | None = None,
        interest: Interest = EVERYTHING,
        clock: Clock,
    ) -> None:
        self.name = name
        self.folder = folder
        self.region = region
        self.interest = interest
        self.clock = clock
        self.machine_id = f"{seed}-{name}"
        self.boots = 0
        self.slept_s = 0.0
        self.is_spoiled = False
        """Its checkpoints may be wrong."""
        self.tenure: Tenure | None = None
        self.wrote_last: Tenure | None = None
        """Who wrote last in its file."""
        self._store: bytes | None = None
        """The store id of the process that ended last."""
        self.generation = 0
        self._lease: tuple[bytes, Inode] | None = None
        """The one that the process found, and may have consumed."""
        self._company = company
        self._seed = seed
        self._disks = disks
        self.disk: Disk | None = None
        self._opens = 0
        self.is_stopping = False
        folder.mkdir()
        if disks is not None:
            self.disk = disks.disk(folder)
        self.life: Life | None = None
        self.replica: Replica | None = None
        self.relay: Relay | None = None
        self.beside: asyncio.Task[Any] | None = None
        """What this process does beside all else, until it stops."""
        self.kept: dict[KeptLink, tuple[str, ...]] = {}
        """Links of this machine, and where they lead: to the first of these that answers."""
        self.lived: list[Life] = []
        self.listener: Listener = lambda stored, session: None
        self.asked = 0
        """How often its links were to be about something else."""
        self.asks_for_all = True
        self.losses = 0
        """How often it came back with less than it had, and that was nobody's fault."""
        self.lost: set[RecordHash] = set()
        """What it had before it came back with less."""
        self.revealed: set[RecordHash] = set()
        """Records that somebody else was sent from here, or was told that they are safe here."""

    @property
    def path(self) -> Path:
        return self.folder / STORE

    @property
    def lease_path(self) -> Path:
        return self.folder / f"{STORE}.lease"

    def monotonic_ms(self) -> int:
        return int((self._company.loop.time() - self.slept_s) * 1000)

    @property
    def is_up(self) -> bool:
        return self.life is not None

    # ---- a process ----------------------------------------------------------------------------

    def start(self) -> None:
        """Open the store. StoreError if the disk does not let us; then the machine stays down."""
        assert self.life is None
        self._opens += 1
        if self.disk is not None:
            self.disk.was_full = self.disk.is_full
        life = Life(self.name)
        lease = self.lease_path
        if lease.exists():
            self._lease = lease.read_bytes(), self._company.file_table.stat(lease)
        rng = random.Random(f"{self._seed}-{self.name}-{self._opens}")
        replica = in_life(
            life,
            lambda: Replica.open(
                self.path,
                now_ms=self.clock.now_ms,
                random=rng.randbytes,
                monotonic_ms=self.monotonic_ms,
                machine=Place(self.machine_id, f"boot {self.boots}"),
                lane=VirtualLane,
            ),
        )
        self.life, self.replica, self._rng = life, replica, rng
        found = self.connection.execute("SELECT 1 FROM records LIMIT 1").fetchone()
        self.tenure = Tenure(
            self.name, self.generation, self.boots, self.wrote_last, was_empty=found is None
        )
        self.is_stopping = False
        replica.journal.listen(self.listener)
        if self.region is not None:
            self.relay = in_life(life, partial(self._open_relay, replica, self.region))

    def _open_relay(self, replica: Replica, region: str) -> Relay:
        key = RegionKey(blake2b(f"{self._seed}-{region}".encode(), digest_size=32).digest())
        return Relay(replica, region=region, doorkeeper=lambda token, now: ANYTHING, region_key=key)

    def link(self, *to: str) -> KeptLink:
        """Keep a link to the relay `to`, or to one of several."""
        replica = self.replica
        assert replica is not None
        kept: KeptLink = self.do(
            lambda: KeptLink(
                [partial(self._dial, one) for one in to],
                replica,
                random=self._rng.random,
                interest=self.interest,
                region=self.region,
                run=partial(_run_as_relays_do, replica),
            )
        )
        self.kept[kept] = to
        return kept

    def leads_to(self, kept: KeptLink) -> str:
        """Where one of its links is, or tries to be."""
        return self.kept[kept][kept.place]

    def ask(self, interest: Interest) -> None:
        """Its links are about this from now on, and those that it makes again."""
        self.asked += 1
        self.asks_for_all = interest == self.interest
        for kept in self.kept:
            self.do(partial(kept.ask, interest))

    def answering(self, kept: KeptLink) -> Life | None:
        """The process at the other end of the present connection of a link, if there is one. It
        may have ended: what it has said still arrives."""
        link = kept.link
        if link is None:
            return None
        end = link._transport
        assert isinstance(end, WireEnd)
        return end.other.life

    def do(self, what: Callable[[], Any]) -> Any:
        """Call something as this process."""
        assert self.life is not None
        return in_life(self.life, what)

    def task(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return self.do(lambda: asyncio.get_running_loop().create_task(coroutine))  # type: ignore[no-any-return]

    def receive(self, end: WireEnd) -> None:
        """A connection was made to this relay."""
        relay = self.relay
        assert relay is not None
        self.task(relay.serve(end, ANYTHING))

    def receive_yjs(self, end: DirectEnd, name: ContextName, told: Callable[[bytes], None]) -> None:
        """A Yjs client has come in at this relay's door; `told` hears what is written to it."""
        relay = self.relay
        assert relay is not None

        async def serve() -> None:
            guest = relay.guests.enter(None, None)
            try:
                await relay.serve_yjs(accepted(end, told), guest, name)
            finally:
                relay.guests.leave(guest)

        self.task(serve())

    @asynccontextmanager
    async def _dial(self, to: str) -> AsyncIterator[WireEnd]:
        network = self._company.network
        await asyncio.sleep(network.latency(self.name, to))
        target = self._company.find(to)
        blocked = network.is_blocked(self.name, to) or network.is_blocked(to, self.name)
        if blocked:
            await asyncio.sleep(10.0)
            raise LinkLost(f"{to} does not answer")
        if target.life is None or target.relay is None or target.relay.is_closing:
            raise LinkLost(f"{to} is not there")
        assert self.life is not None
        wire: Wire = network.connect((self.name, self.life), (to, target.life))
        target.receive(wire.b)
        try:
            yield wire.a
        finally:
            wire.a.finish()

    async def stop(self) -> None:
        """End in good order. Run it as this process."""
        life, replica, relay = self.life, self.replica, self.relay
        if replica is None or self.is_stopping:
            return
        self.is_stopping = True
        if self.beside is not None:
            self.beside.cancel()
            await asyncio.wait([self.beside])
        await asyncio.gather(*(kept.aclose() for kept in self.kept), return_exceptions=True)
        if relay is not None:
            await relay.close()
        try:
            await replica.close()
        finally:
            if life is not None and self.life is life:
                if self.disk is not None and self.disk.is_off:
                    life.on_end()  # The power failed while it closed its files.
                else:
                    self.let_go()
                    if self.tenure is not None:
                        self.tenure.is_clean = True
                    self._ended()

    # ---- the end of a process -----------------------------------------------------------------

    def kill(self, *, power: random.Random | None = None) -> None:
        """End without a word. Kill -9 leaves the files as they were written; with `power` it is
        the machine that stops, and what was not synced may be gone."""
        life = self.life
        assert life is not None
        life.is_over = True
        if self.is_stopping and self.tenure is not None:
            self.tenure.is_clean = True  # Its last commit may have been the one of a clean close.
        if power is None:
            self._company.network.killed(life)
        else:
            self.boots += 1
            self._company.network.vanished(life)
        inodes = self._inodes()
        self._replace(self.files(power=power), inodes)
        self._ended()

    def files(self, *, power: random.Random | None = None) -> dict[str, bytes]:
        """What a copy of the folder would hold."""
        if self.disk is not None:
            with self._unwatched():
                if power is not None:
                    return self.disk.after_power_loss(power)
                if self.disk.is_off:
                    return self.disk.after_kill()
        return {
            path.name: path.read_bytes()
            for path in sorted(self.folder.iterdir())
            if not path.name.endswith(("-shm", ".lock"))
        }

    def snapshot(self) -> Snapshot:
        wrote_last = self.wrote_last
        if self.tenure is not None and self.tenure.has_written:
            wrote_last = self.tenure
        store = self._store if self.replica is None else self.replica.identity.store
        return Snapshot(self.files(), self._inodes(), self.boots, wrote_last, store)

    def restore(self, snapshot: Snapshot | None, *, is_image: bool = False) -> None:
        """Put back other files (None: an empty folder), while nothing runs: copies of them, or with
        `is_image` the whole disk."""
        assert self.life is None
        self._replace(
            {} if snapshot is None else snapshot.files,
            snapshot.inodes if snapshot is not None and is_image else {},
        )
        self.generation += 1
        self.wrote_last = None if snapshot is None else snapshot.wrote_last
        self._store = None if snapshot is None else snapshot.store
        self._lease = None

    def hashes(self) -> set[RecordHash]:
        """The records that its file holds: what is committed at this moment."""
        if not self.path.exists():
            return set()
        uri = f"{self.path.absolute().as_uri()}?mode=ro"
        with self._unwatched(), closing(sqlite3.connect(uri, uri=True)) as connection:
            return {RecordHash(row[0]) for row in connection.execute("SELECT hash FROM records")}

    def positions(self, interest: Interest) -> list[tuple[int, RecordHash]]:
        """Position and hash of each record of an interest in its journal."""
        question = (
            "SELECT records.position, hash, name FROM records"
            " JOIN contexts ON contexts.id = context"
        )
        return [
            (position, RecordHash(hash_))
            for position, hash_, name in self.connection.execute(question)
            if interest.covers(ContextName(name))
        ]

    def sizes(self) -> dict[RecordHash, int]:
        """Of each record in its journal, the bytes of envelope and payload."""
        question = "SELECT hash, length(envelope) + length(payload) FROM records"
        return {RecordHash(row[0]): row[1] for row in self.connection.execute(question)}

    @contextmanager
    def _unwatched(self) -> Iterator[None]:
        """What is done here is done by nobody in the world: no fault of a disk hits it. SQLite
        makes a log beside a closed file to read it, which a full disk would refuse."""
        if self._disks is None:
            yield
            return
        was = self._disks.paused
        self._disks.paused = True
        try:
            yield
        finally:
            self._disks.paused = was

    def look_at(
        self, context: ContextName
    ) -> tuple[list[Record], Frontier, dict[Incarnation, bytes]]:
        """A context's records in journal order, its frontier, and the seeds of the store."""
        connection = self.connection
        state = reading.context(connection, context)
        if state is None:
            return [], (), {}
        stored = reading.records_after(
            connection, state.id, Position(0), records_max=1 << 30, bytes_max=1 << 40
        )
        return [one.record for one in stored], state.frontier, reading.seeds(connection)

    def public_keys(self) -> dict[Incarnation, bytes]:
        """Of the writers whose signatures it has seen."""
        rows = self.connection.execute(
            "SELECT incarnation, public_key FROM origins WHERE public_key IS NOT NULL ORDER BY id"
        )
        return {Incarnation(row[0]): row[1] for row in rows}

    def frontiers(self) -> dict[str, bytes]:
        """Of the contexts of which it holds anything, packed."""
        question = "SELECT name, frontier FROM contexts WHERE records > 0"
        return dict(self.connection.execute(question).fetchall())

    def waiting(self) -> list[tuple[RecordHash, bytes, bool]]:
        """Hash, session and whether a signature covers it, of each parked record."""
        return self.connection.execute("SELECT hash, session, covered FROM waiting").fetchall()

    @property
    def connection(self) -> sqlite3.Connection:
        """The process's own: between two of its steps it is in no transaction."""
        assert self.replica is not None
        writing = self.replica.journal._writing
        assert writing is not None
        return writing[0]._connection

    def spoil(self, statement: str) -> int:
        """Change rows behind the back of its process; how many."""
        self.is_spoiled = True
        return self.connection.execute(statement).rowcount

    def committed(self, hashes: list[RecordHash]) -> int:
        """How many of these different records its journal holds now."""
        marks = ",".join("?" * len(hashes))
        question = f"SELECT count(*) FROM records WHERE hash IN ({marks})"
        return int(self.connection.execute(question, hashes).fetchone()[0])

    def committed_any(self, hashes: Sequence[bytes]) -> bool:
        return self.committed([RecordHash(hash_) for hash_ in hashes]) > 0

    def lacks(self, hashes: list[RecordHash]) -> set[RecordHash]:
        """Those of the records that its journal does not hold now."""
        marks = ",".join("?" * len(hashes))
        question = f"SELECT hash FROM records WHERE hash IN ({marks})"
        return set(hashes).difference(row[0] for row in self.connection.execute(question, hashes))

    def before(self, position: int, hashes: list[RecordHash]) -> set[RecordHash]:
        """Those of the records that stand in its journal up to a position."""
        marks = ",".join("?" * len(hashes))
        question = f"SELECT hash FROM records WHERE hash IN ({marks}) AND position <= ?"
        return {
            RecordHash(row[0]) for row in self.connection.execute(question, (*hashes, position))
        }

    def _inodes(self) -> dict[str, Inode]:
        """Which files there are."""
        table = self._company.file_table
        return {
            path.name: table.stat(path)
            for path in sorted(self.folder.iterdir())
            if not path.name.endswith(("-shm", ".lock"))
        }

    def _replace(self, files: dict[str, bytes], inodes: dict[str, Inode]) -> None:
        with self._unwatched():
            self.let_go()
            shutil.rmtree(self.folder)
            self.folder.mkdir()
            for name, data in files.items():
                (self.folder / name).write_bytes(data)
                (self.folder / name).chmod(0o600)
                inode = inodes.get(name)
                if self._lease is not None and name == self.lease_path.name:
                    # A power loss may bring it back after it was consumed.
                    content, was = self._lease
                    inode = was if data == content and inodes else inode
                self._company.file_table.give(self.folder / name, inode)
            if self.disk is not None:
                self.disk.forget()

    def let_go(self) -> None:
        """Close the descriptors of a process that is no more; it can't do it itself."""
        if self.replica is None:
            return
        journal = self.replica.journal
        overlay = self.replica._overlay
        if overlay is not None:
            overlay.connection.close()
        if journal._reading is not None:
            journal._reading.close()
        if journal._writing is not None:
            journal._writing[0]._connection.close()
        if journal._lock is not None:
            journal._lock.release()

    def _ended(self) -> None:
        assert self.life is not None
        if self.disk is not None:
            self.disk.countdown = None
        self.life.is_over = True
        self.lived.append(self.life)
        if self.tenure is not None and self.tenure.has_written:
            self.wrote_last = self.tenure
        self.tenure = None
        if self.replica is not None:
            self._store = self.replica.identity.store
        self.life = self.replica = self.relay = self.beside = None
        self.kept.clear()


def start_or_stay_down(machine: Machine) -> bool:
    """Whether the machine is up now; a full disk may keep it down."""
    try:
        machine.start()
    except StoreError:
        if machine.disk is None or not machine.disk.is_full:
            raise
        return False
    return True


async def _run_as_relays_do(replica: Replica, link: Link) -> End:
    """Of two regions with one store id the dialler may be who takes another one."""
    how = await link.run()
    ours, theirs = link.session.hello, link.session.peer
    is_ours = ours.store == replica.identity.store
    if theirs is not None and is_ours and takes_another_id(ours, theirs):
        await replica.guard.superseded(link)
    return how

"""Hears every frame between the machines, and holds what is said against what is on disk.

* What a machine sends, announces or acknowledges is committed in its file at that moment.
* What it has so told of is there again after every crash (`Machine.revealed`).
* What came from a peer does not go back to it, and nothing is sent twice over one connection
  unless it was asked for. Two ends may send the same at the same moment, so these are counted,
  and the counts are bounded.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import msgpack

from tests.simulation.machine import Machine
from tests.simulation.network import WireEnd
from weft_engine.names import RecordHash
from weft_engine.records.digest import record_digest

if TYPE_CHECKING:
    from tests.simulation.world import World

_RECORDS: Final = 4
_ACK: Final = 5
_WANT: Final = 6
_ERASED: Final = 12
_RESUMED: Final = 14
_CURSOR: Final = 15
_TIPS: Final = 21
_CHECK: Final = 26
_HEARD_MAX: Final = 64


@dataclass(slots=True)
class _Said:
    """What one end has said over its connection."""

    open: dict[int, list[RecordHash]] = field(default_factory=dict)
    flying: deque[list[RecordHash]] = field(default_factory=deque)
    """What of it has not arrived."""
    sent: set[RecordHash] = field(default_factory=set)
    acked: set[RecordHash] = field(default_factory=set)
    learned: set[RecordHash] = field(default_factory=set)
    """What it had not heard of before the other end sent it."""
    wanted: set[RecordHash] = field(default_factory=set)
    cursors: deque[set[RecordHash]] = field(default_factory=deque)
    """Of those it has told that have not arrived: what of what had passed is before it."""
    has_resumed: bool = False
    """The connection goes on from a cursor."""


@dataclass(slots=True)
class Traffic:
    """Between regions. `new`: records that the receiver had not been sent by any other region."""

    records: int = 0
    new: int = 0
    bytes: int = 0


class Wiretap:
    def __init__(self, world: World) -> None:
        self._world = world
        self._said: WeakKeyDictionary[WireEnd, _Said] = WeakKeyDictionary()
        self._first: dict[tuple[str, RecordHash], WireEnd] = {}
        """By whom a machine was told of a record first."""
        self.regions = Traffic()
        self._arrived: set[tuple[str, RecordHash]] = set()
        self.records = 0
        self.again = 0
        """Of these, what a client was sent or had sent when it was there before, behind the last
        cursor that it was told."""
        self._behind: dict[tuple[str, str], dict[RecordHash, WireEnd]] = {}
        """By two machines what passed between them and is behind the last cursor that was told to
        the one that keeps it, and over which end."""
        self.beside_bytes = 0
        """In frames that say who has erased what, and what event indexes say."""
        self.echoes = 0
        self.repeats = 0
        self.heard: list[bytes] = []
        """Some frames, for whoever wants to repeat or to spoil them."""

    @property
    def needless(self) -> int:
        """Records that need not be sent between equal replicas."""
        return self.records - self.again

    def sent(self, end: WireEnd, frame: bytes) -> None:
        kind = frame[2] if len(frame) > 2 else -1
        world = self._world
        world.trace.frame(world.loop.time(), end.machine, "->", end.other.machine, frame)
        if kind in (_ERASED, _CHECK):
            self.beside_bytes += len(frame)
        if len(self.heard) < _HEARD_MAX:
            self.heard.append(frame)
        machine = world.machines.get(end.machine)
        if machine is None:
            return
        if kind not in (_ERASED, _CHECK) and self._is_between_regions(end):
            self.regions.bytes += len(frame)
        if kind == _RESUMED:
            self._of(end).has_resumed = bool(msgpack.unpackb(frame[1:])[1])
        elif kind == _CURSOR and machine.region is not None:
            position = int(msgpack.unpackb(frame[1:])[1])
            self._of(end).cursors.append(machine.before(position, list(self._passed(end))))
        if kind not in (_RECORDS, _ACK, _WANT, _TIPS):
            return
        fields: list[Any] = msgpack.unpackb(frame[1:])
        mine, theirs = self._of(end), self._of(end.other)
        if kind == _RECORDS:
            hashes = [RecordHash(record_digest(envelope)) for envelope, _ in fields[3]]
            self._count(mine, hashes)
            if mine.has_resumed or theirs.has_resumed:
                behind = self._passed(end)
                self.again += sum(behind.get(hash_, end) is not end for hash_ in hashes)
            mine.open[fields[1]] = hashes
            mine.flying.append(hashes)
            self._hold(machine, hashes, "sent")
        elif kind == _ACK:
            hashes = [h for n in range(fields[1], fields[2] + 1) for h in theirs.open.pop(n, [])]
            mine.acked.update(hashes)
            self._hold(machine, hashes, "acknowledged")
        elif kind == _TIPS:
            hashes = [RecordHash(hash_) for hash_ in fields[3]]
            mine.open[fields[1]] = hashes
            self._hold(machine, hashes, "announced")
        else:
            theirs.wanted.update(fields[1])

    def received(self, end: WireEnd, frame: bytes) -> None:
        world = self._world
        world.trace.frame(world.loop.time(), end.other.machine, "=>", end.machine, frame)
        machine = world.machines.get(end.machine)
        kind = frame[2] if len(frame) > 2 else -1
        if kind == _CURSOR and self._of(end.other).cursors:
            passed = self._passed(end)
            for hash_ in self._of(end.other).cursors.popleft():
                passed.pop(hash_, None)
        if machine is not None and machine.is_up and kind == _RECORDS:
            flying = self._of(end.other).flying
            if flying:  # it came from a machine, not from a stranger
                hashes = flying.popleft()
                for hash_ in hashes:
                    self._passed(end).setdefault(hash_, end.other)
                lacked = machine.lacks(hashes)
                if self._is_between_regions(end):
                    # A client of two regions may bring it to one before the other does.
                    fresh = lacked | {hash_ for hash_ in hashes if self._is_of_client(end, hash_)}
                    new = {(machine.name, hash_) for hash_ in fresh} - self._arrived
                    self._arrived |= new
                    self.regions.records += len(hashes)
                    self.regions.new += len(new)
                for hash_ in lacked:
                    # What two peers send at once may go back to the one that was slower.
                    if self._first.setdefault((machine.name, hash_), end) is end:
                        self._of(end).learned.add(hash_)

    def _is_of_client(self, end: WireEnd, hash_: RecordHash) -> bool:
        """Whether a region was told of a record by a client first."""
        first = self._first.get((end.machine, hash_))
        return first is not None and not self._is_between_regions(first)

    def _is_between_regions(self, end: WireEnd) -> bool:
        ends = (self._world.machines.get(one.machine) for one in end.wire.ends)
        return all(one is not None and one.region is not None for one in ends)

    def _passed(self, end: WireEnd) -> dict[RecordHash, WireEnd]:
        """What has passed between two machines since a cursor, and which end had sent it."""
        a, b = sorted((end.machine, end.other.machine))
        return self._behind.setdefault((a, b), {})

    def _of(self, end: WireEnd) -> _Said:
        said = self._said.get(end)
        if said is None:
            said = self._said[end] = _Said()
        return said

    def _count(self, mine: _Said, hashes: list[RecordHash]) -> None:
        self.records += len(hashes)
        for hash_ in hashes:
            if hash_ in mine.wanted:
                continue
            self.echoes += hash_ in mine.acked and hash_ in mine.learned
            self.repeats += hash_ in mine.sent
        mine.sent.update(hashes)

    def _hold(self, machine: Machine, hashes: list[RecordHash], what: str) -> None:
        # What was announced and then sent is acknowledged twice, often in one message.
        different = list(dict.fromkeys(hashes))
        missing = len(different) - machine.committed(different)
        if missing > 0:
            self._world.fail(f"{machine.name} {what} {missing} records that it has not committed")
        machine.revealed.update(hashes)

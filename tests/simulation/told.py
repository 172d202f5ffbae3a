"""What a relay tells Yjs clients stands in its journal: commit, then echo.

Every struct of every update that it writes to one of them, and every event in it word by word, is
in records that are committed in its file at that moment; and those must be there again after every
crash. Every foreign record builds on what its journal holds before it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from weft_engine.document.authoring import candidate_ids
from weft_engine.names import ClientId, ContextName, Position, RecordHash
from weft_engine.records.envelope import Kind, Record
from weft_engine.storage import reading
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.update import Id, Update, ranges, references
from weft_server.yjs import wire

if TYPE_CHECKING:
    from tests.simulation.loop import Life
    from tests.simulation.machine import Machine
    from tests.simulation.world import World


_BEGIN: Final = Position(0)


@dataclass(slots=True)
class _Held:
    """What the records of one context bring, as far as one process was looked at."""

    position: Position = _BEGIN
    spans: dict[ClientId, list[tuple[int, int, RecordHash]]] = field(default_factory=dict)
    """Per client in the order of clocks: first, end, and the record that brought it first."""
    ends: dict[ClientId, int] = field(default_factory=dict)
    candidates: dict[Id, RecordHash] = field(default_factory=dict)
    hashes: set[RecordHash] = field(default_factory=set)

    def add(self, record: Record, update: Update) -> None:
        self.hashes.add(record.hash)
        for client, brought in ranges(update).items():
            spans = self.spans.setdefault(client, [])
            for first, end in brought:
                begin = max(first, self.ends.get(client, 0))
                if begin < end:
                    spans.append((begin, end, record.hash))
                    self.ends[client] = end
        for one in candidate_ids(update):
            self.candidates.setdefault(one, record.hash)

    def lacks(self, update: Update) -> bool:
        """Whether the update begins behind, or points to, what is not there."""
        ends = dict(self.ends)
        for client, spans in ranges(update).items():
            for first, end in spans:
                if first > ends.get(client, 0):
                    return True
                ends[client] = max(end, ends.get(client, 0))
        return any(clock >= ends.get(client, 0) for client, clock in references(update))

    def records(self, client: ClientId, first: int, end: int) -> set[RecordHash] | None:
        """Those that brought these clocks; None if some did not come."""
        if end > self.ends.get(client, 0):
            return None
        spans = self.spans[client]
        at = bisect_right(spans, (first, 1 << 62)) - 1
        found: set[RecordHash] = set()
        while at < len(spans) and spans[max(at, 0)][0] < end:
            found.add(spans[max(at, 0)][2])
            at = max(at, 0) + 1
        return found


class Told:
    def __init__(self, world: World) -> None:
        self._world = world
        self._held: dict[tuple[Life, ContextName], _Held] = {}

    def message(self, machine: Machine, name: ContextName, message: bytes) -> None:
        """A relay writes this to a Yjs client."""
        if message[:1] == b"\x02":
            self._world.fail(f"{machine.name} refuses a Yjs client: {message[3:].decode()}")
            return
        for said in wire.messages(message):
            if isinstance(said, wire.Step2 | wire.Edited):
                self._update(machine, name, said.update)

    def _update(self, machine: Machine, name: ContextName, data: bytes) -> None:
        update = read_update(data)
        held = self.look(machine, name)
        told: set[RecordHash] = set()
        for client, spans in ranges(update).items():
            for first, end in spans:
                found = held.records(client, first, end)
                if found is None:
                    self._world.fail(
                        f"{machine.name} tells Yjs clients of {name} what it has not committed:"
                        f" {first}-{end} of {client}"
                    )
                    return
                told |= found
        for one in candidate_ids(update):
            if one not in held.candidates:
                self._world.fail(
                    f"{machine.name} tells Yjs clients of {name} an event that no record holds:"
                    f" {one}"
                )
                return
            told.add(held.candidates[one])
        machine.revealed |= told
        self._world.counts["updates told to Yjs clients"] += 1

    def look(self, machine: Machine, name: ContextName) -> _Held:
        """What the journal of a machine holds of a context now."""
        assert machine.life is not None
        held = self._held.setdefault((machine.life, name), _Held())
        state = reading.context(machine.connection, name)
        if state is None or state.position <= held.position:
            return held
        for one in reading.records_after(
            machine.connection, state.id, held.position, records_max=1 << 30, bytes_max=1 << 40
        ):
            held.position = one.position
            record = one.record
            if record.envelope.kind not in (Kind.NATIVE, Kind.FOREIGN):
                continue
            update = read_update(record.payload)
            if record.envelope.kind is Kind.FOREIGN and held.lacks(update):
                self._world.fail(
                    f"{machine.name} has a foreign record in {name} that builds on what is not"
                    " there"
                )
            held.add(record, update)
        return held

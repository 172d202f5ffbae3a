"""Connections between machines on virtual time: slow, cut, one-way, half-open.

Within a connection frames come in order or not at all, as with TCP; what a partition holds back
comes when it heals, if the connection still lives. Everything here belongs to no life: what is
under way outlives its sender.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field

from tests.simulation.loop import Life, VirtualLoop
from weft_engine.sync.driving.transport import Hearer, Ready
from weft_engine.sync.faults import LinkLost

_ROOM_BYTES = 256 * 1024
"""What a connection takes in before a sender has to wait."""
_SMALL_ROOM_BYTES = 2 * 1024
_NOBODY = Context()


@dataclass(slots=True, eq=False)
class Lane:
    """One direction of a connection."""

    arrives: float = 0.0
    under_way: deque[tuple[float, bytes]] = field(default_factory=deque)
    size: int = 0
    inbox: deque[bytes] = field(default_factory=deque)
    is_finished: bool = False
    """Nothing more will be sent."""
    is_planned: bool = False


class WireEnd:
    """One end of a connection (a `Transport`, `RelayTransport`)."""

    def __init__(self, wire: Wire, machine: str, life: Life) -> None:
        self.wire = wire
        self.machine = machine
        self.life = life
        self.closing_code: int | None = None
        self.is_open = True
        self.is_reset = False
        self.incoming = Lane()
        self.changed = asyncio.Event()
        self.other: WireEnd

    async def send(self, frame: bytes, /) -> None:
        self._check()
        self._put(frame)
        outgoing = self.other.incoming
        while outgoing.size > self.wire.room_bytes:
            self.changed.clear()
            await self.changed.wait()
            self._check()

    def _put(self, frame: bytes) -> None:
        network, outgoing = self.wire.network, self.other.incoming
        network.sent(self, frame)
        outgoing.arrives = max(network.loop.time() + self._latency(), outgoing.arrives)
        outgoing.under_way.append((outgoing.arrives, frame))
        outgoing.size += len(frame)
        self.wire.plan(self.other)

    def _latency(self) -> float:
        return self.wire.network.latency(self.machine, self.other.machine)

    async def receive(self) -> bytes | None:
        while True:
            if self.is_reset:
                raise LinkLost("the connection was reset")
            if self.incoming.inbox:
                slow_s = self.wire.network.reading_s(self.machine, self.other.machine)
                if slow_s:
                    await asyncio.sleep(slow_s)
                    if self.is_reset:
                        raise LinkLost("the connection was reset")
                return self._pop()
            if not self.is_open or (self.incoming.is_finished and not self.incoming.under_way):
                return None
            self.changed.clear()
            await self.changed.wait()

    def _pop(self) -> bytes:
        frame = self.incoming.inbox.popleft()
        self.incoming.size -= len(frame)
        self.other.changed.set()
        self.wire.network.received(self, frame)
        return frame

    async def close(self, code: str, reason: str, /) -> None:
        self.finish()

    def finish(self) -> None:
        """Close this end; what is under way still arrives."""
        if self.is_open:
            self.is_open = False
            self.other.incoming.is_finished = True
            self.changed.set()
            self.other.changed.set()
            self.wire.settle()

    def _check(self) -> None:
        if self.is_reset or not self.is_open:
            raise LinkLost("the connection was reset")
        if self.incoming.is_finished and not self.incoming.under_way and not self.incoming.inbox:
            raise LinkLost("the connection was closed by the other end")


class DirectEnd(WireEnd):
    """An end that is written to, and tells what comes, without tasks
    (`sync.driving.transport.DirectTransport`)."""

    def __init__(self, wire: Wire, machine: str, life: Life) -> None:
        super().__init__(wire, machine, life)
        self.changed = _Notice(self)
        self._hearer: Hearer | None = None
        self._whose = _NOBODY
        self._is_planned = False
        self._is_held = False
        self._was_congested = False
        self._has_ended = False

    @property
    def is_congested(self) -> bool:
        return self.other.incoming.size > self.wire.room_bytes

    def write(self, head: bytes, body: bytes = b"", /) -> None:
        if self.is_open and not self.is_reset and not self.incoming.is_finished:
            self._put(head + body)
            self._was_congested = self._was_congested or self.is_congested

    def ready(self, head: bytes, body: bytes, /) -> Ready:
        return self.write, head + body

    def attach(self, hearer: Hearer, /) -> None:
        self._hearer = hearer
        self._whose = copy_context()
        self.noticed()

    def hold_reading(self) -> None:
        self._is_held = True

    def go_on_reading(self) -> None:
        self._is_held = False
        self.noticed()

    def noticed(self) -> None:
        """Something may have changed: look soon, or when this machine has read so much."""
        if self._hearer is None or self._is_planned:
            return
        self._is_planned = True
        network = self.wire.network
        due = network.loop.time() + network.reading_s(self.machine, self.other.machine)
        network.loop.call_at(due, self._look, context=self._whose)

    def _look(self) -> None:
        self._is_planned = False
        hearer = self._hearer
        assert hearer is not None, "it was there when this was planned"
        if self._was_congested and not self.is_congested:
            self._was_congested = False
            hearer.transport_drained()
        if self.incoming.inbox and not self.is_reset:
            if not self._is_held:
                hearer.frame_received(self._pop())
                self.noticed()
            return
        is_over = self.incoming.is_finished and not self.incoming.under_way
        if (self.is_reset or not self.is_open or is_over) and not self._has_ended:
            self._has_ended = True
            hearer.transport_lost()


class _Notice(asyncio.Event):
    """Tells a direct end what others wait for."""

    def __init__(self, end: DirectEnd) -> None:
        super().__init__()
        self._end = end

    def set(self) -> None:
        super().set()
        self._end.noticed()


class Wire:
    """A connection of two ends, each of which may be a direct one."""

    def __init__(self, network: Network, number: int, a: tuple[str, Life], b: tuple[str, Life]):
        self.network = network
        self.number = number
        self.a, self.b = self._ends(a, b)
        self.a.other, self.b.other = self.b, self.a
        self.room_bytes = network.room_bytes
        self.closing_code: int | None = None
        """What a websocket was closed with."""
        self.swallows: set[str] = set()
        """Machines that are gone without a word: nothing comes from them or to them."""

    def _ends(self, a: tuple[str, Life], b: tuple[str, Life]) -> tuple[WireEnd, WireEnd]:
        kind = self.network.kind
        return kind()(self, *a), kind()(self, *b)

    @property
    def ends(self) -> tuple[WireEnd, WireEnd]:
        return self.a, self.b

    @property
    def machines(self) -> tuple[str, str]:
        return self.a.machine, self.b.machine

    def plan(self, end: WireEnd) -> None:
        """See that the next frame to `end` arrives."""
        lane = end.incoming
        if lane.is_planned or not lane.under_way:
            return
        if self.network.is_blocked(end.other.machine, end.machine) or self.swallows:
            return
        lane.is_planned = True
        due, _ = lane.under_way[0]
        loop = self.network.loop
        loop.call_at(max(due, loop.time()), self._arrive, end, context=_NOBODY)

    def _arrive(self, end: WireEnd) -> None:
        lane = end.incoming
        lane.is_planned = False
        if not lane.under_way or end.is_reset:
            return
        if self.network.is_blocked(end.other.machine, end.machine) or self.swallows:
            return
        _, frame = lane.under_way.popleft()
        lane.inbox.append(frame)
        end.changed.set()
        self.plan(end)

    def reset(self) -> None:
        """Both ends learn of it at once; what is under way is lost."""
        for end in self.ends:
            end.is_reset = True
            end.is_open = False
            end.incoming.under_way.clear()
            end.changed.set()
        self.settle()

    def settle(self) -> None:
        if not (self.a.is_open or self.b.is_open):
            self.network.gone(self)


class Websocket(Wire):
    """A connection of a Yjs client (a) to a relay (b), who say other things than machines do."""

    def _ends(self, a: tuple[str, Life], b: tuple[str, Life]) -> tuple[WireEnd, DirectEnd]:
        return WireEnd(self, *a), DirectEnd(self, *b)


class Network:
    """`sent` and `received` are told of every frame, with the end that does it."""

    def __init__(self, loop: VirtualLoop, seed: int | str) -> None:
        self.loop = loop
        self.wires: dict[Wire, None] = {}
        self.frames = 0
        self.bytes = 0
        self.slow: dict[str, float] = {}
        """Machine -> seconds that it takes to read one frame."""
        self.slow_links: dict[tuple[str, str], float] = {}
        """The same of one machine, reading what another one sent."""
        self._far: dict[tuple[str, str], float] = {}
        self._jitter = random.Random(f"jitter-{seed}")
        self._rng = random.Random(f"network-{seed}")
        self._kinds = random.Random(f"kinds-of-ends-{seed}")
        self._blocked: dict[tuple[str, str], None] = {}
        self._made = 0
        self.on_sent: Callable[[WireEnd, bytes], None] = lambda end, frame: None
        self.on_received: Callable[[WireEnd, bytes], None] = lambda end, frame: None
        self.on_yjs: Callable[[WireEnd, str, bytes], None] = lambda end, arrow, frame: None
        self.base_s = self._rng.choice((0.0005, 0.005, 0.05))
        self.room_bytes = self._kinds.choice((_ROOM_BYTES, _ROOM_BYTES, _SMALL_ROOM_BYTES))

    def set_far(self, a: str, b: str, seconds: float) -> None:
        """What is sent between these two takes so long each way, and now and then much longer."""
        self._far[a, b] = self._far[b, a] = seconds

    def reading_s(self, reader: str, sender: str) -> float:
        """What it takes to read one frame."""
        return self.slow.get(reader, 0.0) + self.slow_links.get((reader, sender), 0.0)

    def latency(self, sender: str, receiver: str) -> float:
        far_s = self._far.get((sender, receiver))
        if far_s is not None:
            late = self._jitter.random()
            return far_s * (1 + 0.1 * late + (late if self._jitter.random() < 0.05 else 0))
        return self.base_s * (0.5 + self._rng.random() * (8 if self._rng.random() < 0.1 else 1))

    def connect(self, a: tuple[str, Life], b: tuple[str, Life]) -> Wire:
        self._made += 1
        wire = Wire(self, self._made, a, b)
        self.wires[wire] = None
        return wire

    def open_websocket(self, a: tuple[str, Life], b: tuple[str, Life]) -> Websocket:
        self._made += 1
        wire = Websocket(self, self._made, a, b)
        self.wires[wire] = None
        return wire

    def kind(self) -> type[WireEnd]:
        """Of the next end: as a client's, or as a server's."""
        return self._kinds.choice((WireEnd, DirectEnd))

    def sent(self, end: WireEnd, frame: bytes) -> None:
        if isinstance(end.wire, Websocket):
            self.on_yjs(end, "->", frame)
            return
        self.frames += 1
        self.bytes += len(frame)
        self.on_sent(end, frame)

    def received(self, end: WireEnd, frame: bytes) -> None:
        if isinstance(end.wire, Websocket):
            self.on_yjs(end, "=>", frame)
        else:
            self.on_received(end, frame)

    def gone(self, wire: Wire) -> None:
        self.wires.pop(wire, None)

    def is_blocked(self, sender: str, receiver: str) -> bool:
        return (sender, receiver) in self._blocked

    def block(self, sender: str, receiver: str) -> None:
        """Nothing comes through in this direction until `heal`."""
        self._blocked[sender, receiver] = None

    def unblock(self, sender: str, receiver: str) -> None:
        self._blocked.pop((sender, receiver), None)
        for wire in list(self.wires):
            if sender in wire.machines and receiver in wire.machines:
                for end in wire.ends:
                    wire.plan(end)

    def heal(self) -> None:
        """All connections are as fast as they can be again, and let everything through."""
        self.slow.clear()
        self.slow_links.clear()
        self._blocked.clear()
        for wire in list(self.wires):
            for end in wire.ends:
                wire.plan(end)

    def killed(self, life: Life) -> None:
        """The process is gone and its machine goes on: it closes what it had open."""
        for wire in list(self.wires):
            for end in wire.ends:
                if end.life is life:
                    end.finish()

    def vanished(self, life: Life) -> None:
        """The machine is gone: nobody is told."""
        for wire in list(self.wires):
            for end in wire.ends:
                if end.life is life:
                    end.is_open = False
                    wire.swallows.add(end.machine)
                    wire.settle()

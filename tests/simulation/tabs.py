"""Tabs: plain Yjs clients at a relay, as y-websocket makes them, with a document of pycrdt.

A tab has nothing but its document; it connects again whenever it is cut off, and offers then what
the relay does not have. Tabs of one browser tell each other what they do behind the relay's back,
and some pass on to the relay what they hear from each other. A tab is never refused, and in the
end it shows what replicas show.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pycrdt

from tests.simulation.loop import Life, in_life
from tests.simulation.machine import Machine
from tests.simulation.marks import MARK
from tests.simulation.network import DirectEnd, Websocket
from tests.simulation.websocket import PONG, Unframer
from weft_engine.events.codec import encode_event
from weft_engine.events.event import Event, Message, Role
from weft_engine.events.part import Text
from weft_engine.names import ContextName, Hlc, Incarnation, event_id
from weft_engine.records.clock import COUNTER_BITS
from weft_engine.records.envelope import Kind
from weft_engine.sync.faults import LinkLost
from weft_engine.sync.framing.messages import PresenceState
from weft_server.yjs import wire
from weft_server.yjs.awareness import write_awareness

if TYPE_CHECKING:
    from tests.simulation.world import World

TABS_MAX: Final = 5
NOTES: Final = ("plan", "todo")
_SILENCE_S: Final = 30.0
"""A tab that hears nothing for so long connects anew."""
_PAUSE_S: Final = 2.5
_OFFERED_S: Final = 2.0
_SHARED_S: Final = (0.001, 0.02)
_PASSED_ON_S: Final = (0.0, 0.0, 4.0)
"""How long what one has heard is under way to another, and from there to the relay."""
_WORDS: Final = ("yes", "the bridge", "日本", "👍🏽", "a longer sentence ")
_EMPTY: Final = b"\x00\x00"
_NOBODY: Final = Context()


@dataclass(frozen=True, slots=True)
class Shown:
    """What a document holds."""

    notes: tuple[str, ...]
    events: tuple[tuple[str, str], ...]


def shown(document: pycrdt.Doc[Any]) -> Shown:
    events = document.get("events", type=pycrdt.Map)
    return Shown(
        tuple(str(document.get(f"note:{note}", type=pycrdt.Text)) for note in NOTES),
        tuple(sorted((key, str(events[key])) for key in events.keys())),  # noqa: SIM118
    )


class Tab:
    def __init__(
        self, world: World, name: str, relay: str, context: ContextName, rng: random.Random
    ) -> None:
        self.world = world
        self.name = name
        self.relay = relay
        self.context = context
        self.life = Life(name)
        self.browser = rng.choice((0, 0, 1))
        self.passes_on = rng.random() < 0.6
        """It sends what it heard from another tab, as it came."""
        self.is_online = True
        self.is_synced = False
        self.said: list[str] = []
        """The events that it has set."""
        self._rng = rng
        self._shared_s = self._passed_on_s = 0.0
        self.document: pycrdt.Doc[Any] = pycrdt.Doc(client_id=rng.randrange(1, 1 << 32))
        self._observing = self.document.observe(lambda event: self._changed(event.update))
        self._hears: Tab | str | None = None
        """From whom comes what is being applied."""
        self.wire: Websocket | None = None
        if rng.random() < 0.2:
            world.network.slow[name] = rng.choice((0.05, 0.5))
        in_life(
            self.life,
            lambda: asyncio.get_running_loop().create_task(self._stay_connected()),
        )

    def close(self) -> None:
        """What it has not brought to the relay is gone, unless another tab has it."""
        self.is_online = False
        self.document.unobserve(self._observing)
        self.world.network.killed(self.life)
        self.world.network.slow.pop(self.name, None)
        self.life.is_over = True

    def go_offline(self) -> None:
        self.is_online = False
        if self.wire is not None:
            self.wire.a.finish()

    # ---- what its user does -------------------------------------------------------------------

    def edit(self, rng: random.Random) -> None:
        """Type, delete, say something, or say it and at once something else in its place."""
        way = rng.random()
        if way < 0.55:
            self._type(rng)
        else:
            self._say(rng, again=way > 0.7)

    def _type(self, rng: random.Random) -> None:
        note = rng.choice(NOTES)
        text = self.document.get(f"note:{note}", type=pycrdt.Text)
        size = len(text)
        # pycrdt counts bytes of UTF-8; it is edited where a character begins.
        starts = [0, size]
        said = str(text).encode()
        starts += [at for at in range(size) if said[at] & 0xC0 != 0x80]
        at = rng.choice(starts)
        if size and rng.random() < 0.3:
            end = rng.choice(starts)
            if at != end:
                del text[min(at, end) : max(at, end)]
            return
        text.insert(at, rng.choice(_WORDS) + self.world.marks.new())

    def _say(self, rng: random.Random, *, again: bool) -> None:
        events = self.document.get("events", type=pycrdt.Map)
        if again and self.said and rng.random() < 0.5:
            events[rng.choice(self.said)] = self._event(rng)
            return
        now_ms = self.world.find(self.relay).clock.now_ms()
        hlc = Hlc((now_ms << COUNTER_BITS) + rng.randrange(1 << COUNTER_BITS))
        key = event_id(hlc, Incarnation(rng.randbytes(16)))
        events[key] = self._event(rng)
        if again:
            self.said.append(key)
            events[key] = self._event(rng)

    def _event(self, rng: random.Random) -> str:
        words = rng.choice(_WORDS) + self.world.marks.new()
        return encode_event(Event("tab", Message(Role.USER, (Text(words),)))).decode()

    # ---- its document -------------------------------------------------------------------------

    def _changed(self, update: bytes) -> None:
        """The document has changed: whoever has not said so is told."""
        if update == _EMPTY:
            return
        heard = self._hears
        loop = self.world.loop
        if heard is None:
            self._send(wire.edited(update))
        elif isinstance(heard, Tab) and self.passes_on:
            # Another provider brought it, and is in no hurry now and then.
            self._passed_on_s = max(
                self._passed_on_s + 1e-7, loop.time() + self._rng.choice(_PASSED_ON_S)
            )
            loop.call_at(self._passed_on_s, self._send, wire.edited(update), context=_NOBODY)
        # In order, and also when this tab has gone meanwhile.
        self._shared_s = max(self._shared_s + 1e-7, loop.time() + self._rng.choice(_SHARED_S))
        for other in self._beside():
            if other is not heard:
                hear = partial(other.hear, self, update)
                loop.call_at(self._shared_s, hear, context=_NOBODY)

    def _beside(self) -> list[Tab]:
        """The others of its browser that have the same document."""
        place = self.context, self.browser
        others = [other for other in self.world.tabs.values() if other is not self]
        return [other for other in others if (other.context, other.browser) == place]

    def join(self) -> None:
        """It and those beside it tell each other what they have."""
        for other in self._beside():
            self.hear(other, other.document.get_update(self.document.get_state()))
            other.hear(self, self.document.get_update(other.document.get_state()))

    def hear(self, whom: Tab | str, update: bytes) -> None:
        if self.life.is_over:
            return
        self._hears = whom
        try:
            self.document.apply_update(update)
        finally:
            self._hears = None

    # ---- its connection -----------------------------------------------------------------------

    def _send(self, message: bytes) -> None:
        """As a browser does: it never waits."""
        if self.wire is not None and self.wire.a.is_open and not self.wire.a.is_reset:
            self.wire.a._put(message)

    async def _stay_connected(self) -> None:
        while True:
            if self.is_online:
                with suppress(LinkLost, TimeoutError):
                    await self._connected()
            self.wire, self.is_synced = None, False
            await asyncio.sleep(self._rng.random() * _PAUSE_S)

    async def _connected(self) -> None:
        network = self.world.network
        await asyncio.sleep(network.latency(self.name, self.relay))
        machine = self.world.find(self.relay)
        if network.is_blocked(self.name, self.relay) or network.is_blocked(self.relay, self.name):
            await asyncio.sleep(10.0)
            return
        if machine.life is None or machine.relay is None or machine.relay.is_closing:
            return
        websocket = network.open_websocket((self.name, self.life), (self.relay, machine.life))
        assert isinstance(websocket.b, DirectEnd)
        told = partial(self.world.told.message, machine, self.context)
        machine.receive_yjs(websocket.b, self.context, told)
        self.wire = websocket
        self._send(wire.step1(self.document.get_state()))
        state = f'{{"name":"{self.name}"}}'
        self._send(wire.aware(write_awareness([PresenceState(self.document.client_id, 1, state)])))
        unframer = Unframer()
        try:
            while True:
                async with asyncio.timeout(_SILENCE_S):
                    frame = await websocket.a.receive()
                if frame is None:
                    break
                for message in unframer.messages(frame):
                    self._read(message, machine, websocket)
                if unframer.take_pinged():
                    self._send(PONG)
        finally:
            websocket.a.finish()
            self._ended(websocket)

    def _ended(self, websocket: Websocket) -> None:
        code = websocket.closing_code
        if code is not None and 4400 <= code < 4500:
            self.world.fail(f"{self.name} is closed out by {self.relay} with {code}")

    def _read(self, message: bytes, machine: Machine, websocket: Websocket) -> None:
        for said in wire.messages(message):
            match said:
                case wire.Step1():
                    self._send(wire.step2(self.document.get_update(said.state_vector)))
                case wire.Step2() | wire.Edited():
                    self.is_synced = self.is_synced or isinstance(said, wire.Step2)
                    self.hear(self.relay, said.update)
                    self._is_acknowledged(said.update, machine, websocket)
                case _:
                    pass

    def _is_acknowledged(self, update: bytes, machine: Machine, websocket: Websocket) -> None:
        """What comes from the relay is on its disk, word by word."""
        if websocket.b.life.is_undone:
            return  # The relay was set back while this was under way.
        self.world.told_by_relay(machine, self.context, MARK.findall(update))


# ---- the end --------------------------------------------------------------------------------


def is_plain(world: World, machine: Machine, name: ContextName) -> bool:
    """Whether nothing was erased in a context, and nobody has used a name twice or lied there: then
    documents that are kept while all that happens hold what those made anew do."""
    if world.counts["hostile records"] or world.tenures.may_fork or world.given_up:
        return False
    records, _, _ = machine.look_at(name)
    return all(record.envelope.kind is not Kind.ERASE for record in records)


def differing(world: World) -> list[str]:
    """Tabs that are not where the journal of their relay is."""
    return [
        tab.name
        for tab in world.tabs.values()
        if not tab.is_synced or not _has_all(world, tab, world.find(tab.relay))
    ]


def _has_all(world: World, tab: Tab, machine: Machine) -> bool:
    """Compared by what is shown; a context that is not plain shows other things in old tabs."""
    if not is_plain(world, machine, tab.context):
        return True
    return shown(tab.document) == shown(_made_anew(machine, tab.context))


def _made_anew(machine: Machine, name: ContextName) -> pycrdt.Doc[Any]:
    document: pycrdt.Doc[Any] = pycrdt.Doc()
    records, _, _ = machine.look_at(name)
    for record in records:
        if record.envelope.kind in (Kind.NATIVE, Kind.FOREIGN):
            document.apply_update(record.payload)
    return document


async def settle(world: World, *, seconds: float) -> None:
    """Wait until all tabs show what their relays have; a violation if that takes longer."""
    end = world.loop.time() + seconds
    while left := differing(world):
        world.check()
        if world.loop.time() > end:
            world.fail(f"{left[0]} shows something else than its relay {seconds:.0f} s after all")
            world.check()
        await asyncio.sleep(0.5)


async def offer_all(world: World) -> None:
    """All tabs connect anew. What one has heard from another it offers only then, and what builds
    on what a third one has is taken when that has come: so they do it twice."""
    for _ in range(2 if world.tabs else 0):
        for tab in world.tabs.values():
            tab.is_online = True
            tab.is_synced = False
            if tab.wire is not None:
                tab.wire.reset()
        end = world.loop.time() + 2 * _SILENCE_S
        while any(not tab.is_synced for tab in world.tabs.values()):
            world.check()
            if world.loop.time() > end:
                world.fail("a tab does not reach its relay, though every fault has healed")
            await asyncio.sleep(0.5)
        await asyncio.sleep(_OFFERED_S)


async def check_new(world: World) -> None:
    """A tab that comes now shows the notes as replicas do."""
    for place in dict.fromkeys((tab.relay, tab.context) for tab in world.tabs.values()):
        relay, name = place
        machine = world.find(relay)
        assert machine.replica is not None
        rng = random.Random(f"new-{relay}-{name}")
        tab = Tab(world, f"newtab-{relay}-{name}", relay, name, rng)
        until = world.loop.time() + 60.0
        while not tab.is_synced and world.loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        context = machine.replica.context(name)
        notes = tuple([await context.note(note).text() for note in NOTES])
        if not tab.is_synced or shown(tab.document).notes != notes:
            world.fail(f"a new tab at {relay} shows {shown(tab.document).notes!r}, not {notes!r}")
        tab.close()
        world.counts["tabs compared"] += 1

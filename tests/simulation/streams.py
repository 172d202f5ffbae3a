"""Messages that are generated on the way, and what has to become of each.

What was flushed is in the end there, as the whole message or as far as it came.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from weft_engine.events.event import Message
from weft_engine.events.streams import pieces, text_of
from weft_engine.names import ContextName, EventId, RecordHash
from weft_engine.records.envelope import Record
from weft_engine.yjs.update import Update

if TYPE_CHECKING:
    from tests.simulation.loop import Life
    from tests.simulation.machine import Machine
    from tests.simulation.world import World
    from weft_engine.replica.context import Context


@dataclass(slots=True)
class Streamed:
    """`flushed`: the text of which a flush has returned. `instead`: what it becomes in the place
    of what was written."""

    id: EventId
    context: ContextName
    branch: EventId | None
    machine: Machine
    life: Life
    losses: int
    """Of its machine, when it was opened: one that was set back may not know of it."""
    flushed: str = ""
    instead: str | None = None
    is_done: bool = False


@dataclass(slots=True)
class Streams:
    opened: dict[EventId, Streamed] = field(default_factory=dict)
    records: dict[EventId, list[RecordHash]] = field(default_factory=dict)
    """Those that hold pieces of it, as they were journaled."""

    def journaled(self, record: Record, update: Update) -> None:
        for piece in pieces(record, update):
            held = self.records.setdefault(piece.id, [])
            if record.hash not in held:
                held.append(record.hash)

    def opens(self, machine: Machine, context: Context, id_: EventId) -> Streamed:
        assert machine.life is not None
        name, branch = context.name, context.branch_id
        one = Streamed(id_, name, branch, machine, machine.life, machine.losses)
        self.opened[id_] = one
        return one

    @property
    def is_quiet(self) -> bool:
        """Whether nobody who lives is writing one."""
        return all(one.is_done or one.life.is_over for one in self.opened.values())


def acknowledged(world: World, one: Streamed, text: str) -> None:
    """A flush has returned behind this text, or the opening."""
    one.flushed = text
    held = world.streams.records.get(one.id, ())
    if not held:
        world.fail(f"{one.machine.name} has opened stream {one.id}, which it never journaled")
    for hash_ in held:
        world.must[hash_] = one.machine.name
        world.contexts_of[hash_] = one.context
        one.machine.revealed.add(hash_)
    world.counts["flushes acknowledged"] += 1


async def check(world: World, machine: Machine, context: Context, gone: frozenset[EventId]) -> None:
    """Of every stream of a context what was flushed is shown, unless it was erased or given up.
    `gone`: erased as they were named, or some of it with everything."""
    some = [
        one
        for one in world.streams.opened.values()
        if one.context == context.name
        and one.id not in gone
        and world.given_up.isdisjoint(world.streams.records.get(one.id, ()))
    ]
    if not some:
        return
    growing = {one.id: one.text for one in await context.streams()}
    shown: dict[EventId, str] = {}
    for branch in dict.fromkeys(one.branch for one in some):
        async for said in context.on(branch).history():
            assert isinstance(said.event.body, Message)
            shown[said.id] = text_of(said.event.body.parts)
    for one in some:
        what = f"{machine.name} shows stream {one.id} of {one.machine.name}"
        text = shown.get(one.id)
        if text is None and one.id in growing:
            disk = one.machine.disk
            if one.losses == one.machine.losses and (disk is None or not disk.was_full):
                world.fail(f"{what} as open, which nobody writes")
            text = growing[one.id]
        world.counts["streams looked at"] += 1
        if not (text or "").startswith(one.flushed) and (text is None or text != one.instead):
            world.fail(f"{what} as {text!r}, flushed was {one.flushed!r}")

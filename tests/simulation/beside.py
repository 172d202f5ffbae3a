"""What a step of a story says beside plain messages: facts, pins, hides, summaries, branches,
answers side by side, and messages that grow while they are generated."""

from __future__ import annotations

import asyncio
import random
from hashlib import blake2b
from typing import Final

from tests.simulation import streams
from tests.simulation.machine import Machine
from tests.simulation.world import World, context_names
from weft_engine.errors import BudgetTooSmall, CallerError, Conflict, ContextClosed, NotFound
from weft_engine.events.event import Message, Role
from weft_engine.events.part import Call, Text
from weft_engine.names import EventId
from weft_engine.replica.context import Context
from weft_engine.replica.replica import Replica
from weft_engine.replica.summarizing import ToSummarize

_RULES: Final = (None, None, "last", "first", "max", "min", "union", "keep_all")
_ON_A_BRANCH: Final = 0.3
_SMALL_SHARE: Final = 0.5
_WORDS: Final = ("yes", "no", "the bridge", "naïve", "👍🏽", "a longer sentence ")


class _BrokenOffError(Exception):
    """A generation that fails."""


def words(world: World, rng: random.Random) -> str:
    said = [rng.choice(_WORDS) for _ in range(rng.choice((1, 1, 3, 12)))]
    said.insert(rng.randint(0, len(said)), world.marks.new())
    return "".join(said)


async def somewhere(world: World, machine: Machine, rng: random.Random) -> Context:
    """A context of the machine, now and then on one of the branches that it knows."""
    assert machine.replica is not None
    names = context_names(machine)
    if world.small and rng.random() < _SMALL_SHARE:
        names = world.names_of(machine)
    context = machine.replica.context(rng.choice(names))
    if not world.has_branches or rng.random() > _ON_A_BRANCH:
        return context
    known = await context.branches()
    return context.on(rng.choice(known).id) if known else context


async def _anything(context: Context, rng: random.Random) -> EventId | None:
    some = await context.page(newest=True, limit=12)
    return rng.choice(some).id if some else None


async def talk(world: World, machine: Machine, replica: Replica, rng: random.Random) -> None:
    """A few turns in one place, each answer made from a view of the same kind, while other things
    are said there, too."""
    context = await somewhere(world, machine, rng)
    asked = world.views.ask(rng)
    others = (None, None, None, _fact, _mark, _compact, _tool)
    for _ in range(rng.choice((2, 4, 8))):
        world.acknowledged(machine, await context.append(words(world, rng)))
        other = rng.choice(others)
        if other is not None:
            await other(world, machine, context, rng)
        view = await world.views.take(machine, context, asked)
        answer = {"role": "assistant", "content": words(world, rng)}
        world.acknowledged(machine, await context.append(answer, view=view))
        if rng.random() < 0.15:
            await revoke(world, machine, replica, rng)


# ---- facts and marks --------------------------------------------------------------------------


async def fact(world: World, machine: Machine, _: Replica, rng: random.Random) -> None:
    await _fact(world, machine, await somewhere(world, machine, rng), rng)


async def _fact(world: World, machine: Machine, context: Context, rng: random.Random) -> None:
    name = rng.choice(("seat", "meal", "plan"))
    if rng.random() < 0.2:
        withdrawn = await context.forget_fact(name)
        world.acknowledged(machine, [] if withdrawn is None else [withdrawn])
        return
    value = rng.choice((1, 7, "aisle", "window", ["a"], ["b", 2], {"x": rng.randrange(3)}))
    expires = None if rng.random() < 0.8 else machine.clock.now_ms() + rng.randint(-500, 5_000)
    said = await context.fact(name, value, rule=rng.choice(_RULES), expires=expires)
    world.acknowledged(machine, [said])
    world.beside.append((context.name, context.branch_id, said))


async def mark(world: World, machine: Machine, _: Replica, rng: random.Random) -> None:
    await _mark(world, machine, await somewhere(world, machine, rng), rng)


async def _mark(world: World, machine: Machine, context: Context, rng: random.Random) -> None:
    target = await _anything(context, rng)
    if target is None:
        return
    ways = (context.pin, context.pin, context.hide, context.hide, context.unpin, context.unhide)
    written = await rng.choice(ways)(target)
    ids = written if isinstance(written, list) else [written]
    world.acknowledged(machine, ids)
    world.beside.extend((context.name, context.branch_id, id_) for id_ in ids)


async def tool(world: World, machine: Machine, _: Replica, rng: random.Random) -> None:
    await _tool(world, machine, await somewhere(world, machine, rng), rng)


async def _tool(world: World, machine: Machine, context: Context, rng: random.Random) -> None:
    """A call, mostly with its result; ids are used again and again."""
    name = f"call-{rng.randrange(3)}"
    function = {"name": "look", "arguments": "{}"}
    call = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": name, "type": "function", "function": function}],
    }
    world.acknowledged(machine, await context.append(call))
    if rng.random() < 0.9:
        result = {"role": "tool", "tool_call_id": name, "content": words(world, rng)}
        world.acknowledged(machine, await context.append(result))


async def revoke(world: World, machine: Machine, replica: Replica, rng: random.Random) -> None:
    if not world.beside:
        return
    name, branch, event = rng.choice(world.beside)
    if name in context_names(machine):
        said = await replica.context(name).on(branch).revoke(event)
        world.acknowledged(machine, [said])
        world.beside.append((name, branch, said))


# ---- summaries --------------------------------------------------------------------------------


async def compact(world: World, machine: Machine, _: Replica, rng: random.Random) -> None:
    await _compact(world, machine, await somewhere(world, machine, rng), rng)


async def _compact(world: World, machine: Machine, context: Context, rng: random.Random) -> None:
    wait_s = rng.choice((0.0, 0.05, 0.5))

    async def ask(given: ToSummarize) -> str:
        await asyncio.sleep(wait_s)
        return summarize(given)

    try:
        said = await context.compact(ask, keep=rng.choice((0, 10, 40, None)), by="sim")
    except BudgetTooSmall:
        return
    if said is not None:
        world.acknowledged(machine, [said])
        world.beside.append((context.name, context.branch_id, said))
        world.counts["summaries"] += 1


def summarize(given: ToSummarize) -> str:
    """Follows from what is given alone, and repeats none of its words."""
    about = f"{given.previous}\n{given.text}"
    return f"{given.count} messages {blake2b(about.encode(), digest_size=6).hexdigest()}"


# ---- branches ---------------------------------------------------------------------------------


async def branch(world: World, machine: Machine, _: Replica, rng: random.Random) -> None:
    """From now, from what was said, or from before it; and something is said there."""
    context = await somewhere(world, machine, rng)
    event = await _anything(context, rng)
    way = rng.choice(("now", "at", "before", "before", "edit")) if event is not None else "now"
    if way == "edit":
        assert event is not None
        begun = await context.edit(event, {"role": "user", "content": words(world, rng)})
    else:
        begun = await context.branch(
            "again",
            at=event if way == "at" else None,
            before=event if way == "before" else None,
        )
    id_ = begun.branch_id
    assert id_ is not None
    world.has_branches = True
    world.acknowledged(machine, [id_])
    world.beside.append((context.name, context.branch_id, id_))
    view = await world.views.take(machine, begun, world.views.ask(rng))
    said = {"role": "assistant", "content": words(world, rng)}
    world.acknowledged(machine, await begun.append(said, view=view))


async def siblings(world: World, machine: Machine, _: Replica, rng: random.Random) -> None:
    """Answers that were given side by side: one is chosen, set aside, or all are merged."""
    context = await somewhere(world, machine, rng)
    groups = await context.siblings()
    if not groups:
        return
    one = rng.choice(rng.choice(groups))
    way = rng.randrange(3)
    if way == 0:
        world.acknowledged(machine, await context.choose(one))
    elif way == 1:
        aside = (await context.set_aside(one)).branch_id
        assert aside is not None
        world.has_branches = True
        world.acknowledged(machine, [aside])
    else:
        said = {"role": "assistant", "content": words(world, rng)}
        world.acknowledged(machine, [await context.merge(one, said)])
    world.counts["siblings settled"] += 1


async def close_branch(world: World, machine: Machine, _: Replica, rng: random.Random) -> None:
    context = await somewhere(world, machine, rng)
    if context.branch_id is None:
        return
    if rng.random() < 0.6:
        world.acknowledged(machine, [await context.close("done")])
    else:
        world.acknowledged(machine, await context.reopen())


# ---- streams ----------------------------------------------------------------------------------


async def stream(world: World, machine: Machine, _: Replica, rng: random.Random) -> None:
    """A message is generated; whatever happens meanwhile may break it off."""
    context = await somewhere(world, machine, rng)
    view = (
        await world.views.take(machine, context, world.views.ask(rng))
        if rng.random() < 0.5
        else None
    )
    one: streams.Streamed | None = None
    try:
        async with context.stream(view=view, author=f"agent-{machine.name}") as growing:
            one = world.streams.opens(machine, context, growing.id)
            streams.acknowledged(world, one, "")
            for _delta in range(rng.choice((0, 1, 3, 8, 20))):
                await growing.write(words(world, rng))
                if rng.random() < 0.05:
                    await growing.add(Call("c", "look", "{}"))
                if rng.random() < 0.3:
                    text = growing.text
                    await growing.flush()
                    streams.acknowledged(world, one, text)
                await asyncio.sleep(rng.choice((0, 0.01, 0.15, 0.5)))
            end = rng.random()
            if end < 0.15:
                raise _BrokenOffError
            if end < 0.3:
                one.instead = words(world, rng)
                growing.finish(Message(Role.ASSISTANT, (Text(one.instead),)), tokens=5)
            text = growing.text
        if text or one.instead is not None:
            world.acknowledged(machine, [one.id])
        world.counts["streams sealed"] += 1
    except _BrokenOffError:
        world.counts["streams broken off"] += 1
    except CallerError as error:
        if "was interrupted" not in error.message:
            raise
    finally:
        if one is not None:
            one.is_done = True


async def interrupt(world: World, machine: Machine, _: Replica, rng: random.Random) -> None:
    """Somebody gives up on a stream, whoever writes it and whether or not that one still lives."""
    assert machine.replica is not None
    context = machine.replica.context(rng.choice(context_names(machine)))
    growing = await context.streams()
    if growing:
        world.acknowledged(machine, [await context.interrupt(rng.choice(growing).id)])
        world.counts["streams interrupted"] += 1


PASSING: Final = (NotFound, ContextClosed, Conflict)
"""What anybody may run into who is not alone: it was erased, closed, or taken back meanwhile."""

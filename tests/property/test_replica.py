"""What a replica shows while it works is what a fresh look at its file shows, and what every other
replica with the same records shows."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stores import Clock, folder, give, open_replica
from weft_engine.formats.openai_chat import Conversation, import_conversation
from weft_engine.replica.context import Context
from weft_engine.replica.replica import Replica
from weft_engine.views.policies import LastN

CONTEXT = "world/chat"
FILE = Conversation(
    "file",
    (
        '{"role":"system","content":"Be brief."}',
        '{"role":"user","content":"Look it up."}',
        '{"content":null,"role":"assistant","tool_calls":[{"id":"f1","type":"function","function":'
        '{"name":"look","arguments":"{}"}}]}',
        '{"role":"tool","tool_call_id":"f1","name":"look","content":"It is blue."}',
        '{"content":"Blue.","role":"assistant"}',
    ),
)


async def act(rng: random.Random, replica: Replica, other: Replica) -> None:
    chat = replica.context(CONTEXT)
    match rng.randrange(15):
        case 0:
            await chat.append(f"question {rng.randrange(1000)}")
        case 1:
            view = await chat.view(budget=4_000)
            await chat.append(
                {"content": "answer " * rng.randint(1, 200), "role": "assistant"}, view=view
            )
        case 2:
            await chat.append({"content": "unprompted", "role": "assistant"})
        case 3:
            call = f"c{rng.randrange(3)}"
            await chat.append(
                {
                    "content": None,
                    "role": "assistant",
                    "tool_calls": [
                        {
                            "id": call,
                            "type": "function",
                            "function": {"name": "f", "arguments": "{}"},
                        }
                    ],
                }
            )
            if rng.random() < 0.7:
                await chat.append(
                    {"role": "tool", "tool_call_id": call, "content": "42 " * rng.randint(1, 50)}
                )
        case 4:
            await asyncio.gather(*(chat.append(f"burst {n}") for n in range(rng.randint(2, 5))))
        case 5:
            await chat.import_messages(import_conversation(FILE)[: rng.randint(1, 5)])
        case 6:
            await chat.configure(
                budget=rng.choice([300, 2_000, 9_000]), policy=LastN(rng.randint(1, 30))
            )
        case 7:
            await chat.note("plan").insert(0, rng.choice(["é", "plan ", "😀"]))
        case 8:
            await give(other, replica)
        case 9:
            await chat.append(["one", {"content": "two", "role": "assistant"}, "three"])

        case 10:
            view = await chat.view()
            await chat.append("asked meanwhile")
            await chat.append({"content": "late answer", "role": "assistant"}, view=view)
        case 11:
            file = import_conversation(FILE)
            await asyncio.gather(chat.import_messages(file), chat.import_messages(file[:3]))
        case 12:
            await chat.fact(rng.choice("abc"), rng.randrange(100), rule=rng.choice(["last", "max"]))
        case 13:
            name = rng.choice("abc")
            known = (await chat.facts()).get(name)
            if known is not None and rng.random() < 0.5:
                await chat.revoke(known.ids[-1])
            else:
                await chat.forget_fact(name)
        case 14:
            await asyncio.gather(
                chat.append("before"), chat.fact("a", 1), chat.append("after"), chat.fact("b", 2)
            )


async def shown(chat: Context) -> tuple[str, str, list[str], str, int, dict[str, object]]:
    view = await chat.view()
    ids = [said.id async for said in chat.history()]
    back = [said.id async for said in chat.history(newest_first=True)]
    assert back == ids[::-1]
    events = [said.id async for said in chat.events()]
    assert set(ids) <= set(events)
    return (
        await chat.fingerprint(),
        view.fingerprint,
        [*ids, *events],
        await chat.note("plan").text(),
        (await chat.settings()).budget,
        {name: fact.value for name, fact in (await chat.facts()).items()},
    )


async def story(seed: int, steps: int) -> None:
    rng = random.Random(seed)
    with folder() as place:
        clock = Clock()
        paths = [place / "a.db", place / "b.db"]
        replicas = [open_replica(path, clock=clock) for path in paths]
        try:
            for _ in range(steps):
                index = rng.randrange(2)
                await act(rng, replicas[index], replicas[1 - index])
                if rng.random() < 0.5:
                    live = await shown(replicas[index].context(CONTEXT))
                    async with open_replica(paths[index], readonly=True) as fresh:
                        assert await shown(fresh.context(CONTEXT)) == live
                if rng.random() < 0.1:
                    await replicas[index].close()
                    replicas[index] = open_replica(
                        paths[index], seed=rng.randrange(1 << 30), clock=clock
                    )
            await give(replicas[0], replicas[1])
            await give(replicas[1], replicas[0])
            first, second = [await shown(replica.context(CONTEXT)) for replica in replicas]
            assert first == second
        finally:
            for replica in replicas:
                await replica.close()


@given(seed=st.integers(0, 2**32), steps=st.integers(1, 25))
@settings(max_examples=40, deadline=None)
def test_what_is_shown_follows_from_the_records(seed: int, steps: int) -> None:
    asyncio.run(story(seed, steps))

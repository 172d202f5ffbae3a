"""An agent that calls tools, is closed in the middle, and goes on: python examples/tool_calls.py

The model is a local function; what it is sent always fits the budget and is valid for a provider,
even while a call has no result yet. The last view is proved by its receipt.
"""

import asyncio
import json
import tempfile
from pathlib import Path

import weft

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "oven",
            "description": "The temperature of an oven.",
            "parameters": {"type": "object", "properties": {"number": {"type": "integer"}}},
        },
    }
]


def model(messages: list[dict[str, object]]) -> dict[str, object]:
    """Asks the tool first, then answers with what it said."""
    last = messages[-1]
    if last["role"] == "tool":
        return {"role": "assistant", "content": f"The oven says: {last['content']}"}
    call = {"name": "oven", "arguments": json.dumps({"number": 2})}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": call}],
    }


async def ask(path: Path) -> None:
    """Up to the call; then the lid of the laptop is closed."""
    async with weft.open(path) as store:
        chat = store.context("bakery/oven")
        await chat.append([{"role": "system", "content": "You mind the ovens."}, "Is it warm?"])
        view = await chat.view(tools=TOOLS)
        await chat.append(model(view.openai()), view=view)


async def go_on(path: Path) -> None:
    """The tool answers, the model answers, and the view can be had again."""
    async with weft.open(path) as store:
        chat = store.context("bakery/oven")
        pending = await chat.view(tools=TOOLS)
        print("while the call is open the model would be sent:", pending.openai()[-1])
        result = {"role": "tool", "tool_call_id": "call_1", "content": '{"celsius": 241}'}
        await chat.append(result)
        view = await chat.view(tools=TOOLS, trace_id="oven-answer")
        await chat.append(model(view.openai()), view=view)
        async for said in chat.history():
            print(f"{said.event.author:>9}: {said.id[:16]} at {said.time_ms}")
        replayed = await store.replay("oven-answer")
        print("replayed byte for byte:", replayed.fingerprint == view.fingerprint)
        print((await chat.export())[-1])


async def main(folder: Path) -> None:
    await ask(folder / "agent.db")
    await go_on(folder / "agent.db")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))

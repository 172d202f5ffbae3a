"""An answer that grows while it is generated, seen by a watcher: python examples/streaming.py

`model` stands in for a provider. With OpenAI's SDK its deltas would be
`chunk.choices[0].delta.content` of `await openai.chat.completions.create(..., stream=True)`.
The second answer breaks off: what the user saw of it is kept.
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import weft


async def model(answer: str, *, breaks: bool = False) -> AsyncIterator[str]:
    for word in answer.split(" "):
        await asyncio.sleep(0.06)
        yield word + " "
    if breaks:
        raise ConnectionError("the provider hung up")


async def show(chat: weft.Context) -> None:
    """On any replica: whatever grows, as it grows."""
    async for change in chat.watch():
        for grown in change.streams:
            if grown.text:
                print(f"   live: {grown.text}")


async def main(path: str) -> None:
    async with weft.open(path) as store:
        chat = store.context("acme/chat-42")
        showing = asyncio.create_task(show(chat))
        await chat.append("What do I like?")
        async with chat.stream(view=await chat.view(budget=8_000)) as s:
            async for delta in model("Rye bread, always."):
                await s.write(delta)
        await chat.append("And why?")
        try:
            async with chat.stream(view=await chat.view(budget=8_000)) as s:
                async for delta in model("Because it", breaks=True):
                    await s.write(delta)
        except ConnectionError as error:
            print(f"broke off: {error}; stream {s.id[:16]}")
        for message in (await chat.view(budget=8_000)).openai():
            print(f"{message['role']:>9}: {message['content']}")
    await showing


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else str(Path(folder) / "agent.db")))

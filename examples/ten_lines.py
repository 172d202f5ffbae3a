"""A chat with a memory in ten lines, with no network and no SDK: python examples/ten_lines.py

`model` stands in for a provider. With OpenAI's SDK it would be
`(await openai.chat.completions.create(model=..., messages=messages)).choices[0].message`.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

import weft


def model(messages: list[dict[str, object]]) -> dict[str, object]:
    said = [message["content"] for message in messages if message["role"] == "user"]
    return {"role": "assistant", "content": f"That was {said[-1]!r}, number {len(said)} of yours."}


async def main(path: str) -> None:
    async with weft.open(path) as store:
        chat = store.context("acme/chat-42")
        await chat.configure(budget=8_000, policy=weft.LastN(400))
        for text in ("Hi", "I like rye bread.", "What do I like?"):
            await chat.append(text)
            view = await chat.view()
            await chat.append(model(view.openai()), view=view)
        for message in (await chat.view()).openai():
            print(f"{message['role']:>9}: {message['content']}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else str(Path(folder) / "agent.db")))

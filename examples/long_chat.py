"""A chat that outgrows its budget, compaction, another try: python examples/long_chat.py

`summarize` stands in for a model. Nothing here destroys anything: the history stays whole.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

import weft

QUESTIONS = ("trains to Cusco", "rain in May", "bread without wheat", "a quiet hotel", "a map")


def summarize(given: weft.ToSummarize) -> str:
    """A model would be asked with `given.messages` (OpenAI chat) or `given.text`."""
    return f"They spoke of {given.count} things, {QUESTIONS[0]} among them."


async def main(path: str) -> None:
    async with weft.open(path) as store:
        chat = store.context("acme/chat-7")
        await chat.configure(budget=1_000, policy=weft.Summarize())
        await chat.append({"role": "system", "content": "You plan journeys."})
        await chat.fact("user.city", "Lima")
        last = None
        for number in range(40):
            await chat.append(f"Number {number}: {QUESTIONS[number % 5]}?")
            view = await chat.view()
            said = {
                "role": "assistant",
                "content": f"About {QUESTIONS[number % 5]}: " + "yes " * 20,
            }
            last = (await chat.append(said, view=view))[0]
        view = await chat.view()
        print(f"{view.used_tokens} tokens, {view.left_out} messages not shown")
        print(f"asks to be compacted: {view.needs_compaction}")

        summary = await chat.compact(summarize)
        print((await chat.view()).openai()[2]["content"])
        if summary is not None:
            await chat.revoke(summary)
        print(f"taken back: {(await chat.view()).openai() == view.openai()}")

        again = await chat.branch("another answer", before=last)
        await again.append({"role": "assistant", "content": "No."}, view=await again.view())
        for line in (chat, again):
            print(f"  {(await line.view()).openai()[-1]['content']:.15}")
        print([hit.snippet for hit in await chat.search('"number 12" bread*')])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(sys.argv[1] if sys.argv[1:] else str(Path(folder) / "agent.db")))

"""A device of ``weft demo``: one store in a process of its own, told what to do line by line.

``python -m weft.demo_device FILE`` reads commands as JSON lines from stdin and answers each with
one on stdout. It uses the library as an application does. Must never know: the other devices.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import weft
from weft_engine.formats.openai_chat import import_conversation, read_conversation

BUDGET: Final = 32_000
Command = Mapping[str, Any]
Answer = dict[str, object]


class Device:
    """Obeys one command after the other."""

    def __init__(self, store: weft.Store) -> None:
        self._store = store
        self._link: weft.Link | None = None
        self._obey: dict[str, Callable[[Command], Awaitable[Answer]]] = {
            "import": self._import,
            "connect": self._connect,
            "synced": self._synced,
            "write": self._write,
            "state": self._state,
        }

    async def obey(self, command: Command) -> Answer:
        """The answer, or what went wrong as its ``error``."""
        try:
            return await self._obey[command["do"]](command)
        except (weft.WeftError, TimeoutError) as error:
            return {"error": str(error) or type(error).__name__}

    async def _import(self, command: Command) -> Answer:
        """The conversations of a file, each into the context that its id names."""
        conversations = messages = 0
        with open(command["path"], encoding="utf-8") as lines:  # noqa: ASYNC230 - nothing else runs
            for line in lines:
                if not line.isspace():
                    conversation = read_conversation(line)
                    chat = self._store.context(conversation.id)
                    messages += await chat.import_messages(import_conversation(conversation))
                    conversations += 1
        return {"conversations": conversations, "messages": messages}

    async def _connect(self, command: Command) -> Answer:
        assert self._link is None, "a device has one link"
        self._link = self._store.connect(command["urls"])
        return {}

    async def _synced(self, command: Command) -> Answer:
        assert self._link is not None, "only a device with a link can sync"
        await self._link.synced(timeout=command["timeout"], received=True)
        return {}

    async def _write(self, command: Command) -> Answer:
        """Turns of conversations: a person asks, the assistant calls a tool, reads, answers."""
        events = calls = 0
        for turn in command["turns"]:
            chat = self._store.context(turn["context"])
            for message in turn["messages"]:
                is_generation = message["role"] == "assistant"
                view = await chat.view(budget=BUDGET) if is_generation else None
                await chat.append(message, view=view, author=command["author"])
                events += 1
                calls += len(message.get("tool_calls", ()))
        return {"events": events, "calls": calls}

    async def _state(self, command: Command) -> Answer:
        contexts = [context async for context in self._store.contexts()]
        region = None if self._link is None else (await self._link.details()).region
        return {
            "region": region,
            "records": sum(context.records for context in contexts),
            "contexts": [context.name for context in contexts],
            "fingerprints": [context.fingerprint for context in contexts],
        }


async def main(path: str) -> None:
    async with weft.open(path) as store:
        device = Device(store)
        print(json.dumps({"store": path}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await device.obey(json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

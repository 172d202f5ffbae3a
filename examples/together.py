"""Two devices and two relays: who is there, what is saved, what happens when a relay goes away:
python examples/together.py

The relays are processes of this machine that let everybody in; yours are `weft serve` somewhere.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import weft


def start_relay(folder: Path) -> tuple[subprocess.Popen[str], str]:
    words = ["serve", "--insecure", "--listen", "127.0.0.1:0", "--json"]
    words += ["--data", str(folder), "--region", folder.name]
    relay = subprocess.Popen(
        [sys.executable, "-m", "weft_server", *words], stdout=subprocess.PIPE, text=True
    )
    assert relay.stdout is not None
    with relay.stdout:
        return relay, json.loads(relay.stdout.readline())["url"]


async def show_status(store: weft.Store) -> None:
    """What a user interface would show: whether we are in step, and what is not saved yet."""
    async for status in store.watch_status():
        for link in status.links:
            unsaved = "nobody knows what is" if link.unsynced is None else link.unsynced
            print(f"   status: {status.state}, {unsaved} not saved yet")


async def until_here(chat: weft.Context, others: int) -> None:
    """Watch who comes, shows something else and leaves, until so many others are there."""
    async for change in chat.presence.watch():
        for one in change.came:
            print(f"   here is {one.state['name']}{', that is us' if one.is_me else ''}")
        if sum(not one.is_me for one in chat.presence.here()) == others:
            return


async def main(folder: Path) -> None:
    relays = [start_relay(folder / name) for name in ("relay-1", "relay-2")]
    urls = [url for _, url in relays]
    try:
        async with weft.open(folder / "ada.db") as ada, weft.open(folder / "bob.db") as bob:
            chat = ada.context("acme/chat-42")
            await chat.append("Written on a train, with no network.")
            print(f"not saved yet: {len((await chat.unsynced()).events)} message")

            showing = asyncio.create_task(show_status(ada))
            chat.presence.set({"name": "Ada"})
            for store in (ada, bob):
                store.connect(urls)  # the first that works; the next when it fails
            bob.context("acme/chat-42").presence.set({"name": "Bob", "typing": True})
            await until_here(chat, others=1)
            await ada.synced()
            print(f"not saved yet: {len((await chat.unsynced()).events)} messages")

            print("the first relay goes away")
            relays[0][0].kill()
            await chat.append("Still here?")
            await ada.synced()
            await until_here(chat, others=1)
            print(f"not saved yet: {len((await chat.unsynced()).events)} messages, at the second")
        await showing
    finally:
        for relay, _ in relays:
            relay.terminate()
            relay.wait()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        asyncio.run(main(Path(place)))

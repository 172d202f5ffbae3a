"""``weft watch``: follow a context live: what is said, and messages while they are generated.

The store is read beside whoever writes in it, a few times a second. Must never know: who writes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import TYPE_CHECKING, Final

from weft_server.cli.output import Output, one_line
from weft_server.cli.store_file import add_context, add_store, open_to_read, positive
from weft_server.cli.wording import body, event_text, utc_time

if TYPE_CHECKING:
    from weft_engine.names import EventId, Position
    from weft_engine.replica.context import Context
    from weft_engine.replica.history import Said
    from weft_engine.replica.replica import Replica
    from weft_engine.replica.streams import OpenStream

NAME: Final = "watch"
HELP: Final = "follow a context live, with messages as they grow"

_EVERY_S: Final = 0.1
_PAGE: Final = 200
"""More messages than these between two looks are shown from their newest on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_context(parser)
    add_store(parser)
    parser.add_argument(
        "--last", type=positive, metavar="N", help="show the last N messages first (default: none)"
    )
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="end after so long (default: until Ctrl-C)"
    )
    parser.epilog = (
        'With --json: a line {"stream", "text"} for each piece of a message that grows, and one'
        ' with "id" and "event" for each that is complete.'
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    return asyncio.run(_run(arguments, output))


async def _run(arguments: argparse.Namespace, output: Output) -> int:
    end_s = None if arguments.seconds is None else time.monotonic() + arguments.seconds
    async with await open_to_read(arguments.store) as replica:
        context = replica.context(arguments.context)
        follower = _Follower(output)
        shown = await _position(replica, context)
        for said in await context.page(newest=True, limit=arguments.last or 1):
            if arguments.last:
                follower.show(said)
        await follower.look(context, shown)
        while end_s is None or time.monotonic() < end_s:
            await asyncio.sleep(_EVERY_S)
            now = await _position(replica, context)
            if now != shown:
                await follower.look(context, shown)
                shown = now
    follower.end()
    return 0


async def _position(replica: Replica, context: Context) -> Position | None:
    state = await replica.state(context.name)
    return None if state is None else state.position


class _Follower:
    """Writes what is new, and knows how much of each stream stands there already."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._told: dict[EventId, str] = {}
        self._speaking: EventId | None = None

    async def look(self, context: Context, after: Position | None) -> None:
        """Show what came behind the position `after`."""
        for said in await context.page(newest=True, limit=_PAGE):
            if said.position > (after or 0):
                self.show(said)
        for stream in await context.streams():
            self._grow(stream)

    def show(self, said: Said) -> None:
        """A message that is complete; of one that was seen to grow, the rest."""
        from weft_engine.events.codec import encode_event

        told = self._told.pop(said.id, "")
        if self._output.as_json:
            event = json.loads(encode_event(said.event))
            self._output.data(
                {"id": said.id, "event": event, "is_interrupted": said.is_interrupted}
            )
        else:
            text = event_text(said.event)
            if self._speaking == said.id and text.startswith(told):
                self._output.piece(text[len(told) :])
                self.end()
            else:
                self.end()
                self._output.say(
                    f"{utc_time(said.time_ms)}  {one_line(said.event.author)}  {said.id}"
                )
                self._output.say(body(text, full=True))
            if said.is_interrupted:
                self._output.say("(interrupted)")
        self._output.flush()

    def end(self) -> None:
        """End the line of whoever speaks."""
        if self._speaking is not None:
            self._output.say()
            self._speaking = None

    def _grow(self, stream: OpenStream) -> None:
        told = self._told.get(stream.id)
        new = stream.text[len(told or "") :]
        if told is None or new:
            self._output.data({"stream": stream.id, "text": new})
            if self._speaking != stream.id:
                self.end()
                self._output.say(
                    f"{utc_time(stream.started_ms)}  {one_line(stream.author)}  {stream.id} ..."
                )
                self._speaking = stream.id
            self._output.piece(new)
            self._output.flush()
        self._told[stream.id] = stream.text

"""``weft pin``, ``weft hide`` and ``weft revoke``: what is kept in views, left out, taken back."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from weft_server.cli.branch_option import add_branch, on_branch
from weft_server.cli.output import Output
from weft_server.cli.store_file import add_context, add_store, check_exists, open_to_write

if TYPE_CHECKING:
    from weft_engine.names import EventId
    from weft_engine.replica.context import Context


@dataclass(frozen=True, slots=True)
class _Mark:
    """A command that writes an event about an event. `take_back` undoes it, if a command can."""

    NAME: str
    HELP: str
    target: str
    write: Callable[[Context, EventId, argparse.Namespace], Awaitable[EventId]]
    take_back: Callable[[Context, EventId, argparse.Namespace], Awaitable[list[EventId]]] | None
    told: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_context(parser)
        parser.add_argument("event", metavar="ID", help=self.target)
        add_store(parser)
        add_branch(parser)
        parser.add_argument("--author", help="a name to tell people and agents apart")
        if self.take_back is None:
            parser.add_argument("--reason", metavar="TEXT", help="why; it is kept and shown")
        else:
            parser.add_argument("--undo", action="store_true", help=f"no longer {self.NAME} it")
        parser.epilog = self.told

    def run(self, arguments: argparse.Namespace, output: Output) -> int:
        check_exists(arguments.store)
        return asyncio.run(self._run(arguments, output))

    async def _run(self, arguments: argparse.Namespace, output: Output) -> int:
        async with await open_to_write(arguments.store) as replica:
            context = await on_branch(replica.context(arguments.context), arguments.branch)
            if self.take_back is not None and arguments.undo:
                ids = await self.take_back(context, arguments.event, arguments)
            else:
                ids = [await self.write(context, arguments.event, arguments)]
        for id_ in ids:
            output.say(id_)
        if not ids:
            output.note(f"nothing {self.NAME}s it; nothing was written")
        output.data({"ids": ids, "target": arguments.event, "context": arguments.context})
        return 0


_MESSAGE: Final = "the id of a message, as weft history --json shows it"

PIN: Final = _Mark(
    NAME="pin",
    HELP="keep a message in every view",
    target=_MESSAGE,
    write=lambda context, event, given: context.pin(event, author=given.author),
    take_back=lambda context, event, given: context.unpin(event, author=given.author),
    told="A message of a tool call is kept with the whole call. Prints the id of the pin.",
)
HIDE: Final = _Mark(
    NAME="hide",
    HELP="leave a message out of every view; the history keeps it",
    target=_MESSAGE,
    write=lambda context, event, given: context.hide(event, author=given.author),
    take_back=lambda context, event, given: context.unhide(event, author=given.author),
    told="A message of a tool call is left out with the whole call. Prints the id of the hide."
    " To remove what it says from every file, use weft erase.",
)
REVOKE: Final = _Mark(
    NAME="revoke",
    HELP="take back a pin, a hide, a fact, a summary, a setting, a revoke ...",
    target="the id of an event that is no message, as weft history --events shows it",
    write=lambda context, event, given: context.revoke(
        event, reason=given.reason, author=given.author
    ),
    take_back=None,
    told="It is as if the event had never been; revoking the revoke brings it back. Prints its id.",
)

"""``weft erase``: events, a note or a whole context, for good and everywhere."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING, Final

from weft_engine.errors import CallerError
from weft_server.cli.erasures import as_json, line
from weft_server.cli.output import Output
from weft_server.cli.store_file import add_store, check_exists, open_to_write

if TYPE_CHECKING:
    from weft_engine.storage.erasures import ErasureRow

NAME: Final = "erase"
HELP: Final = "erase events, a note or a whole context, for good and on every replica"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    parser.add_argument("context", metavar="CONTEXT", help="its name, such as acme/chat-42")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--event", nargs="+", metavar="ID", help="events, by their ids")
    what.add_argument("--note", metavar="NAME", help="all text that was ever in a note")
    what.add_argument(
        "--everything", action="store_true", help="all that the context holds, its history too"
    )
    parser.add_argument(
        "--reason",
        required=True,
        metavar="TEXT",
        help="why; it is kept and shown everywhere, so it must not repeat what is erased",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before erasing everything")
    parser.epilog = (
        "Returns when nothing of it is left in this store's files. Other replicas erase it as soon"
        " as they hear of it; weft erasures shows which have."
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    check_exists(arguments.store)
    if arguments.everything and not arguments.yes:
        _ask(arguments.context, output)
    rows = asyncio.run(_run(arguments))
    for row in rows:
        output.say(line(row))
    output.data([as_json(row) for row in rows])
    return 0


def _ask(context: str, output: Output) -> None:
    """Go on only if whoever sits there types the name of the context."""
    hint = "repeat the command with --yes"
    if not sys.stdin.isatty():
        raise CallerError(f"erasing all of {context!r} needs to be confirmed", hint=hint)
    output.note(f"this erases all of {context!r}, on every replica and for good")
    if input("type the name of the context to go on: ") != context:
        raise CallerError("that is another name; nothing was erased", hint=hint)


async def _run(arguments: argparse.Namespace) -> list[ErasureRow]:
    async with await open_to_write(arguments.store) as replica:
        return await replica.context(arguments.context).erase(
            events=arguments.event,
            note=arguments.note,
            everything=arguments.everything,
            reason=arguments.reason,
        )

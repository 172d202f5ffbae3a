"""``weft note``: the text of a note, as it is or as it was."""

from __future__ import annotations

import argparse
import asyncio
from typing import Final

from weft_server.cli.at import add_at, look_back
from weft_server.cli.output import Output
from weft_server.cli.store_file import add_context, add_store, held_context, open_to_read

NAME: Final = "note"
HELP: Final = "show the text of a note"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_context(parser)
    parser.add_argument("note", metavar="NOTE", help="its name, such as plan")
    add_store(parser)
    add_at(parser)
    parser.epilog = "A note that nobody has written to is empty. With --json: note and text."


def run(arguments: argparse.Namespace, output: Output) -> int:
    return asyncio.run(_run(arguments, output))


async def _run(arguments: argparse.Namespace, output: Output) -> int:
    async with await open_to_read(arguments.store) as replica:
        context = await held_context(replica, arguments)
        note = (await look_back(replica, context, arguments.at)).note(arguments.note)
        text = await note.text()
    output.data({"note": note.name, "text": text})
    if text:
        output.say(text.removesuffix("\n"))
    elif not output.as_json:
        output.note("the note is empty")
    return 0

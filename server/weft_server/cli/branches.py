"""``weft branches``: which branches a context has."""

from __future__ import annotations

import argparse
import asyncio
from typing import Final

from weft_server.cli.output import Output, one_line
from weft_server.cli.store_file import add_context, add_store, held_context, open_to_read
from weft_server.cli.wording import utc_time

NAME: Final = "branches"
HELP: Final = "list the branches of a context"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_context(parser)
    add_store(parser)
    parser.epilog = "With --json: an object a line. `messages` are those written on the branch."


def run(arguments: argparse.Namespace, output: Output) -> int:
    return asyncio.run(_run(arguments, output))


async def _run(arguments: argparse.Namespace, output: Output) -> int:
    async with await open_to_read(arguments.store) as replica:
        context = await held_context(replica, arguments)
        found = await context.branches()
    names = {one.id: one.name for one in found}
    if found:
        output.say("messages  begun                id and name")
    for one in found:
        parent = "" if one.parent is None else f", of {one_line(names[one.parent])}"
        revoked = ", revoked" if one.revoked else ""
        closed = "" if one.closed is None else f", closed {one_line(one.closed)}".rstrip()
        output.say(
            f"{one.messages:8,}  {utc_time(one.time_ms)}  {one.id}"
            f"  {one_line(one.name)}{parent}{revoked}{closed}"
        )
        output.data(
            {
                "id": one.id,
                "name": one.name,
                "parent": one.parent,
                "begun_ms": one.time_ms,
                "author": one.author,
                "messages": one.messages,
                "closed": one.closed,
                "revoked": one.revoked,
            }
        )
    if not found:
        output.note(f"{one_line(context.name)} has no branches but main")
    return 0

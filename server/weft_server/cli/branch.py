"""``weft branch``: begin a branch of a context."""

from __future__ import annotations

import argparse
import asyncio
from typing import Final

from weft_server.cli.branch_option import add_branch, on_branch
from weft_server.cli.output import Output
from weft_server.cli.store_file import (
    add_context,
    add_store,
    check_exists,
    held_context,
    open_to_write,
)

NAME: Final = "branch"
HELP: Final = "begin a branch of a context"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_context(parser)
    parser.add_argument("name", metavar="NAME", help="what it is called; need not be unique")
    add_store(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--after", metavar="EVENT", help="the last message that belongs to it")
    where.add_argument(
        "--before", metavar="EVENT", help="the message that it goes another way from"
    )
    add_branch(parser)
    parser.add_argument("--author", help="a name to tell people and agents apart")
    parser.epilog = "Prints the id of the branch once it is on disk. Without a message: from now."


def run(arguments: argparse.Namespace, output: Output) -> int:
    return asyncio.run(_run(arguments, output))


async def _run(arguments: argparse.Namespace, output: Output) -> int:
    check_exists(arguments.store)
    async with await open_to_write(arguments.store) as replica:
        context = await held_context(replica, arguments)
        parent = await on_branch(context, arguments.branch)
        begun = await parent.branch(
            arguments.name,
            at=arguments.after,
            before=arguments.before,
            author=arguments.author,
        )
    output.say(str(begun.branch_id))
    output.data({"id": begun.branch_id, "context": context.name, "name": arguments.name})
    return 0

"""``weft search``: what was said about something, in one context, some, or all."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from weft_engine.errors import CallerError, StoreLocked
from weft_server.cli.branch_option import on_branch
from weft_server.cli.output import Output, one_line
from weft_server.cli.store_file import (
    add_prefix,
    add_store,
    check_exists,
    held_context,
    open_to_read,
    open_to_write,
    positive,
)
from weft_server.cli.wording import utc_time

if TYPE_CHECKING:
    from weft_engine.replica.replica import Replica
    from weft_engine.replica.search_hit import Hit

NAME: Final = "search"
HELP: Final = "find messages, facts and notes by their words"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "query",
        metavar="QUERY",
        help='words that must all be there; "a phrase", begin*, one OR other, -without',
    )
    add_store(parser)
    among = parser.add_mutually_exclusive_group()
    among.add_argument("--context", metavar="CONTEXT", help="only in this one")
    add_prefix(among)
    parser.add_argument(
        "--branch",
        metavar="BRANCH",
        help="only what a branch of the context shows, by its id or name (default: all of them)",
    )
    parser.add_argument(
        "--kind", metavar="KIND", help="only message, fact, summary, note or another kind"
    )
    parser.add_argument("--role", metavar="ROLE", help="only messages of user, assistant ...")
    parser.add_argument("--author", metavar="AUTHOR", help="only what this author wrote")
    parser.add_argument("--newest", action="store_true", help="newest first, not the best first")
    parser.add_argument(
        "--limit", type=positive, default=20, metavar="N", help="show at most N (default: 20)"
    )
    parser.add_argument(
        "--readonly",
        action="store_true",
        help="keep no index in the store: slower, but the file stays as it is",
    )
    parser.epilog = (
        "The first search makes an index in the store. Where another process writes in it, the"
        " index is completed in memory. With --json: an object a line. A query that begins with a"
        " minus goes behind --."
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    return asyncio.run(_run(arguments, output))


async def _run(arguments: argparse.Namespace, output: Output) -> int:
    check_exists(arguments.store)
    async with AsyncExitStack() as stack:
        replica = await stack.enter_async_context(await _opened(arguments))
        context, branch = None, None
        if arguments.context is not None:
            chat = await held_context(replica, arguments)
            context = chat.name
            branch = (await on_branch(chat, arguments.branch)).branch_id
        elif arguments.branch is not None:
            raise CallerError(
                "--branch is of a context, and none is given", hint="give --context, too"
            )
        hits = await replica.searching.find(
            arguments.query,
            context=context,
            branch=branch,
            prefix=arguments.prefix,
            kind=arguments.kind,
            role=arguments.role,
            author=arguments.author,
            order="newest" if arguments.newest else "relevance",
            limit=arguments.limit,
        )
    for hit in hits:
        _show(hit, output)
    if not hits:
        output.note("nothing matches")
    return 0


async def _opened(arguments: argparse.Namespace) -> Replica:
    if not arguments.readonly:
        try:
            return await open_to_write(arguments.store)
        except StoreLocked:
            pass  # Its writer keeps the index, if it searches; we complete it in memory.
    return await open_to_read(arguments.store)


def _show(hit: Hit, output: Output) -> None:
    output.data(
        {
            "context": hit.context,
            "kind": hit.kind,
            "id": hit.id,
            "note": hit.note,
            "role": hit.role,
            "author": hit.author,
            "branch": hit.branch,
            "time_ms": hit.time_ms,
            "snippet": hit.snippet,
            "marks": hit.marks,
            "score": hit.score,
        }
    )
    what = hit.role or hit.kind
    author = "" if hit.author in (None, what) else f" · {one_line(hit.author or '')}"
    name = hit.id or one_line(hit.note or "")
    output.say(f"{utc_time(hit.time_ms)}  {one_line(hit.context)}  {what}{author}  {name}")
    output.say_marked(hit.snippet, hit.marks, before="    ")
    output.say()

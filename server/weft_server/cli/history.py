"""``weft history``: what was said in a context, in reading order; or everything that happened."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from weft_server.cli.at import add_at, look_back
from weft_server.cli.branch_option import add_branch, on_branch
from weft_server.cli.output import Output, one_line
from weft_server.cli.store_file import add_context, add_store, held_context, open_to_read, positive
from weft_server.cli.wording import body, event_text, utc_time

if TYPE_CHECKING:
    from weft_engine.replica.context import Context
    from weft_engine.replica.history import Said
    from weft_engine.replica.past import Past

NAME: Final = "history"
HELP: Final = "show what was said in a context"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_context(parser)
    add_store(parser)
    add_at(parser)
    add_branch(parser)
    parser.add_argument("--limit", type=positive, metavar="N", help="show at most N (default: all)")
    parser.add_argument("--reverse", action="store_true", help="newest first")
    parser.add_argument(
        "--events",
        action="store_true",
        help="every event of every kind and branch, by time, and what is wrong with the rest",
    )
    parser.add_argument("--full", action="store_true", help="do not cut long messages")
    parser.epilog = "With --json: an object a line, with the whole event."


def run(arguments: argparse.Namespace, output: Output) -> int:
    return asyncio.run(_run(arguments, output))


async def _run(arguments: argparse.Namespace, output: Output) -> int:
    async with await open_to_read(arguments.store) as replica:
        context = await held_context(replica, arguments)
        context = await on_branch(context, arguments.branch)
        then = await look_back(replica, context, arguments.at)
        shown = 0
        async for said in _said(then, arguments):
            _show(said, arguments, output)
            shown += 1
            if shown == arguments.limit:
                break
        problems = await then.problems()
        is_all = arguments.events and then is context
        kept_out = await context.kept_out() if is_all else []
    if not shown and not output.as_json:
        what = "events" if arguments.events else "messages"
        by_when = "" if then is context else f" at {arguments.at}"
        output.note(f"{arguments.context} has no {what}{by_when}")
    if arguments.events:
        for key, reason in problems:
            output.say(f"no event: {one_line(key)!r}: {one_line(reason)}")
            output.data({"problem": reason, "key": key})
        for record, reason in kept_out:
            output.say(f"not in the notes: record {record[:16]}: {reason}")
            output.data({"problem": reason, "record": record})
    elif problems:
        output.note(f"{len(problems)} entries are no events; --events lists them")
    return 0


def _said(context: Context | Past, arguments: argparse.Namespace) -> AsyncIterator[Said]:
    if arguments.events:
        return context.events(newest_first=arguments.reverse)
    return context.history(newest_first=arguments.reverse)


def _show(said: Said, arguments: argparse.Namespace, output: Output) -> None:
    from weft_engine.events.codec import encode_event
    from weft_engine.events.event import Message, Unknown

    event = said.event
    what = event.body
    if output.as_json:
        known: object = {"kind": what.kind} if isinstance(what, Unknown) else None
        output.data(
            {
                "id": said.id,
                "time_ms": said.time_ms,
                "tokens": said.tokens,
                "event": known or json.loads(encode_event(event)),
            }
        )
        return
    kind = what.role.value if isinstance(what, Message) else type(what).__name__.lower()
    author = "" if event.author == kind else f" · {one_line(event.author)}"
    tokens = "" if said.tokens is None else f" · {said.tokens:,} tokens"
    output.say(f"{utc_time(said.time_ms)}  {kind}{author}{tokens}  {said.id}")
    output.say(body(event_text(event), full=arguments.full))
    output.say()

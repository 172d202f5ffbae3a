"""``weft summaries``: the summaries of a context, and which of them stands."""

from __future__ import annotations

import argparse
import asyncio
from typing import Final

from weft_server.cli.branch_option import add_branch, on_branch
from weft_server.cli.output import Output, one_line
from weft_server.cli.store_file import add_context, add_store, held_context, open_to_read
from weft_server.cli.wording import body, counted, utc_time

NAME: Final = "summaries"
HELP: Final = "show the summaries of a context and which of them stands"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_context(parser)
    add_store(parser)
    add_branch(parser)
    parser.add_argument("--full", action="store_true", help="do not cut long texts")
    parser.epilog = (
        "Oldest first. One stands at most; the others were beaten by one that covers more, revoked,"
        " or do not apply. With --json: an object a line."
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    return asyncio.run(_run(arguments, output))


async def _run(arguments: argparse.Namespace, output: Output) -> int:
    async with await open_to_read(arguments.store) as replica:
        context = await held_context(replica, arguments)
        found = await (await on_branch(context, arguments.branch)).summaries()
    if not found:
        output.note(f"{one_line(context.name)} has no summaries")
    for one in found:
        output.data(
            {
                "id": one.id,
                "time_ms": one.time_ms,
                "by": one.by,
                "count": one.count,
                "late": one.late,
                "state": one.state.value,
                "reason": one.reason,
                "text": one.text,
            }
        )
        late = f", {one.late:,} late" if one.late else ""
        output.say(
            f"{utc_time(one.time_ms)}  {one.state.value} · {counted(one.count, 'message')}{late}"
            f" · {one_line(one.by)}  {one.id}"
        )
        if one.reason is not None:
            output.say(f"({one_line(one.reason)})")
        output.say(body(one.text, full=arguments.full))
        output.say()
    return 0

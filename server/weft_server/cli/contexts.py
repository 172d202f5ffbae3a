"""``weft contexts``: which contexts a store holds."""

from __future__ import annotations

import argparse
import asyncio
from typing import Final

from weft_server.cli.output import Output, one_line
from weft_server.cli.store_file import add_prefix, add_store, open_to_read
from weft_server.cli.wording import utc_time

NAME: Final = "contexts"
HELP: Final = "list the contexts of a store"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    add_prefix(parser)
    parser.epilog = "With --json: an object a line."


def run(arguments: argparse.Namespace, output: Output) -> int:
    return asyncio.run(_run(arguments, output))


async def _run(arguments: argparse.Namespace, output: Output) -> int:
    from weft_engine.records.clock import hlc_ms
    from weft_server.cli.exporting import states

    count = 0
    async with await open_to_read(arguments.store) as replica:
        async for state in states(replica, arguments.prefix):
            messages = await replica.ask(state.name, lambda table, _: table.placed())
            if count == 0:
                output.say("messages  last written         context")
            count += 1
            output.say(f"{messages or 0:8,}  {utc_time(hlc_ms(state.hlc))}  {one_line(state.name)}")
            output.data(
                {
                    "context": state.name,
                    "messages": messages or 0,
                    "records": state.records,
                    "last_written_ms": hlc_ms(state.hlc),
                    "fingerprint": state.fingerprint.hex(),
                }
            )
    if count == 0:
        wanted = f" whose names begin with {arguments.prefix!r}" if arguments.prefix else ""
        output.note(f"{arguments.store} holds no contexts{wanted}")
    return 0

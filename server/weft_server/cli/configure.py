"""``weft configure``: what the views of a context use on every replica."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING, Any, Final

from weft_server.cli.branch_option import add_branch, on_branch
from weft_server.cli.output import Output, one_line
from weft_server.cli.policy_option import add_policy, policy_of
from weft_server.cli.store_file import (
    add_context,
    add_store,
    held_context,
    open_to_read,
    open_to_write,
)
from weft_server.cli.view import FORMATS, tokens

if TYPE_CHECKING:
    from weft_engine.replica.settings import Settings

NAME: Final = "configure"
HELP: Final = "set or show what the views of a context use"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_context(parser)
    add_store(parser)
    add_branch(parser)
    parser.add_argument("--budget", type=tokens, metavar="N", help="tokens")
    parser.add_argument(
        "--reserve", type=tokens, metavar="N", help="tokens of it for tools and the reply"
    )
    add_policy(parser)
    parser.add_argument("--format", choices=FORMATS, help="what views are counted in")
    parser.add_argument("--tokenizer", metavar="NAME", help="what counts: o200k_base, cl100k_base")
    parser.add_argument(
        "--trigger",
        type=float,
        metavar="SHARE",
        help="of the budget, above which views call for compaction, such as 0.7",
    )
    parser.epilog = "Writes only what differs, and shows what holds then."


def run(arguments: argparse.Namespace, output: Output) -> int:
    return asyncio.run(_run(arguments, output))


async def _run(arguments: argparse.Namespace, output: Output) -> int:
    wanted: dict[str, Any] = {
        "budget": arguments.budget,
        "reserved": arguments.reserve,
        "policy": policy_of(arguments.policy),
        "format": arguments.format,
        "tokenizer": arguments.tokenizer,
        "trigger": arguments.trigger,
    }
    asks = any(value is not None for value in wanted.values())
    opening = open_to_write if asks else open_to_read
    async with await opening(arguments.store) as replica:
        if asks:
            context = replica.context(arguments.context)
        else:
            context = await held_context(replica, arguments)
        context = await on_branch(context, arguments.branch)
        wrote = await context.configure(**wanted) if asks else False
        settings = await context.settings()
    shown = _shown(settings)
    for name, value in shown.items():
        output.say(f"{name:<10} {one_line(str(value))}")
    output.data({**shown, "changed": wrote})
    if asks and not wrote:
        output.note("it is so already; nothing was written")
    return 0


def _shown(settings: Settings) -> dict[str, object]:
    from weft_engine.views.spec import RESERVED_DIVISOR

    policy, reserved = settings.policy, settings.reserved
    if reserved is None:
        reserved = settings.budget // RESERVED_DIVISOR
    return {
        "budget": settings.budget,
        "reserved": reserved,
        "policy": f"{policy.name}:{policy.config}",
        "format": settings.format,
        "tokenizer": settings.tokenizer,
        "trigger": settings.trigger / 1000,
    }

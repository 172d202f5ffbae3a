"""``weft stats``: what the bytes of a store are used for."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from weft_engine.limits import KIB
from weft_server.cli.output import Output, one_line
from weft_server.cli.store_file import add_store, check_path, positive
from weft_server.cli.wording import counted

if TYPE_CHECKING:
    from weft_engine.storage.usage import ContextUsage, Usage

NAME: Final = "stats"
HELP: Final = "show what the bytes of a store are used for"

_LIMIT: Final = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    parser.add_argument("--context", metavar="CONTEXT", help="of the contexts, only this one")
    parser.add_argument(
        "--limit",
        type=positive,
        default=_LIMIT,
        metavar="N",
        help="show so many of the largest contexts (%(default)d)",
    )
    parser.epilog = (
        "The uses add up to what all that is committed takes in the file; the log holds the newest"
        " pages until they are folded in. With --json: bytes, and every context."
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    from weft_engine.storage.usage import measure

    check_path(arguments.store)
    usage = measure(arguments.store, context=arguments.context)
    output.data(
        {
            "file": usage.file,
            "on_disk": usage.on_disk,
            "log": usage.log,
            "lease": usage.lease,
            "kept": usage.kept,
            "estimate": usage.is_estimate,
            "uses": usage.uses,
            "events": usage.events,
            "event_json": usage.json,
            "contexts": [{**asdict(one), "total": one.total} for one in usage.contexts],
        }
    )
    if arguments.context is None:
        _say_uses(usage, output)
    _say_contexts(usage, arguments.limit, output)
    return 0


def _say_uses(usage: Usage, output: Output) -> None:
    told = " (an estimate: this SQLite can't count pages)" if usage.is_estimate else ""
    output.say(f"{_human(usage.file):>10}  the store{told}")
    for use, size in sorted(usage.uses.items(), key=lambda item: -item[1]):
        if size:
            output.say(f"{_human(size):>10}  {size / max(1, usage.file):6.1%}  {use}")
    output.say(f"{_human(usage.on_disk):>10}  on disk now, and a log of {_human(usage.log)}")
    if usage.kept:
        output.say(f"{_human(usage.kept):>10}  in files beside it that were replaced and kept")
    if usage.unindexed:
        output.say("the event index is behind, so not every event is counted yet")
    elif usage.json:
        output.say(
            f"{usage.events:,} events of {usage.json / usage.events:,.0f} bytes of JSON each;"
            f" {usage.file / usage.events:,.0f} bytes of the file each,"
            f" {usage.file / usage.json:.2f} times the JSON"
        )
    output.say()


def _say_contexts(usage: Usage, limit: int, output: Output) -> None:
    output.say("     total       JSON  envelopes    updates     events    records  context")
    for context in usage.contexts[:limit]:
        output.say(_line(context))
    if len(usage.contexts) > limit:
        left = usage.contexts[limit:]
        output.say(
            f"{_human(sum(context.total for context in left)):>10}  in"
            f" {counted(len(left), 'more context')}; --limit shows more"
        )


def _line(context: ContextUsage) -> str:
    return (
        f"{_human(context.total):>10} {_human(context.json):>10} {_human(context.envelopes):>10}"
        f" {_human(context.updates):>10} {context.events:10,} {context.records:10,}"
        f"  {one_line(context.name)}"
    )


def _human(size: int) -> str:
    """``1.5 MiB``; three digits or so."""
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if abs(value) < KIB:
            break
        value, unit = value / KIB, larger
    return f"{value:,.0f} {unit}" if unit == "B" or abs(value) >= 100 else f"{value:,.1f} {unit}"

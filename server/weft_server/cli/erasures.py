"""``weft erasures``: what was erased, why, by whom, and which replicas have done so."""

from __future__ import annotations

import argparse
import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from weft_server.cli.output import Output, one_line
from weft_server.cli.store_file import add_store, open_to_read

if TYPE_CHECKING:
    from weft_engine.storage.erasures import ErasureRow

NAME: Final = "erasures"
HELP: Final = "list what was erased, why, and which replicas have confirmed it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    parser.epilog = (
        "A replica confirms when nothing of it is left in its files. What it says of itself is"
        " taken on trust."
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    rows = asyncio.run(_run(arguments))
    for row in rows:
        output.say(line(row))
        for store in row.confirmed:
            output.say(f"    confirmed by store {store.hex()}")
    output.data([as_json(row) for row in rows])
    if not rows:
        output.say("nothing was erased")
    return 0


async def _run(arguments: argparse.Namespace) -> list[ErasureRow]:
    async with await open_to_read(arguments.store) as replica:
        return await replica.erasing.all()


def line(row: ErasureRow) -> str:
    """An erasure in one line."""
    if row.events:
        what = f"event {row.events[0]}"
        if len(row.events) > 1:
            what += f" and {len(row.events) - 1} more"
    else:
        what = "everything" if row.note is None else f"note {one_line(row.note)}"
    state = "done here" if row.is_done else "pending here"
    when = datetime.fromtimestamp(row.time_ms / 1000, UTC).isoformat(timespec="seconds")
    return (
        f"{when}  {one_line(row.context)}: {what}, {state}, confirmed by {len(row.confirmed)}:"
        f" {one_line(row.reason)} (by {row.by.hex()})"
    )


def as_json(row: ErasureRow) -> dict[str, object]:
    return {
        "eraser": row.eraser.hex(),
        "context": row.context,
        "events": list(row.events),
        "note": row.note,
        "everything": not row.events and row.note is None,
        "reason": row.reason,
        "by": row.by.hex(),
        "time_ms": row.time_ms,
        "done": row.is_done,
        "confirmed": [store.hex() for store in row.confirmed],
    }

"""``weft replay``: the view that a receipt was given for, proved to be the same bytes."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from weft_engine.errors import CallerError, NotFound
from weft_server.cli.input_file import STDIN, read_text, shown_name
from weft_server.cli.output import Output
from weft_server.cli.store_file import add_store, open_to_read
from weft_server.cli.view import show_messages, view_data

if TYPE_CHECKING:
    from weft_engine.replica.replica import Replica
    from weft_engine.views.receipt import Receipt

NAME: Final = "replay"
HELP: Final = "show again what a model was sent, from its receipt"

_FILE_BYTES_MAX: Final = 64 * 1024 * 1024
"""A receipt is small, but it may come with its view."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "receipt",
        metavar="RECEIPT",
        help="a file with a receipt, or with all that `weft view --json` prints; - for stdin; or"
        " the trace id of a view that this store made",
    )
    add_store(parser)
    parser.add_argument("--full", action="store_true", help="do not cut long messages")
    parser.epilog = (
        "Exits with 0 only if the same bytes come out. Otherwise it says what stands against it:"
        " records that are not here, another renderer, or a receipt that does not match."
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    name: str = arguments.receipt
    receipt = read_receipt(name) if name == STDIN or Path(name).is_file() else None
    return asyncio.run(_run(arguments, receipt, output))


async def _run(arguments: argparse.Namespace, receipt: Receipt | None, output: Output) -> int:
    async with await open_to_read(arguments.store) as replica:
        if receipt is None:
            receipt = await find_receipt(replica, arguments.receipt)
        view = await replica.context(receipt.context).replay(receipt)
    output.data({**view_data(view), "identical": True})
    if not output.as_json:
        show_messages(view, output, full=arguments.full)
        output.say(f"byte-identical to the view of receipt {receipt.trace_id!r}")
    return 0


def read_receipt(name: str) -> Receipt:
    """The receipt in a file or from stdin. CallerError or InvalidMessage if there is none."""
    from weft_engine.views.receipt import Receipt

    text = read_text(name, bytes_max=_FILE_BYTES_MAX)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CallerError(
            f"{shown_name(name)} is not JSON: {error}",
            hint="give a receipt, or what weft view --json printed",
        ) from None
    if isinstance(value, dict) and "receipt" in value:
        value = value["receipt"]
    return Receipt.from_json(value)


async def find_receipt(replica: Replica, name: str) -> Receipt:
    """The receipt of a view of this store, by its trace id. NotFound if there is none."""
    try:
        return await replica.receipts.find(name)
    except NotFound as error:
        raise NotFound(
            f"there is no file {name!r}, and this store has no receipt with that trace id",
            hint="give a file with a receipt, or - for stdin; a trace id is known to the store"
            " that made the view",
        ) from error

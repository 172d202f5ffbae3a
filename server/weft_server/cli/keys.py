"""``weft keys``: the public key of the region whose relay has a store."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from weft_server.cli.output import Output
from weft_server.cli.store_file import add_store

NAME: Final = "keys"
HELP: Final = "show the public key of a relay's region, for other regions to trust"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    parser.add_argument(
        "--region-key",
        type=Path,
        metavar="FILE",
        help="the key, if it is not beside the store (STORE.region-key)",
    )
    parser.epilog = "Give it to the relays of other regions: weft serve --trust-region HEX."


def run(arguments: argparse.Namespace, output: Output) -> int:
    from weft_server.region_key import key_file_beside, read_region_key

    path = arguments.region_key or key_file_beside(arguments.store)
    public = read_region_key(path).public.hex()
    output.say(public)
    output.data({"region_key": public, "file": str(path)})
    return 0

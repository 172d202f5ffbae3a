"""``weft backup``: a copy of a store while it is in use."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Final

from weft_server.cli.output import Output
from weft_server.cli.store_file import add_store, check_path

NAME: Final = "backup"
HELP: Final = "copy a store while it is in use"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    parser.add_argument(
        "target", type=Path, metavar="TARGET", help="the copy, a file that is not there yet"
    )
    parser.add_argument(
        "--no-verify",
        action="store_true",
        help="do not check the hashes and signatures of the copy, which takes the longest",
    )
    parser.epilog = (
        "The copy is of one moment, and a store of its own: it can be verified, read and synced,"
        " has another identity and none of the private keys. `weft restore` makes a store of it."
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    from weft_engine.storage.backup import back_up

    check_path(arguments.store)
    began_s = time.monotonic()
    copied = back_up(
        arguments.store,
        arguments.target,
        now_ms=time.time_ns() // 1_000_000,
        random=os.urandom,
        check=None if arguments.no_verify else output.progress,
    )
    took_s = time.monotonic() - began_s
    output.data(
        {
            "backup": str(copied.path),
            "store_id": copied.store.hex(),
            "contexts": copied.contexts,
            "records": copied.records,
            "bytes": copied.bytes,
            "verified": copied.report is not None,
            "seconds": round(took_s, 3),
        }
    )
    checked = "not verified" if copied.report is None else "verified"
    output.say(
        f"{copied.path}: backed up and {checked}; contexts: {copied.contexts:,}, records:"
        f" {copied.records:,}, bytes: {copied.bytes:,}, in {took_s:.1f} s"
    )
    return 0

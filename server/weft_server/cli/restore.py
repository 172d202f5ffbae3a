"""``weft restore``: a store from a backup, with an identity of its own."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Final

from weft_server.cli.output import Output
from weft_server.cli.store_file import add_store, check_path

NAME: Final = "restore"
HELP: Final = "make a store from a backup"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("backup", type=Path, metavar="BACKUP", help="what `weft backup` made")
    add_store(parser)
    parser.add_argument(
        "--replace",
        action="store_true",
        help="put it in the place of a store that is there, which stays as FILE.replaced-TIME",
    )
    parser.epilog = (
        "Every hash and signature of the backup is checked first. The store gets an identity of"
        " its own, so one backup may be restored more than once. What was written after the backup"
        " comes back from a relay with `weft sync`."
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    from weft_engine.storage.backup import restore

    check_path(arguments.store)
    restored = restore(
        arguments.backup,
        arguments.store,
        replace=arguments.replace,
        now_ms=time.time_ns() // 1_000_000,
        random=os.urandom,
        progress=output.progress,
    )
    output.data(
        {
            "store": str(restored.path),
            "store_id": restored.store.hex(),
            "contexts": restored.contexts,
            "records": restored.records,
            "kept": None if restored.kept is None else str(restored.kept),
        }
    )
    output.say(
        f"{restored.path}: restored and verified; contexts: {restored.contexts:,}, records:"
        f" {restored.records:,}"
    )
    if restored.kept is not None:
        output.say(f"what stood there before is {restored.kept}")
    output.note("hint: `weft sync` brings what a relay has beyond the backup")
    return 0

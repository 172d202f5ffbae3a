"""``weft doctor``: what is wrong with a store, what that means, and what to do; or doing it."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from weft_server.cli.output import Output, one_line
from weft_server.cli.store_file import add_store, check_path

if TYPE_CHECKING:
    from weft_engine.storage.diagnosis import Diagnosis
    from weft_engine.storage.repair import Repaired

NAME: Final = "doctor"
HELP: Final = "examine a store, tell what to do, repair it"

_CONTEXTS_SHOWN: Final = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    parser.add_argument(
        "--repair",
        action="store_true",
        help="rebuild the store from every record in it that is sound",
    )
    parser.epilog = (
        "Checks all that `weft verify` checks, and the file, its folder and what waits or was"
        " refused. Exits with 0 only if nothing is wrong. A repair writes a new file from the"
        " records that hashes and signatures prove, and keeps the old one as FILE.damaged-TIME."
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    check_path(arguments.store)
    if arguments.repair:
        return _repair(arguments.store, output)
    return _examine(arguments.store, output)


def _examine(store: Path, output: Output) -> int:
    from weft_engine.storage.diagnosis import examine

    examination = examine(store, progress=output.progress)
    report = examination.report
    output.data(
        {
            "sound": examination.is_sound,
            "records": None if report is None else report.records,
            "contexts": None if report is None else report.contexts,
            "diagnoses": [asdict(diagnosis) for diagnosis in examination.diagnoses],
        }
    )
    for diagnosis in examination.diagnoses:
        _say(diagnosis, output)
    wrong = sum(diagnosis.is_wrong for diagnosis in examination.diagnoses)
    outcome = "nothing is wrong" if examination.is_sound else f"things that are wrong: {wrong}"
    held = "" if report is None else f"; contexts: {report.contexts:,}, records: {report.records:,}"
    output.say(f"{store}: {outcome}{held}")
    return 0 if examination.is_sound else 1


def _say(diagnosis: Diagnosis, output: Output) -> None:
    mark = "WRONG" if diagnosis.is_wrong else "note "
    count = "" if diagnosis.count == 1 and not diagnosis.details else f" ({diagnosis.count:,})"
    output.say(f"{mark}  {one_line(diagnosis.what)}{count}")
    for detail in diagnosis.details:
        output.say(f"         - {one_line(detail)}")
    output.say(f"       means: {one_line(diagnosis.means)}")
    output.say(f"       to do: {one_line(diagnosis.to_do)}")
    output.say()


def _repair(store: Path, output: Output) -> int:
    from weft_engine.storage.repair import repair

    repaired = repair(
        store,
        now_ms=time.time_ns() // 1_000_000,
        random=os.urandom,
        progress=output.progress,
    )
    output.data(
        {
            "store": str(store),
            "kept": str(repaired.kept),
            "saved": repaired.saved,
            "waiting": repaired.waiting,
            "lost": repaired.lost,
            "lost_elsewhere": repaired.lost_elsewhere,
            "unreadable": repaired.unreadable,
            "own_keys": repaired.own_keys,
            "contexts": [asdict(context) for context in repaired.contexts],
        }
    )
    _say_repaired(store, repaired, output)
    return 0


def _say_repaired(store: Path, repaired: Repaired, output: Output) -> None:
    hurt = [one for one in repaired.contexts if one.lost or one.waiting]
    for context in hurt[:_CONTEXTS_SHOWN]:
        output.say(
            f"context {one_line(context.name)}: saved {context.saved:,}, lost here"
            f" {context.lost:,}, waiting for what is missing {context.waiting:,}"
        )
    if len(hurt) > _CONTEXTS_SHOWN:
        output.say(f"... and {len(hurt) - _CONTEXTS_SHOWN:,} more; --json lists them")
    if repaired.lost_elsewhere:
        output.say(f"lost here, of contexts that are not known: {repaired.lost_elsewhere:,}")
    output.say(
        f"{store}: repaired and verified; records saved: {repaired.saved:,}, waiting:"
        f" {repaired.waiting:,}, lost here: {repaired.lost:,}"
    )
    output.say(f"the damaged file is {repaired.kept}")
    if repaired.unreadable:
        output.say(f"could not be read to their end: {', '.join(repaired.unreadable)}")
    if repaired.lost or repaired.waiting:
        output.note(
            "hint: a link to a relay (weft sync) brings back what it has of them; so does a backup,"
            " restored beside it and synced to the same relay"
        )

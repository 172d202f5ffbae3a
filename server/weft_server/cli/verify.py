"""``weft verify``: a store checked against itself, with an exit code that tells."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from weft_server.cli.output import Output, one_line
from weft_server.cli.store_file import add_store, check_path

if TYPE_CHECKING:
    from weft_engine.storage.findings import Finding

NAME: Final = "verify"
HELP: Final = "check every hash, signature, fingerprint and index of a store"

_SHOWN_MAX: Final = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    parser.epilog = (
        "Recomputes everything from the journal and compares. Reads only, and may run while"
        " another process writes. Exits with 0 only if nothing is wrong."
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    from weft_engine.storage.verify import verify

    check_path(arguments.store)
    report = verify(arguments.store, progress=output.progress)
    counts = asdict(report)
    del counts["findings"], counts["findings_total"]
    output.data(
        {
            "sound": report.is_sound,
            **counts,
            "findings_total": report.findings_total,
            "findings": [asdict(finding) for finding in report.findings],
        }
    )
    for finding in report.findings[:_SHOWN_MAX]:
        output.say(_line(finding))
    if report.findings_total > _SHOWN_MAX:
        output.say(f"... and {report.findings_total - _SHOWN_MAX:,} more; --json lists them")
    outcome = "sound" if report.is_sound else f"NOT SOUND, findings: {report.findings_total:,}"
    output.say(f"{arguments.store}: {outcome}")
    output.say(
        f"checked contexts: {report.contexts:,}, records: {report.records:,}, signatures:"
        f" {report.signatures:,}, indexed events: {report.events:,}, waiting records:"
        f" {report.waiting:,}; own records not signed yet: {report.unsigned:,};"
        f" erasures: {report.erasures:,}, of these pending: {report.erasures_pending:,}"
    )
    if not report.is_sound:
        output.note("hint: `weft doctor` tells what it means; with --repair it saves what is sound")
    return 0 if report.is_sound else 1


def _line(finding: Finding) -> str:
    where = [] if finding.context is None else [f"context {one_line(finding.context)}"]
    where += [] if finding.record is None else [f"record {finding.record[:16]}"]
    return ": ".join(
        [", ".join(where), one_line(finding.what)] if where else [one_line(finding.what)]
    )

"""`make views-report` prints the table; it fails where Weft does not keep its promises.

`make views-report ARGS=transcripts.jsonl` asks about other conversations: a line of JSON for each,
with `messages` of the OpenAI chat format.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.views_report.corpus import TRANSCRIPTS, corpus
from tests.views_report.report import failures, measure
from tests.views_report.table import markdown


def main(words: list[str]) -> int:
    path = Path(words[0]) if words else TRANSCRIPTS
    asked = corpus(path)
    if not path.exists():
        print(f"{path.name} is not there, so this is about what was made up:")
    print(f"{asked.name}: {len(asked.messages):,} messages\n", flush=True)
    start = time.monotonic()
    rows = measure(asked)
    print(markdown(rows))
    print(f"\nmeasured in {time.monotonic() - start:.0f} s")
    missed = failures(rows)
    for what in missed:
        print(f"MISSED {what}")
    return int(bool(missed))


sys.exit(main(sys.argv[1:]))

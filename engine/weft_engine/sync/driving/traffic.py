"""How much a link has carried: counted as it goes by, for those who want to know.

Must never know: what is done with the counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from weft_engine.names import RecordHash
from weft_engine.records.gate import Outcome


@dataclass(slots=True)
class Traffic:
    """`bytes_in` and `bytes_out` of frames; `records_in` that came in Records messages, of which
    `copies_in` were here already."""

    bytes_in: int = 0
    bytes_out: int = 0
    records_in: int = 0
    copies_in: int = 0

    def admitted(self, hashes: Iterable[RecordHash], outcome: Outcome) -> None:
        """What the gate made of the records of a message."""
        offered = set(hashes)
        kept = offered.intersection([record.hash for record in outcome.applied])
        kept |= offered.intersection([*outcome.parked, *outcome.dropped])
        kept |= {hash_ for hash_, _ in outcome.refused} & offered
        self.records_in += len(offered)
        self.copies_in += len(offered) - len(kept)

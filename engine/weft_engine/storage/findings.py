"""What a check of a store finds: where, and what is wrong.

Must never know: how anything is checked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

FINDINGS_MAX: Final = 10_000
"""More than this many are counted and not kept."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong. `context` and `record` (a hash in hex) where it concerns one.
    `is_spare`: with something that nothing depends on and that is made anew when it is needed."""

    what: str
    context: str | None = None
    record: str | None = None
    is_spare: bool = False


@dataclass(slots=True)
class Findings:
    kept: list[Finding] = field(default_factory=list)
    total: int = 0

    def add(
        self,
        what: str,
        *,
        context: str | None = None,
        record: bytes | None = None,
        is_spare: bool = False,
    ) -> None:
        self.total += 1
        if len(self.kept) < FINDINGS_MAX:
            hash_ = None if record is None else record.hex()
            self.kept.append(Finding(what, context, hash_, is_spare))

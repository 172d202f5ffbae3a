"""A run of a benchmark: its table, how often it repeats, when it is over, and what failed.

Must never know: what is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.bench.figures import Table
from tests.bench.raw.client import RawFailure


@dataclass
class Run:
    """The table, and how often what is noisy is repeated."""

    table: Table
    rounds: int
    ends_s: float
    """When nothing more is begun, by the monotonic clock."""
    failed: list[str] = field(default_factory=list)

    def attempt(self, what: str, measure: Callable[[], None]) -> None:
        """Do it; what a server did not do, or takes too long, is a failed row, and no end of the
        run."""
        if time.monotonic() > self.ends_s:
            return self.fail(what, TimeoutError("not begun, the time was over"))
        try:
            measure()
        except (RawFailure, TimeoutError) as error:
            self.fail(what, error)

    def fail(self, what: str, error: Exception) -> None:
        self.failed.append(f"{what}: {error}")
        self.table.ok = False
        print(f"{what}: FAILED, {error}", flush=True)

"""What many histories of one kind came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.simulation.history import Result
from tests.simulation.story import ALL_FAULTS


@dataclass(slots=True)
class Totals:
    histories: int = 0
    failed: int = 0
    lost: int = 0
    """Histories in which something acknowledged was lost."""
    diverged: int = 0
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    converged_s: float = 0.0
    """The longest that one took after its last fault."""
    slowest: int = 0
    """Which one that was."""
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, result: Result) -> None:
        self.histories += 1
        self.counts += result.counts
        self.virtual_s += result.virtual_s
        self.cpu_s += result.cpu_s
        if result.converged_s > self.converged_s:
            self.converged_s, self.slowest = result.converged_s, result.seed
        if result.broken is not None:
            self.failed += 1
            self.lost += _says(result, "acknowledged", "came back without", "said to be in")
            self.diverged += _says(result, "different", "differs", "loaded anew")

    def details(self) -> Iterator[str]:
        """Each fault and each other thing that was counted."""
        if not self.histories:
            return
        faults = {kind: self.counts[f"step {kind}"] for kind in ALL_FAULTS}
        yield "faults: " + _listed({kind: count for kind, count in faults.items() if count})
        others = {name: n for name, n in self.counts.items() if not name.startswith("step ")}
        yield "counts: " + _listed(dict(sorted(others.items())))

    def __str__(self) -> str:
        faults = sum(self.counts[f"step {kind}"] for kind in ALL_FAULTS)
        return (
            f"{self.histories} histories, {faults} faults,"
            f" {self.counts['records acknowledged']} records acknowledged,"
            f" {self.lost} histories lost one, {self.diverged} diverged, {self.failed} failed;"
            f" converged within {self.converged_s:.1f} s (seed {self.slowest});"
            f" {self.virtual_s / 3600:.1f} h of virtual time,"
            f" {1000 * self.cpu_s / max(1, self.histories):.0f} ms of CPU each"
        )


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _says(result: Result, *what: str) -> bool:
    return any(words in (result.broken or "") for words in what)

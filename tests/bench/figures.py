"""Figures of a benchmark beside what they must reach."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Table:
    """Prints a line for each figure as it comes; `ok` tells whether all reached their bounds."""

    ok: bool = True
    lines: list[str] = field(default_factory=list)

    def add(
        self,
        what: str,
        value: float,
        unit: str,
        *,
        least: float | None = None,
        most: float | None = None,
        note: str = "",
    ) -> None:
        good = (least is None or value >= least) and (most is None or value <= most)
        bound = "" if least is None else f">= {least:g}"
        bound = bound if most is None else f"<= {most:g}"
        mark = "" if not bound else ("ok" if good else "MISSED")
        line = f"{what:58s} {value:10.3f} {unit:8s} {bound:10s} {mark:7s} {note}"
        print(line.rstrip(), flush=True)
        self.lines.append(line)
        self.ok = self.ok and good

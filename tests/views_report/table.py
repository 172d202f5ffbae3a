"""The report as a Markdown table, which can be pasted into the docs as it is.

Must never know: how its figures came about.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from tests.views_report.measures import Row

_HEAD: Final = (
    "budget",
    "strategy",
    "calls",
    "orphaned tool messages",
    "requests refused",
    "over budget",
    "empty",
    "kept prefix",
    "in tokens",
    "steps per 100 calls",
    "room used",
)


def markdown(rows: Iterable[Row]) -> str:
    """A line for each row, padded so that it reads well as text too."""
    lines = [_HEAD, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    ruler = tuple(
        "-" * width if place == 1 else "-" * (width - 1) + ":" for place, width in enumerate(widths)
    )
    return "\n".join(_line(cells, widths) for cells in (lines[0], ruler, *lines[1:]))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        cell.ljust(width) if place == 1 else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return f"| {' | '.join(padded)} |"


def _cells(row: Row) -> tuple[str, ...]:
    return (
        f"{row.budget // 1_000}k",
        row.strategy,
        f"{row.calls:,}",
        f"{row.orphans:,}",
        f"{row.refused:,}",
        f"{row.over:,}",
        f"{row.empty:,}",
        f"{row.kept_share:.1%}",
        f"{row.kept_tokens:.1%}",
        f"{row.steps_per_100:.1f}",
        f"{row.filled_share:.0%}",
    )

"""Regions against the bounds of the mesh: what it costs them to agree, to heal and to forward.

What crosses a link is counted in frames and bytes, with CPU time of the end that did it. Each part
is a module of `tests/bench/regions`. `make bench ONLY=mesh` runs all, `ONLY=mesh:agree` one part.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from importlib import import_module

from tests.bench.figures import Table
from tests.bench.run import Run

PARTS: tuple[str, ...] = ("agree", "copies", "delay", "heal", "joining", "chaos")
"""Modules of `tests/bench/regions`, each with a function `measure(run)`."""
MOST_S = 13 * 60.0


def run(arguments: Sequence[str] = ()) -> bool:
    parser = argparse.ArgumentParser(prog="make bench ONLY=mesh ARGS=...")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all when none is named")
    parser.add_argument("--rounds", type=int, default=3, help="how often what is noisy is repeated")
    wanted = parser.parse_args(arguments)
    unknown = [name for name in wanted.parts if name not in PARTS]
    if unknown:
        parser.error(f"no part named {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    one = Run(Table(), wanted.rounds, time.monotonic() + MOST_S)
    for name in wanted.parts or PARTS:
        print(f"### {name}", flush=True)
        import_module(f"tests.bench.regions.{name}").measure(one)
    print("\n" + "\n".join(line.rstrip() for line in one.table.lines))
    for failure in one.failed:
        print(f"FAILED  {failure}")
    return one.table.ok

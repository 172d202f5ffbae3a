"""Each safety rule, broken once: a seed must notice it.

``python -m tests.simulation.mutants`` breaks one rule after the other, each in processes of its
own, and runs histories until one fails. A rule that can be broken without anything failing is a
rule that nothing tests: then the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from tests.simulation import disk
from tests.simulation.__main__ import PRELOADED
from tests.simulation.breaking import Mutant
from tests.simulation.history import run
from tests.simulation.kinds import Kind as SimKind
from tests.simulation.mutant_list import MUTANTS

SEEDS_MAX: Final = 400
_FOUND: Final = 3
"""Exit status of a process in which a history failed."""
_MISFIT: Final = 4
_OF_A_MISFIT: Final = re.compile(r"<locals>\.[\w<>]+\(\) (takes|missing|got) ")
"""What a function that stands in for another one says if it is called as that never was."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("--only", help="mutants whose rule or name contains this")
    parser.add_argument("--seeds", default=f"0:{SEEDS_MAX}", help="FIRST:LAST")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    first, last = map(int, options.seeds.split(":"))
    if options.inside is not None:
        return _inside(options.inside, range(first, last))
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS), "names tell them apart"
    chosen = [m for m in MUTANTS if options.only is None or options.only in f"{m.rule}: {m.name}"]
    return _outside(chosen, range(first, last), options.jobs)


def _inside(name: str, seeds: range) -> int:
    """The first seed that fails with this mutant and holds without it."""
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    break_one(name)
    if mutant.test is not None:
        return _tested(mutant)
    for seed in seeds:
        broken = run(seed, kind=mutant.kind).broken
        if broken is not None and _holds(seed, mutant.kind):
            return _say(f"seed {seed}", broken.splitlines()[0])
    return 0


@contextmanager
def _broken_children(name: str) -> Iterator[None]:
    """The rule is broken in processes that a test starts, too: relays are such."""
    before = os.environ.get("PYTHONPATH")
    with TemporaryDirectory(prefix="weft-mutant-") as folder:
        module = f"tests.simulation.{Path(__file__).stem}"
        lines = f"from {module} import break_one\n\nbreak_one({name!r})\n"
        Path(folder, "sitecustomize.py").write_text(lines)
        paths = [folder, os.getcwd(), *([] if before is None else [before])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        yield
    # Nothing that is started later finds what is gone.
    os.environ["PYTHONPATH"] = "" if before is None else before


def break_one(name: str) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    if mutant.break_it is not None:
        mutant.break_it()


def _tested(mutant: Mutant) -> int:
    """Whether a test that passes without the mutant fails."""
    failed = _Failed()
    imported = "ignore::pytest.PytestAssertRewriteWarning"
    options = ["-q", "-x", "-p", "no:cacheprovider", "-W", imported]
    assert mutant.test is not None
    with _broken_children(mutant.name):
        status = pytest.main([*options, mutant.test], plugins=[failed])
    if status is not pytest.ExitCode.TESTS_FAILED:
        return int(status)
    print()
    unbroken = [sys.executable, "-m", "pytest", *options, failed.name]
    if subprocess.run(unbroken, stdout=subprocess.DEVNULL, check=False).returncode:
        print(f"{failed.name} fails without the mutant, too")
        return 1
    return _say("test", failed.name, failed.why)


def _say(by: str, what: str, why: str = "") -> int:
    """What noticed it, and what that took."""
    times = os.times()
    spent_s = times.user + times.system + times.children_user + times.children_system
    print(f"{by}\t{spent_s:.0f}\t{what}")
    return _MISFIT if _OF_A_MISFIT.search(why or what) else _FOUND


class _Failed:
    name = why = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.name = report.nodeid
            self.why = report.longreprtext.replace("\n", " ")


def _holds(seed: int, kind: SimKind) -> bool:
    """Whether the engine as it is passes this history."""
    command = [sys.executable, "-m", "tests.simulation", "--seed", str(seed), "--kind", kind]
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0


def _outside(mutants: Sequence[Mutant], seeds: range, jobs: int) -> int:
    library = disk.build()
    if library is None:
        print("no C compiler: rules about disks can't be tested here")
    environment = {**os.environ, PRELOADED: "1", "LD_PRELOAD": str(library or "")}
    waiting = [mutant for mutant in mutants if mutant.break_it is not None]
    running: list[tuple[Mutant, subprocess.Popen[str]]] = []
    survivors = 0
    for mutant in mutants:
        if mutant.break_it is None:
            print(f"{mutant.rule:44} | {mutant.name:30} | not there yet")
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop(0)
            command = [sys.executable, "-m", "tests.simulation.mutants", "--inside", mutant.name]
            command += ["--seeds", f"{seeds.start}:{seeds.stop}"]
            process = subprocess.Popen(
                command,
                env=environment,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            running.append((mutant, process))
        for entry in list(running):
            mutant, process = entry
            if process.poll() is None:
                continue
            running.remove(entry)
            said = process.communicate()[0].strip()
            by, spent_s, what = ([*said.rpartition("\n")[2].split("\t", 2), "", ""])[:3]
            survivors += process.returncode != _FOUND
            if process.returncode == 0:
                found = f"SURVIVED {mutant.test or f'{len(seeds)} histories'}"
            elif process.returncode == _FOUND:
                found = f"killed by {by} ({spent_s} s of CPU): {what[:90]}"
            elif process.returncode == _MISFIT:
                found = f"OUT OF DATE, {by}: {what[:90]}"
            else:
                found = f"NOT RUN: the process ended with {process.returncode}"
            print(f"{mutant.rule:44} | {mutant.name:30} | {found}", flush=True)
        time.sleep(0.05)
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main())

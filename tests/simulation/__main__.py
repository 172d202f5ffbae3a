"""Run histories: ``python -m tests.simulation --seeds 0:300 --jobs 2``; one with ``--seed 17``.

Runs itself again with the disk library preloaded, where it can be built. Ends with a line of
totals; a history that fails prints the command that repeats it, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from selectors import EVENT_READ
from selectors import DefaultSelector as Selector
from typing import Final

from tests.simulation import disk
from tests.simulation.history import Result, run
from tests.simulation.story import FAULTS

PRELOADED: Final = "WEFT_SIMPRELOADED"


def main() -> int:
    options = _options()
    preload()
    if options.digest is not None:
        return _digests(options.digest)
    if options.part is not None:
        return _part(options.part)
    if options.seed is not None:
        return _one(options.seed)
    first, _, last = options.seeds.rpartition(":")
    return _many(range(int(first or 0), int(last)), jobs=options.jobs, stop=options.stop)


def preload() -> None:
    """Go on with the disk library, in this process; without it where it can't be built."""
    if PRELOADED in os.environ:
        return
    library = disk.build()
    environment = {**os.environ, PRELOADED: "1"}
    if library is None:
        print("no C compiler: disks lose nothing here, and are never full")
    else:
        environment["LD_PRELOAD"] = f"{library} {os.environ.get('LD_PRELOAD', '')}".strip()
    sys.stdout.flush()
    os.execve(
        sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], environment
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="0:300", help="FIRST:LAST, or how many from 0")
    parser.add_argument("--seed", type=int, help="run this one, and show what happens")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--digest", help="FIRST:LAST: print a hash of the trace of each")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--stop", action="store_true", help="stop at the first that fails")
    return parser.parse_args()


def _one(seed: int) -> int:
    result = run(seed, show=print)
    print(f"seed {seed}: {result.broken or 'all holds'} (trace {result.digest})")
    return int(result.broken is not None)


def _many(seeds: range, *, jobs: int, stop: bool) -> int:
    began = time.monotonic()
    totals: Counter[str] = Counter()
    failed: list[Result] = []
    virtual_s = cpu_s = 0.0
    done = 0
    for result in _results(seeds, jobs):
        done += 1
        totals += result.counts
        virtual_s += result.virtual_s
        cpu_s += result.cpu_s
        if result.broken is not None:
            failed.append(result)
            print(
                f"seed {result.seed}: {result.broken}\n    make sim SEED={result.seed}", flush=True
            )
            if stop:
                break
    for line in _summary(totals):
        print(line)
    lost = sum(_says(result, "acknowledged", "came back without") for result in failed)
    diverged = sum(_says(result, "different", "differs", "loaded anew") for result in failed)
    print(
        f"{done} histories, {sum(totals[f'step {kind}'] for kind in FAULTS)} faults,"
        f" {totals['records acknowledged']} records acknowledged,"
        f" {lost} histories lost one, {diverged} diverged, {len(failed)} failed;"
        f" {virtual_s / 3600:.1f} h of virtual time,"
        f" {1000 * cpu_s / max(1, done):.0f} ms of CPU each,"
        f" {time.monotonic() - began:.1f} s on {jobs} processes"
    )
    return int(bool(failed))


def _results(seeds: range, jobs: int) -> Iterator[Result]:
    """As they come, from `jobs` processes with every so many-th seed each."""
    if jobs <= 1:
        gc.freeze()
        yield from map(run, seeds)
        return
    with Selector() as selector:
        for job in range(jobs):
            part = f"{seeds.start + job}:{seeds.stop}:{jobs}"
            command = [sys.executable, "-m", "tests.simulation", "--part", part]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            selector.register(process.stdout, EVENT_READ, process)
        while selector.get_map():
            for key, _ in selector.select():
                process = key.data
                assert process.stdout is not None
                line = process.stdout.readline()
                if line:
                    yield _read(line)
                    continue
                selector.unregister(process.stdout)
                process.stdout.close()
                if process.wait():
                    raise SystemExit(f"a process of the simulator ended with {process.returncode}")


def _part(text: str) -> int:
    """Histories for another process: one line of JSON for each."""
    gc.freeze()
    for seed in range(*map(int, text.split(":"))):
        result = run(seed)
        print(json.dumps([getattr(result, name) for name in Result.__slots__]), flush=True)
    return 0


def _digests(text: str) -> int:
    for seed in range(*map(int, text.split(":"))):
        print(seed, run(seed).digest)
    return 0


def _read(line: str) -> Result:
    fields = dict(zip(Result.__slots__, json.loads(line), strict=True))
    return Result(**fields | {"counts": Counter(fields["counts"])})


def _says(result: Result, *what: str) -> bool:
    return any(words in (result.broken or "") for words in what)


def _summary(totals: Counter[str]) -> Iterator[str]:
    faults = {kind: totals[f"step {kind}"] for kind in FAULTS if totals[f"step {kind}"]}
    yield "faults: " + ", ".join(f"{kind} {count}" for kind, count in faults.items())
    others = {name: count for name, count in totals.items() if not name.startswith("step ")}
    yield "counts: " + ", ".join(f"{name} {count}" for name, count in sorted(others.items()))


if __name__ == "__main__":
    sys.exit(main())

"""Run histories: ``python -m tests.simulation --seeds 0:300 --jobs 2``; one with ``--seed 17``;
all of one kind with ``--kind mesh``, else each seed is one of a kind of its own.

Runs itself again with the disk library preloaded, where it can be built. Ends with a line of
totals for each kind; a history that fails prints the command that repeats it, and the exit status
is 1.
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
from tests.simulation.kinds import Kind
from tests.simulation.totals import Totals

PRELOADED: Final = "WEFT_SIMPRELOADED"


def main() -> int:
    options = _options()
    preload()
    kind = None if options.kind is None else Kind(options.kind)
    if options.digest is not None:
        return _digests(options.digest)
    if options.part is not None:
        return _part(options.part, kind)
    if options.seed is not None:
        return _one(options.seed, kind)
    first, _, last = options.seeds.rpartition(":")
    seeds = range(int(first or 0), int(last))
    return _many(seeds, kind, jobs=options.jobs, stop=options.stop)


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
    parser.add_argument("--kind", choices=list(Kind), help="all are of this kind")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--digest", help="FIRST:LAST: print a hash of the trace of each")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--stop", action="store_true", help="stop at the first that fails")
    return parser.parse_args()


def _one(seed: int, kind: Kind | None) -> int:
    result = run(seed, kind=kind, show=print)
    print(f"{result.kind} {seed}: {result.broken or 'all holds'} (trace {result.digest})")
    return int(result.broken is not None)


def _many(seeds: range, kind: Kind | None, *, jobs: int, stop: bool) -> int:
    began = time.monotonic()
    totals = {one: Totals() for one in Kind}
    for result in _results(seeds, kind, jobs):
        totals[result.kind].add(result)
        if result.broken is not None:
            print(f"{result.kind} {result.seed}: {result.broken}")
            print(f"    make sim SEED={result.seed} KIND={result.kind}", flush=True)
            if stop:
                break
    for total in totals.values():
        for line in total.details():
            print(line)
    for one, total in totals.items():
        if total.histories:
            print(f"{one}: {total}")
    print(f"{time.monotonic() - began:.1f} s on {jobs} processes")
    return int(any(total.failed for total in totals.values()))


def _results(seeds: range, kind: Kind | None, jobs: int) -> Iterator[Result]:
    """As they come, from `jobs` processes with every so many-th seed each."""
    if jobs <= 1:
        gc.freeze()
        for seed in seeds:
            yield _run(seed, kind)
        return
    with Selector() as selector:
        for job in range(jobs):
            part = f"{seeds.start + job}:{seeds.stop}:{jobs}"
            command = [sys.executable, "-m", "tests.simulation", "--part", part]
            command += [] if kind is None else ["--kind", kind]
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


def _run(seed: int, kind: Kind | None) -> Result:
    """One of many: its world, which is full of cycles, goes with it."""
    result = run(seed, kind=kind)
    gc.collect()
    return result


def _part(text: str, kind: Kind | None) -> int:
    """Histories for another process: one line of JSON for each."""
    gc.freeze()
    for seed in range(*map(int, text.split(":"))):
        result = _run(seed, kind)
        print(json.dumps([getattr(result, name) for name in Result.__slots__]), flush=True)
    return 0


def _digests(text: str) -> int:
    for seed in range(*map(int, text.split(":"))):
        print(seed, run(seed).digest)
    return 0


def _read(line: str) -> Result:
    fields = dict(zip(Result.__slots__, json.loads(line), strict=True))
    return Result(**fields | {"counts": Counter(fields["counts"]), "kind": Kind(fields["kind"])})


if __name__ == "__main__":
    sys.exit(main())

"""A hunt with hostile bytes: `python -m tests.simulation.hunt_bytes --updates 1000 --frames 1000`.

Nothing but the declared errors may come out of a reader, no process may die or grow without bound,
and at the end of every group of cases its context must be readable and writable. Cases come in
groups that share a context; a failure prints the one command that replays its group.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import resource
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from typing import Any, Final

from tests.simulation import frame_hunt, update_hunt

RSS_MIB_MAX: Final = 1024
"""Of one process of the hunt, over all its groups."""
GROUP_S_MAX: Final = 300
"""A group takes a second or two; one that takes this long hangs."""

Hunt = Callable[[int, int, int], Awaitable[int]]
HUNTS: Final[dict[str, tuple[Hunt, int]]] = {
    "updates": (update_hunt.hunt_updates, update_hunt.GROUP),
    "frames": (frame_hunt.hunt_frames, frame_hunt.GROUP),
}


@dataclass(frozen=True)
class Job:
    kind: str
    group: int
    cases: int


def jobs(kind: str, total: int) -> list[Job]:
    size = HUNTS[kind][1]
    starts = range(0, total, size)
    return [Job(kind, index, min(size, total - at)) for index, at in enumerate(starts)]


def run_job(seed: int, job: Job) -> int:
    """How many cases were accepted; raises what was found."""
    accepted = asyncio.run(_run(seed, job))
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    assert rss < RSS_MIB_MAX, f"the process holds {rss} MiB"
    return accepted


async def _run(seed: int, job: Job) -> int:
    return await HUNTS[job.kind][0](seed, job.group, job.cases)


def _work(
    seed: int, todo: list[Job], current: Synchronized[int], accepted: Synchronized[int], out: Any
) -> None:
    for index, job in enumerate(todo):
        current.value = index
        try:
            accepted.value += run_job(seed, job)
        except BaseException:  # noqa: BLE001 - a panic is no Exception, and is what we look for
            out.put(traceback.format_exc())
            raise SystemExit(1) from None
    out.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def hunt(kind: str, total: int, *, seed: int, processes: int, only: int | None) -> bool:
    """Whether nothing was found; prints what was done."""
    todo = [job for job in jobs(kind, total) if only is None or job.group == only]
    spawn = multiprocessing.get_context("spawn")
    workers = []
    begun = time.monotonic()
    for index in range(min(processes, len(todo))):
        own = todo[index::processes]
        current, accepted = spawn.Value("q", 0), spawn.Value("q", 0)
        out = spawn.Queue()
        process = spawn.Process(target=_work, args=(seed, own, current, accepted, out))
        process.start()
        workers.append((process, own, current, accepted, out))
    sound = True
    rss = 0
    for process, own, current, _, out in workers:
        last, since = -1, time.monotonic()
        while process.exitcode is None:
            process.join(1)
            if current.value != last:
                last, since = current.value, time.monotonic()
            elif time.monotonic() - since > GROUP_S_MAX:
                process.kill()
                process.join()
        if process.exitcode == 0:
            rss = max(rss, int(out.get()))
            continue
        said = out.get() if process.exitcode == 1 else f"exit code {process.exitcode}"
        sound = False
        job = own[current.value]
        print(f"{said}\nFOUND in group {job.group} of the {kind}. Replay with:")
        print(
            f"    python -m tests.simulation.hunt_bytes --{kind} {total} --seed {seed}"
            f" --only {job.group}"
        )
    taken = time.monotonic() - begun
    cases = sum(job.cases for job in todo)
    through = sum(worker[3].value for worker in workers)
    print(
        f"{kind}: {cases} cases, {through} accepted, {taken:.0f} s, {cases / taken:.0f}/s,"
        f" {rss} MiB at most, seed {seed}",
        flush=True,
    )
    return sound


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=0)
    parser.add_argument("--frames", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="this group alone")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    sound = True
    for kind in HUNTS:
        total: int = getattr(given, kind)
        if total:
            sound &= hunt(kind, total, seed=given.seed, processes=given.processes, only=given.only)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())

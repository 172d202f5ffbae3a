"""How much longer than the way an update takes to readers in two other regions."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from tests.bench.raw.deliveries import fdatasync_s
from tests.bench.raw.ingress import quantile
from tests.bench.regions.relays import NAMES, full_mesh, write_everywhere
from tests.bench.run import Run

PER_S = 500
SECONDS = 10.0
DELAY_MS = 80
MORE_MS_MAX = 15


def measure(run: Run) -> None:
    run.attempt(f"delay of {DELAY_MS} ms", lambda: _delay(run))


def _delay(run: Run) -> None:
    p50: list[float] = []
    p99: list[float] = []
    for _ in range(run.rounds):
        with full_mesh(NAMES[:3], delay_s=DELAY_MS / 1000) as regions:
            load = write_everywhere(
                regions, per_s=PER_S, seconds=SECONDS, writers=10, are_read=True
            )
        more_ms = [took * 1000 - DELAY_MS for took in load.took_s]
        p50.append(quantile(more_ms, 0.5))
        p99.append(quantile(more_ms, 0.99))
        late_ms = quantile(regions.late_s, 0.99) * 1000
        fdatasync_ms = fdatasync_s(Path(tempfile.gettempdir())) * 1000
        note = (
            f"worst {max(more_ms):.0f} ms; the lines themselves late by {late_ms:.1f} ms (p99), a"
            f" fdatasync {fdatasync_ms:.1f} ms (p50), CPU of the relays {load.cpu:.2f}"
        )
        print(f"  p50 {p50[-1]:.2f}, p99 {p99[-1]:.2f} ms more; {note}", flush=True)
    name = f"replication at {PER_S}/s, beside {DELAY_MS} ms of way"
    run.table.add(f"{name}, p50", statistics.median(p50), "ms")
    run.table.add(f"{name}, p99", statistics.median(p99), "ms", most=MORE_MS_MAX, note=note)

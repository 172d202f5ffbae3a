"""How often a record crosses to a region that it was not written in, in a full mesh of five."""

from __future__ import annotations

import statistics
from collections import Counter
from functools import partial

from tests.bench.regions.relays import NAMES, Regions, full_mesh, write_everywhere
from tests.bench.run import Run
from weft_engine.sync.framing.messages import Ack, Tips, Want

PER_S = 500
SECONDS = 10.0
DELAYS_MS = (0, 40)
COPIES_MAX = 1.3


def measure(run: Run) -> None:
    for delay_ms in DELAYS_MS:
        run.attempt(f"copies with {delay_ms} ms", partial(_copies, run, delay_ms))


def _copies(run: Run, delay_ms: int) -> None:
    found: list[float] = []
    for _ in range(run.rounds):
        with full_mesh(NAMES, delay_s=delay_ms / 1000) as regions:
            load = write_everywhere(
                regions, per_s=PER_S, seconds=SECONDS, writers=10, are_read=False
            )
        came = {name: _came(regions, name) for name in NAMES}
        for name in NAMES:
            others = sum(count for who, count in load.written.items() if who != name)
            if len(came[name]) != others:
                raise TimeoutError(f"{len(came[name])} of {others} records came to {name}")
        deliveries = sum(sum(one.values()) for one in came.values())
        copies = deliveries / sum(len(one) for one in came.values())
        found.append(copies)
        kinds = Counter(type(message) for way in regions.ways for message in way.messages())
        size = sum(len(connection) for way in regions.ways for connection in way.connections)
        note = (
            f"{kinds[Tips]} tips, {kinds[Want]} wants, {kinds[Ack]} acks, {size / 1e6:.1f} MB on"
            f" all links, CPU of the relays {load.cpu:.2f}"
        )
        print(f"  {copies:.3f} copies; {note}", flush=True)
    name = f"copies of a record per region, five at {PER_S}/s, {delay_ms} ms between them"
    run.table.add(name, statistics.median(found), "x", most=COPIES_MAX, note=note)


def _came(regions: Regions, name: str) -> Counter[bytes]:
    return Counter(hash_ for way in regions.to(name) for hash_ in way.records())

"""How many updates a server brings to many readers in a second, and how long one takes alone.

One writer, many readers, one room. Closed loop: at most so many updates are in flight, that is
sent and not yet at every reader. Every reader's count and the hash of all it got are compared with
what was sent; a sampled reader's bytes are read in full besides (`sampling`).
"""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.raw import sampling
from tests.bench.raw.client import Group, Pool, RawFailure, Sender, content_hash
from tests.bench.raw.joining import join, load
from tests.bench.raw.servers import Server
from tests.bench.raw.traffic import event_bytes

EVENT_BYTES = 100
PER_MESSAGE = 16
"""Records to a signature on the native link."""
UNACKED_MAX = 60
"""Messages; a relay takes 64."""
MOST_S = 60.0
WARM_UPDATES = 2_000


@dataclass(frozen=True)
class Delivered:
    """`per_s`: updates times readers in a second. `merged`: messages that held several updates of
    which the server had made one. CPU as shares of one core; the client's says whether it was the
    one that could not go faster."""

    per_s: float
    updates: int
    merged: int
    bytes_per_s: float
    server_cpu: float
    client_cpu: float


@dataclass(frozen=True)
class Took:
    """Of one update in flight, in seconds."""

    each_p50_s: float
    all_p50_s: float
    all_p95_s: float


def fan_out(
    server: Server,
    *,
    readers: int,
    in_flight: int,
    seconds: float,
    updates_max: int,
    most_s: float = MOST_S,
) -> Delivered:
    """Deliveries to `readers` with up to `in_flight` updates in flight, for some seconds.
    RawFailure if a reader lacks an update or got another one."""
    room = _room()
    said, payloads = load(
        server, room, event_bytes(EVENT_BYTES), updates_max, per_message=PER_MESSAGE
    )
    with Pool(readers + 1) as pool, sampling.sample(pool, readers) as sampled:
        join(pool, server, room, range(readers + 1))
        sampled.begin()
        group = Group(said, readers, times_max=1)
        pool.follow(range(1, readers + 1), group)
        sender = Sender(
            0, said, group=group, undelivered_max=in_flight, unacked_max=_unacked_max(server)
        )
        before, got = (server.cpu_s(), time.process_time()), _bytes(pool, readers)
        began_s = pool.run([sender], seconds=seconds, most_s=most_s)
        updates = sender.sent_updates
        wall_s = group.struct.done_s[group.struct.done - 1] - began_s
        cpu = [b - a for a, b in zip(before, (server.cpu_s(), time.process_time()), strict=True)]
        merged = _check(pool, readers, payloads[:updates])
        moved = _bytes(pool, readers) - got
        sampled.check(server, payloads[:updates])
    return Delivered(
        updates * readers / wall_s,
        updates,
        merged,
        moved / wall_s,
        cpu[0] / wall_s,
        cpu[1] / wall_s,
    )


def one_in_flight(server: Server, *, readers: int, rounds: int) -> Took:
    """How long a lone update takes to each reader, and to the last of them."""
    room = _room()
    said, payloads = load(server, room, event_bytes(EVENT_BYTES), rounds, per_message=1)
    with Pool(readers + 1) as pool:
        join(pool, server, room, range(readers + 1))
        group = Group(said, readers)
        pool.follow(range(1, readers + 1), group)
        sender = Sender(
            0, said, group=group, undelivered_max=1, unacked_max=_unacked_max(server) and 1
        )
        pool.run([sender], seconds=MOST_S, most_s=MOST_S)
        _check(pool, readers, payloads)
        skipped = rounds // 5
        each, everyone = group.each_s[skipped * readers :], sorted(group.all_s[skipped:])
    return Took(
        statistics.median(each),
        statistics.median(everyone),
        everyone[int(0.95 * (len(everyone) - 1))],
    )


def fdatasync_s(folder: Path, *, times: int = 200) -> float:
    """The median time of an fdatasync after 4 KiB were appended to a file in this folder."""
    took = []
    path = folder / "fdatasync-probe"
    with path.open("wb", buffering=0) as file:
        for _ in range(times):
            file.write(os.urandom(4096))
            began_s = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began_s)
    path.unlink()
    return statistics.median(took)


def _unacked_max(server: Server) -> int:
    """Only a native link acknowledges by number, and bounds what it takes."""
    return UNACKED_MAX if server.dialect == 0 else 0


def _room() -> str:
    return f"bench/{os.urandom(6).hex()}"


def _bytes(pool: Pool, readers: int) -> int:
    return sum(pool[index].bytes for index in range(1, readers + 1))


def _check(pool: Pool, readers: int, payloads: list[bytes]) -> int:
    """Every reader has just these updates. Returns how many messages were merged ones, of whose
    content only the sampled reader's is looked at."""
    wanted = content_hash(payloads)
    merged = 0
    for index in range(1, readers + 1):
        reader = pool[index]
        got = reader.updates - reader.base
        if got != len(payloads):
            raise RawFailure(f"reader {index} got {got} of {len(payloads)} updates")
        if reader.said:
            raise RawFailure(f"reader {index} was told {reader.said.decode()!r}")
        if not reader.merged and reader.hash != wanted:
            raise RawFailure(f"reader {index} got other contents than were sent")
        merged += reader.merged
    return merged

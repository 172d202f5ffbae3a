"""Many who come at once, and what links and contexts cost the relay in memory.

A stall of the relay's loop is the longest time that it took to answer a websocket ping, asked
every few milliseconds on a connection of its own. Must never know: what is in the contexts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import c_int
from dataclasses import dataclass

from tests.bench.raw.client import Dialect, Pool, RawFailure, content_hash
from tests.bench.raw.joining import join, opening
from tests.bench.raw.sampling import sample
from tests.bench.raw.servers import Server

PROBE_S = 0.002
AT_ONCE = 100
SETTLE_S = 3.0
GIVEN_BACK_S = 90.0


@dataclass
class Stall:
    worst_s: float = 0.0


@contextmanager
def watching(server: Server) -> Iterator[Stall]:
    """How long the server's loop stalls meanwhile."""
    found, stop = Stall(), c_int(0)
    with Pool(1) as pool:
        join(pool, server, "bench/probe", [0])

        def probe() -> None:
            found.worst_s = pool.probe(0, interval_s=PROBE_S, stop=stop)

        thread = threading.Thread(target=probe, name="stall-probe")
        thread.start()
        try:
            yield found
        finally:
            stop.value = 1
            thread.join()
        if found.worst_s <= 0:
            raise RawFailure(
                f"the server ended the connection it was pinged on; {pool.complaints()}"
            )


@dataclass(frozen=True)
class Joined:
    """Seconds from dialling to having everything; bytes above what was resident before."""

    p50_s: float
    worst_s: float
    stall_s: float
    peak_bytes: int


def joined(server: Server, context: str, payloads: Sequence[bytes], *, joiners: int) -> Joined:
    """All of them dial at the same moment and want the whole context. RawFailure if one of them
    does not get just these updates."""
    with watching(server) as stall, Pool(joiners) as pool, sample(pool, 0) as sampled:
        server.forget_peak()
        before = server.memory_bytes()
        path = server.room_path(context)
        said = [opening(server, context) for _ in range(joiners)]
        for index in range(joiners):
            port, dialect = server.port, server.dialect
            pool.open(index, port, dialect, path, said[index], updates=len(payloads))
        sampled.begin()
        pool.until_ready(joiners, seconds=120)
        took_s = sorted(pool[index].ready_s - pool[index].began_s for index in range(joiners))
        peak = server.peak_bytes() - before
        if server.dialect is Dialect.NATIVE:
            wanted = content_hash(payloads)
            if any(pool[index].hash != wanted for index in range(joiners)):
                raise RawFailure("a joiner got other contents than the context has")
        sampled.check(server, payloads)
    return Joined(took_s[joiners // 2], took_s[-1], stall.worst_s, peak)


def idle_link_bytes(server: Server, *, links: int, contexts: int) -> float:
    """What an idle link keeps resident, shared by as many links as there are contexts fewer."""
    with Pool(AT_ONCE) as warm:
        _come(warm, server, "bench/warm/", range(AT_ONCE), contexts)
    time.sleep(SETTLE_S)
    before = server.memory_bytes()
    with Pool(links) as pool:
        for start in range(0, links, AT_ONCE):
            _come(pool, server, "bench/idle/", range(start, start + AT_ONCE), contexts)
        pool.idle(SETTLE_S)
        return (server.memory_bytes() - before) / links


def _come(pool: Pool, server: Server, prefix: str, indices: range, contexts: int) -> None:
    before = pool.ready
    for index in indices:
        room = f"{prefix}{index % contexts}"
        path, said = server.room_path(room), opening(server, room)
        pool.open(index, server.port, server.dialect, path, said)
    pool.until_ready(before + len(indices), seconds=60)


@dataclass(frozen=True)
class Left:
    """Resident bytes before contexts were opened, while they were, and when they had been left for
    a while, which is how long it took to be back within the bound, or was waited for."""

    before: int
    most: int
    after: int
    waited_s: float
    bound: int


def opened_and_left(server: Server, contexts: Sequence[str]) -> Left:
    """Opens all these contexts, a hundred at a time, and leaves each again."""
    with Pool(AT_ONCE) as pool:
        _visit(pool, server, contexts[:AT_ONCE])
    time.sleep(SETTLE_S)
    before = server.memory_bytes()
    bound = max(before + before // 10, before + (8 << 20))
    most = before
    with Pool(AT_ONCE) as pool:
        for start in range(0, len(contexts), AT_ONCE):
            _visit(pool, server, contexts[start : start + AT_ONCE])
            most = max(most, server.memory_bytes())
    began_s = time.monotonic()
    while (after := server.memory_bytes()) > bound and time.monotonic() - began_s < GIVEN_BACK_S:
        time.sleep(0.2)
    return Left(before, most, after, time.monotonic() - began_s, bound)


def _visit(pool: Pool, server: Server, contexts: Sequence[str]) -> None:
    for index, context in enumerate(contexts):
        path, said = server.room_path(context), opening(server, context)
        pool.open(index, server.port, server.dialect, path, said, updates=1)
    pool.until_ready(len(contexts), seconds=60)
    for index in range(len(contexts)):
        pool.close(index)

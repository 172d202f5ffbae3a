"""Relays of several regions as processes, each linked with each over a line of its own.

Must never know: what is measured.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from tests.bench.raw.client import Dialect, Group, Pool, Sender
from tests.bench.raw.joining import native_messages, now_ms, opening
from tests.bench.raw.servers import Server, ours
from tests.bench.raw.traffic import NativeWriter, event_bytes
from tests.bench.regions.lines import Line, Way, carried
from tests.running_relay import RunningRelay, free_port
from weft_engine.sync.framing.messages import Live

NAMES = ("ap", "eu", "sa", "us", "za")
EVENT_BYTES = 100
UP_S = 30.0
MOST_S = 60.0
SETTLED_S = 1.5
"""What is under way has come after this, as long as nothing is lost."""


@dataclass
class Regions:
    """By name: the relays, and what came to each over its links."""

    servers: dict[str, Server]
    lines: list[Line]

    @property
    def ways(self) -> list[Way]:
        return [way for line in self.lines for way in (line.there, line.back)]

    @property
    def late_s(self) -> list[float]:
        """How much later than their delay the lines passed things on."""
        return [late for line in self.lines for late in line.late_s]

    def to(self, region: str) -> list[Way]:
        return [way for way in self.ways if way.to == region]

    def cpu_s(self) -> float:
        return sum(server.cpu_s() for server in self.servers.values())


def dialling(
    folder: Path, name: str, ports: Mapping[str, int], lines: Mapping[tuple[str, str], Line]
) -> RunningRelay:
    """A region's relay that dials those behind the lines that begin at it; they should be up."""
    more = [
        word
        for (a, b), line in lines.items()
        if a == name
        for word in ("--peer", f"{b}=ws://127.0.0.1:{line.port}")
    ]
    return RunningRelay(folder / name, listen=f"127.0.0.1:{ports[name]}", region=name, more=more)


@contextmanager
def full_mesh(names: Sequence[str], *, delay_s: float = 0.0) -> Iterator[Regions]:
    """Each live with each."""
    ports = {name: free_port() for name in names}
    lines: dict[tuple[str, str], Line] = {
        (a, b): Line(free_port(), ports[b], Way(b), Way(a), delay_s)
        for a, b in combinations(sorted(names), 2)
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="weft-bench-")))
        relays: dict[str, RunningRelay] = {}
        stack.enter_context(carried(list(lines.values())))
        for name in names:
            relays[name] = dialling(folder, name, ports, lines)
            stack.callback(relays[name].end)
        servers = {name: ours(relays[name], Dialect.NATIVE) for name in names}
        regions = Regions(servers, list(lines.values()))
        _until_live(regions)
        yield regions


def _until_live(regions: Regions) -> None:
    """Each has heard of each other one that it is live with all the rest."""
    began_s = time.monotonic()
    others = len(regions.servers) - 2
    while not all(_is_live(way, others) for way in regions.ways):
        if time.monotonic() - began_s > UP_S:
            raise TimeoutError(f"the regions were not live with each other within {UP_S} s")
        time.sleep(0.05)


def _is_live(way: Way, others: int) -> bool:
    told = [message for message in way.messages() if isinstance(message, Live)]
    return bool(told) and len(told[-1].regions) == others


@dataclass(frozen=True)
class Load:
    """What was written, and how long it took to readers in the other regions, in seconds."""

    written: dict[str, int]
    """Updates, by region."""
    took_s: list[float]
    wall_s: float
    cpu: float
    """Of all relays, as a share of one core."""


def write_everywhere(
    regions: Regions, *, per_s: int, seconds: float, writers: int, are_read: bool
) -> Load:
    """So many updates a second in all, by so many writers in each region, each in a context of its
    own that a reader in each other region follows, if `are_read`."""
    names = list(regions.servers)
    gap_s = len(names) * writers / per_s
    each = int(seconds / gap_s)
    senders: list[Sender] = []
    followers: list[tuple[range, Group]] = []
    with Pool(len(names) * writers * (len(names) if are_read else 1)) as pool:
        index = 0
        for number in range(writers):
            for place, name in enumerate(names):
                author = NativeWriter(f"bench/{name}/{time.time_ns()}", now_ms=now_ms())
                said, _ = native_messages(author, event_bytes(EVENT_BYTES), each, per_message=1)
                group = Group(said, len(names) - 1) if are_read else None
                followed_by = [other for other in names if other != name] if are_read else []
                for at, region in enumerate((name, *followed_by)):
                    server = regions.servers[region]
                    said_first = opening(server, author.context)
                    pool.open(index + at, server.port, server.dialect, server.path, said_first)
                offset_s = 0.2 + gap_s * (number * len(names) + place) / (writers * len(names))
                due_s = [offset_s + gap_s * at for at in range(said.count)]
                senders.append(Sender(index, said, due_s=due_s, unacked_max=60, group=group))
                if group is not None:
                    followers.append((range(index + 1, index + len(names)), group))
                index += 1 + len(followed_by)
        pool.until_ready(pool.count)
        for readers, group in followers:
            pool.follow(readers, group)
        cpu_s = regions.cpu_s()
        began_s = pool.run(senders, seconds=MOST_S, most_s=MOST_S)
        wall_s = max(sender.last_acked_s for sender in senders) - began_s
        cpu = (regions.cpu_s() - cpu_s) / wall_s
    time.sleep(SETTLED_S)
    written = dict.fromkeys(names, each * writers)
    return Load(written, [took for _, group in followers for took in group.each_s], wall_s, cpu)

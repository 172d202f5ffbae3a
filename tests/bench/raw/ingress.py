"""How fast the relay makes updates durable, and how soon it says so.

Writers on native links of their own, each in a context of its own, several records to a signature.
An update counts when its message is acknowledged, which is after its commit. Must never know: the
other servers, which acknowledge nothing durable.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.raw.client import Dialect, Group, Messages, Pool, RawFailure, Sender, content_hash
from tests.bench.raw.joining import join, native_messages, now_ms, opening
from tests.bench.raw.servers import Server
from tests.bench.raw.traffic import NativeWriter, event_bytes

EVENT_BYTES = 100
PER_SIGNATURE = 8
MOST_S = 60.0
CHECKED = 5
"""Contexts that are read back after a run, by a reader who comes then."""
EDIT_S = 0.02
FLUSH_BYTES = 400_000
FLUSH_PER_MESSAGE = 512
FLUSH_MESSAGE_BYTES = 160 * 1024
"""What a client's session puts into a message of a backlog."""


@dataclass(frozen=True)
class Taken:
    """Updates made durable in a second, and how long acknowledgements took, in seconds. CPU as
    shares of one core."""

    per_s: float
    p50_s: float
    p99_s: float
    worst_s: float
    server_cpu: float
    client_cpu: float


@dataclass(frozen=True)
class Bystander:
    """How long an edit took to another reader while a flush went on, and how long that took; in
    seconds. `bytes` of records were flushed."""

    p50_s: float
    p95_s: float
    worst_s: float
    edits: int
    flush_s: float
    records: int


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def saturated(
    server: Server, *, writers: int, in_flight: int, seconds: float, updates_max: int
) -> Taken:
    """As fast as it goes with `in_flight` unacknowledged messages of each writer."""
    each = updates_max // writers
    return _write(server, writers, each, unacked_max=in_flight, seconds=seconds)


def paced(server: Server, *, writers: int, per_s: int, seconds: float) -> Taken:
    """At `per_s` updates a second in all, each writer in its own turn. Acknowledgements are timed
    from when a message was due."""
    gap_s = writers * PER_SIGNATURE / per_s
    each = int(seconds / gap_s) * PER_SIGNATURE
    return _write(server, writers, each, unacked_max=60, seconds=MOST_S, gap_s=gap_s)


def _write(
    server: Server,
    writers: int,
    each: int,
    *,
    unacked_max: int,
    seconds: float,
    gap_s: float | None = None,
) -> Taken:
    authors = [NativeWriter(f"bench/{i}/{time.time_ns()}", now_ms=now_ms()) for i in range(writers)]
    event = event_bytes(EVENT_BYTES)
    plans = [native_messages(author, event, each, per_message=PER_SIGNATURE) for author in authors]
    with Pool(writers) as pool:
        senders = []
        for index, (author, (said, _)) in enumerate(zip(authors, plans, strict=True)):
            join(pool, server, author.context, [index])
            due_s = None
            if gap_s is not None:
                offset_s = 0.1 + gap_s * index / writers
                due_s = [offset_s + gap_s * number for number in range(said.count)]
            senders.append(Sender(index, said, due_s=due_s, unacked_max=unacked_max))
        before = server.cpu_s(), time.process_time()
        began_s = pool.run(senders, seconds=seconds, most_s=MOST_S)
        wall_s = max(sender.last_acked_s for sender in senders) - began_s
        cpu = [b - a for a, b in zip(before, (server.cpu_s(), time.process_time()), strict=True)]
    took_s = [took for sender in senders for took in sender.acks_s(began_s)]
    updates = sum(sender.sent_updates for sender in senders)
    for author, (_, payloads), sender in list(zip(authors, plans, senders, strict=True))[:CHECKED]:
        _read_back(server, author.context, payloads[: sender.sent_updates])
    return Taken(
        updates / wall_s,
        quantile(took_s, 0.5),
        quantile(took_s, 0.99),
        max(took_s),
        cpu[0] / wall_s,
        cpu[1] / wall_s,
    )


def _read_back(server: Server, context: str, payloads: Sequence[bytes]) -> None:
    """A reader who comes now gets all of a context. RawFailure if not."""
    with Pool(1) as pool:
        path, said = server.room_path(context), opening(server, context)
        pool.open(0, server.port, server.dialect, path, said, updates=len(payloads))
        pool.until_ready(1)
        if pool[0].hash != content_hash(payloads):
            raise RawFailure(f"{context} holds other contents than were acknowledged")


def flushed(server: Server, *, agents: int, event_size: int, seconds: float) -> Bystander:
    """Agents come back with a backlog of 400 KB each at the same moment, while somebody else edits
    every 20 ms and another reads along."""
    assert server.dialect is Dialect.NATIVE, "backlogs come over native links"
    event = event_bytes(event_size)
    backlogs = [_backlog(f"bench/agent-{i}/{time.time_ns()}", event) for i in range(agents)]
    edits = int(seconds / EDIT_S)
    author = NativeWriter(f"bench/bystander/{time.time_ns()}", now_ms=now_ms())
    said, _ = native_messages(author, event_bytes(EVENT_BYTES), edits, per_message=1)
    with Pool(agents + 2) as pool:
        for index, (context, _) in enumerate(backlogs):
            join(pool, server, context, [index])
        join(pool, server, author.context, [agents, agents + 1])
        group = Group(said, 1)
        pool.follow([agents + 1], group)
        flush_at_s = seconds / 10
        due_s = [EDIT_S * number for number in range(edits)]
        editing = Sender(agents, said, due_s=due_s, unacked_max=60, group=group)
        flushing = [
            Sender(index, messages, due_s=[flush_at_s] * messages.count, unacked_max=60)
            for index, (_, messages) in enumerate(backlogs)
        ]
        began_s = pool.run([editing, *flushing], seconds=MOST_S, most_s=MOST_S)
    ended_s = max(sender.last_acked_s for sender in flushing) - began_s
    # An edit belongs to the flush if it was due while that went on, or was the last before it.
    first_s = flush_at_s - EDIT_S
    during = [took for at, took in zip(due_s, group.all_s, strict=True) if first_s <= at <= ended_s]
    return Bystander(
        quantile(during, 0.5),
        quantile(during, 0.95),
        max(during),
        len(during),
        ended_s - flush_at_s,
        sum(messages.updates[-1] for _, messages in backlogs),
    )


def _backlog(context: str, event: bytes) -> tuple[str, Messages]:
    author = NativeWriter(context, now_ms=now_ms())
    size = author.record(event).size
    per_message = min(FLUSH_PER_MESSAGE, FLUSH_MESSAGE_BYTES // size)
    author = NativeWriter(context, now_ms=now_ms())
    said, _ = native_messages(author, event, -(-FLUSH_BYTES // size), per_message=per_message)
    return context, said

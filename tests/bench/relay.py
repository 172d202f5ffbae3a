"""The relay beside the servers that people use instead, and against its own bounds.

One raw client drives them all (raw/*.c, compiled here), on loopback, one server at a time. What is
counted is compared with what was sent, by number and by content. `make bench ONLY=relay` runs all,
`ONLY=relay:deliveries` one part, `ARGS=--quick` shortens what repeats.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.bench.figures import Table
from tests.bench.peers.catalogue import PEERS
from tests.bench.peers.installing import NotInstalled
from tests.bench.raw import crowding, deliveries, ingress, reconnecting, returning
from tests.bench.raw.client import Dialect
from tests.bench.raw.filling import fill_context, write_each, writers
from tests.bench.raw.servers import Server, our_relay, ours, running
from tests.bench.run import Run
from weft_engine.limits import MIB

READERS = (100, 500)
NATIVE_TIMES = {100: 10.0, 500: 20.0}
YJS_TIMES = 4.0
IN_FLIGHT = (64, 1024)
SECONDS = 2.0
MOST_S = 13 * 60.0
UPDATES_MAX = 60_000
"""Made ready for one run."""
FAN_OUTS_S = 5 * 60.0
"""No further round is begun after this time, so that a busy machine leaves time for the rest."""
LONE_ROUNDS = 400
TIMES_OF_BEST = 1.5


@dataclass
class Figures:
    """Of one server: deliveries in a second by readers, each the best of its windows in a round;
    medians over rounds. And how long a lone update takes."""

    server: Server
    per_s: dict[int, list[float]] = field(default_factory=dict)
    per_cpu_s: dict[int, float] = field(default_factory=dict)
    """The most deliveries for a second of the server's CPU: what other load here disturbs less."""
    merged: bool = False
    each_s: list[float] = field(default_factory=list)
    all_s: list[float] = field(default_factory=list)

    def rate(self, readers: int) -> float:
        return statistics.median(self.per_s.get(readers) or [0.0])

    def lone_s(self) -> tuple[float, float]:
        nothing = [float("inf")]
        return statistics.median(self.each_s or nothing), statistics.median(self.all_s or nothing)


def fan_outs(run: Run) -> None:
    """Deliveries and lone updates, server by server, and round by round: A B C A B C."""
    found: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory(prefix="weft-bench-") as folder:
        fdatasync_s = deliveries.fdatasync_s(Path(folder))
        began_s = time.monotonic()
        for number in range(run.rounds):
            if number and time.monotonic() - began_s > FAN_OUTS_S:
                print(
                    f"{number} of {run.rounds} rounds were made: this machine is slow", flush=True
                )
                break
            with our_relay() as relay:
                for dialect in (Dialect.NATIVE, Dialect.YJS):
                    _measure(run, found, ours(relay, dialect))
            for peer in PEERS:
                try:
                    with running(peer) as server:
                        _measure(run, found, server)
                except NotInstalled as error:
                    run.fail(peer.name, error)
    _show_fan_outs(run, list(found.values()), fdatasync_s)


def _measure(run: Run, found: dict[str, Figures], server: Server) -> None:
    """The lone update first: some servers are long busy with what a saturation has left."""
    figures = found.setdefault(server.name, Figures(server))

    def lone() -> None:
        took = deliveries.one_in_flight(server, readers=READERS[0], rounds=LONE_ROUNDS)
        figures.each_s.append(took.each_p50_s)
        figures.all_s.append(took.all_p50_s)

    def deliver(readers: int, in_flight: int, rates: list[float]) -> None:
        one = deliveries.fan_out(
            server,
            readers=readers,
            in_flight=in_flight,
            seconds=SECONDS,
            updates_max=UPDATES_MAX,
        )
        figures.merged |= one.merged > 0
        rates.append(one.per_s)
        per_cpu_s = one.per_s / one.server_cpu if one.server_cpu else 0.0
        figures.per_cpu_s[readers] = max(per_cpu_s, figures.per_cpu_s.get(readers, 0.0))
        print(
            f"  {server.name}, {readers} readers, {in_flight} in flight: {one.per_s:,.0f}/s,"
            f" {one.bytes_per_s / 1e6:.0f} MB/s, {one.updates} updates, CPU of the server"
            f" {one.server_cpu:.2f}, of the client {one.client_cpu:.2f}",
            flush=True,
        )

    run.attempt(f"{server.name}, one update in flight", lone)
    for readers in READERS:
        rates: list[float] = []
        for in_flight in IN_FLIGHT:
            what = f"{server.name} to {readers} readers, {in_flight} in flight"
            run.attempt(what, partial(deliver, readers, in_flight, rates))
        if rates:
            figures.per_s.setdefault(readers, []).append(max(rates))


def _show_fan_outs(run: Run, found: Sequence[Figures], fdatasync_s: float) -> None:
    table = run.table
    peers = [one for one in found if not one.server.is_ours]
    one_by_one = [one for one in peers if not one.merged]
    for one in found:
        note = one.server.does + ("; merges updates into one" if one.merged else "")
        for readers in READERS:
            per_cpu_s = one.per_cpu_s.get(readers, 0.0)
            name = f"{one.server.name}, deliveries to {readers}"
            table.add(name, one.rate(readers), "/s", note=f"{per_cpu_s:,.0f} a CPU second; {note}")
    for one in found:
        if not one.server.is_ours:
            continue
        for readers in READERS:
            native = one.server.dialect is Dialect.NATIVE
            least = NATIVE_TIMES[readers] if native else YJS_TIMES
            for others, what in (
                (peers, "the best peer"),
                (one_by_one, "the best that merges none"),
            ):
                best = max((other.rate(readers) for other in others), default=0.0)
                if best:
                    name = f"{one.server.name}, to {readers}, against {what}"
                    table.add(name, one.rate(readers) / best, "x", least=least)
    table.add("fdatasync of 4 KiB in such a folder, p50", fdatasync_s * 1e3, "ms")
    each = min((one.lone_s()[0] for one in peers), default=0.0)
    everyone = min((one.lone_s()[1] for one in peers), default=0.0)
    for one in found:
        own = one.lone_s()
        for index, (best, what) in enumerate(((each, "a reader"), (everyone, "the last reader"))):
            bound_ms = round((TIMES_OF_BEST * best + fdatasync_s) * 1e3, 2)
            most = bound_ms if one.server.is_ours else None
            name = f"{one.server.name}, one update to 100, {what}"
            table.add(name, own[index] * 1e3, "ms p50", most=most)


def ingresses(run: Run) -> None:
    """What 100 writers get acknowledged."""
    table = run.table
    with our_relay() as relay:
        server = ours(relay, Dialect.NATIVE)

        def saturated() -> None:
            found = [
                ingress.saturated(server, writers=100, in_flight=2, seconds=4, updates_max=160_000)
                for _ in range(run.rounds)
            ]
            best = sorted(found, key=lambda one: one.per_s)[len(found) // 2]
            per_cpu_s = best.per_s / best.server_cpu if best.server_cpu else 0.0
            note = (
                f"{per_cpu_s:,.0f} a CPU second; CPU of the relay {best.server_cpu:.2f}, of the"
                f" client {best.client_cpu:.2f}"
            )
            table.add("durable updates from 100 writers", best.per_s, "/s", least=20_000, note=note)

        run.attempt("durable updates from 100 writers", saturated)
        for per_s, most in ((5_000, 10), (10_000, 15)):

            def paced(per_s: int = per_s, most: int = most) -> None:
                found = [
                    ingress.paced(server, writers=100, per_s=per_s, seconds=4)
                    for _ in range(run.rounds)
                ]
                p99 = statistics.median(one.p99_s for one in found) * 1e3
                p50 = statistics.median(one.p50_s for one in found) * 1e3
                note = f"p50 {p50:.2f} ms, CPU of the relay {found[0].server_cpu:.2f}"
                name = f"acknowledged at {per_s:,} updates/s, p99"
                table.add(name, p99, "ms", most=most, note=note)

            run.attempt(f"acknowledgements at {per_s:,}/s", paced)


def flushes(run: Run) -> None:
    """A bystander's edits while 50 agents come back."""
    with our_relay() as relay:
        server = ours(relay, Dialect.NATIVE)
        for event_size in (1_000, 100):

            def flush(event_size: int = event_size) -> None:
                found = [
                    ingress.flushed(server, agents=50, event_size=event_size, seconds=4)
                    for _ in range(run.rounds)
                ]
                one = sorted(found, key=lambda one: one.p95_s)[len(found) // 2]
                note = (
                    f"p50 {one.p50_s * 1e3:.1f} ms, worst {one.worst_s * 1e3:.0f} ms;"
                    f" {one.records:,} records in {one.flush_s:.2f} s"
                )
                name = f"bystander's edit, 50 flush 400 KB of {event_size} B, p95"
                run.table.add(name, one.p95_s * 1e3, "ms", most=50, note=note)

            run.attempt(f"flushes of {event_size} B events", flush)


def joiners(run: Run) -> None:
    """150 who want 4 MB at once."""
    table = run.table
    for dialect in (Dialect.NATIVE, Dialect.YJS):

        def join(dialect: Dialect = dialect) -> None:
            with our_relay() as relay:
                payloads = fill_context(
                    ours(relay, Dialect.NATIVE), "bench/large", size=4 * MIB, event_size=1_000
                )
                server = ours(relay, dialect)
                found = [
                    crowding.joined(server, "bench/large", payloads, joiners=150)
                    for _ in range(run.rounds)
                ]
            name = f"{server.name}, 150 joiners of 4 MB"
            p50 = statistics.median(one.p50_s for one in found)
            table.add(
                f"{name}, p50", p50 * 1e3, "ms", most=400, note=f"first {found[0].p50_s:.2f} s"
            )
            table.add(
                "  the loop's longest stall", max(o.stall_s for o in found) * 1e3, "ms", most=50
            )
            table.add("  peak memory more", max(o.peak_bytes for o in found) / MIB, "MB", most=64)

        run.attempt(f"joiners, {dialect.name.lower()}", join)


def memory(run: Run) -> None:
    """What links and contexts keep, and give back."""
    table = run.table
    for dialect, contexts in ((Dialect.NATIVE, 1000), (Dialect.YJS, 100)):

        def idle(dialect: Dialect = dialect, contexts: int = contexts) -> None:
            with our_relay() as relay:
                server = ours(relay, dialect)
                found = crowding.idle_link_bytes(server, links=1000, contexts=contexts)
            name = f"{server.name}, idle link, 1,000 on {contexts} contexts"
            table.add(name, found / 1024, "KB", most=32)

        run.attempt(f"idle links, {dialect.name.lower()}", idle)

    def left() -> None:
        with our_relay() as relay:
            native = ours(relay, Dialect.NATIVE)
            authors = writers("bench/many/", 10_000)
            write_each(native, "bench/many/", authors, records=1, event_size=1_000)
            names = [author.context for author in authors]
            # Filling leaves room in the heap that opening could use unseen: a fresh process.
            relay.end()
            again = relay.again()
            try:
                found = crowding.opened_and_left(ours(again, Dialect.YJS), names)
            finally:
                again.end()
        note = (
            f"{found.before / MIB:.0f} MB before, {found.most / MIB:.0f} at most,"
            f" {found.after / MIB:.0f} after {found.waited_s:.0f} s"
        )
        more, most = (found.after - found.before) / MIB, (found.bound - found.before) / MIB
        name = "10,000 contexts opened and left, memory more"
        table.add(name, more, "MB", most=round(most, 1), note=note)

    run.attempt("10,000 contexts opened and left", left)


def reconnects(run: Run) -> None:
    """A client of 10,000 contexts comes back."""

    def reconnect() -> None:
        with our_relay() as relay:
            one = reconnecting.resumed(ours(relay, Dialect.NATIVE), contexts=10_000, changed=10)
        note = f"the first sync took {one.first_sync_s:.1f} s"
        name = "back with 10,000 contexts, 10 changed: round trips"
        run.table.add(name, one.round_trips, "RTT", most=1.5, note=note)
        note = f"{one.bytes:,} for {one.payload:,} of records"
        run.table.add("  bytes for those of the records", one.bytes / one.payload, "x", most=1.3,
                      note=note)  # fmt: skip

    run.attempt("reconnecting with 10,000 contexts", reconnect)


def restarts(run: Run) -> None:
    """1,500 clients meet a relay that restarts."""

    def restart() -> None:
        with our_relay() as relay:
            dialects = [Dialect.NATIVE, Dialect.YJS]
            one = returning.returned(relay, clients=1_500, dialects=dialects)
        note = (
            f"gone after {one.gone_s:.1f} s, up after {one.up_s:.1f} s, half back after"
            f" {one.half_s:.1f} s, {one.dials} dials; all had written again after"
            f" {one.written_s:.1f} s"
        )
        name = "1,500 clients back after a restart"
        run.table.add(name, one.all_s, "s", most=15, note=note)

    run.attempt("1,500 clients after a restart", restart)


PARTS: dict[str, Callable[[Run], None]] = {
    "deliveries": fan_outs,
    "ingress": ingresses,
    "flush": flushes,
    "joiners": joiners,
    "memory": memory,
    "reconnect": reconnects,
    "restart": restarts,
}


def run(arguments: Sequence[str] = ()) -> bool:
    parser = argparse.ArgumentParser(prog="make bench ONLY=relay ARGS=...")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all when none is named")
    parser.add_argument("--rounds", type=int, default=3, help="how often what is noisy is repeated")
    wanted = parser.parse_args(arguments)
    unknown = [name for name in wanted.parts if name not in PARTS]
    if unknown:
        parser.error(f"no part named {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    if shutil.which("cc") is None:
        print("the raw client is C: install a C compiler named cc")
        return False
    # So that the servers are ended, too, when this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    one = Run(Table(), wanted.rounds, time.monotonic() + MOST_S)
    for name in wanted.parts or PARTS:
        PARTS[name](one)
    print("\n" + "\n".join(line.rstrip() for line in one.table.lines))
    for failure in one.failed:
        print(f"FAILED  {failure}")
    return one.table.ok

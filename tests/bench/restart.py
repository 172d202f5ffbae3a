"""A relay with 1,500 linked clients is killed with signal 9 and started again on its port: how long
until everybody is back. Back is who has had a record acknowledged that it wrote afterwards."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from tests.bench.figures import Table
from tests.hostile.looking import cpu_s
from tests.running_relay import running_relay
from tests.stores import folder

CROWDS = ((725, 25), (725, 25))
"""Of each process: clients that are frames alone, and real stores."""
ROUNDS = 3


def one_round(table: Table, number: int) -> float:
    with folder() as place, running_relay(place / "relay") as first:
        crowds = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.hostile.crowd", first.url, str(frames), str(stores)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for frames, stores in CROWDS
        ]
        relay = first
        try:
            for crowd in crowds:
                assert crowd.stdout is not None
                assert crowd.stdout.readline() == "linked\n"
            before_s = {crowd.pid: cpu_s(crowd.pid) for crowd in crowds}
            first.kill()
            killed_s = time.monotonic()
            relay = first.again()
            up_s = time.monotonic() - killed_s
            back: list[float] = []
            errors: list[str] = []
            for crowd, (frames, stores) in zip(crowds, CROWDS, strict=True):
                assert crowd.stdout is not None
                for _ in range(frames + stores):
                    what, said = crowd.stdout.readline().split(maxsplit=1)
                    if what == "back":
                        back.append(float(said.split()[0]) - killed_s)
                    else:
                        errors.append(said)
            spent_s = [
                cpu_s(relay.pid),
                *(cpu_s(crowd.pid) - before_s[crowd.pid] for crowd in crowds),
            ]
            links = relay.get("/health/ready")[1]["links"]
        finally:
            for crowd in crowds:
                crowd.kill()
                crowd.communicate()
            relay.end()
    assert len(back) + len(errors) == sum(map(sum, CROWDS))
    table.add(f"round {number}: the relay listens again after", up_s, "s")
    table.add("  half of the clients are back after", statistics.median(back), "s")
    table.add("  all clients are back after", max(back), "s", most=15)
    table.add("  errors that reached an application", len(errors), "", most=0, note=str(errors[:1]))
    table.add("  CPU time of the relay since its start", spent_s[0], "s")
    table.add("  CPU time of the clients since then", sum(spent_s[1:]), "s")
    table.add("  links", float(str(links)), "")
    return max(back)


def run() -> bool:
    table = Table()
    slowest = [one_round(table, number) for number in range(1, ROUNDS + 1)]
    clients = sum(map(sum, CROWDS))
    table.add(f"median of {ROUNDS}: {clients} clients are back", statistics.median(slowest), "s")
    return table.ok

"""What honest clients notice while others attack the relay, in the same context: how long until
they see their own updates (acknowledged, so durable) and those of each other; and what the relay
holds in memory. Each attacker is a process of its own, that goes on for some seconds."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

from tests.bench.figures import Table
from tests.hostile.cases import CASES
from tests.hostile.looking import MIB, Watch, rss_bytes
from tests.hostile.raw_client import RawClient
from tests.hostile.target import CONTEXT
from tests.running_relay import RunningRelay, running_relay
from tests.stores import folder
from weft_engine.names import RecordHash

ATTACK_S = 6.0
PAUSE_S = 0.03
OWN_P95_MS_MAX = 250
GROWN_MIB_MAX = 448
"""What all links may hold, 256 MiB, and what comes until somebody looks again."""
ATTACKERS = 2
DEAF_S = 60.0
DEAF_BYTES = 20_000


class Pair:
    """Two clients that write in turns, and when each saw what."""

    def __init__(self, url: str) -> None:
        self._written_s: dict[RecordHash, float] = {}
        self.own_ms: list[float] = []
        self.others_ms: list[float] = []
        self.clients = [RawClient(url, CONTEXT, on_record=self._heard) for _ in range(2)]

    def _heard(self, hash_: RecordHash) -> None:
        if hash_ in self._written_s:
            self.others_ms.append((time.perf_counter() - self._written_s[hash_]) * 1000)

    async def talk(self) -> None:
        while True:
            for client in self.clients:
                began_s = time.perf_counter()
                record = client.make("honestly")
                self._written_s[record.hash] = began_s
                await client.offer(record)
                self.own_ms.append((time.perf_counter() - began_s) * 1000)
                assert not client.gone.is_set(), f"an honest client was shown out: {client.bye}"
                await asyncio.sleep(PAUSE_S)

    async def settled(self) -> None:
        """Each has what the other wrote."""
        one, other = self.clients
        async with asyncio.timeout(60):
            while not (  # noqa: ASYNC110
                one.acknowledged <= other.held and other.acknowledged <= one.held
            ):
                await asyncio.sleep(0.01)

    def forget(self) -> None:
        self.own_ms.clear()
        self.others_ms.clear()


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1] if len(values) > 1 else max(values, default=0.0)


async def attack(table: Table, relay: RunningRelay, pair: Pair, name: str | None) -> None:
    """Under the attack of this name, or in peace."""
    pair.forget()
    words = [sys.executable, "-m", "tests.hostile.cases", str(name), relay.url, str(ATTACK_S)]
    async with Watch(relay.pid, relay.address) as watch:
        attackers = [
            await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
            for _ in range(ATTACKERS if name is not None else 0)
        ]
        talking = asyncio.create_task(pair.talk())
        try:
            await asyncio.sleep(ATTACK_S)
            done = sum([int((await attacker.communicate())[0]) for attacker in attackers])
        finally:
            talking.cancel()
            await asyncio.wait([talking])
    if not talking.cancelled():
        talking.result()
    await pair.settled()
    note = f"{done} done; longest answer {max(watch.answers_s) * 1000:.0f} ms"
    what = "in peace" if name is None else name.replace("_", " ")
    table.add(f"{what}: own update, p95", p95(pair.own_ms), "ms", most=OWN_P95_MS_MAX, note=note)
    table.add("  the other's update, p95", p95(pair.others_ms), "ms")
    table.add("  memory, more than before", watch.grown_mib, "MiB", most=GROWN_MIB_MAX)


async def deaf_reader(table: Table, relay: RunningRelay, pair: Pair) -> None:
    """Somebody reads nothing for a minute while much is written, then reads on."""
    pair.forget()
    deaf = RawClient(relay.url, CONTEXT)
    writer = pair.clients[0]
    await deaf.connect()
    await deaf.say("here")
    deaf.reading.clear()
    before, most = rss_bytes(relay.pid), 0
    ends_s = time.monotonic() + DEAF_S
    while time.monotonic() < ends_s:
        began_s = time.perf_counter()
        await writer.say("x" * DEAF_BYTES)
        pair.own_ms.append((time.perf_counter() - began_s) * 1000)
        most = max(most, rss_bytes(relay.pid))
        await asyncio.sleep(PAUSE_S / 3)
    deaf.reading.set()
    began_s = time.perf_counter()
    async with asyncio.timeout(120):
        while not writer.acknowledged <= deaf.held:
            assert not deaf.gone.is_set(), f"who reads slowly was shown out: {deaf.bye}"
            await asyncio.sleep(0.01)
    took_s = time.perf_counter() - began_s
    await deaf.aclose()
    await pair.settled()
    size = len(pair.own_ms) * DEAF_BYTES / MIB
    note = f"{size:.0f} MiB written; all of it here {took_s:.1f} s after"
    what = f"a reader stops for {DEAF_S:.0f} s: own update, p95"
    table.add(what, p95(pair.own_ms), "ms", most=OWN_P95_MS_MAX, note=note)
    table.add("  memory, more than before", (most - before) / MIB, "MiB", most=GROWN_MIB_MAX)


async def measure(table: Table, relay: RunningRelay) -> None:
    pair = Pair(relay.url)
    for client in pair.clients:
        await client.connect()
        await client.say("here")
    await attack(table, relay, pair, None)
    for case in CASES:
        await attack(table, relay, pair, case.name)
    await attack(table, relay, pair, None)
    await deaf_reader(table, relay, pair)
    for client in pair.clients:
        await client.aclose()


def run() -> bool:
    table = Table()
    with folder() as place, running_relay(place / "relay") as relay:
        asyncio.run(measure(table, relay))
    return table.ok

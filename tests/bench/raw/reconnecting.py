"""A client with many contexts comes back after a few of them changed at the relay.

The real client, over a connection that takes 100 ms each way. Must never know: how it resumes.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

import weft
from tests.bench.raw.filling import write_each, writers
from tests.bench.raw.proxy import delayed
from tests.bench.raw.servers import Server

PREFIX = "bench/many/"
DELAY_S = 0.1
SYNC_S = 240.0
RECORDS, EVENT_BYTES = 5, 1_000


@dataclass(frozen=True)
class Resumed:
    """Round trips from the client's first word to the last byte that came for it; bytes on the
    wire both ways in that time, and those of the changed contexts' records, envelopes and
    payloads."""

    round_trips: float
    bytes: int
    payload: int
    first_sync_s: float


def resumed(server: Server, *, contexts: int, changed: int) -> Resumed:
    return asyncio.run(_resumed(server, contexts, changed))


async def _resumed(server: Server, contexts: int, changed: int) -> Resumed:
    authors = writers(PREFIX, contexts)
    write_each(server, PREFIX, authors, records=1, event_size=100)
    url = f"ws://127.0.0.1:{server.port}"
    with tempfile.TemporaryDirectory(prefix="weft-bench-client-") as folder:
        async with weft.open(Path(folder) / "client.weft") as store:
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            link = store.connect(url, prefixes=[PREFIX])
            await link.synced(timeout=SYNC_S, received=True)
            first_sync_s = loop.time() - began_s
            await link.aclose()
            payload = write_each(
                server, PREFIX, authors[::contexts // changed][:changed], records=RECORDS,
                event_size=EVENT_BYTES,
            )  # fmt: skip
            async with delayed(server.port, delay_s=DELAY_S) as (port, passed):
                link = store.connect(f"ws://127.0.0.1:{port}", prefixes=[PREFIX])
                await link.synced(timeout=SYNC_S, received=True)
                said_s = passed.to_relay[0][0]
                # The last large piece: what comes after it are acknowledgements.
                came_s = [at for at, size in passed.to_client if size > payload / 20][-1]
                trips = (came_s + DELAY_S - (said_s - 0)) / (2 * DELAY_S)
                size = passed.bytes
                await link.aclose()
    return Resumed(trips, size, payload, first_sync_s)

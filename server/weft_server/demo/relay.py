"""The relay as the demo sees it: ``weft serve`` in a process, and its store read from outside."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from weft_engine.replica.replica import Replica
from weft_server.local_mesh.process import Child, started


class RelayProcess:
    def __init__(self, child: Child, url: str, store: Path) -> None:
        self.pid = child.pid
        self.url = url
        self.store = store
        self._child = child

    async def kill(self) -> None:
        await self._child.kill()

    async def end(self) -> int:
        """SIGTERM, and its exit code."""
        return await self._child.end()


@asynccontextmanager
async def relay(folder: Path, *, listen: str = "127.0.0.1:0") -> AsyncIterator[RelayProcess]:
    """A relay that listens, with its store in `folder`."""
    arguments = ["serve", "--data", str(folder), "--listen", listen, "--region", "demo"]
    arguments += ["--insecure", "--json"]
    async with started("relay", "weft_server", arguments, folder) as child:
        said = await child.hear()
        yield RelayProcess(child, said["url"], Path(said["store"]))


def open_to_read(store: Path) -> Replica:
    """A store of the demo, opened beside whoever writes in it."""
    return Replica.open(
        store, now_ms=lambda: time.time_ns() // 1_000_000, random=os.urandom, readonly=True
    )

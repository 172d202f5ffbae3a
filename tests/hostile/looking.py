"""Looking at a relay from outside: its memory, and how long it takes to answer.

Must never know: what is done to the relay meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

MIB = 1 << 20
_ELSEWHERE = "127.0.0.9"
"""Attackers take all the room that there is for one address."""


def rss_bytes(pid: int) -> int:
    """What a process holds in memory now (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no memory")


def cpu_s(pid: int) -> float:
    """The CPU time that a process has spent, in seconds (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Watch:
    """While entered: the most memory that a relay held, and how long it took to answer a request
    of a few bytes, in seconds, each over a connection of its own."""

    def __init__(self, pid: int, address: str, *, every_s: float = 0.05) -> None:
        self._pid = pid
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._every_s = every_s
        self.first_bytes = self.most_bytes = rss_bytes(pid)
        self.answers_s: list[float] = []
        self._asked_s: float | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Watch:
        self._task = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        if self._asked_s is not None:
            # It has not answered yet: so long at least.
            self.answers_s.append(time.perf_counter() - self._asked_s)
        if not self._task.cancelled():
            self._task.result()

    @property
    def grown_mib(self) -> float:
        return (self.most_bytes - self.first_bytes) / MIB

    async def _look(self) -> None:
        while True:
            self.most_bytes = max(self.most_bytes, rss_bytes(self._pid))
            self._asked_s = time.perf_counter()
            await self._ask()
            self.answers_s.append(time.perf_counter() - self._asked_s)
            self._asked_s = None
            await asyncio.sleep(self._every_s)

    async def _ask(self) -> None:
        reader, writer = await asyncio.open_connection(
            self._host, self._port, local_addr=(_ELSEWHERE, 0)
        )
        try:
            writer.write(b"GET /health/live HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n")
            said = await reader.readline()
            assert b" 200 " in said, f"the relay does not say that it lives: {said!r}"
        finally:
            writer.close()

"""Servers under load, as processes: ours and the peers', started on loopback, watched by their
process id, ended by it.

Must never know: what is said to them.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.peers.catalogue import Peer
from tests.bench.peers.installing import installed
from tests.bench.raw.client import Dialect
from tests.running_relay import RunningRelay

UP_S = 20.0


@dataclass(frozen=True)
class Server:
    """A server that listens on a port of this machine."""

    name: str
    dialect: Dialect
    port: int
    pid: int
    does: str
    path: str = "/"
    """What stands before the name of a room or context in its URL; the native link has no name."""

    @property
    def is_ours(self) -> bool:
        return self.name.startswith("weft")

    def room_path(self, room: str) -> str:
        return self.path if self.dialect is Dialect.NATIVE else self.path + room

    def cpu_s(self) -> float:
        """Of all its threads so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> int:
        """Resident now."""
        return self._status("VmRSS")

    def peak_bytes(self) -> int:
        """Resident at most since `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _status(self, field: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {field} of process {self.pid}")


NATIVE_PATH = "/v1/sync"
YJS_PATH = "/yjs/"
OURS = "durable: commits and fsyncs each update before it is delivered or acknowledged"


def ours(relay: RunningRelay, dialect: Dialect) -> Server:
    """Our relay, as it is reached in one of its dialects."""
    path = NATIVE_PATH if dialect is Dialect.NATIVE else YJS_PATH
    port = int(relay.address.rpartition(":")[2])
    name = f"weft, {'native' if dialect is Dialect.NATIVE else '/yjs'}"
    return Server(name, dialect, port, relay.pid, OURS, path)


@contextmanager
def our_relay(*, more: Sequence[str] = ()) -> Iterator[RunningRelay]:
    """Our relay with a new store on this machine's disk, not in memory."""
    with tempfile.TemporaryDirectory(prefix="weft-bench-") as name:
        relay = RunningRelay(Path(name), more=more)
        try:
            yield relay
        finally:
            relay.end()


@contextmanager
def running(peer: Peer) -> Iterator[Server]:
    """A peer; it is killed at the end."""
    folder = installed(peer)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "HOST": "127.0.0.1", "PORT": str(port), "NODE_ENV": "production"}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            peer.command(folder, port), env=environment, stdout=errors, stderr=errors
        )
        try:
            _until_up(process, port, peer.name)
            yield Server(peer.name, peer.dialect, port, process.pid, peer.does)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def _until_up(process: subprocess.Popen[bytes], port: int, name: str) -> None:
    began_s = time.monotonic()
    while time.monotonic() - began_s < UP_S:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            raise AssertionError(f"{name} did not start: it ended with {process.returncode}")
        time.sleep(0.05)
    raise AssertionError(f"{name} did not listen within {UP_S} s")

"""A relay as a process, for tests: started, asked, killed and ended by its own id."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

DEADLINE_S = 15.0


class RunningRelay:
    """`weft serve` on a port of its own, with its store in `folder`."""

    def __init__(
        self,
        folder: Path,
        *,
        key: Path | None = None,
        listen: str = "127.0.0.1:0",
        region: str = "test",
        more: Sequence[str] = (),
    ):
        door = ["--insecure"] if key is None else ["--token-key", str(key)]
        where = ["--data", str(folder), "--listen", listen, "--json"]
        self._key = key
        self._folder = folder
        self._region = region
        self._more = more
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "weft_server",
                "serve",
                *where,
                "--region",
                region,
                *door,
                *more,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            _, errors = self._process.communicate(timeout=DEADLINE_S)
            raise AssertionError(f"the relay did not start: {errors.decode()}")
        said = json.loads(line)
        self.url: str = said["url"]
        self.store = Path(said["store"])
        self.region_key: str = said["region_key"]
        assert said["pid"] == self._process.pid
        self.pid = self._process.pid

    @property
    def address(self) -> str:
        return self.url.removeprefix("ws://")

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def get(self, path: str) -> tuple[int, dict[str, object]]:
        """Status and JSON of a GET."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=DEADLINE_S)

    def again(self) -> RunningRelay:
        """The same relay after its end: same store, same address."""
        return RunningRelay(
            self._folder,
            key=self._key,
            listen=self.address,
            region=self._region,
            more=self._more,
        )

    def signal(self, wanted: signal.Signals = signal.SIGTERM) -> None:
        self._process.send_signal(wanted)

    def wait(self) -> tuple[int, str]:
        """Its exit code and what it wrote to stderr."""
        _, errors = self._process.communicate(timeout=DEADLINE_S)
        return self._process.returncode, errors.decode()

    def end(self) -> None:
        if self.is_running:
            self.signal()
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.kill()
                raise


@contextmanager
def running_relay(
    folder: Path, *, key: Path | None = None, region: str = "test", more: Sequence[str] = ()
) -> Iterator[RunningRelay]:
    relay = RunningRelay(folder, key=key, region=region, more=more)
    try:
        yield relay
    finally:
        relay.end()


def free_port() -> int:
    """One that nobody listens on just now: regions that dial each other know both addresses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def regions(
    folder: Path, names: Sequence[str], dials: Sequence[tuple[str, str]]
) -> Iterator[dict[str, RunningRelay]]:
    """Insecure relays by region; each of `dials` is who dials whom."""
    ports = {name: free_port() for name in names}
    with ExitStack() as stack:
        found: dict[str, RunningRelay] = {}
        for name in names:
            more = [
                word
                for who, whom in dials
                if who == name
                for word in ("--peer", f"{whom}=ws://127.0.0.1:{ports[whom]}")
            ]
            relay = RunningRelay(
                folder / name, listen=f"127.0.0.1:{ports[name]}", region=name, more=more
            )
            stack.callback(relay.end)
            found[name] = relay
        yield found


async def until(holds: Callable[[], Awaitable[bool]], *, what: str) -> None:
    """Look again and again until something is so; fail after a while."""
    began_s = time.monotonic()
    while not await holds():
        assert time.monotonic() - began_s < DEADLINE_S, f"not in {DEADLINE_S} s: {what}"
        await asyncio.sleep(0.01)

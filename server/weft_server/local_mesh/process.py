"""A process of ours: started, spoken with, killed and ended by its own id, whatever happens.

Must never know: what the process is for.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from weft_engine.errors import MachineError

_ENDING_S: Final = 10.0
_LINE_BYTES_MAX: Final = 16 * 1024 * 1024
_SHOWN_BYTES: Final = 2000


class Child:
    """A Python module in a process, spoken with in JSON lines."""

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, log: Path, log_bytes: int
    ) -> None:
        """`log`: where its stderr goes, behind `log_bytes` of earlier processes."""
        self.name = name
        self.pid = process.pid
        self._process = process
        self._log = log
        self._log_bytes = log_bytes

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal that ended it."""
        return self._process.returncode

    async def tell(self, command: Mapping[str, object]) -> None:
        assert self._process.stdin is not None, "started with a pipe"
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        await self._process.stdin.drain()

    async def hear(self) -> dict[str, Any]:
        """Its next line. MachineError if there is none, or if it tells of an error."""
        assert self._process.stdout is not None, "started with a pipe"
        line = await self._process.stdout.readline()
        if not line:
            code = await self._process.wait()
            raise MachineError(f"{self.name} ended with exit code {code}: {self.last_words()}")
        said: dict[str, Any] = json.loads(line)
        if "error" in said:
            raise MachineError(f"{self.name}: {said['error']}")
        return said

    async def kill(self) -> None:
        """SIGKILL, to this process and no other."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def end(self) -> int:
        """Ask it to end, wait, and kill it if that takes too long; its exit code."""
        if self._process.returncode is None:
            self._process.terminate()
        return await self._wait()

    def say_no_more(self) -> None:
        """Close its stdin."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def finish(self) -> int:
        """Close its stdin and wait until it has ended; its exit code."""
        self.say_no_more()
        return await self._wait()

    async def _wait(self) -> int:
        try:
            async with asyncio.timeout(_ENDING_S):
                return await self._process.wait()
        except TimeoutError:
            await self.kill()
            return -9

    async def ended(self) -> int:
        """Wait until it ends by itself or is ended by others; its exit code."""
        return await self._process.wait()

    def last_words(self) -> str:
        """What it last wrote to stderr, in one line."""
        with self._log.open("rb") as log:
            log.seek(self._log_bytes)
            message, hint = last_error(log.read())
        return f"{message} (hint: {hint})" if hint else message


def last_error(said: bytes) -> tuple[str, str]:
    """The message and the hint of the error that a command of ours wrote last, each in one line; of
    anything else, its end and no hint."""
    text = said[-_SHOWN_BYTES:].decode(errors="replace").strip()
    message, _, hint = text.rpartition("weft: ")[2].partition("\nhint: ")
    return " ".join(message.split()) or "it said nothing", " ".join(hint.split())


async def start(name: str, module: str, arguments: Sequence[str], folder: Path) -> Child:
    """``python -m module`` with these arguments. What it writes to stderr is appended to a file in
    `folder`; whoever starts it sees to its end."""
    log = folder / f"{name}.log"
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            limit=_LINE_BYTES_MAX,
            # Ctrl-C is for whoever started it, who then ends its processes in order.
            start_new_session=True,
        )
        return Child(name, process, log, errors.tell())


@asynccontextmanager
async def started(
    name: str, module: str, arguments: Sequence[str], folder: Path
) -> AsyncIterator[Child]:
    """As `start`, ended at the end."""
    child = await start(name, module, arguments, folder)
    try:
        yield child
    finally:
        if child.exit_code is None:
            await child.end()

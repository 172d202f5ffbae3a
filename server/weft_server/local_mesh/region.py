"""A region of a local mesh: its weft.toml, and ``weft serve`` in a process.

Must never know: the other regions, the network.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum, unique
from pathlib import Path
from typing import Final

from weft_engine.errors import Conflict, MachineError
from weft_server.local_mesh.process import Child, start
from weft_server.local_mesh.proxy import HOST

STARTING_S: Final = 60.0
"""Until a region listens: it loads its code and opens its store, on a busy machine."""
_LEASH: Final = "weft_server.local_mesh.leash"


@unique
class RegionState(StrEnum):
    UP = "up"
    KILLED = "killed"
    """By us."""
    ENDED = "ended"
    """By itself, or by somebody else: its log says why."""


class Region:
    """Down until `start`; killed and started again as often as one likes."""

    def __init__(self, name: str, folder: Path, *, config: Path, store: Path, port: int) -> None:
        self.name = name
        self.folder = folder
        self.store = store
        self.port = port
        self._config = config
        self._child: Child | None = None
        self._was_killed = False

    @property
    def url(self) -> str:
        """Where clients link with it, without the bad network."""
        return f"ws://{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """Of its process, while that runs."""
        if self._child is None or self._child.exit_code is not None:
            return None
        return self._child.pid

    @property
    def state(self) -> RegionState:
        if self.pid is not None:
            return RegionState.UP
        return RegionState.KILLED if self._was_killed else RegionState.ENDED

    @property
    def exit_code(self) -> int | None:
        """Of its last process; None while that runs."""
        return None if self._child is None else self._child.exit_code

    async def start(self) -> None:
        """Return when it listens. Conflict if it runs; MachineError with its own words if it does
        not come up."""
        if self.pid is not None:
            raise Conflict(
                f"the region {self.name} is up already", hint="weft mesh status shows them all"
            )
        words = ["serve", "--config", str(self._config), "--json"]
        self._child = await start(self.name, _LEASH, words, self.folder)
        self._was_killed = False
        try:
            async with asyncio.timeout(STARTING_S):
                await self._child.hear()
        except TimeoutError:
            await self._child.kill()
            raise MachineError(
                f"the region {self.name} does not listen after {STARTING_S:g} s:"
                f" {self._child.last_words()}",
                hint="start it again when this machine is less busy",
            ) from None
        except MachineError as error:
            await self._child.kill()
            raise MachineError(
                error.message, hint=f"mend that, and try again: weft mesh start {self.name}"
            ) from None
        except BaseException:
            await self._child.kill()
            raise

    async def kill(self) -> None:
        """SIGKILL, as if the machine had lost its power. Conflict if it does not run."""
        if self._child is None or self.pid is None:
            raise Conflict(
                f"the region {self.name} is not up", hint=f"weft mesh start {self.name} starts it"
            )
        self._was_killed = True
        await self._child.kill()

    async def end(self) -> None:
        """SIGTERM, and SIGKILL if that does not end it in time. Nothing if it does not run."""
        if self._child is not None and self.pid is not None:
            await self._child.end()

    async def ended(self) -> int:
        """Wait until its process has ended, in whatever way; its exit code."""
        assert self._child is not None, "it was started"
        return await self._child.ended()

    def last_words(self) -> str:
        return "" if self._child is None else self._child.last_words()

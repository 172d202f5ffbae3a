"""A device as the demo sees it: a process with a store of its own. Must never know: regions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from weft_server.demo.script import Turn
from weft_server.local_mesh.process import Child, started

_MODULE: Final = "weft.demo_device"


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What a device holds: names and record fingerprints of its contexts; and the region that it
    is linked with now."""

    records: int
    fingerprints: dict[str, str]
    region: str | None


class Device:
    def __init__(self, child: Child, store: Path) -> None:
        self.name = child.name
        self.store = store
        self._child = child

    async def import_file(self, path: Path) -> tuple[int, int]:
        """How many conversations and messages it imported."""
        said = await self._ask({"do": "import", "path": str(path)})
        return said["conversations"], said["messages"]

    async def connect(self, urls: Sequence[str]) -> None:
        """Link it with the first of these that works, and the next when that fails."""
        await self._ask({"do": "connect", "urls": list(urls)})

    async def synced(self, timeout_s: float) -> None:
        await self._ask({"do": "synced", "timeout": timeout_s})

    async def write(self, turns: Sequence[Turn]) -> tuple[int, int]:
        """How many events it wrote, and how many tool calls among them."""
        lines = [{"context": turn.context, "messages": turn.messages} for turn in turns]
        said = await self._ask({"do": "write", "author": self.name, "turns": lines})
        return said["events"], said["calls"]

    async def state(self) -> DeviceState:
        said = await self._ask({"do": "state"})
        return DeviceState(
            said["records"],
            dict(zip(said["contexts"], said["fingerprints"], strict=True)),
            said["region"],
        )

    async def close(self) -> int:
        """Let it finish and close its store; its exit code."""
        return await self._child.finish()

    async def _ask(self, command: dict[str, object]) -> dict[str, Any]:
        await self._child.tell(command)
        return await self._child.hear()


@asynccontextmanager
async def device(name: str, folder: Path) -> AsyncIterator[Device]:
    """A device named `name` with its store in `folder`, ready for commands."""
    store = folder / f"{name}.db"
    async with started(name, _MODULE, [str(store)], folder) as child:
        await child.hear()
        yield Device(child, store)

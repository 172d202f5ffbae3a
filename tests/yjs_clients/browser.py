"""The real npm clients in a process of Node: tabs with documents behind their own providers.

`tabs.mjs` is the other half. Must never know: relays.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import pytest

from tests.npm import NotInstalled, installed

TIMEOUT_S: Final = 30.0
HELPER: Final = Path(__file__).parents[2] / "examples" / "browser" / "weft-events.js"
_SCRIPT: Final = Path(__file__).parent / "tabs.mjs"

Family: TypeAlias = Literal["yjs", "@y/y"]
FAMILIES: Final[tuple[Family, ...]] = ("yjs", "@y/y")
_PACKAGES: Final = {
    "yjs": {"yjs": "13.6.33", "y-websocket": "3.1.0", "y-protocols": "1.0.6", "ws": "8.23.0"},
    "@y/y": {
        "@y/y": "14.0.0-22",
        "@y/websocket": "4.0.0-3",
        "@y/protocols": "1.0.6-rc.1",
        "ws": "8.23.0",
    },
}


class Tab:
    """A document and its provider, by the name that the browser knows it by."""

    def __init__(self, browser: Browser, name: str) -> None:
        self._browser = browser
        self._name = name

    async def do(self, what: str, **rest: Any) -> Any:
        return await self._browser.ask(do=what, tab=self._name, **rest)

    async def look(self, **rest: Any) -> dict[str, Any]:
        found = await self.do("look", **rest)
        assert isinstance(found, dict)
        return found

    async def until(self, *, within_s: float = TIMEOUT_S, **wanted: Any) -> dict[str, Any]:
        """Wait until what `look` finds is so; `note`, `event` and `client` say where it looks."""
        names = {"note": "note", "event": "key", "client": "client"}
        places = {names[one]: wanted.pop(one) for one in names if one in wanted}
        found = await self.do("until", within_s=within_s, **{"is": wanted}, **places)
        assert isinstance(found, dict)
        return found

    async def synced(self, *, within_s: float = TIMEOUT_S) -> None:
        await self.until(synced=True, within_s=within_s)

    async def insert(
        self, note: str, at: int, insert: str, *, times: int = 1, pieces: int = 1
    ) -> None:
        """Type at a place, or at the end if `at` is -1."""
        await self.do("insert", note=note, at=at, insert=insert, times=times, pieces=pieces)

    async def set(self, key: str, value: str) -> None:
        await self.do("set", key=key, value=value)


class Browser:
    def __init__(self, process: Process) -> None:
        self._process = process
        self._ids = itertools.count()
        self._asked: dict[int, asyncio.Future[Any]] = {}

    async def open(self, url: str, room: str, **options: Any) -> Tab:
        tab = Tab(self, str(next(self._ids)))
        await tab.do("open", url=f"{url}/yjs", room=room, **options)
        return tab

    async def ask(self, **asked: Any) -> Any:
        """What the process answers; AssertionError with what went wrong there."""
        assert self._process.stdin is not None
        number = next(self._ids)
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"id": number, **asked}).encode() + b"\n")
        await self._process.stdin.drain()
        return await future

    async def listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            future = self._asked.pop(told["id"])
            if future.cancelled():
                continue
            if "error" in told:
                future.set_exception(AssertionError(told["error"]))
            else:
                future.set_result(told["value"])
        for future in self._asked.values():
            if not future.done():
                future.set_exception(AssertionError("Node has ended"))


@asynccontextmanager
async def browser(family: Family) -> AsyncIterator[Browser]:
    """A process with the clients of a family; the test is skipped where they can't be had."""
    try:
        folder = await asyncio.to_thread(installed, f"yjs-clients-{family}", _PACKAGES[family])
        process = await asyncio.create_subprocess_exec(
            *("node", "--input-type=module", "--eval", _SCRIPT.read_text()),
            *("--", family, HELPER.as_uri()),
            cwd=folder,
            stdin=PIPE,
            stdout=PIPE,
            limit=64 * 1024 * 1024,
        )
    except (NotInstalled, FileNotFoundError) as error:
        pytest.skip(f"the clients of npm can't be had: {error}")
    found = Browser(process)
    listening = asyncio.create_task(found.listen())
    try:
        yield found
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        await listening

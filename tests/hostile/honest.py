"""Honest clients of a context that others attack: real stores that write, link and read on.

Must never know: what the attack is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import weft
from tests.hostile.target import CONTEXT

_PAUSE_S: Final = 0.05
SETTLED_S: Final = 60.0
"""What the last of it may take to be everywhere, on a machine that is busy with other things."""


class Honest:
    """Some stores that are linked with one context, and say something again and again."""

    def __init__(self, stores: list[weft.Store], links: list[weft.Link]) -> None:
        self._stores = stores
        self._links = links
        self.said: list[str] = []
        """Event ids, by whoever."""

    async def talk(self) -> None:
        """Without end."""

        async def one(store: weft.Store, link: weft.Link) -> None:
            chat = store.context(CONTEXT)
            note = chat.note("ours")
            while True:
                self.said += await chat.append("honestly " + "x" * (len(self.said) % 50))
                if len(self.said) % 8 == 0:
                    await note.append(".")
                await link.synced(timeout=SETTLED_S)
                await asyncio.sleep(_PAUSE_S)

        async with asyncio.TaskGroup() as group:
            for store, link in zip(self._stores, self._links, strict=True):
                group.create_task(one(store, link))

    async def check(self) -> None:
        """Nobody lost a link or a word, and everybody holds the same."""
        async with asyncio.timeout(SETTLED_S):
            while len({await self._fingerprint(store) for store in self._stores}) > 1:  # noqa: ASYNC110
                await asyncio.sleep(_PAUSE_S)
        assert self.said
        notes = set()
        for store, link in zip(self._stores, self._links, strict=True):
            assert link.error is None, f"an honest link ended: {link.error}"
            assert link.status == "live"
            chat = store.context(CONTEXT)
            shown = {said.id async for said in chat.history()}
            lost = [id_ for id_ in self.said if id_ not in shown]
            assert not lost, f"{len(lost)} of {len(self.said)} honest messages are gone"
            notes.add(await chat.note("ours").text())
        assert len(notes) == 1, "the notes differ"
        assert notes.pop().count(".") >= len(self.said) // 16

    async def _fingerprint(self, store: weft.Store) -> str:
        return "".join(
            [info.fingerprint async for info in store.contexts() if info.name == CONTEXT]
        )


@asynccontextmanager
async def honest(
    folder: Path, url: str, token: str | None, count: int = 2
) -> AsyncIterator[Honest]:
    """Linked and talking while entered; checked at the end."""
    stores: list[weft.Store] = []
    async with weft.open(folder / "a.db") as one, weft.open(folder / "b.db") as two:
        stores = [one, two]
        links = [store.connect(url, token=token, contexts=[CONTEXT]) for store in stores]
        found = Honest(stores, links)
        for link in links:
            await link.synced(timeout=SETTLED_S)
        talking = asyncio.create_task(found.talk())
        try:
            yield found
            assert not talking.done(), talking
        finally:
            talking.cancel()
            await asyncio.wait([talking])
        if not talking.cancelled():
            talking.result()
        await found.check()

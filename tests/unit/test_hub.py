"""A link that fails when the hub tells it something ends alone."""

from __future__ import annotations

import asyncio

from tests.linked import End, Store, stores


class Watched(End):
    """Counts how often it looks what there is to do, and fails when it is to."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.looks = 0
        self.fails = False
        self.errors: list[BaseException] = []

    def changed(self) -> None:
        self.looks += 1
        if self.fails:
            raise RuntimeError("this link is broken")

    def failed(self, error: BaseException, /) -> None:
        self.errors.append(error)


async def test_who_waits_looks_though_another_one_fails() -> None:
    async with stores(1) as (store,):
        first, second = Watched(store), Watched(store)
        for ear in (first, second):
            store.hub.wait(ear, is_waiting=True)
        first.fails = True
        await store.write("notes", "a word")
        await asyncio.sleep(0)
        assert [str(error) for error in first.errors] == ["this link is broken"]
        assert second.looks == 1
        assert not second.errors


async def test_who_was_answered_looks_though_another_one_fails() -> None:
    async with stores(1) as (store,):
        first, second = Watched(store), Watched(store)
        first.fails = True
        store.hub.answered(first)
        store.hub.answered(second)
        await asyncio.sleep(0)
        assert len(first.errors) == 1
        assert second.looks == 1

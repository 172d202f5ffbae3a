"""It wakes whoever waits, and nobody waits while it is set."""

from __future__ import annotations

import asyncio

from weft_server.writable import Writable


def test_all_who_wait_go_on_when_it_is_set() -> None:
    async def waiting() -> None:
        writable = Writable()
        assert writable.is_set()
        assert await writable.wait()
        writable.clear()
        waiters = [asyncio.create_task(writable.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        writable.set()
        # Cleared again before they go on: it was set since they began to wait.
        writable.clear()
        assert await asyncio.gather(*waiters) == [True, True, True]
        late = asyncio.create_task(writable.wait())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not late.done()
        writable.set()
        assert await late

    asyncio.run(waiting())

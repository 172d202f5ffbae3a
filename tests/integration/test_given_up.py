"""A question that is given up where no event loop runs: nothing is begun for it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from tests.stores import folder, open_replica
from weft_engine.names import ContextName
from weft_engine.replica.replica import Replica

CHAT = ContextName("chat")


async def asked(place: Path) -> tuple[Replica, Coroutine[Any, Any, object]]:
    """One that waits behind another for its turn."""
    replica = open_replica(place / "s.db")
    await replica.context(CHAT).append("a word")
    await replica.projector.catch_up(CHAT)
    first = asyncio.create_task(replica.projector.catch_up(CHAT))
    await asyncio.sleep(0)
    second = replica.projector.catch_up(CHAT)
    second.send(None)
    await first
    return replica, second


def test_what_is_closed_without_a_loop_begins_nothing() -> None:
    with folder() as place, asyncio.Runner() as runner:
        replica, question = runner.run(asked(place))
        question.close()
        runner.run(replica.close())

"""Putting a document together without holding up the event loop, whose thread it may not leave.

The document is in the hands of who calls this until it returns: in between it is half of one. Must
never know: whose document it is, storage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeVar

from weft_engine.document.assembly import Appliable, Assembly
from weft_engine.document.replay import Replay
from weft_engine.limits import DOCUMENT_TURN_S, YJS_INLINE_BYTES
from weft_engine.records.envelope import UPDATES, Record
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.update import Update

D = TypeVar("D", bound=Appliable)


class Pace:
    """Whoever works at a document has one, and asks it after each little piece of work."""

    def __init__(self) -> None:
        self._turn_ends_s: float | None = None

    async def turn(self) -> None:
        """Let others have theirs if we have had ours."""
        now_s = asyncio.get_running_loop().time()
        if self._turn_ends_s is None:
            self._turn_ends_s = now_s + DOCUMENT_TURN_S
        elif now_s > self._turn_ends_s:
            await asyncio.sleep(0)
            self._turn_ends_s = asyncio.get_running_loop().time() + DOCUMENT_TURN_S


async def take(assembly: Assembly[D], records: Sequence[Record], pace: Pace) -> bool:
    """`Assembly.take`, in turns."""
    for record in records:
        await pace.turn()
        if not assembly.take_one(record, await read_large(record)):
            return False
    return True


async def take_all(assembly: Assembly[D], records: Sequence[Record], pace: Pace) -> Replay:
    """`Assembly.take_all`, in turns; what it was judged by."""
    replay = Replay()
    held = await asyncio.to_thread(replay.begin, records)
    for _ in assembly.taking_all(records, replay, held):
        await pace.turn()
    return replay


async def read_large(record: Record) -> Update | None:
    """What a large one says; None if it is read as quickly by whoever needs it."""
    if record.envelope.kind not in UPDATES or len(record.payload) <= YJS_INLINE_BYTES:
        return None
    # The reader lets others have their turn when it has a thread of its own.
    return await asyncio.to_thread(read_update, record.payload)

"""The whole of a document as it is sent to those who have nothing of it: built once for all.

A document that is edited while many come would have to be encoded for each of them. So all are sent
the same for a while, and each what has changed since. A large one goes in several messages, for
y-websocket counts whole messages only, and gives up when none has come for 30 s; the last of them
is the step 2, by which a client knows that it has everything. Must never know: transports.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from weft_engine.background import begin
from weft_engine.errors import MalformedUpdate
from weft_engine.limits import YJS_FRAGMENT_BYTES, YJS_PORTION_BYTES
from weft_engine.yjs.portions import portions
from weft_server.yjs import wire
from weft_server.yjs.framing import fragments
from weft_server.yjs.member import Member

_LOG: Final = logging.getLogger("weft.relay")


class FirstState:
    """`version` and `state_vector` are those of the document that it was made from."""

    def __init__(self, version: int, state_vector: bytes, update: bytes) -> None:
        self.version = version
        self.state_vector = state_vector
        self.size = len(update)
        self.readers: set[Member] = set()
        """Who is being sent it now."""
        self._cutting = begin(_framed(update), name="weft-yjs-first-state")

    @property
    def has_failed(self) -> bool:
        """Whether it can't be had, by a fault of ours; those who waited for it were told so."""
        cutting = self._cutting
        return cutting.done() and (cutting.cancelled() or cutting.exception() is not None)

    async def pieces(self, *, is_step2: bool) -> list[bytes]:
        """What is to be written, in this order; with a step 2 at its end, or updates alone."""
        # Whoever waits for it may go away, and others wait on.
        as_step2, as_update = await asyncio.shield(self._cutting)
        return as_step2 if is_step2 else as_update


async def _framed(update: bytes) -> tuple[list[bytes], list[bytes]]:
    """The pieces with a step 2 at their end, and those without."""
    if len(update) <= YJS_PORTION_BYTES:
        parts = [update]
    else:
        try:
            parts = await asyncio.to_thread(portions, update, bytes_max=YJS_PORTION_BYTES)
        except MalformedUpdate as error:
            _LOG.warning("a document of %d bytes goes in one message: %s", len(update), error)
            parts = [update]
    before = [piece for part in parts[:-1] for piece in fragments(wire.edited(part))]
    message = wire.step2(parts[-1])
    first, *rest = fragments(message)
    # The same bytes but for the one that tells the two kinds of message apart.
    at = len(first) - min(len(message), YJS_FRAGMENT_BYTES) + 1
    renamed = first[:at] + wire.edited(b"")[1:2] + first[at + 1 :]
    return [*before, first, *rest], [*before, renamed, *rest]

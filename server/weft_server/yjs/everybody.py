"""Who is in a context, as Yjs clients are told when they come or ask: built once for all of them.

Where thousands are shown, to sort them and to write them down takes tens of milliseconds, and
whoever comes or asks is told of all. So the messages are kept, and who has changed since is told
behind them; a newer word of a client counts. Where few are, they are built anew: nobody need hear
there of who has left, or of what was said before. Must never know: who is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from weft_engine.sync.framing.messages import PresenceState
from weft_server.yjs import wire
from weft_server.yjs.awareness import awareness_messages
from weft_server.yjs.framing import frame

_OLD_PART: Final = 2
"""All is built anew when half as many have changed since."""
_FEW: Final = 64
"""So many are quickly written down."""


class Everybody:
    """`look` says who is there now."""

    def __init__(self, look: Callable[[], Sequence[PresenceState]]) -> None:
        self._look = look
        self._frames: list[bytes] | None = None
        self._count = 0
        """Clients in the first of these frames, which were built at once."""
        self._behind = 0
        """And in those behind them."""
        self._changed: dict[int, PresenceState] = {}
        """What is in none of them yet."""

    def change(self, states: Sequence[PresenceState]) -> None:
        """These are there, or have left."""
        if self._frames is not None:
            self._changed.update((one.client, one) for one in states)
            is_old = self._behind + len(self._changed) > self._count // _OLD_PART
            if self._count <= _FEW or is_old:
                self.forget()

    def forget(self) -> None:
        """Keep nothing."""
        self._frames = None
        self._changed.clear()

    def frames(self) -> Sequence[bytes]:
        """All of them; nothing if nobody is there."""
        if self._frames is None:
            states = self._look()
            self._count, self._behind = len(states), 0
            self._frames = _frames(states)
        elif self._changed:
            self._behind += len(self._changed)
            self._frames += _frames(list(self._changed.values()))
            self._changed.clear()
        return self._frames


def _frames(states: Sequence[PresenceState]) -> list[bytes]:
    return [frame(wire.aware(one)) for one in awareness_messages(states)] if states else []

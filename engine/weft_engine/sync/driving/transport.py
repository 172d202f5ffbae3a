"""What carries the frames of a link: whole, in order, both ways.

Must never know: sockets, what frames mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

Ready: TypeAlias = tuple[Callable[[Any], None], Any]
"""A frame as it leaves, behind what it is to be given to. It costs nothing more to write it."""
CLOSED: Final = "the connection was closed"
"""Why nothing comes any more, if there is nothing else to be said."""


class Transport(Protocol):
    """A connection that carries whole frames, in order. `LinkLost` or an OSError says that it has
    failed; the link ends and may be made again."""

    async def send(self, frame: bytes, /) -> None:
        """Returns when there is room for more."""

    async def receive(self) -> bytes | None:
        """The next frame; None at the end."""

    async def close(self, code: str, reason: str, /) -> None:
        """Let go of the connection; harmless when repeated."""


class Hearer(Protocol):
    """Whoever is told what happens on a direct transport. None of these raises."""

    def frame_received(self, frame: bytes, /) -> None: ...

    def transport_lost(self, why: str = ..., /) -> None:
        """Nothing comes any more, and nothing can be sent."""

    def transport_drained(self) -> None:
        """What was written has left, but for little."""


@runtime_checkable
class DirectTransport(Transport, Protocol):
    """A transport without tasks or queues between it and its user."""

    @property
    def is_congested(self) -> bool:
        """More was written than leaves soon; `transport_drained` is called when it has left."""

    def write(self, head: bytes, body: bytes = ..., /) -> None:
        """Send a frame that consists of these two, at once; on a connection that is gone it goes
        nowhere. The bytes of `body` are shared with other connections."""

    def ready(self, head: bytes, body: bytes, /) -> Ready:
        """What `write` would do with these, to be done in the same turn of the event loop, before
        anything else is written."""

    def hold_reading(self) -> None:
        """Hear nothing for now, but for what is on its way to the hearer already."""

    def go_on_reading(self) -> None: ...

    def attach(self, hearer: Hearer, /) -> None:
        """From now on tell `hearer`, beginning with what has come already; `receive` is over."""

"""What the peer says of its event indexes, until somebody compares it with ours.

Regions tell each other now and then what some contexts amount to, at a low rate and behind
everything else, so nothing waits for it and at most one message of it is kept. Must never know:
what a digest is made of, the store.
"""

from __future__ import annotations

from weft_engine.names import ContextName
from weft_engine.sync.framing.messages import Check

Entry = tuple[ContextName, bytes, bytes]
"""A context, its fingerprint, the digest of what its index says."""


class Checking:
    """One end's share."""

    def __init__(self) -> None:
        self._received: tuple[Entry, ...] = ()

    def receive(self, message: Check) -> None:
        """Keep what came, unless something is kept already: it is told again."""
        self._received = self._received or message.entries

    @property
    def has_received(self) -> bool:
        """Whether there is something to compare."""
        return bool(self._received)

    def take(self) -> tuple[Entry, ...]:
        """What is to be compared; it is not kept any more."""
        received, self._received = self._received, ()
        return received

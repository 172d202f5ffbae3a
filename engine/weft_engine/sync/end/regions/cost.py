"""What it took two ends to find out where they differ.

Must never know: how they did.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Cost:
    """Messages of both ends: lists or trees, and frontiers. Of a message in fragments the last one
    counts."""

    messages_sent: int = 0
    bytes_sent: int = 0
    messages_received: int = 0
    bytes_received: int = 0
    contexts: int = 0
    """Those of ours that the trees showed to be different; between regions only."""
    duration_s: float | None = None
    """From the beginning of the link until every difference was known."""

    def sent(self, size: int) -> None:
        self.messages_sent += 1
        self.bytes_sent += size

    def received(self, size: int) -> None:
        self.messages_received += 1
        self.bytes_received += size

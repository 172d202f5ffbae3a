"""What happened, as text for people and as one hash for comparing runs."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Final

_KINDS: Final = (
    "hello",
    "bye",
    "contexts",
    "frontier",
    "records",
    "ack",
    "want",
    "heartbeat",
    "fragment",
    "ticket",
    "issue",
    "kept",
    "erased",
    "resume",
    "resumed",
    "cursor",
    "subscribe",
    "presence",
    "tree",
    "branches",
    "compared",
    "tips",
    "live",
    "reach",
    "zoom",
    "sample",
    "check",
    "clock",
)


class Trace:
    """`show` is given every line; without it only the hash grows."""

    def __init__(self, show: Callable[[str], None] | None = None) -> None:
        self._show = show
        self._hash = blake2b(digest_size=16)

    def note(self, at_s: float, text: str) -> None:
        line = f"{at_s:10.4f}  {text}"
        self._hash.update(line.encode() + b"\n")
        if self._show is not None:
            self._show(line)

    def frame(self, at_s: float, sender: str, arrow: str, receiver: str, frame: bytes) -> None:
        """A frame was sent (->) or received (=>)."""
        kind, size = frame[2] if len(frame) > 2 else 255, len(frame)
        name = _KINDS[kind] if kind < len(_KINDS) else f"type {kind}"
        self.note(at_s, f"{sender} {arrow} {receiver}: {name}, {size} bytes")

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

"""Standing: which events still have effect, given what was revoked.

A revoke takes effect on its target if it is later by (time, id) and no standing revoke takes it
back. So revokes are settled from the newest to the oldest: whatever could take one back is settled
before it, and events that revoke each other in a circle can't arise. Pure, and independent of the
order in which anything arrived. Must never know: what the events mean, storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from weft_engine.names import EventId


@dataclass(frozen=True, slots=True)
class Revocation:
    """A revoke event. `key` = (time, id) in 32 bytes, by which events are sorted everywhere."""

    key: bytes
    id: EventId
    target: EventId


class Standing:
    """What revokes leave standing. Takes n log n steps for n revokes."""

    __slots__ = ("_revoked",)

    def __init__(self, revokes: Iterable[Revocation] = ()) -> None:
        # The newest standing revoke of each target, which takes back whatever of that id is older.
        newest: dict[EventId, bytes] = {}
        for revoke in sorted(revokes, key=lambda revoke: revoke.key, reverse=True):
            if revoke.id not in newest:
                newest.setdefault(revoke.target, revoke.key)
        self._revoked: Mapping[EventId, bytes] = newest

    def stands(self, key: bytes, event: EventId) -> bool:
        """Whether the event of this (time, id) has effect."""
        return self.revoked_by(key, event) is None

    def revoked_by(self, key: bytes, event: EventId) -> bytes | None:
        """The key of the newest revoke that takes the event of this (time, id) back."""
        revoked = self._revoked.get(event)
        return None if revoked is None or revoked <= key else revoked


ALL_STAND = Standing()

"""What one link may do, and who says so. Must never know: how tokens are made, websockets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from weft_engine.sync.interest import EVERYTHING, Interest


@dataclass(frozen=True, slots=True)
class Permission:
    """What one link may do. `expires_s`: seconds since 1970, None for never. `quota` names whose
    records it offers, for the waiting room. `is_peer`: another relay, which has asked itself what
    its clients may do; what it has journaled is taken as it is."""

    interest: Interest
    may_read: bool
    may_append: bool
    """Events, and the streams that become events."""
    expires_s: int | None
    quota: bytes | None
    is_peer: bool = False
    may_erase: bool = True
    """Whether it may erase what others wrote, and bring erasures of others here."""
    may_edit: bool = True
    """Whether it may touch more than events and streams: notes, and whatever else a document
    holds. A peer may, and brings what others edited."""
    region: str | None = None
    """The region that alone may link so; None: it is not said which."""


Doorkeeper = Callable[[str | None, int], Permission]
"""The permission for a bearer token at a time in seconds since 1970, or LinkRefused."""

ANYTHING: Final = Permission(
    EVERYTHING, may_read=True, may_append=True, expires_s=None, quota=None, is_peer=True
)


def quota_of(token: str) -> bytes:
    """Whose records a token's bearer offers: 16 bytes."""
    return hashlib.blake2b(token.encode(), digest_size=16, person=b"weft-quota").digest()

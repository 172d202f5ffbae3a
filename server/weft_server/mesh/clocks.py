"""Whether a relay's clock is right: compared with those of the regions that it is linked with.

Its records are stamped by it, and its clients go by it. Must never know: links, what time it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

ALARM_MS: Final = 30_000
"""Off the peers' median by so much, a clock is taken for wrong."""


def offset_ms(offsets: Iterable[int]) -> int | None:
    """By how much our own clock is ahead of the median of the peers' clocks; negative if it is
    behind; None without a peer. `offsets`: by how much each of them is ahead of ours.

    Of an even number, the one of the two in the middle that is closer to us: with two peers that
    disagree, the one that agrees with us is right.
    """
    ordered = sorted(offsets)
    if not ordered:
        return None
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    nearest = 0 if low <= 0 <= high else min(low, high, key=abs)
    return -nearest


def alarm(offset: int | None, peers: int) -> str | None:
    """What to say if our clock is wrong, or may be. `offset`: as `offset_ms` gives it."""
    if offset is None or abs(offset) < ALARM_MS:
        return None
    off = f"{abs(offset) / 1000:.0f} s {'ahead of' if offset > 0 else 'behind'}"
    if peers == 1:
        return f"this relay's clock is {off} that of its only peer: one of the two is wrong"
    return f"this relay's clock is {off} the median of its {peers} peers: it is wrong, set it"

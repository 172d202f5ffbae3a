"""How long a piece of bytes is on its way over a bad network: delay, bandwidth, loss.

TCP loses nothing. What is lost under it is sent again after a retransmission timeout, and all that
comes after waits behind it: so loss shows as a stall, and as nothing else. A piece is what was read
at once; it stalls if at least one of its segments is lost, for `STALL_S` and a round trip, once: a
window with several losses recovers together. Fast retransmission (a stall of one round trip when
more comes behind) and congestion control are left out: short of bandwidth, this network is harder
on lone messages and kinder to large transfers than a real one.

Pure: the time and the dice are arguments. Must never know: sockets, what the bytes mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from weft_engine.errors import CallerError

SEGMENT_BYTES: Final = 1448
"""What a segment of TCP carries over Ethernet."""
STALL_S: Final = 0.2
"""The least retransmission timeout of Linux; a round trip comes on top of it."""
DELAY_MS_MAX: Final = 60_000
LOSS_MAX: Final = 0.9


@dataclass(frozen=True, slots=True)
class Conditions:
    """Of both directions of a link. `delay_s`: one way, in seconds. `loss`: of segments, 0 to 0.9.
    `bytes_per_s`: the bandwidth, or None: no bound. CallerError if they can't be."""

    delay_s: float = 0.0
    loss: float = 0.0
    bytes_per_s: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.delay_s * 1000 <= DELAY_MS_MAX:
            raise CallerError(
                f"a delay of {self.delay_s * 1000:g} ms can't be",
                hint=f"give 0 to {DELAY_MS_MAX} ms, one way",
            )
        if not 0 <= self.loss <= LOSS_MAX:
            raise CallerError(
                f"a loss of {self.loss:g} can't be",
                hint=f"give 0 to {LOSS_MAX}: 0.01 is one segment of a hundred",
            )
        if self.bytes_per_s is not None and not self.bytes_per_s > 0:
            raise CallerError(
                f"a bandwidth of {self.bytes_per_s:g} bytes/s can't be",
                hint="give more than 0, or leave it out",
            )

    @property
    def round_trip_s(self) -> float:
        return 2 * self.delay_s


class Wire:
    """One direction of one connection: when what is sent now will arrive. Never out of order."""

    def __init__(
        self, conditions: Conditions, *, random: Callable[[], float], free_s: float = 0.0
    ) -> None:
        """`random`: from 0 to below 1. `free_s`: before this time nothing is sent."""
        self._conditions = conditions
        self._random = random
        self._free_s = free_s
        self._last_s = 0.0

    def arrival_s(self, size: int, now_s: float) -> float:
        """When a piece of `size` bytes that is sent now has arrived."""
        conditions = self._conditions
        sent_s = max(now_s, self._free_s)
        if conditions.bytes_per_s is not None:
            sent_s += size / conditions.bytes_per_s
        self._free_s = sent_s
        arrives_s = sent_s + conditions.delay_s
        if conditions.loss and size:
            segments = -(-size // SEGMENT_BYTES)
            if self._random() < 1 - (1 - conditions.loss) ** segments:
                arrives_s += STALL_S + conditions.round_trip_s
        self._last_s = max(self._last_s, arrives_s)
        return self._last_s

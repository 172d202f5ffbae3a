"""How far a link is as a whole, and how it ended.

Must never know: frames, who drives the link.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from weft_engine.errors import LinkRefused, MalformedRecord, PeerError, WeftError
from weft_engine.sync.faults import LimitBroken, LinkLost, OutsideInterest
from weft_engine.sync.framing.messages import FINAL_CODES, ByeCode


class State(StrEnum):
    CONNECTING = "connecting"
    """The peer's hello has not come."""
    COMPARING = "comparing"
    LIVE = "live"
    """All differences are known in both directions; what is new is pushed."""
    REFUSED = "refused"
    """Ended, and trying again changes nothing."""
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class End:
    """How a link ended."""

    code: str
    reason: str
    hint: str = ""
    by_peer: bool = False

    @property
    def is_refusal(self) -> bool:
        return self.code in FINAL_CODES

    @property
    def error(self) -> WeftError:
        """What to raise to whoever waits for something that this link can't bring any more."""
        if self.is_refusal:
            return LinkRefused(self.reason, hint=self.hint)
        return LinkLost(f"the link ended ({self.code}): {self.reason}", hint=self.hint)


def code_of(error: PeerError) -> ByeCode:
    """What the peer is told when it did this."""
    if isinstance(error, (MalformedRecord, OutsideInterest)):
        return ByeCode.RECORD
    if isinstance(error, LimitBroken):
        return ByeCode.LIMIT
    if isinstance(error, LinkRefused):
        return ByeCode.DENIED
    return ByeCode.MALFORMED

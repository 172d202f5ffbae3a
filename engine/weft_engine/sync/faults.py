"""What can go wrong with a link, in the branches of the one error tree."""

from __future__ import annotations

from weft_engine.errors import MachineError, PeerError


class ProtocolViolation(PeerError):
    """The peer sent a well-formed frame that has no place here. The link was closed."""

    code = "protocol_violation"


class LinkLost(MachineError):
    """The link ended before what was asked of it was done. It may be made again."""

    code = "link_lost"


class LimitBroken(PeerError):
    """The peer sent more than the limits of the protocol allow. The link was closed."""

    code = "limit_broken"


class OutsideInterest(PeerError):
    """The peer sent something of a context that this link is not about. The link was closed."""

    code = "outside_interest"

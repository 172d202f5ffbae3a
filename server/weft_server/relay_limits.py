"""What one relay takes at most, each limit with its unit: the defaults, and the range of each.

These are settings of a relay, unlike the limits of the format and the protocol in
`weft_engine.limits`. They hold at the door, for clients: what another relay has journaled is taken
as it is. Must never know: files, command lines, links.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

from weft_engine.errors import CallerError
from weft_engine.limits import (
    FOREIGN_PAYLOAD_BYTES_MAX,
    FRAME_BYTES_MAX,
    KIB,
    LISTED_CONTEXTS_MAX,
    MESSAGE_BYTES_MAX,
    MIB,
    OUTBOX_BYTES,
    WINDOW_BYTES,
    YJS_MESSAGE_BYTES_MAX,
)

_MANY: Final = 2**53


@unique
class Unit(Enum):
    BYTES = "bytes"
    SECONDS = "seconds"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Limit:
    """One of them: its range, and what it is about."""

    unit: Unit
    least: int
    most: int
    about: str


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """Made by hand or by `weft_server.config_file`; `LIMITS` says what each is about."""

    frame_bytes: int = FRAME_BYTES_MAX
    yjs_message_bytes: int = YJS_MESSAGE_BYTES_MAX
    record_bytes: int = FOREIGN_PAYLOAD_BYTES_MAX
    context_bytes: int = 4096 * MIB
    links: int = 10_000
    address_links: int = 2_000
    token_links: int = 2_000
    link_contexts: int = LISTED_CONTEXTS_MAX
    link_window_bytes: int = WINDOW_BYTES
    link_queue_bytes: int = OUTBOX_BYTES
    token_records_per_s: int = 10_000
    token_records_burst: int = 100_000
    unauthenticated: int = 2_000
    unauthenticated_bytes: int = 16 * KIB
    unauthenticated_s: int = 10
    hello_s: int = 10

    def __post_init__(self) -> None:
        for name, limit in LIMITS.items():
            value = getattr(self, name)
            if not limit.least <= value <= limit.most:
                raise CallerError(
                    f"the limit {name} is {value}, it has to be from {limit.least} to {limit.most}",
                    hint=limit.about,
                )


LIMITS: Final[Mapping[str, Limit]] = {
    "frame_bytes": Limit(
        Unit.BYTES,
        FRAME_BYTES_MAX,
        MESSAGE_BYTES_MAX,
        "one websocket message; links of Weft need 256 KiB and send no more",
    ),
    "yjs_message_bytes": Limit(
        Unit.BYTES, 64 * KIB, YJS_MESSAGE_BYTES_MAX, "one websocket message of a Yjs client"
    ),
    "record_bytes": Limit(
        Unit.BYTES, KIB, FOREIGN_PAYLOAD_BYTES_MAX, "the payload of one record from a client"
    ),
    "context_bytes": Limit(
        Unit.BYTES, KIB, _MANY, "the records of one context, beyond which clients add none"
    ),
    "links": Limit(Unit.COUNT, 1, 1_000_000, "open links"),
    "address_links": Limit(
        Unit.COUNT, 1, 1_000_000, "connections from one address (of IPv6: one /64 network)"
    ),
    "token_links": Limit(Unit.COUNT, 1, 1_000_000, "open links with one token"),
    "link_contexts": Limit(
        Unit.COUNT, 1, LISTED_CONTEXTS_MAX, "contexts that one link is about, at either end"
    ),
    "link_window_bytes": Limit(
        Unit.BYTES, 256 * KIB, MESSAGE_BYTES_MAX, "records of one link that are not on disk yet"
    ),
    "link_queue_bytes": Limit(
        Unit.BYTES,
        64 * KIB,
        MESSAGE_BYTES_MAX,
        "what waits to be sent on one link, beyond which nothing more is read for it",
    ),
    "token_records_per_s": Limit(
        Unit.COUNT, 1, 10_000_000, "records that the bearers of one token bring, in the long run"
    ),
    "token_records_burst": Limit(
        Unit.COUNT, 1, 100_000_000, "records that may come at once after a quiet time"
    ),
    "unauthenticated": Limit(Unit.COUNT, 1, 1_000_000, "connections that are no links yet"),
    "unauthenticated_bytes": Limit(
        Unit.BYTES, KIB, 64 * KIB, "the head of a request, with its token"
    ),
    "unauthenticated_s": Limit(Unit.SECONDS, 1, 600, "until the request is complete"),
    "hello_s": Limit(Unit.SECONDS, 1, 600, "until the hello of a new link has come"),
}
"""Every limit by its name, in the order of the documentation."""

DEFAULTS: Final = RelayLimits()

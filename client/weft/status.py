"""How a store stands with its relays, as values that a user interface can show.

Must never know: how links work.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Connection(StrEnum):
    OFFLINE = "offline"
    """No relay is reached now; it is tried again by itself. Or there is no link."""
    CONNECTING = "connecting"
    """The first attempt, or what differs is being found out."""
    LIVE = "live"
    """What is written anywhere arrives everywhere at once."""
    REFUSED = "refused"
    """Every relay refused the link, and trying again changes nothing."""


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """One link. `url` is the address in use, or tried now, of the `urls`; `refused_by` those that
    will not be tried again. `since_ms`: from when on it has been in its state, in milliseconds
    since 1970. `error` and `hint`: why it is offline or refused. `region`: the relay's, while
    linked. `unsynced`: records written here, within what the link carries, that the relay which was
    met last is not known to hold; None before one has said."""

    url: str
    urls: tuple[str, ...]
    refused_by: tuple[str, ...]
    state: Connection
    since_ms: int
    error: str | None
    hint: str
    region: str | None
    unsynced: int | None


@dataclass(frozen=True, slots=True)
class RegionStatus:
    """A region of the mesh. `unsynced`: records written here, within what the links carry, that it
    is not known to hold; None as long as nothing is known of it."""

    name: str
    unsynced: int | None


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """The state of the link that is best off, and why it is no better. `regions`: all of which a
    relay has told, by name."""

    state: Connection
    why: str
    hint: str
    links: tuple[LinkStatus, ...]
    regions: tuple[RegionStatus, ...] = ()


_BEST_FIRST = (Connection.LIVE, Connection.CONNECTING, Connection.OFFLINE, Connection.REFUSED)


def store_status(
    links: tuple[LinkStatus, ...], regions: tuple[RegionStatus, ...] = ()
) -> StoreStatus:
    """What a store is by its links."""
    if not links:
        return StoreStatus(
            Connection.OFFLINE, "the store has no link", "connect it to a relay", links, regions
        )
    best = min(links, key=lambda link: _BEST_FIRST.index(link.state))
    match best.state:
        case Connection.LIVE:
            why = f"in step with {best.region or best.url}"
        case Connection.CONNECTING:
            why = f"connecting to {best.url}"
        case Connection.OFFLINE | Connection.REFUSED:
            why = best.error or f"{best.url} is not reached"
    return StoreStatus(best.state, why, best.hint, links, regions)

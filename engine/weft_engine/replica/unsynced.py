"""What was written here and is not known to be durable at a relay yet.

Whoever keeps a link tells what its relays hold (`Savings`); what one relay holds is saved, and
stays so when the link is gone. Must never know: how that is found out.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from weft_engine.events.candidate import candidates
from weft_engine.limits import MIB, UNSYNCED_LISTED_MAX
from weft_engine.names import ContextName, EventId, Position, is_event_id
from weft_engine.records.clock import hlc_ms
from weft_engine.records.envelope import Kind
from weft_engine.storage import cursors
from weft_engine.storage.own_records import own_records
from weft_engine.sync.interest import Interest
from weft_engine.yjs.reader import read_update

if TYPE_CHECKING:
    from weft_engine.replica.replica import Replica

_READ_BYTES: Final = 8 * MIB
_FORMER_MAX: Final = 16


class SavedAt(Protocol):
    """Somebody who knows what relays hold (`KeptLink`, `Saved`)."""

    def of(self, context: ContextName, /) -> Position | None:
        """Up to which position of our journal they hold all of a context; None: it is not known."""


@dataclass(frozen=True, slots=True)
class Unsynced:
    """`records` written here that no relay is known to hold; `events`: the ids in them, oldest
    first; there are more than are listed if `truncated`. `oldest_ms`: when the oldest record was
    written, in milliseconds since 1970. `is_known`: False as long as no relay has said what it
    holds of this context; then everything counts."""

    records: int
    events: tuple[EventId, ...]
    truncated: bool
    oldest_ms: int | None
    is_known: bool

    def __bool__(self) -> bool:
        return self.records > 0


class Savings:
    """What relays hold, as the links of a replica know it."""

    def __init__(self) -> None:
        self._links: dict[SavedAt, None] = {}
        self._former: deque[SavedAt] = deque(maxlen=_FORMER_MAX)

    def join(self, link: SavedAt) -> None:
        self._links[link] = None

    def leave(self, link: SavedAt, left: Iterable[SavedAt]) -> None:
        """It has ended; `left` is what it knew, which stays true."""
        if self._links.pop(link, self) is None:
            self._former.extend(left)

    def of(self, context: ContextName) -> Position | None:
        """Up to where one of them holds all of a context."""
        known = [one.of(context) for one in (*self._links, *self._former)]
        return max((one for one in known if one is not None), default=None)


async def unsynced(replica: Replica, name: ContextName) -> Unsynced:
    """As `Context.unsynced`."""
    saved = replica.savings.of(name)
    return await replica.journal.read(partial(_unsynced, name=name, saved=saved))


def _unsynced(
    connection: sqlite3.Connection, *, name: ContextName, saved: Position | None
) -> Unsynced:
    if saved is None:
        saved = cursors.sent(connection, _interests(name))
    own = own_records(
        connection,
        name,
        after=saved or Position(0),
        records_max=UNSYNCED_LISTED_MAX,
        bytes_max=_READ_BYTES,
    )
    events: list[EventId] = []
    for stored in own.first:
        if stored.record.envelope.kind in (Kind.NATIVE, Kind.FOREIGN):
            keys = [one.key for one in candidates(read_update(stored.record.payload))]
            events.extend(EventId(key) for key in keys if is_event_id(key))
    return Unsynced(
        own.count,
        tuple(events[:UNSYNCED_LISTED_MAX]),
        own.count > len(own.first) or len(events) > UNSYNCED_LISTED_MAX,
        hlc_ms(own.first[0].record.envelope.hlc) if own.first else None,
        saved is not None,
    )


def _interests(name: ContextName) -> set[bytes]:
    """Digests of what links are mostly about that carry this context: everything, a prefix of its
    path, this context alone. Of what was kept for others it can't be told what they cover."""
    steps = name.split("/")[:-1]
    prefixes = ["".join(f"{step}/" for step in steps[:count]) for count in range(len(steps) + 1)]
    found = [Interest.of(prefixes=[prefix]) for prefix in prefixes]
    return {interest.digest for interest in (*found, Interest.of(contexts=[name]))}

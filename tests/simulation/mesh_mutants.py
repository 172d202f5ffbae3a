"""Rules between regions, each broken once; `tests.simulation.mutants` runs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tests.simulation.breaking import patch
from weft_engine.names import Position
from weft_engine.replica.checking import Checks
from weft_engine.storage import tickets
from weft_engine.storage.context_digest import ContextDigest
from weft_engine.storage.ledger import Stored
from weft_engine.sync.driving.forwarding import Forwarding
from weft_engine.sync.driving.kept_tree import KeptTree
from weft_engine.sync.driving.pulls import Pulls
from weft_engine.sync.end.incoming import Incoming
from weft_engine.sync.end.reaching import Pairs
from weft_engine.sync.end.regions.claims import Claims
from weft_engine.sync.end.regions.descent import Descent
from weft_engine.sync.end.regions.zooming import Zooming


def trust_any_ticket() -> None:
    """Who shows a ticket that we know nothing of resumes all the same."""
    patch(tickets, "is_known", lambda connection, store: True)


def mark_no_context() -> None:
    """A tree that was made once stays as it is."""

    def unmarked(self: KeptTree, stored: Sequence[Stored], _: Any) -> None:
        self._position = max(self._position, stored[-1].position)

    patch(KeptTree, "_committed", unmarked)


def compare_no_leaves() -> None:
    """Where a node differs nothing is found."""
    patch(Descent, "_compare_leaves", lambda self, path, digests: None)


def keep_old_claims() -> None:
    """With whom this store was live once it says to be live for ever, and nobody asks for what was
    announced."""
    claimed: dict[int, set[str]] = {}

    def ever(self: Forwarding) -> frozenset[str]:
        found = claimed.setdefault(id(self), set())
        found.update(region for region in self._live.values() if region is not None)
        return frozenset(found)

    patch(Forwarding, "regions", property(ever))
    never_pull()


def never_pull() -> None:
    patch(Pulls, "lack", lambda self, who, hashes: None)


def acknowledge_announcements_at_once() -> None:
    """Whether the records are here or not."""
    receive = Incoming.receive_tips

    def held(self: Incoming, message: Any, recent: Any) -> None:
        receive(self, message, message.hashes)

    patch(Incoming, "receive_tips", held)


def count_one_further() -> None:
    """A region that holds our journal up to a position counts for the next one, too."""
    of = Pairs.of

    def further(self: Pairs, head: Position) -> Position:
        return of(self, Position(head + 1))

    patch(Pairs, "of", further)


def count_what_has_come() -> None:
    """What a peer stated counts when its message has come, and not when that is durable."""
    receive = Incoming.receive

    def stated(self: Incoming, message: Any, interest: Any) -> None:
        receive(self, message, interest)
        if message.upto is not None:
            self.on_stated(message.upto)

    patch(Incoming, "receive", stated)


def skip_a_stretch() -> None:
    """Where both have written, the peer is taken to hold the ends of all that it is told of."""
    zoomed = Zooming.zoomed

    def skipped(self: Zooming, message: Any) -> None:
        one = self._contexts.get(message.context)
        if message.round > 1 and one is not None and one.ours is not None:
            count = len(one.ours.hashes)
            every = ((1 << count) - 1).to_bytes((count + 7) // 8, "little")
            message = replace(message, held=every)
        zoomed(self, message)

    patch(Zooming, "zoomed", skipped)


def digest_nothing() -> None:
    """All event indexes say the same."""
    patch(ContextDigest, "value", property(lambda self: bytes(32)))


def compare_other_records() -> None:
    """What a region says of its index is compared with ours, whichever records we have."""
    digest = Checks._digest

    async def any_digest(self: Checks, name: Any, room: Any, *, only: Any = None) -> Any:
        return await digest(self, name, room)

    patch(Checks, "_digest", any_digest)


def never_give_back() -> None:
    """What a link was asked for stays its own when it is over."""
    patch(Claims, "leave", Claims.rest)

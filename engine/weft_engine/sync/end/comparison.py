"""The comparison at the beginning of a link: both ends list their contexts with fingerprints, and
announce the frontiers of those that differ; and again for what the link is about from then on.

An end has listed all its contexts before it looks at a difference, and both see the same two
lists; so each knows which frontiers the other will announce, and anything else is a violation.

Must never know: records, the store.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import TypeAlias, TypeVar

from weft_engine.limits import (
    CONTEXTS_PER_QUESTION,
    HELD_ENTRY_BYTES,
    HELD_HASH_BYTES,
    LISTED_CONTEXTS_MAX,
)
from weft_engine.names import ContextName, Position
from weft_engine.sync.end.outgoing import Outgoing
from weft_engine.sync.end.questions import ReadFrontiers, ReadLacking
from weft_engine.sync.faults import LimitBroken, OutsideInterest, ProtocolViolation
from weft_engine.sync.framing.messages import Contexts, Frontier
from weft_engine.sync.interest import NOTHING, Interest

T = TypeVar("T")
_Digest: TypeAlias = bytes
"""16 bytes: nobody finds two names with the same."""


class Comparison:
    """`contexts_max`: more than this neither end may list."""

    def __init__(
        self, interest: Interest, outgoing: Outgoing, *, contexts_max: int = LISTED_CONTEXTS_MAX
    ) -> None:
        self._interest = interest
        self._contexts_max = contexts_max
        self._without = NOTHING
        self._outgoing = outgoing
        self.was_listed = False
        """The lists were complete once: what is not in comparison may be sent."""
        self._ours: dict[_Digest, tuple[ContextName, bytes, Position]] = {}
        self._theirs: dict[_Digest, bytes] = {}
        """By the names' digests, for a peer may choose long ones, and many."""
        self._ours_complete = False
        self._theirs_complete = False
        self._to_announce: list[ContextName] = []
        self._awaited: set[_Digest] = set()
        self._lacking: list[Frontier] = []
        self._asked = 0

    @property
    def held_bytes(self) -> int:
        """About what the lists take, and what is awaited because of them."""
        contexts = len(self._ours) + len(self._theirs) + len(self._awaited) + len(self._to_announce)
        hashes = sum(len(message.frontier) for message in self._lacking)
        return HELD_ENTRY_BYTES * contexts + HELD_HASH_BYTES * hashes

    @property
    def is_listed(self) -> bool:
        """Both lists are complete."""
        return self._ours_complete and self._theirs_complete

    @property
    def is_done(self) -> bool:
        """Every difference was looked at, in both directions."""
        left = self._to_announce or self._awaited or self._lacking or self._asked
        return self._ours_complete and self._theirs_complete and not left

    def skip(self) -> None:
        """Nothing is to be compared."""
        self._ours_complete = self._theirs_complete = self.was_listed = True

    def begin(self, interest: Interest, without: Interest) -> None:
        """Compare what `interest` covers and `without` does not, too. ProtocolViolation if that
        before is not over: nobody could tell the lists apart."""
        if not self.is_listed or self._awaited:
            raise ProtocolViolation("a comparison was begun before the one before was over")
        self._interest, self._without = interest, without
        self._ours_complete = self._theirs_complete = False
        self._lacking = [one for one in self._lacking if interest.covers(one.context)]
        self._to_announce = [name for name in self._to_announce if interest.covers(name)]

    def listed(
        self, entries: Iterable[tuple[ContextName, bytes, Position]], *, last: bool
    ) -> list[Contexts]:
        """The next page of our own list; returns how the peer hears of it."""
        page: list[tuple[ContextName, bytes]] = []
        for context, fingerprint, position in entries:
            self._ours[_digest(context)] = (context, fingerprint, position)
            self._outgoing.listed(context, position)
            page.append((context, fingerprint))
        if len(self._ours) > self._contexts_max:
            raise LimitBroken(
                f"this store has more than {self._contexts_max} contexts that the link is about",
                hint="link with a smaller interest",
            )
        self._ours_complete = last
        self._compare()
        return [Contexts(tuple(page), last)] if page or last else []

    def receive_list(self, message: Contexts) -> None:
        if self._theirs_complete:
            raise ProtocolViolation("contexts came after the last of them")
        for context, fingerprint in message.entries:
            if not self._interest.covers(context):
                raise OutsideInterest(f"context {context!r} was listed, outside the interest")
            if self._without.covers(context):
                raise ProtocolViolation(f"context {context!r} was listed, and was compared before")
            digest = _digest(context)
            if digest in self._theirs:
                raise ProtocolViolation(f"context {context!r} was listed twice")
            self._theirs[digest] = fingerprint
        if len(self._theirs) > self._contexts_max:
            raise LimitBroken(
                f"more than {self._contexts_max} contexts were listed",
                hint="link with a smaller interest",
            )
        self._theirs_complete = message.last
        self._compare()

    def receive_frontier(self, message: Frontier) -> None:
        digest = _digest(message.context)
        if digest not in self._awaited:
            raise ProtocolViolation(f"no frontier of context {message.context!r} is due")
        self._awaited.remove(digest)
        self._lacking.append(message)

    def to_announce(self) -> ReadFrontiers | None:
        """Our frontiers to read next. They all go out before the first record, so that the peer
        knows what we hold before it gets anything of that context from us."""
        some = _take(self._to_announce)
        if not some:
            return None
        self._asked += 1
        return ReadFrontiers(tuple(some))

    def to_settle(self) -> ReadLacking | None:
        """Which of the peer's frontiers to compare with the journal next."""
        some = _take(self._lacking)
        if not some:
            return None
        self._asked += 1
        return ReadLacking(tuple((m.context, m.frontier, m.sample) for m in some))

    def answered(self) -> None:
        """One of these two questions was answered."""
        self._asked -= 1

    def _compare(self) -> None:
        if not self.is_listed:
            return
        self.was_listed = True
        self._outgoing.release()
        for digest, (context, fingerprint, position) in self._ours.items():
            theirs = self._theirs.get(digest)
            if theirs == fingerprint:
                continue
            self._to_announce.append(context)
            if theirs is None:
                self._outgoing.absent(context, position)
            else:
                self._outgoing.differs(context, position)
                self._awaited.add(digest)
        self._awaited.update(self._theirs.keys() - self._ours.keys())
        self._ours = {}
        self._theirs = {}


def _digest(context: ContextName) -> _Digest:
    return blake2b(context.encode(), digest_size=16).digest()


def _take(queue: list[T]) -> list[T]:
    some = queue[:CONTEXTS_PER_QUESTION]
    del queue[:CONTEXTS_PER_QUESTION]
    return some

"""The peer of a link between two regions: with whom it is live, and what it was told of without
being sent it.

A record that came from a region which is live with the peer is not sent to it; its hash is, with
others: it is *announced*. That the other region sends it is hoped for, not relied on.

Invariant: of each context, what the peer was sent or told of is all that the journal holds up to
some position; what waits to be announced, or came from the peer, counts as told of. When the peer
asks for something of that, it is sent all that it was told of in that context and has not
acknowledged, in journal order: each message of that can be journaled when it comes. What is
announced and stands behind something that is still to be sent is not sent ahead of it, but with it.

Must never know: frames' bytes, the store, what time it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from weft_engine.limits import (
    DISTRUST_AFTER,
    DISTRUST_MS,
    LIVE_REGIONS_MAX,
    TIPS_UNACKED_RECORDS_MAX,
    WANTED_PER_FRAME_MAX,
)
from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.storage.ledger import Stored

SentUpto: TypeAlias = Callable[[ContextName], Position | None]
"""Up to where all of a context was sent; None: all that is in the journal."""


@dataclass(slots=True, eq=False)
class _Told:
    position: Position
    context: ContextName
    parents: Sequence[RecordHash]
    via: Sequence[str]
    """The regions that should send it."""
    was_asked_for: bool = False


@dataclass(frozen=True, slots=True)
class Announcement:
    """`firsts`: where the first record of each context stands for which a hash stands."""

    hashes: tuple[RecordHash, ...]
    firsts: Mapping[ContextName, Position]


class Neighbour:
    """`firsts` is kept as the place of the first record of each context that waits to be
    announced."""

    def __init__(self, region: str, firsts: dict[ContextName, Position]) -> None:
        self.region = region
        self.live: frozenset[str] = frozenset()
        """The regions with which it says to be live."""
        self._told_live: tuple[str, ...] | None = None
        self._firsts = firsts
        self._gathered: dict[RecordHash, _Told] = {}
        """In journal order."""
        self._announced: dict[RecordHash, _Told] = {}
        self._by_serial: dict[int, tuple[RecordHash, ...]] = {}
        self._taken: tuple[RecordHash, ...] = ()
        self._distrusted: dict[str, int] = {}
        """Until when these regions are not relied on to send it anything."""
        self._misses: dict[str, int] = {}
        """How often it asked for what they should have sent it, since something came from them."""
        self._now_ms = 0

    def end(self) -> None:
        """The link is over: nothing that it said counts any more."""
        self.live = frozenset()

    def tick(self, now_ms: int) -> None:
        self._now_ms = now_ms
        for region in [name for name, until in self._distrusted.items() if until <= now_ms]:
            del self._distrusted[region]

    def to_tell(self, regions: Iterable[str]) -> tuple[str, ...] | None:
        """What to tell it of the `regions` with which this store is live; None if it knows."""
        others = tuple(sorted(set(regions) - {self.region}))[:LIVE_REGIONS_MAX]
        if others == self._told_live or (self._told_live is None and not others):
            return None
        self._told_live = others
        return others

    # ---- what others send it ------------------------------------------------------------------

    def gets(self, sources: Sequence[Neighbour]) -> bool:
        """Whether one of these, from which something came, sends it to this region, too: both of
        them say that they are live with each other."""
        if len(self._gathered) + len(self._announced) >= TIPS_UNACKED_RECORDS_MAX:
            return False
        return any(self._relies_on(source) for source in sources)

    def _relies_on(self, source: Neighbour) -> bool:
        return (
            self.region in source.live
            and source.region in self.live
            and source.region not in self._distrusted
        )

    def gather(self, stored: Iterable[Stored], sources: Sequence[Neighbour]) -> None:
        """Announce these, soon."""
        via = [source.region for source in sources if self._relies_on(source)]
        for one in stored:
            envelope = one.record.envelope
            self._gathered[one.record.hash] = _Told(
                one.position, envelope.context, envelope.parents, via
            )
            self._firsts.setdefault(envelope.context, one.position)

    @property
    def has_gathered(self) -> bool:
        """Something waits to be announced."""
        return bool(self._gathered)

    def holds(self, hash_: RecordHash) -> None:
        """It has that by now, and its past: none of it has to be announced."""
        left = [hash_]
        while left and self._gathered:
            told = self._gathered.pop(left.pop(), None)
            if told is not None:
                left += told.parents
        if not self._gathered:
            self._firsts.clear()

    # ---- announcing ---------------------------------------------------------------------------

    @property
    def unacked(self) -> int:
        """Announcements that it has not acknowledged."""
        return len(self._by_serial)

    def next(self, sent_upto: SentUpto) -> Announcement | None:
        """What to announce now: the maximal ones of what was gathered, but of a context only up to
        where all was sent."""
        upto: dict[ContextName, Position | None] = {name: sent_upto(name) for name in self._firsts}
        taken: dict[RecordHash, _Told] = {}
        for hash_, told in self._gathered.items():
            limit = upto[told.context]
            if limit is None or told.position <= limit:
                taken[hash_] = told
                if len(taken) == WANTED_PER_FRAME_MAX:
                    break
        if not taken:
            return None
        below: set[RecordHash] = set()
        firsts: dict[ContextName, Position] = {}
        for hash_, told in taken.items():
            del self._gathered[hash_]
            below.update(told.parents)
            firsts.setdefault(told.context, told.position)
        self._count_firsts()
        self._announced.update(taken)
        self._taken = tuple(taken)
        hashes = tuple(sorted(hash_ for hash_ in taken if hash_ not in below))
        return Announcement(hashes, firsts)

    def announced(self, serial: int) -> None:
        """The last announcement left under this serial."""
        self._by_serial[serial] = self._taken

    def acked(self, serial: int) -> None:
        """It has journaled what came under this serial."""
        for hash_ in self._by_serial.pop(serial, ()):
            told = self._announced.pop(hash_, None)
            if told is not None and not told.was_asked_for:
                for region in told.via if self._misses else ():
                    self._misses.pop(region, None)

    # ---- what it asks for ---------------------------------------------------------------------

    def asked_for(
        self, hashes: Iterable[RecordHash], sent_upto: SentUpto
    ) -> tuple[list[RecordHash], list[tuple[ContextName, Position]]]:
        """What to send when it asks for these, in this order, and what is to be sent when its turn
        comes. When it asks again and again, it is sent for a while what comes from those that
        should have sent it."""
        contexts: dict[ContextName, None] = {}
        others: list[RecordHash] = []
        missed: set[str] = set()
        for hash_ in hashes:
            told = self._announced.get(hash_) or self._gathered.get(hash_)
            if told is None:
                others.append(hash_)
                continue
            missed.update(told.via)
            if not told.was_asked_for:
                contexts[told.context] = None
        for region in missed:
            self._misses[region] = self._misses.get(region, 0) + 1
            if self._misses[region] >= DISTRUST_AFTER:
                self._distrusted[region] = self._now_ms + DISTRUST_MS
        upto = {context: sent_upto(context) for context in contexts}
        found: list[tuple[Position, RecordHash]] = []
        later: list[tuple[ContextName, Position]] = []
        for some in (self._announced, self._gathered) if contexts else ():
            for hash_, told in tuple(some.items()):
                if told.context not in contexts or told.was_asked_for:
                    continue
                limit = upto[told.context]
                if limit is None or told.position <= limit:
                    told.was_asked_for = True
                    found.append((told.position, hash_))
                elif some is self._gathered:
                    del some[hash_]
                    later.append((told.context, told.position))
        self._count_firsts()
        return [hash_ for _, hash_ in sorted(found)] + others, later

    def _count_firsts(self) -> None:
        self._firsts.clear()
        for told in self._gathered.values():
            self._firsts.setdefault(told.context, told.position)

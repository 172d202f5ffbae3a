"""Which regions hold this store's journal, and up to where, and what that says about its peers.

Each link tells two things. What its peer has stated: with all that is durable here now, where our
journal ends at j, everything of the *peer's* journal up to p is here: the pair (p, j). And, if the
peer is a region, up to where of *our* journal it holds everything, and says that others do. From
both follows for each link and region C: of the pairs with j at or before what C holds of our
journal, C holds the peer's journal up to the highest p. So what a region says reaches those who are
linked with its neighbours, and theirs.

Invariants:

 1. What is told is true of that region's store when it is told, and stays so: parked records are in
    no pair, and a pair counts only where what the link is about lies within what the link is about
    over which C is known. So rings do no harm.
 2. What is known over a link ends with it, for what is told from then on. What was told stays.
 3. There is room for so many names. A region that is linked or configured always has it; one that
    is only told of has it before those that nobody tells of any more, and, told by a region that
    is vouched for, before those that others tell of. So whoever makes names up fills no table.
 4. A region that comes back with another store is another one: what was told of it is taken back,
    by everybody who hears that. For a while nobody then believes what others say of it, or they
    would go on telling each other what was so of its former store.

Work is gathered: one look in a while, at some links, and only at those for which something may have
changed. Must never know: frames' bytes, clocks, tasks, the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from weft_engine.limits import (
    FORMER_REACHES_MAX,
    LIVE_REGIONS_MAX,
    REACH_HOLD_MS,
    REACH_LOOKS_MAX,
    VOUCHED_REGIONS_MAX,
)
from weft_engine.names import Position
from weft_engine.sync.interest import Interest

_NOBODYS, _HEARSAY, _VOUCHED, _SURE = range(4)
"""By whom a name is known: by nobody any more, by a linked region, by one that is vouched for, or
because the region itself is linked or configured."""


class Party(Protocol):
    """A link, as all of them together see it."""

    @property
    def interest(self) -> Interest: ...

    @property
    def region(self) -> str | None:
        """The peer's."""

    @property
    def tells(self) -> bool:
        """Whether this end has a region, and tells."""

    @property
    def own(self) -> Position:
        """Up to where of our journal the peer holds everything that the link is about."""

    @property
    def heard(self) -> dict[str, Position]:
        """What the peer says so of others."""

    def look(self) -> bool:
        """See what the peer holds now; whether that is more."""

    def named(self, region: str, /, *, is_sure: bool) -> None:
        """It is one of the mesh; `is_sure`: not only by the word of who is not vouched for."""

    def reached(self, region: str, upto: Position, /) -> bool:
        """A region holds our journal up to there. Whether it holds all that the peer stated."""

    def taken_back(self, region: str, /) -> None:
        """What was told of a region is not so any more."""

    def soon(self, look: Callable[[], None], /) -> None:
        """Call it after REACH_GATHER_S."""


@dataclass(slots=True)
class _Region:
    fresh: dict[Party, None]
    """To be looked at."""
    stuck: dict[Party, None]
    """They stated what is behind what the region holds: looked at when it holds more."""
    held_until_ms: int | None = None
    """Until then only its own word counts."""


class Reach:
    """Of up to LIVE_REGIONS_MAX regions; of more than that nothing is known or told."""

    def __init__(self) -> None:
        self._parties: dict[Party, None] = {}
        self._sources: dict[Party, bytes] = {}
        """Those whose peers are regions, and by which store."""
        self._regions: dict[str, _Region] = {}
        self._stores: dict[str, bytes] = {}
        """Under which store a region was met last."""
        self._former: dict[tuple[str, Interest], Position] = {}
        self._configured: set[str] = set()
        self._vouched: dict[str, None] = {}
        self._listeners: list[Callable[[], None]] = []
        self._is_due = False
        self._now_ms = 0

    @property
    def regions(self) -> tuple[str, ...]:
        """All that are known of the mesh, this one aside."""
        return tuple(self._regions)

    def configure(self, names: Iterable[str]) -> None:
        """These regions are part of the mesh, whether they are met or not."""
        for name in names:
            self._configured.add(name)
            self._learn([name], _SURE)

    def recall(self, names: Iterable[str]) -> None:
        """These were part of the mesh before, as far as there is room."""
        self._learn(names, _NOBODYS)

    def vouch(self, region: str) -> None:
        """Its token says that it is this region, so it comes under one name."""
        self._vouched.pop(region, None)
        self._vouched[region] = None
        while len(self._vouched) > VOUCHED_REGIONS_MAX:
            del self._vouched[next(iter(self._vouched))]

    def holders(self, interest: Interest) -> dict[str, Position]:
        """Up to which position of our journal each region holds everything of `interest`, as far
        as that is known; 0 of one of which nothing is."""
        found: dict[str, Position] = dict.fromkeys(self._regions, Position(0))
        for (region, about), upto in self._former.items():
            if is_within(interest, about):
                found[region] = max(found.get(region, upto), upto)
        for party in self._sources:
            if self._sees_more(party):
                self._wake(party)
            told = party.heard if party.region is None else {**party.heard, party.region: party.own}
            for region, upto in told.items():
                if not is_within(interest, party.interest):
                    upto = Position(0)
                found[region] = max(found.get(region, upto), upto)
        return found

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` when a peer has said more of others; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # ---- links --------------------------------------------------------------------------------

    def join(self, party: Party, store: bytes) -> None:
        """Its peer has said hello, by this store."""
        self._parties[party] = None
        region = party.region
        if region is not None:
            self._sources[party] = store
            self._learn([region], _SURE)
            if region in self._regions and self._stores.setdefault(region, store) != store:
                self._stores[region] = store
                self.lost(region)
        if party.tells:
            words = self._words()
            for name in sorted(words, key=words.__getitem__, reverse=True):
                party.named(name, is_sure=words[name] > _HEARSAY)

    def leave(self, party: Party, *, is_kept: bool) -> None:
        """Its end; harmless when repeated. `is_kept`: what it knew is remembered here."""
        if self._parties.pop(party, self) is not None:
            return
        self._sources.pop(party, None)
        for one in self._regions.values():
            one.fresh.pop(party, None)
            one.stuck.pop(party, None)
        if is_kept and party.region is not None:
            for region, upto in (*party.heard.items(), (party.region, party.own)):
                key = (region, party.interest)
                self._former[key] = max(self._former.pop(key, upto), upto)
                while len(self._former) > FORMER_REACHES_MAX:
                    del self._former[next(iter(self._former))]

    def stated(self, party: Party) -> None:
        """Its peer has stated something that is durable here."""
        for name, one in self._regions.items():
            if name != party.region:
                one.stuck.pop(party, None)
                one.fresh[party] = None
                self._wake(party)

    def acknowledged(self, party: Party) -> None:
        """Its peer, which is a region, may hold more."""
        assert party.region is not None, "others acknowledge for themselves only"
        one = self._regions.get(party.region)
        if one is not None and (one.fresh or one.stuck):
            self._wake(party)

    def heard(self, party: Party, more: Iterable[str], less: Iterable[str]) -> None:
        """Its peer names regions that hold more, and some that hold less than it said before."""
        self._learn(more, self._word_of(party))
        for region in more:
            self._advanced(region)
            self._wake(party)
        for region in less:
            self.lost(region)
        for listener in tuple(self._listeners):
            listener()

    def lost(self, region: str) -> None:
        """It has another store, or an older state of it: what it held counts no more."""
        one = self._regions.get(region)
        if one is None:
            return
        for key in [key for key in self._former if key[0] == region]:
            del self._former[key]
        if one.held_until_ms is not None:
            return
        one.held_until_ms = self._now_ms + REACH_HOLD_MS
        for party in self._parties:
            if party.tells and party.region != region:
                party.taken_back(region)
                one.fresh.pop(party, None)
                one.stuck[party] = None

    def tick(self, party: Party, now_ms: int) -> None:
        """Some time has passed, by a clock that never steps back."""
        self._now_ms = now_ms
        for region, one in self._regions.items():
            if one.held_until_ms is not None and now_ms >= one.held_until_ms:
                one.held_until_ms = None
                self._advanced(region)
            if one.fresh or one.stuck:
                # What a peer holds may have become more without an acknowledgement.
                self._wake(party)

    def look(self) -> None:
        """Tell links what is news to them: some of them, the others when this is called again."""
        self._is_due = False
        for source in self._sources:
            self._sees_more(source)
        left = REACH_LOOKS_MAX
        for region, one in self._regions.items():
            while one.fresh and left:
                left -= 1
                party = next(iter(one.fresh))
                del one.fresh[party]
                if not party.reached(region, self._held_for(party, region, one)):
                    one.stuck[party] = None
        if not left:
            self._wake(next(iter(self._parties)))

    # ---- inside -------------------------------------------------------------------------------

    def _learn(self, regions: Iterable[str], word: int) -> None:
        """`word`: by whom they are named, what `_word_of` says."""
        for region in regions:
            is_new = region not in self._regions
            if not is_new and word != _SURE:
                continue
            if is_new:
                if len(self._regions) >= LIVE_REGIONS_MAX and not self._make_room(word):
                    return  # Nor for the others.
                self._regions[region] = _Region({}, {})
            for party in self._parties:
                if party.tells and party.region != region:
                    party.named(region, is_sure=word > _HEARSAY)
                    if is_new:
                        self._regions[region].stuck[party] = None

    def _word_of(self, party: Party) -> int:
        """How much it counts that it names a region."""
        is_sure = party.region in self._configured or party.region in self._vouched
        return _VOUCHED if is_sure else _HEARSAY

    def _make_room(self, word: int) -> bool:
        """Forget the oldest of the names that count least, if that is less."""
        words = self._words()
        least = min(words, key=words.__getitem__)
        if words[least] >= word:
            return False
        del self._regions[least]
        self._stores.pop(least, None)
        return True

    def _words(self) -> dict[str, int]:
        """By whom each region is known, the best of it."""
        words = dict.fromkeys(self._regions, _NOBODYS)
        for source in self._sources:
            told = self._word_of(source)
            for region in source.heard:
                if words.get(region, told) < told:
                    words[region] = told
        linked = [source.region for source in self._sources if source.region is not None]
        for region in (*self._configured, *linked):
            if region in words:
                words[region] = _SURE
        return words

    def _sees_more(self, source: Party) -> bool:
        """See what a peer holds now. Whoever sees first that it is more is the only one to."""
        is_more = source.look()
        if is_more and source.region is not None:
            self._advanced(source.region)
        return is_more

    def _advanced(self, region: str) -> None:
        """It may hold more of our journal."""
        one = self._regions.get(region)
        if one is None:
            return
        if not one.fresh:
            one.fresh, one.stuck = one.stuck, one.fresh
        elif one.stuck:
            one.fresh.update(one.stuck)
            one.stuck.clear()

    def _held_for(self, party: Party, region: str, one: _Region) -> Position:
        """Up to where a region holds all of our journal that the link of `party` is about."""
        best = Position(0)
        for source, store in self._sources.items():
            if source is party:
                continue
            if source.region == region:
                upto = source.own if store == self._stores.get(region, store) else best
            elif one.held_until_ms is None:
                upto = source.heard.get(region, best)
            else:
                continue
            if upto > best and is_within(party.interest, source.interest):
                best = upto
        return best

    def _wake(self, party: Party) -> None:
        if party.tells and not self._is_due:
            self._is_due = True
            party.soon(self.look)


def is_within(inner: Interest, outer: Interest) -> bool:
    """Whether all that one covers is covered by the other."""
    return outer.prefixes == ("",) or inner.beyond(outer).is_empty

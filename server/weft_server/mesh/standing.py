"""How another region stands with this one, over all links with it since this relay began.

Must never know: sockets, how it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from weft_engine.names import Position
from weft_engine.storage.known_regions import KnownRegion
from weft_engine.sync.driving.link import Link
from weft_engine.sync.end.regions.cost import Cost
from weft_server.mesh.region_links import RegionLink

REGIONS_MAX: Final = 256
"""Regions that are remembered, the last that were linked."""


@dataclass(slots=True)
class Carried:
    """What links have carried."""

    bytes_in: int = 0
    bytes_out: int = 0
    records_in: int = 0
    records_out: int = 0
    copies_in: int = 0

    def add(self, link: Link) -> None:
        self.bytes_in += link.traffic.bytes_in
        self.bytes_out += link.traffic.bytes_out
        self.records_in += link.traffic.records_in
        self.records_out += link.session.sending.outgoing.records_sent
        self.copies_in += link.traffic.copies_in


@dataclass(frozen=True, slots=True)
class Compared:
    """What it took to find out where two stores differ, the last time."""

    at_ms: int
    """When the link began that did so."""
    cost: Cost


@dataclass(slots=True, eq=False)
class Standing:
    """One region. `store` and `epoch`: of its store, as of the last link. `acknowledged`: up to
    which position of our journal that one has everything that its links are about; None before the
    first comparison. `behind_since_s`: since when we know of something of it that is not here."""

    region: str
    store: bytes = b""
    epoch: bytes = b""
    acknowledged: Position | None = None
    clock_offset_ms: int | None = None
    """By how much its clock is ahead of ours."""
    behind_since_s: float | None = None
    current: RegionLink | None = None
    """The link with it, if there is one."""
    ended: str | None = None
    """Why the last one ended."""
    _former: Carried = field(default_factory=Carried)
    _compared: Compared | None = None
    """By the links that are over."""

    def carried(self) -> Carried:
        """By all links with it."""
        former = self._former
        sums = Carried(
            former.bytes_in,
            former.bytes_out,
            former.records_in,
            former.records_out,
            former.copies_in,
        )
        if self.current is not None:
            sums.add(self.current.link)
        return sums

    @property
    def behind(self) -> int:
        """Records that it has announced or sent, and that are not on disk here; 0 if unknown."""
        return 0 if self.current is None else self.current.link.session.incoming.awaited

    def behind_s(self, now_s: float) -> float:
        """For how long there has been something of that."""
        return 0.0 if self.behind_since_s is None else max(0.0, now_s - self.behind_since_s)

    def acknowledged_now(self) -> Position | None:
        """As `acknowledged`, of this moment."""
        self._look()
        return self.acknowledged

    def compared(self) -> Compared | None:
        """By the last link that has compared all."""
        current = self.current
        if current is not None and current.link.session.progress.is_compared:
            return Compared(current.since_ms, current.link.session.cost)
        return self._compared

    def begin(self, link: RegionLink, *, clock_offset_ms: int) -> None:
        """A link with it is there."""
        peer = link.link.session.peer
        assert peer is not None, "it has said hello"
        if (self.store, self.epoch) != (peer.store, peer.epoch):
            self.store, self.epoch = peer.store, peer.epoch
            self.acknowledged = None
        self.current = link
        self.ended = None
        self.clock_offset_ms = clock_offset_ms

    def end(self, link: RegionLink) -> None:
        """A link with it is over."""
        self._former.add(link.link)
        if link is self.current:
            self._look()
            self._compared = self.compared()
            end = link.link.session.end
            self.ended = None if end is None else end.reason
            self.current = None
            self.behind_since_s = None

    def look(self, now_s: float) -> None:
        """About once a second."""
        self._look()
        self._look_at_clock()
        current = self.current
        if current is None or current.link.session.progress.has_received_all:
            self.behind_since_s = None
        elif self.behind_since_s is None:
            self.behind_since_s = now_s

    def _look_at_clock(self) -> None:
        if self.current is not None:
            offset = self.current.link.session.between.timing.offset_ms
            if offset is not None:
                self.clock_offset_ms = offset

    def _look(self) -> None:
        if self.current is not None:
            durable = self.current.link.session.progress.durable_upto()
            if durable is not None:
                self.acknowledged = durable


class Standings:
    """All regions that have been linked."""

    def __init__(self) -> None:
        self._of: dict[str, Standing] = {}

    def __iter__(self) -> Iterator[Standing]:
        return iter(list(self._of.values()))

    def recall(self, known: KnownRegion) -> None:
        """One that was linked before this relay began."""
        self._of[known.name] = Standing(
            known.name,
            known.store,
            known.epoch,
            known.upto,
            ended="it has not linked since this relay began",
        )

    def of(self, region: str) -> Standing | None:
        return self._of.get(region)

    def begin(self, link: RegionLink, *, clock_offset_ms: int) -> None:
        standing = self._of.pop(link.region, None) or Standing(link.region)
        self._of[link.region] = standing
        standing.begin(link, clock_offset_ms=clock_offset_ms)
        for old in list(self._of.values())[:-REGIONS_MAX]:
            if old.current is None:
                del self._of[old.region]

    def end(self, link: RegionLink) -> None:
        standing = self._of.get(link.region)
        if standing is not None:
            standing.end(link)

    def look(self, now_s: float) -> None:
        for standing in self._of.values():
            standing.look(now_s)

"""The links with other regions: who may stay, and that there is one for each.

Two regions may dial each other, since either may be the one that can be reached. Of two links
between them both ends keep the same one: what the region with the smaller name has dialled. The
other is closed in order, and who dialled it waits until the kept one is over.
A token that says no region's name lets its bearer come as thousands: of those that are no
`[[peer]]` here only so many may stay as there is room for beside the peers. Who has a token of its
own name gets the place of one of those, and its name from whoever else came under it.
Must never know: sockets, what a link carries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from weft_engine.errors import LinkRefused
from weft_engine.limits import LIVE_REGIONS_MAX
from weft_engine.sync.driving.link import Link
from weft_engine.sync.framing.messages import ByeCode, Hello
from weft_server.mesh.wrong_peer import why_wrong

REFUSALS_MAX: Final = 64
"""Wrong peers that are remembered, the last ones."""


@dataclass(frozen=True, slots=True)
class Via:
    """How a link came about. `place`: the address that was dialled, or who has dialled us.
    `expected`: as which region it was dialled; None if it was accepted. `may_be_region`: what its
    token says, or that we have dialled it; `only_region`: which one alone, if it says that."""

    place: str
    expected: str | None
    may_be_region: bool
    only_region: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RegionLink:
    """A link whose other end is a region that may be one."""

    link: Link
    via: Via
    region: str
    store: bytes
    since_ms: int

    @property
    def is_dialled(self) -> bool:
        return self.via.expected is not None

    @property
    def is_open(self) -> bool:
        return self.link.session.end is None


@dataclass(frozen=True, slots=True)
class Refused:
    """A wrong peer. `region`: what it says that it is, or was dialled as; None if neither."""

    region: str | None
    via: Via
    why: str
    hint: str
    at_ms: int


class RegionLinks:
    """`region` is our own, `configured` are those that are dialled. Times are milliseconds since
    1970."""

    def __init__(self, region: str, configured: Collection[str] = ()) -> None:
        self._region = region
        self._configured = frozenset(configured)
        self._links: dict[Link, RegionLink] = {}
        self._refused: dict[tuple[str | None, str], Refused] = {}
        self._changed = asyncio.Event()

    def __iter__(self) -> Iterator[RegionLink]:
        """Those that are open."""
        return iter([one for one in self._links.values() if one.is_open])

    def of(self, region: str) -> RegionLink | None:
        """The link with a region."""
        return next((one for one in self if one.region == region), None)

    @property
    def refused(self) -> list[Refused]:
        """Wrong peers, by what each said last."""
        return list(self._refused.values())

    def why_wrong(self, ours: Hello, theirs: Hello, via: Via, *, now_ms: int) -> LinkRefused | None:
        """The hello of the other end has come: why it is a wrong peer, if it is. That is
        remembered."""
        refusal = why_wrong(
            ours,
            theirs,
            expected=via.expected,
            may_be_region=via.may_be_region,
            only_region=via.only_region,
            linked={one.region: one.store for one in self if not _yields(one, via)},
        ) or self._why_full(theirs.region, via)
        if refusal is not None:
            self.note_refused(theirs.region, via, refusal, now_ms=now_ms)
        return refusal

    def greeted(self, link: Link, via: Via, *, now_ms: int) -> None:
        """The other end is no wrong peer. Until it has `left` it is in here, if it is a region, and
        one of two links with it is closed."""
        theirs = link.session.peer
        assert theirs is not None, "it has said hello"
        if theirs.region is None:
            return
        new = RegionLink(link, via, theirs.region, theirs.store, now_ms)
        for one in self._yielding(new):
            one.link.close(
                f"its place is for region {new.region}, whose token says that name",
                code=ByeCode.DENIED,
                hint=f"link with a token of: weft token --region {one.region}",
            )
        others = [one for one in self if one.region == new.region]
        self._links[link] = new
        self._refused.pop((via.expected or new.region, via.place), None)
        for other in others:
            if other.is_dialled is not new.is_dialled:
                loser = other if self._is_kept(new) else new
                loser.link.close(
                    "there is another link between these two regions",
                    code=ByeCode.SECOND,
                    hint="one link is enough; this one is not needed",
                )
        self._tell()

    def note_refused(
        self, region: str | None, via: Via, refusal: LinkRefused, *, now_ms: int
    ) -> None:
        """Remember a wrong peer, or one that takes us for one."""
        named = via.expected or region
        key = (named, via.place)
        self._refused.pop(key, None)
        self._refused[key] = Refused(named, via, refusal.message, refusal.hint, now_ms)
        while len(self._refused) > REFUSALS_MAX:
            del self._refused[next(iter(self._refused))]

    def left(self, link: Link) -> RegionLink | None:
        """A link is over, whosever it was; if it was a region's, that."""
        one = self._links.pop(link, None)
        if one is not None:
            self._tell()
        return one

    async def until_missing(self, region: str) -> None:
        """Return when there is no link with a region."""
        while self.of(region) is not None:
            await self._changed.wait()

    # ---- inside -------------------------------------------------------------------------------

    def _why_full(self, region: str | None, via: Via) -> LinkRefused | None:
        """There is no room for it, if it is a region."""
        linked = self._configured.union([one.region for one in self])
        if region is None or region in linked or len(linked) < LIVE_REGIONS_MAX:
            return None
        if any(_yields(one, via) and one.region not in self._configured for one in self):
            return None
        return LinkRefused(
            f"region {self._region} is linked with {LIVE_REGIONS_MAX} others, and takes no more",
            hint="link with another region, or make this one a [[peer]] there",
        )

    def _yielding(self, new: RegionLink) -> list[RegionLink]:
        """Links whose place or name the new one needs."""
        some = [one for one in self if _yields(one, new.via)]
        found = [one for one in some if one.region == new.region and one.store != new.store]
        linked = self._configured.union([one.region for one in self])
        if new.region not in linked and len(linked) >= LIVE_REGIONS_MAX:
            found += [one for one in some if one.region not in self._configured][-1:]
        return found

    def _is_kept(self, one: RegionLink) -> bool:
        """Whether it goes before one that was dialled from the other side."""
        return one.is_dialled is (self._region < one.region)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _yields(one: RegionLink, to: Via) -> bool:
    """Whether a link whose region nobody vouches for makes way for a token that says a name."""
    return to.only_region is not None and not one.is_dialled and one.via.only_region is None


def was_one_of_two(link: Link) -> bool:
    """Whether the other end has closed a link because there is another."""
    end = link.session.end
    return end is not None and end.by_peer and end.code == ByeCode.SECOND

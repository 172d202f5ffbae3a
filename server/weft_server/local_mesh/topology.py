"""Which regions of a mesh are linked with which: full, ring, star, line.

Pure. Must never know: processes, ports, how links are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from itertools import combinations, pairwise
from typing import Final

from weft_engine.errors import CallerError, NotFound
from weft_engine.names import region_name

REGIONS_MAX: Final = 32
"""Regions of one local mesh: each is a process, and a full mesh has n * (n - 1) / 2 links."""


@unique
class Topology(StrEnum):
    FULL = "full"
    """Each with each."""
    RING = "ring"
    """Each with the next, the last with the first."""
    STAR = "star"
    """Each with the first."""
    LINE = "line"
    """Each with the next."""


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """Two linked regions, `first` being the one that stands earlier in the mesh."""

    first: str
    second: str

    def __str__(self) -> str:
        return f"{self.first}-{self.second}"

    @property
    def ways(self) -> tuple[Way, Way]:
        return Way(self.first, self.second), Way(self.second, self.first)


@dataclass(frozen=True, slots=True, order=True)
class Way:
    """One direction of a link: what `source` sends to `target`."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source}->{self.target}"


def names_of(count: int, names: str | None) -> tuple[str, ...]:
    """The names of the regions: those in `names`, separated by commas, or r1, r2 and so on.
    CallerError."""
    if names is None:
        found = tuple(f"r{number}" for number in range(1, count + 1))
    else:
        found = tuple(region_name(name.strip()) for name in names.split(","))
    if not 1 <= len(found) <= REGIONS_MAX:
        raise CallerError(
            f"a local mesh can't have {len(found)} regions", hint=f"give 1 to {REGIONS_MAX}"
        )
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise CallerError(
            f"the name {twice[0]} is given to two regions", hint="give each a name of its own"
        )
    return found


def pairs_of(topology: Topology, names: Sequence[str]) -> tuple[Pair, ...]:
    """The links between regions of these names, which are all different."""
    match topology:
        case Topology.FULL:
            ends = list(combinations(names, 2))
        case Topology.STAR:
            ends = [(names[0], name) for name in names[1:]]
        case Topology.LINE:
            ends = list(pairwise(names))
        case Topology.RING:
            ends = list(pairwise(names))
            if len(names) > 2:
                ends.append((names[0], names[-1]))
    return tuple(Pair(*two) for two in ends)


def pairs_between(
    names: Sequence[str], pairs: Sequence[Pair], one: str, other: str | None
) -> tuple[Pair, ...]:
    """The links between the regions `one` and `other`, both names or several with commas; without
    `other`, those between `one` and all others. NotFound if there are none."""
    first = _known(names, one)
    second = (
        [name for name in names if name not in first] if other is None else _known(names, other)
    )
    both = sorted(set(first) & set(second))
    if both:
        raise CallerError(
            f"the region {both[0]} stands on both sides", hint="name two sides, such as: r1,r2 r3"
        )
    found = tuple(
        pair
        for pair in pairs
        if (pair.first in first and pair.second in second)
        or (pair.second in first and pair.first in second)
    )
    if not found:
        raise NotFound(
            f"there is no link between {one} and {other or 'the others'}",
            hint=f"the links are {', '.join(map(str, pairs)) or 'none: this is one region'}",
        )
    return found


def ways_between(
    names: Sequence[str],
    pairs: Sequence[Pair],
    one: str,
    other: str | None,
    *,
    one_way: bool = False,
) -> tuple[Way, ...]:
    """Both directions of `pairs_between`, or only those from `one` to `other`."""
    found = pairs_between(names, pairs, one, other)
    sources = _known(names, one)
    return tuple(way for pair in found for way in pair.ways if not one_way or way.source in sources)


def known_region(names: Iterable[str], name: str) -> str:
    """`name`, if a region is called so. NotFound."""
    known = list(names)
    if name not in known:
        raise NotFound(
            f"there is no region {name!r:.60} in this mesh", hint=f"there are {', '.join(known)}"
        )
    return name


def _known(names: Sequence[str], given: str) -> list[str]:
    return [known_region(names, name.strip()) for name in given.split(",")]

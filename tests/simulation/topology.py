"""Shapes of meshes: which regions are linked with which, as edges between names.

Must never know: machines, links, time.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from enum import Enum
from itertools import combinations, pairwise

Edge = tuple[str, str]
"""Two different names in their order."""


class Shape(Enum):
    FULL = "full"
    RING = "ring"
    STAR = "star"
    LINE = "line"
    RANDOM = "random"
    """A tree that chance has drawn, and some edges more."""


def edge(a: str, b: str) -> Edge:
    assert a != b, "nobody is linked with itself"
    return (a, b) if a < b else (b, a)


def edges(shape: Shape, names: Sequence[str], rng: random.Random) -> list[Edge]:
    """Edges that connect all of `names`."""
    if shape is Shape.FULL:
        pairs: Iterable[tuple[str, str]] = combinations(names, 2)
    elif shape is Shape.STAR:
        pairs = ((names[0], other) for other in names[1:])
    elif shape is Shape.RANDOM:
        tree = [(names[at], rng.choice(names[:at])) for at in range(1, len(names))]
        pairs = tree + [pair for pair in combinations(names, 2) if rng.random() < 0.2]
    else:
        pairs = list(pairwise(names))
        if shape is Shape.RING and len(names) > 2:
            pairs.append((names[-1], names[0]))
    return list(dict.fromkeys(edge(a, b) for a, b in pairs))


def parts(names: Iterable[str], found: Iterable[Edge]) -> list[list[str]]:
    """The names in groups that edges connect, in the order of `names`."""
    group = {name: [name] for name in names}
    for a, b in found:
        one, other = group[a], group[b]
        if one is not other:
            one += other
            for name in other:
                group[name] = one
    return list({id(one): one for one in group.values()}.values())

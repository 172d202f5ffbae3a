"""Messages about one context each, put together where many follow each other: each by itself would
take more time than what it says. Must never know: what they mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TypeAlias

from weft_engine.limits import CONTEXTS_PER_QUESTION, FRONTIER_HASHES_MAX
from weft_engine.sync.framing.messages import Frontier, Frontiers, Sample, Zoom, Zooms

OfContext: TypeAlias = Frontier | Zoom | Sample


def together(messages: Iterable[OfContext]) -> Iterator[OfContext | Frontiers | Zooms]:
    """The same in the same order, in as few messages as their limits allow."""
    for kind, run in groupby(messages, type):
        if kind is Frontier:
            yield from _frontiers(one for one in run if isinstance(one, Frontier))
        elif kind is Zoom:
            zooms = [one for one in run if isinstance(one, Zoom)]
            for start in range(0, len(zooms), CONTEXTS_PER_QUESTION):
                some = zooms[start : start + CONTEXTS_PER_QUESTION]
                yield some[0] if len(some) == 1 else Zooms(tuple(some))
        else:
            yield from run


def _frontiers(messages: Iterable[Frontier]) -> Iterator[Frontier | Frontiers]:
    some: list[Frontier] = []
    hashes = 0
    for one in messages:
        is_full = len(some) == CONTEXTS_PER_QUESTION or hashes > FRONTIER_HASHES_MAX
        if some and (is_full or one.sample):
            yield some[0] if len(some) == 1 else Frontiers(tuple(some))
            some, hashes = [], 0
        if one.sample:
            yield one
            continue
        some.append(one)
        hashes += len(one.frontier)
    if some:
        yield some[0] if len(some) == 1 else Frontiers(tuple(some))

"""How deep shared types nest in each other, as far as the structs of one update show it.

yrs walks nested types by recursion: a chain of some 30,000 maps in maps, one struct each, ends the
process when its root is deleted. So the depth is measured before yrs sees the bytes.
Must never know: bytes, documents. What an update hangs under in older updates is told by
`levels.Levels`, not seen here.

A struct's level is 0 in a root type, else one more than the level of the struct of its parent
type; a struct with an origin has the level of its origin. What can't be looked up in the update
counts as level 0. Invariant of the walk: a level is written down once and never changes, and a
struct that is met again while its own level is being looked for closes a cycle.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final

from weft_engine.limits import NESTING_DEPTH_MAX
from weft_engine.yjs.lib0 import malformed
from weft_engine.yjs.update import Id, Kind, Struct

_CAN_BE_PARENT: Final = frozenset({Kind.TYPE, Kind.DELETED, Kind.GC})
_WALKING: Final = -1


def type_depth(structs: Sequence[Struct], *, end: int) -> int:
    """The deepest level; MalformedUpdate (at byte `end`) if it is above NESTING_DEPTH_MAX, if a
    parent is no type, or if structs stand above each other in a circle."""
    deepest = max(struct_levels(structs, end=end, known=_not_known), default=0)
    if deepest > NESTING_DEPTH_MAX:
        raise malformed(end, f"types nest deeper than {NESTING_DEPTH_MAX}")
    return deepest


def struct_levels(
    structs: Sequence[Struct], *, end: int, known: Callable[[Id], int]
) -> Sequence[int]:
    """The level of each struct; `known` tells that of ids that are not among them. Raises as
    `type_depth`, but for depth."""
    firsts, indexes = _by_client(structs)
    levels: dict[int, int] = {}
    for index in range(len(structs)):
        path: list[tuple[int, int]] = []
        current: int | None = index
        level = 0
        while current is not None:
            seen = levels.get(current)
            if seen == _WALKING:
                raise malformed(end, f"the parents of {_named(structs[current])} go in a circle")
            if seen is not None:
                level = seen
                break
            levels[current] = _WALKING
            struct = structs[current]
            above, step = _above(struct)
            path.append((current, step))
            if above is None:
                break
            current = _find(above, structs, firsts, indexes)
            if current is None:
                level = known(above)
            elif step and structs[current].kind not in _CAN_BE_PARENT:
                raise malformed(end, f"the parent of {_named(struct)} is no type")
        for found, step in reversed(path):
            level += step
            levels[found] = level
    return [levels[index] for index in range(len(structs))]


def _not_known(_: Id) -> int:
    return 0


def _above(struct: Struct) -> tuple[Id | None, int]:
    """Where the level of `struct` comes from, and how much deeper `struct` is."""
    if isinstance(struct.parent, tuple):
        return struct.parent, 1
    return struct.origin or struct.right_origin, 0


def _by_client(structs: Sequence[Struct]) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Per client the first clocks of its structs, ascending, and where those structs are."""
    firsts: dict[int, list[int]] = {}
    indexes: dict[int, list[int]] = {}
    for index, struct in enumerate(structs):
        firsts.setdefault(struct.client, []).append(struct.clock)
        indexes.setdefault(struct.client, []).append(index)
    return firsts, indexes


def _find(
    wanted: Id,
    structs: Sequence[Struct],
    firsts: dict[int, list[int]],
    indexes: dict[int, list[int]],
) -> int | None:
    client, clock = wanted
    place = bisect_right(firsts.get(client, ()), clock) - 1
    if place < 0:
        return None
    index = indexes[client][place]
    struct = structs[index]
    if struct.kind is Kind.SKIP or clock >= struct.clock + struct.length:
        return None
    return index


def _named(struct: Struct) -> str:
    return f"client {struct.client} clock {struct.clock}"

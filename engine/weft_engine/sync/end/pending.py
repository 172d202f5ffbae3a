"""What of one context is still to be sent to a peer, and what of it the peer has from elsewhere.

Must never know: other contexts, messages, the store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from weft_engine.limits import KNOWN_POSITIONS_MAX
from weft_engine.names import Position

_NONE: Final[frozenset[Position]] = frozenset()
"""Of millions of contexts in comparison each would have empty containers of its own, a kilobyte."""


@dataclass(slots=True)
class Pending:
    """A context of which something is to be sent, or is not compared yet."""

    after: Position
    """Up to here everything is at the peer, unless its position stands in the lists."""
    newest: Position
    """Of the newest record that is to be sent: there is something after `after` if it is higher."""
    limit: Position | None = None
    """What comes behind this waits: what the peer has announced may come from others."""
    comparing: bool = False
    held: bool = False
    """Its comparison has not begun."""
    positions: deque[Position] | tuple[()] = ()
    withheld: tuple[Position, ...] = ()
    withheld_bytes: int = 0
    known: set[Position] | frozenset[Position] = _NONE
    """Still before us, but from the peer."""
    spared: set[Position] | frozenset[Position] = _NONE
    """Still before us, but announced, or to be."""

    @property
    def has_more(self) -> bool:
        last = self.newest if self.limit is None else min(self.newest, self.limit)
        return not (self.comparing or self.held) and (bool(self.positions) or last > self.after)

    def goes_on_from(self, position: Position) -> bool:
        """What is to be sent next is just what stands behind `position`."""
        if self.comparing or self.held or self.withheld or self.positions:
            return False
        if self.known or self.spared:
            return False
        return self.after == position

    @property
    def floor(self) -> Position | None:
        """Everything of the context up to here was sent; None: all of it."""
        floor = self.after if self.newest > self.after else None
        for some in (self.withheld, self.positions):
            if some and (floor is None or some[0] <= floor):
                floor = Position(some[0] - 1)
        return floor

    def lacks(self, positions: Iterable[Position]) -> None:
        """What stands there is to be sent, ascending, before what stands behind `after`."""
        self.positions = deque(positions) or ()

    def reached(self, count: int) -> None:
        """So many of `positions` were read."""
        if count:
            assert isinstance(self.positions, deque), "only these are read"
            for _ in range(count):
                self.positions.popleft()
            self.positions = self.positions or ()

    def know(self, position: Position) -> None:
        """What stands there came from the peer."""
        if len(self.known) >= KNOWN_POSITIONS_MAX:
            self.known = _NONE
        self.known = _with(self.known, position)

    def spare(self, position: Position) -> None:
        """What stands there is announced."""
        self.spared = _with(self.spared, position)

    def unspare(self, position: Position) -> None:
        """What stands there is to be sent after all."""
        if isinstance(self.spared, set):
            self.spared.discard(position)

    def pass_known(self) -> None:
        """Forget what is known of positions that are not read any more."""
        if self.known:
            first = min([*self.withheld[:1], *islice(self.positions, 1), self.after + 1])
            self.known = {position for position in self.known if position >= first} or _NONE

    def pass_spared(self) -> None:
        """Forget what is announced of positions that are not read any more."""
        if self.spared:
            self.spared = {p for p in self.spared if p > self.after} or _NONE


def _with(some: set[Position] | frozenset[Position], position: Position) -> set[Position]:
    """`some` itself, with this, unless it is shared."""
    if isinstance(some, frozenset):
        return {position}
    some.add(position)
    return some

"""Room: how a budget is divided among what a view is made of.

    budget | reserved | 3 | head | A: preamble | W: window |

What the preamble leaves of A is the window's. Integer divisions throughout. Must never know: what
stands in any of these.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Room:
    """In tokens: `allowance` for the preamble and the opening, `window` for what follows."""

    allowance: int
    window: int

    @staticmethod
    def of(left: int, allowance_divisor: int) -> Room:
        """`left`: what of the budget is neither reserved nor the head's."""
        allowance = left // allowance_divisor
        return Room(allowance, left - allowance)

    @property
    def opening(self) -> int:
        """The most that the message which opens the window's turn may take of the allowance."""
        return self.allowance // 2


@dataclass(frozen=True, slots=True)
class Grid:
    """What milestones are laid by: the size of the window in tokens, and in messages if it is
    limited."""

    window: int
    limit: int | None

    @property
    def near(self) -> int:
        """The least tokens from one milestone to a turn that may be the next."""
        return self.window // 2

    @property
    def far(self) -> int:
        """The tokens after which the next milestone may lie inside a turn."""
        return 5 * self.window // 8

    @property
    def near_rows(self) -> int | None:
        return None if self.limit is None else self.limit // 2

    @property
    def far_rows(self) -> int | None:
        return None if self.limit is None else 5 * self.limit // 8

    @property
    def is_finest(self) -> bool:
        return self.window == 0 and not self.limit

    def finer(self) -> Grid:
        """As if the window were half as large."""
        return Grid(self.window // 2, None if self.limit is None else self.limit // 2)

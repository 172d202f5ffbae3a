"""Milestones: the places of a history where a window may begin.

A window that begins with the newest that fits slides at every message, and no cache of the
provider survives that. Milestones lie so far apart that a window moves seldom, and so close that
from one of them on everything fits. They are laid by the weight of rows: the tokens of each
message in the index, hidden, summarized and skipped ones too, so that these move none of them.

A row-unit is a row of a role other than tool with the tool rows right behind it. Since the last
milestone, the next is

* the first user message at least W/2 behind it, or else
* the first row-unit at least 5W/8 behind it, or else
* a row-unit that is, or follows, one above 3W/8.

So windows step at most once, and once more for each 3W/8 that is said.

So the chain depends on its last milestone only: two chains that once share one share all that
follow, and a message that turns up in the far past moves milestones near it and none behind. From
the last milestone to the end it is less than 5W/8 + 3W/8 = W, whatever was said. A limit of
messages is kept to likewise, with messages for tokens. Must never know: what a message says.
"""

from __future__ import annotations

from collections.abc import Iterable

from weft_engine.events.event import Role
from weft_engine.views.entry import Entry
from weft_engine.views.room import Grid


class Chain:
    """Lays milestones along rows; the first row is one. `last`: how many rows before it came the
    last milestone; `found`: the indices of all of them."""

    __slots__ = (
        "_big_rows",
        "_big_tokens",
        "_far_rows",
        "_far_tokens",
        "_near_rows",
        "_near_tokens",
        "_passed_rows",
        "_passed_tokens",
        "_rows",
        "_start",
        "_unit_rows",
        "_unit_tokens",
        "_window",
        "found",
    )

    def __init__(self, grid: Grid) -> None:
        self.found: list[int] = []
        self._window = grid.window
        self._near_tokens = grid.near
        self._far_tokens = grid.far
        self._big_tokens = grid.window - self._far_tokens
        limit = grid.limit
        self._near_rows = grid.near_rows
        self._far_rows = far = grid.far_rows
        self._big_rows = None if limit is None or far is None else limit - far
        self._rows = 0
        self._start = -1
        """Where the open row-unit begins; the others are of it, and of what is before it since
        the last milestone."""
        self._unit_tokens = self._unit_rows = 0
        self._passed_tokens = self._passed_rows = 0

    def add(self, tokens: int, *, is_user: bool, is_tool: bool) -> None:
        """The next row."""
        tokens = min(tokens, self._window)
        index = self._rows
        self._rows += 1
        if is_tool and self._start >= 0:
            self._unit_tokens += tokens
            self._unit_rows += 1
            if self.found[-1] != self._start and self._is_big():
                self._lay(self._start)
            return
        after_big = self._start >= 0 and self._is_big()
        self._passed_tokens += self._unit_tokens
        self._passed_rows += self._unit_rows
        self._start, self._unit_tokens, self._unit_rows = index, tokens, 1
        if (
            not self.found
            or after_big
            or (is_user and self._reaches(self._near_tokens, self._near_rows))
            or self._reaches(self._far_tokens, self._far_rows)
            or self._is_big()
        ):
            self._lay(index)

    def _lay(self, index: int) -> None:
        self.found.append(index)
        self._passed_tokens = self._passed_rows = 0

    def _reaches(self, tokens: int, rows: int | None) -> bool:
        return self._passed_tokens >= tokens or (rows is not None and self._passed_rows >= rows)

    def _is_big(self) -> bool:
        return self._unit_tokens > self._big_tokens or (
            self._big_rows is not None and self._unit_rows > self._big_rows
        )


def milestones(entries: Iterable[Entry], grid: Grid) -> list[int]:
    """The indices of the milestones among `entries`, of which the first is one."""
    chain = Chain(grid)
    for entry in entries:
        role = entry.message.role
        chain.add(entry.tokens, is_user=role is Role.USER, is_tool=role is Role.TOOL)
    return chain.found

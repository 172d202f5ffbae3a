"""What a view is built from: as much of the reading order as is at hand, and what stands beside it.

Must never know: where it was read, budgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from weft_engine.events.event import Role
from weft_engine.views.entry import Entry
from weft_engine.views.marks import NO_MARKS, Marks
from weft_engine.views.room import Grid


@dataclass(frozen=True, slots=True)
class Earlier:
    """A message from before the tail, with the results of its calls right behind it, that may be
    taken along: it is pinned, critical or persistent, or it is of the session and at most LOOK_BACK
    messages before the tail. `depth`: how many, if it is of the session."""

    entries: tuple[Entry, ...]
    depth: int = 0


@dataclass(slots=True)
class Source:
    """`head`: the leading system and developer messages. `tail`: the newest messages behind those,
    and behind what the summary that stands ends with; `complete` if these are all. `late`: those
    that the summary does not cover though they stand before its end. All oldest first.

    `opening`: the last user message before `tail`. `before`: what may be taken along from before
    `tail`, those of `late` among it. `anchors`: the index in `tail` of some milestone.
    """

    head: list[Entry]
    tail: list[Entry]
    complete: bool = True
    late: tuple[Entry, ...] = ()
    opening: Entry | None = None
    marks: Marks = NO_MARKS
    before: tuple[Earlier, ...] = ()
    anchors: dict[Grid, int] = field(default_factory=dict)
    weights: list[int] = field(default_factory=list)
    """`weights[i]`: tokens of the first i of `tail`; hidden ones weigh nothing."""

    def __post_init__(self) -> None:
        self.weigh()

    def weigh(self) -> None:
        """Take in what was added to `tail`."""
        weights, hidden = self.weights, self.marks.hidden
        if not weights:
            weights.append(0)
        total = weights[-1]
        for index in range(len(weights) - 1, len(self.tail)):
            entry = self.tail[index]
            if entry.id not in hidden:
                total += entry.tokens
            weights.append(total)

    @property
    def first(self) -> int:
        """The earliest place where a window may begin; those before 0 are of `late`."""
        return -len(self.late)

    def entries_from(self, start: int) -> Sequence[Entry]:
        """What stands from `start` on."""
        if start >= 0:
            return self.tail[start:]
        return [*self.late[start:], *self.tail]

    def opening_of(self, start: int) -> Entry | None:
        """The user message that opens the turn in the middle of which a window begins at `start`;
        None if it begins with a turn, or the turn's opening is hidden or summarized."""
        if start < 0 or start >= len(self.tail) or (start == 0 and self.complete):
            return None
        if self.tail[start].message.role is Role.USER:
            return None
        for index in range(start - 1, -1, -1):
            if self.tail[index].message.role is Role.USER:
                found: Entry | None = self.tail[index]
                break
        else:
            found = self.opening
        return None if found is None or found.id in self.marks.hidden else found

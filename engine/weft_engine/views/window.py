"""The window of a view from one start on: its units, and what they may come to cost.

Two sums are kept. What the units cost as shown; and their *bound*, which never shrinks as the
history grows, so that a start that no longer fits never fits again:

* a call counts with at least the remark that stands for its result, its result with at least that;
* a unit counts as at most the room (it is shortened to that, whatever else there is);
* where a policy spares the newest turn, every turn may have been the newest: to what all units
  cost when edited comes the most that sparing any one turn has ever added.

Grows at its end in time by what is new. Must never know: where it begins, and why there.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from weft_engine.errors import BudgetTooSmall
from weft_engine.events.event import Role
from weft_engine.names import EventId
from weft_engine.views.cache import Shelf
from weft_engine.views.entry import Entry
from weft_engine.views.policy import UNEDITED, Policy
from weft_engine.views.remark import LATE, remark
from weft_engine.views.shorten import shorten, shortest
from weft_engine.views.shown import Rule
from weft_engine.views.slot import Note, Slot
from weft_engine.views.unit import Unit
from weft_engine.views.walk import Walk

NOTICES_DIVISOR: Final = 8
"""Notices of new facts take at most this part of the window."""
_AFTER_ALL: Final = b"\xff" * 32
Notice = tuple[bytes, Unit]
"""A remark of ours, and the key of the event it is about."""


@dataclass(frozen=True, slots=True)
class Terms:
    """`room` for the window, `limit` of messages in it; `spare`: what the preamble may take, and
    leaves to the window if it does not; `hidden`: what is not shown."""

    shelf: Shelf
    policy: Policy
    room: int
    limit: int | None
    hidden: Container[EventId]
    spare: int = 0
    late: Container[EventId] = frozenset()
    """Said before a summary ends, and not covered by it."""
    notices: tuple[Notice, ...] = ()
    """Ascending by their keys."""
    untold: bytes | None = None
    """The key of the newest fact that has none of these notices, if one has none."""
    is_quiet: bool = False
    """There are no notices in the window: all facts stand before it."""

    def check(self, unit: Unit) -> None:
        """BudgetTooSmall if `unit` can't be `fitted`."""
        if unit.tokens > self.room:
            shortest(unit, self.room, self.shelf)

    def fitted(self, unit: Unit) -> Unit:
        """`unit`, shortened if it is more than the room. BudgetTooSmall if that can't be."""
        if unit.tokens <= self.room:
            return unit
        return self.shelf.shortened(unit, self.room, partial(shorten, unit, self.room, self.shelf))


@dataclass(slots=True)
class _Cost:
    """Of a slot: its unit as edited and as in the newest turn, what they count as."""

    unit: Unit
    live: Unit
    bound: int
    live_bound: int
    messages: int
    turn: int


class Window:
    """`spare`: what it may take beyond its room. `turn` counts user messages; `bound` in tokens,
    `messages` that count against the limit; `trouble`: why it can never fit, if something in it
    can't be shortened enough."""

    __slots__ = (
        "_costs",
        "_is_begun",
        "_notable",
        "_notices",
        "_sparing",
        "_terms",
        "_upto",
        "_walk",
        "bound",
        "changed_from",
        "facts_upto",
        "messages",
        "spare",
        "trouble",
        "turn",
        "visible",
    )

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._walk = Walk(terms.shelf, hidden=terms.hidden)
        self._costs: list[_Cost] = []
        self._notices: list[Notice] = []
        self._is_begun = False
        self._upto = b""
        """The greatest key of what stands here."""
        self._notable = 0
        """What more notices may cost."""
        self._sparing: dict[int, int] = {}
        """By turn, how much more its units count as when it is the newest."""
        self.spare = terms.spare
        self.turn = 0
        self.bound = 0
        self.messages = 0
        self.changed_from = 0
        """The first of the units that may be other than they were at the last `units()`."""
        self.trouble: BudgetTooSmall | None = None
        self.visible: Entry | None = None
        """The first entry that is not hidden."""
        self.facts_upto: bytes | None = None
        """Facts below this key stand before the window: by default those below its first entry's;
        None if there is neither."""

    @property
    def fits(self) -> bool:
        terms = self._terms
        if self.trouble is not None or self.total_bound > terms.room + self.spare:
            return False
        return terms.limit is None or self.messages <= terms.limit

    @property
    def total_bound(self) -> int:
        return self.bound + max(self._sparing.values(), default=0)

    def note_late(self, messages: int) -> None:
        """So many messages that stand next are late."""
        said = f"{LATE}\nSaid before the summary ends and not part of it: {messages} messages"
        self._note(remark(said, Rule.LATE, self._terms.shelf))

    def add(self, entry: Entry) -> None:
        """`entry` stands next."""
        if entry.id in self._terms.hidden:
            return
        if self.visible is None:
            self.visible = entry
        if self._notices or not self._is_begun:
            self._begin_before(entry)
        if entry.message.role is Role.USER:
            self._begin_turn()
        self._upto = max(self._upto, entry.key)
        for index in self._walk.add(entry):
            self._weigh(index)

    def add_notice(self, key: bytes, unit: Unit) -> bool:
        """Something newer than all that was given is said of a fact. False, and nothing is changed,
        if there is more to it than standing last: then lay the window anew."""
        if not self._is_begun or key <= self._upto:
            return False
        if unit.tokens > self._notable:
            return False
        self._upto = key
        self._notable -= unit.tokens
        self.bound += unit.tokens
        self._notices.append((key, unit))
        return True

    def units(self) -> list[Unit]:
        """The units from `changed_from` on, which is set to their end then. BudgetTooSmall if one
        can't be shortened enough."""
        first = self.changed_from
        spares = self._terms.policy.edits
        shown = [
            self._terms.fitted(cost.live if spares and cost.turn == self.turn else cost.unit)
            for cost in self._costs[first:]
        ]
        # Those about what is newer than every message move as messages come.
        shown.extend(unit for _, unit in self._notices)
        self.changed_from = len(self._costs)
        return shown

    def _note(self, unit: Unit) -> None:
        self._walk.note(Note(unit))
        self._weigh(len(self._walk.slots) - 1)

    def _begin_before(self, entry: Entry) -> None:
        key = entry.key
        if not self._is_begun:
            self._is_begun = True
            self.facts_upto = key
            self._take_notices(key)
        while self._notices and self._notices[0][0] < key:
            _, unit = self._notices.pop(0)
            self.bound -= unit.tokens
            self._note(unit)

    def _take_notices(self, key: bytes) -> None:
        """Of what was said of facts since `key`: all, or else the newest that fit into their part
        of the room. The older ones go in whole blocks, so that they seldom go."""
        terms = self._terms
        since = [notice for notice in terms.notices if notice[0] > key]
        room = 0 if terms.is_quiet else terms.room // NOTICES_DIVISOR
        left = sum(unit.tokens for _, unit in since)
        is_all = terms.untold is None or terms.untold < key
        self._notable = room - left if is_all else 0
        self._upto = since[-1][0] if since else key
        # What has been dropped still counts, so that the bound never shrinks.
        self.bound += min(left, room) if is_all else room
        block = max(1, room // 2)
        dropped = passed = 0
        while left > room:
            end = (passed // block + 1) * block
            while dropped < len(since) and passed < end:
                passed += since[dropped][1].tokens
                left -= since[dropped][1].tokens
                dropped += 1
        self._notices = since[dropped:]
        if dropped or not is_all:
            self.facts_upto = since[dropped][0] if dropped < len(since) else _AFTER_ALL

    def _begin_turn(self) -> None:
        if self._terms.policy.edits:
            for index in range(len(self._costs) - 1, -1, -1):
                cost = self._costs[index]
                if cost.turn != self.turn:
                    break
                if cost.unit is not cost.live:
                    self.changed_from = min(self.changed_from, index)
        self.turn += 1

    def _weigh(self, index: int) -> None:
        """Take in the slot at `index`, anew if it has changed."""
        slot = self._walk.slots[index]
        turn = self.turn
        if index < len(self._costs):
            old = self._costs[index]
            turn = old.turn
            self.bound -= old.bound
            self.messages -= old.messages
            self._spare(turn, old.bound - old.live_bound)
        cost = self._cost(slot, turn)
        if index < len(self._costs):
            self._costs[index] = cost
        else:
            self._costs.append(cost)
        self.changed_from = min(self.changed_from, index)
        self.bound += cost.bound
        self.messages += cost.messages
        self._spare(turn, cost.live_bound - cost.bound)

    def _spare(self, turn: int, more: int) -> None:
        if more:
            self._sparing.setdefault(-1, 0)
            self._sparing[turn] = self._sparing.get(turn, 0) + more

    def _cost(self, slot: Slot, turn: int) -> _Cost:
        policy = self._terms.policy
        entries: Sequence[Entry] = slot.entries() if policy.edits else ()
        if not entries:
            unit = live = slot.unit(UNEDITED)
            bound = live_bound = self._bound(slot, unit)
        else:
            unit = slot.unit(policy.edit(entries, False))
            live = slot.unit(policy.edit(entries, True))
            bound, live_bound = self._bound(slot, unit), self._bound(slot, live)
        if unit.ids and unit.ids[0] in self._terms.late:
            unit = replace(unit, rules=unit.rules | {Rule.LATE})
            live = replace(live, rules=live.rules | {Rule.LATE})
        limit = self._terms.limit
        messages = len(unit.ids) if limit is None else min(len(unit.ids), limit)
        return _Cost(unit, live, bound, live_bound, messages, turn)

    def _bound(self, slot: Slot, unit: Unit) -> int:
        try:
            self._terms.check(unit)
        except BudgetTooSmall as error:
            self.trouble = error
            return unit.tokens
        return min(slot.bound(unit), self._terms.room)

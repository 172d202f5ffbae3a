"""From the reading order to slots: results go right behind the message that called for them.

* A call is answered by the first result that names it, from its own message on. The result moves
  up behind it; what stood between follows.
* A call without an answer gets a remark of ours in its place, in the view only. Once its author
  has generated again, the remark stays: the model has answered past it.
* A result that answers nothing (its call is not there, is answered already, is answered past,
  comes later, or is not named) becomes text of a user message where it stands.
* What is hidden is not there, and a call that is hidden hides its results.

So whatever the history, each message with tool calls is followed by one result per call, in the
order of the calls, and no result stands anywhere else. Whatever comes later changes nothing of
what stands here but the remarks. Must never know: tokens left, policies.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from weft_engine.events.event import Role
from weft_engine.events.part import CallRef
from weft_engine.names import EventId
from weft_engine.views.cache import Facts, Shelf
from weft_engine.views.entry import Entry
from weft_engine.views.slot import Group, Leavings, Note, Plain, Slot

_NOTHING: Final[Container[EventId]] = frozenset()


class Walk:
    """Slots of entries that are added one by one, oldest first."""

    __slots__ = ("_calls", "_hidden", "_open", "_shelf", "slots")

    def __init__(self, shelf: Shelf, *, hidden: Container[EventId] = _NOTHING) -> None:
        self._shelf = shelf
        self._hidden = hidden
        self.slots: list[Slot] = []
        self._calls: dict[CallRef, tuple[Group, int]] = {}
        self._open: dict[str, list[Group]] = {}
        """Groups by author that he has not answered past."""

    def note(self, note: Note) -> None:
        """Something of ours stands next."""
        self.slots.append(note)

    def add(self, entry: Entry) -> list[int]:
        """`entry` stands next. The indices of the slots, ascending, that changed by it, the new
        ones included."""
        if entry.id in self._hidden:
            return []
        facts = self._shelf.facts(entry)
        group: Group | None = None
        changed: list[int] = []
        if facts.plain is not None:
            changed.append(len(self.slots))
            self.slots.append(Plain(facts, facts.plain, self._shelf))
        else:
            if facts.calls:
                group = self._add_calls(facts)
                changed.append(group.index)
            if facts.answers:
                changed.extend(self._add_answers(facts))
        if entry.message.role is Role.ASSISTANT:
            for passed in self._open.pop(entry.author, ()):
                passed.is_passed = True
            if group is not None:
                self._open[entry.author] = [group]
        return sorted(set(changed)) if len(changed) > 1 else changed

    def _add_calls(self, facts: Facts) -> Group:
        group = Group(facts, len(self.slots), self._shelf)
        self.slots.append(group)
        for place, index in enumerate(facts.calls):
            self._calls[CallRef(facts.entry.id, index)] = (group, place)
        return group

    def _add_answers(self, facts: Facts) -> list[int]:
        changed: list[int] = []
        orphans: list[tuple[int, bool]] = []
        for index, ref in facts.answers:
            if ref is not None and ref.event in self._hidden:
                continue
            called = None if ref is None else self._calls.get(ref)
            if called is None:
                orphans.append((index, False))
                continue
            group, place = called
            if group.answers[place] is None and not group.is_passed:
                group.answers[place] = (facts, index)
                changed.append(group.index)
            else:
                orphans.append((index, group.answers[place] is None))
        with_rest = not facts.calls and facts.entry.message.role is not Role.TOOL
        with_rest = with_rest and len(facts.answers) < len(facts.entry.message.parts)
        if orphans or with_rest:
            changed.append(len(self.slots))
            self.slots.append(Leavings(facts, orphans, with_rest, self._shelf))
        return changed

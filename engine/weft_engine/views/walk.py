"""From the reading order to units: results go right behind the message that called for them.

The rule is local, so that the newest messages are enough to know what the newest units are:

* A call is answered by the first result that names it, from its own message on. The result moves
  up behind it; what stood between follows. A result in a message before is not its answer: else it
  might have to be fetched from any depth of the past.
* A call without an answer gets a remark of ours in its place, in the view only.
* A result that answers nothing (its call is not there, is answered already, comes later, or is not
  named) becomes text of a user message where it stands.

So whatever the history, each message with tool calls is followed by one result per call, in the
order of the calls, and no result stands anywhere else. Must never know: tokens left, policies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from typing import Final

from weft_engine.events.event import Message, Role
from weft_engine.events.part import Call, CallRef, File, Opaque, Part, Result, Text
from weft_engine.names import EventId
from weft_engine.views.cache import Facts, Shelf, label_of
from weft_engine.views.count import MESSAGE_TOKENS
from weft_engine.views.entry import STANDING_ROLES, Entry
from weft_engine.views.piece import Piece
from weft_engine.views.unit import Unit

INTERRUPTED: Final = "[interrupted: this call has no result]"
INTERRUPTED_TOKENS: Final = {"o200k_base": 10, "cl100k_base": 9}
"""Counted beforehand, so that a view with a call that waits needs no vocabulary for it."""
ORPHAN: Final = "[result of a tool call that is not shown]\n"


@dataclass(frozen=True, slots=True)
class _Gap:
    """A message whose results may belong to `calls`, which lie further back than we can see."""

    calls: tuple[EventId, ...]


class _Group:
    """A message with tool calls, and the results found for them so far."""

    __slots__ = ("answers", "facts")

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.answers: list[tuple[Facts, int] | None] = [None] * len(facts.calls)


_Slot = Unit | _Group | _Gap


class Walk:
    """The units of `entries`, newest first. `complete`: nothing stands before `entries`; `absent`:
    events that are known not to stand there.

    If the walk had to see further back than `entries` go, it ends there and `ran_out` is set;
    `unknown` are then the calls whose place would have let it go on, if it is that.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        shelf: Shelf,
        *,
        complete: bool,
        absent: Set[EventId] = frozenset(),
    ) -> None:
        self._shelf = shelf
        self._complete = complete
        self._slots = _slots(entries, shelf, complete=complete, absent=absent)
        self.ran_out = False
        self.unknown: tuple[EventId, ...] = ()

    def __iter__(self) -> Iterator[Unit]:
        for slot in reversed(self._slots):
            if isinstance(slot, Unit):
                yield slot
            elif isinstance(slot, _Group):
                yield _group_unit(slot, self._shelf)
            else:
                self.unknown = slot.calls
                self.ran_out = True
                return
        self.ran_out = not self._complete


def _slots(
    entries: Sequence[Entry], shelf: Shelf, *, complete: bool, absent: Set[EventId]
) -> list[_Slot]:
    slots: list[_Slot] = []
    calls: dict[tuple[EventId, int], tuple[_Group, int]] = {}
    here: set[EventId] = set()

    def lies_before(ref: CallRef) -> bool:
        """Whether the call may stand before `entries` and wait for this result."""
        nonlocal here
        if complete or ref.event in absent:
            return False
        here = here or {entry.id for entry in entries}
        return ref.event not in here

    for entry in entries:
        facts = shelf.facts(entry)
        if facts.plain is not None:
            slots.append(facts.plain)
            continue
        if facts.calls:
            group = _Group(facts)
            slots.append(group)
            for place, index in enumerate(facts.calls):
                calls[entry.id, index] = (group, place)
        orphans: list[int] = []
        before: list[EventId] = []
        for index, ref in facts.answers:
            called = None if ref is None else calls.get((ref.event, ref.part))
            if called is not None and called[0].answers[called[1]] is None:
                called[0].answers[called[1]] = (facts, index)
            elif called is None and ref is not None and lies_before(ref):
                before.append(ref.event)
            else:
                orphans.append(index)
        if before:
            slots.append(_Gap(tuple(before)))
        elif facts.answers:
            slots.extend(_leavings(facts, orphans, shelf))
    return slots


def _group_unit(group: _Group, shelf: Shelf) -> Unit:
    facts = group.facts
    known = facts.group
    if known is not None and _same(known[0], group.answers):
        return known[1]
    unit = _assembled(group, shelf)
    facts.group = (group.answers, unit)
    return unit


def _same(
    left: Sequence[tuple[Facts, int] | None], right: Sequence[tuple[Facts, int] | None]
) -> bool:
    """Whether these are the very same results."""
    for one, other in zip(left, right, strict=True):
        if one is None or other is None:
            if one is not other:
                return False
        elif one[0] is not other[0] or one[1] != other[1]:
            return False
    return True


def _assembled(group: _Group, shelf: Shelf) -> Unit:
    facts = group.facts
    entry = facts.entry
    ids = {entry.id: None}
    labels = _labels([_call(entry, index).id for index in facts.calls])
    pieces = [_calling(facts, labels, shelf)]
    for answer, label in zip(group.answers, labels, strict=True):
        if answer is None:
            pieces.append(_interrupted(facts, label, shelf))
        else:
            pieces.append(_answer(*answer, label, shelf))
            ids[answer[0].entry.id] = None
    return Unit(
        ids=tuple(ids),
        pieces=tuple(pieces),
        tokens=sum(piece.tokens for piece in pieces),
        fixed=False,
        label=label_of(entry),
    )


def _labels(ids: Sequence[str]) -> list[str]:
    """The ids of one message's calls made distinct: a provider tells its results apart by them."""
    if len(set(ids)) == len(ids) and "" not in ids:
        return list(ids)
    taken = set(ids)
    used: set[str] = set()
    uses: dict[str, int] = {}
    labels: list[str] = []
    for wanted in ids:
        label = wanted
        while not label or label in used or (label is not wanted and label in taken):
            uses[wanted] = uses.get(wanted, 1) + 1
            label = f"{wanted or 'call'}~{uses[wanted]}"
        used.add(label)
        labels.append(label)
    return labels


def _call(entry: Entry, index: int) -> Call:
    part = entry.message.parts[index]
    assert isinstance(part, Call)
    return part


def _result(entry: Entry, index: int) -> Result:
    part = entry.message.parts[index]
    assert isinstance(part, Result)
    return part


def _calling(facts: Facts, labels: Sequence[str], shelf: Shelf) -> Piece:
    """The message with the calls: as it is, or without results of its own and with new labels."""
    entry = facts.entry
    named = dict(zip(facts.calls, labels, strict=True))
    if not facts.answers and all(_call(entry, i).id == label for i, label in named.items()):
        return facts.whole

    def make() -> Message:
        parts: list[Part] = []
        for index, part in enumerate(entry.message.parts):
            if isinstance(part, Call):
                parts.append(replace(part, id=named[index]))
            elif not isinstance(part, Result):
                parts.append(part)
        return replace(entry.message, parts=tuple(parts))

    return shelf.variant(facts, ("calling",), make)


def _answer(facts: Facts, index: int, label: str, shelf: Shelf) -> Piece:
    entry = facts.entry
    result = _result(entry, index)
    alone = entry.message.role is Role.TOOL and len(facts.answers) == 1
    if alone and result.id == label:
        return facts.whole

    def make() -> Message:
        return Message(role=Role.TOOL, parts=(replace(result, id=label),))

    return shelf.variant(facts, ("answer", index, label), make)


def _interrupted(facts: Facts, label: str, shelf: Shelf) -> Piece:
    def make() -> Message:
        return Message(role=Role.TOOL, parts=(Result(id=label, out=INTERRUPTED),))

    return shelf.variant(
        facts,
        ("interrupted", label),
        make,
        ours=True,
        tokens=MESSAGE_TOKENS + INTERRUPTED_TOKENS[shelf.tokenizer.id.name],
    )


def _leavings(facts: Facts, orphans: Sequence[int], shelf: Shelf) -> Iterator[Unit]:
    """What a message with results shows in its own place: those that answer nothing, then what is
    no result. Calls stand in their group already."""
    entry = facts.entry
    message = entry.message
    pieces = [_orphan(facts, index, shelf) for index in orphans]
    if not facts.calls and message.role is not Role.TOOL:
        rest = tuple(part for part in message.parts if not isinstance(part, Result))
        if rest:
            pieces.append(shelf.variant(facts, ("rest",), lambda: replace(message, parts=rest)))
    if pieces:
        yield Unit(
            ids=(entry.id,),
            pieces=tuple(pieces),
            tokens=sum(piece.tokens for piece in pieces),
            fixed=message.role in STANDING_ROLES,
            label=label_of(entry),
        )


def _orphan(facts: Facts, index: int, shelf: Shelf) -> Piece:
    out = _result(facts.entry, index).out

    def make() -> Message:
        said: tuple[Part, ...]
        if isinstance(out, str):
            said = (Text(ORPHAN + out),)
        else:
            sayable = (part for part in out if isinstance(part, (Text, File, Opaque)))
            said = (Text(ORPHAN), *sayable)
        return Message(role=Role.USER, parts=said)

    return shelf.variant(facts, ("orphan", index), make)

"""A slot: a place in the window's order, and what stands there under a policy.

A message, a message with calls and the results found for them, what is left of a message whose
results stand elsewhere, or a note of ours. Must never know: where the window begins, budgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol

from weft_engine.events.event import Message, Role
from weft_engine.events.part import Call, CallRef, File, Opaque, Part, Result, Text
from weft_engine.views.cache import Facts, Shelf, label_of
from weft_engine.views.count import MESSAGE_TOKENS
from weft_engine.views.entry import STANDING_ROLES, Entry
from weft_engine.views.piece import Piece
from weft_engine.views.policy import UNEDITED, Edit
from weft_engine.views.shown import Rule
from weft_engine.views.unit import Unit

INTERRUPTED: Final = "[interrupted: this call has no result]"
INTERRUPTED_TOKENS: Final = {"o200k_base": 10, "cl100k_base": 9}
"""Counted beforehand, so that a view with a call that waits needs no vocabulary for it."""
ORPHAN: Final = "[result of a tool call that is not shown]\n"
PASSED: Final = "[late result of a call shown as interrupted]\n"

_PLAIN: Final[frozenset[Rule]] = frozenset()


class Slot(Protocol):
    def entries(self) -> Sequence[Entry]:
        """What a policy sees of it; empty for what no policy may change."""

    def unit(self, edit: Edit) -> Unit:
        """What is shown there."""

    def bound(self, unit: Unit) -> int:
        """The least that `unit`, and whatever it becomes when results come, may be counted as:
        it never shrinks."""


class Plain:
    """A message that neither calls nor answers."""

    __slots__ = ("_facts", "_shelf", "_unit")

    def __init__(self, facts: Facts, unit: Unit, shelf: Shelf) -> None:
        self._facts = facts
        self._unit = unit
        self._shelf = shelf

    def entries(self) -> Sequence[Entry]:
        return (self._facts.entry,)

    def unit(self, edit: Edit) -> Unit:
        if edit is UNEDITED:
            return self._unit
        facts = self._facts
        entry = facts.entry
        text = edit.replaced.get(entry.id)
        if text is not None:
            said = replace(entry.message, parts=(Text(text),), tokens=None)
            piece = self._shelf.variant(facts, ("replaced", text), lambda: said, ours=True)
            return _changed(self._unit, (piece,), Rule.REPLACED)
        kept = _kept(entry, edit)
        if len(kept) == len(entry.message.parts):
            return self._unit
        return _changed(self._unit, _rest(facts, kept, self._shelf), Rule.SKIPPED)

    def bound(self, unit: Unit) -> int:
        return unit.tokens


class Note:
    """Something of our own."""

    __slots__ = ("_unit",)

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def entries(self) -> Sequence[Entry]:
        return ()

    def unit(self, edit: Edit) -> Unit:
        return self._unit

    def bound(self, unit: Unit) -> int:
        return unit.tokens


class Group:
    """A message with tool calls, and the results found for them so far. `is_passed`: its author
    has generated again; what still waits then waits for good."""

    __slots__ = ("_shelf", "answers", "facts", "index", "is_passed")

    def __init__(self, facts: Facts, index: int, shelf: Shelf) -> None:
        self.facts = facts
        self.index = index
        self.is_passed = False
        self.answers: list[tuple[Facts, int] | None] = [None] * len(facts.calls)
        self._shelf = shelf

    def entries(self) -> Sequence[Entry]:
        found = [answer[0].entry for answer in self.answers if answer is not None]
        return (self.facts.entry, *dict.fromkeys(found))

    def unit(self, edit: Edit) -> Unit:
        facts = self.facts
        entry = facts.entry
        shown = [
            (index, answer)
            for index, answer in zip(facts.calls, self.answers, strict=True)
            if edit is UNEDITED or not _is_skipped(entry, index, answer, edit)
        ]
        calls = {index for index, _ in shown}
        kept = tuple(
            index
            for index in _kept(entry, edit)
            if index in calls or not isinstance(entry.message.parts[index], (Call, Result))
        )
        pieces = list(_rest(facts, kept, self._shelf))
        rules: set[Rule] = set()
        if len(kept) < len(entry.message.parts) - len(facts.answers):
            rules.add(Rule.SKIPPED)
        ids = {entry.id: None}
        for index, answer in shown:
            if answer is None:
                pieces.append(_interrupted(facts, _call(entry, index).id, self._shelf))
                rules.add(Rule.INTERRUPTED)
            else:
                pieces.append(_answer(*answer, _call(entry, index).id, self._shelf))
        for found in self.answers:
            if found is not None:
                ids[found[0].entry.id] = None
        return Unit(
            ids=tuple(ids),
            pieces=tuple(pieces),
            tokens=sum(piece.tokens for piece in pieces),
            fixed=False,
            label=label_of(entry),
            rules=frozenset(rules) if rules else _PLAIN,
        )

    def bound(self, unit: Unit) -> int:
        if unit.tokens == 0 or (Rule.INTERRUPTED in unit.rules and len(self.answers) == 1):
            return unit.tokens
        least = _interrupted(self.facts, "", self._shelf).tokens
        pieces = unit.pieces
        return sum(
            max(piece.tokens, least) if piece.message.role is Role.TOOL else piece.tokens
            for piece in pieces
        )


class Leavings:
    """What a message with results shows in its own place: those that answer nothing, then what is
    no result. Calls stand in their group already."""

    __slots__ = ("_facts", "_orphans", "_shelf", "_with_rest")

    def __init__(
        self,
        facts: Facts,
        orphans: Sequence[tuple[int, bool]],
        with_rest: bool,
        shelf: Shelf,
    ) -> None:
        """`orphans`: indices of results, and whether their call stands there as interrupted."""
        self._facts = facts
        self._orphans = tuple(orphans)
        self._with_rest = with_rest
        self._shelf = shelf

    def entries(self) -> Sequence[Entry]:
        return (self._facts.entry,)

    def unit(self, edit: Edit) -> Unit:
        facts = self._facts
        entry = facts.entry
        shown = [pair for pair in self._orphans if CallRef(entry.id, pair[0]) not in edit.left_out]
        pieces = [_orphan(facts, index, passed, self._shelf) for index, passed in shown]
        rules = {Rule.ORPHANED} if shown else set()
        if len(shown) < len(self._orphans):
            rules.add(Rule.SKIPPED)
        if self._with_rest:
            parts = entry.message.parts
            said = [i for i, part in enumerate(parts) if not isinstance(part, Result)]
            kept = tuple(i for i in said if CallRef(entry.id, i) not in edit.left_out)
            if len(kept) < len(said):
                rules.add(Rule.SKIPPED)
            pieces.extend(_rest(facts, kept, self._shelf))
        return Unit(
            ids=(entry.id,),
            pieces=tuple(pieces),
            tokens=sum(piece.tokens for piece in pieces),
            fixed=entry.message.role in STANDING_ROLES,
            label=label_of(entry),
            rules=frozenset(rules) if rules else _PLAIN,
        )

    def bound(self, unit: Unit) -> int:
        return unit.tokens


def _changed(unit: Unit, pieces: tuple[Piece, ...], rule: Rule) -> Unit:
    tokens = sum(piece.tokens for piece in pieces)
    return replace(unit, pieces=pieces, tokens=tokens, rules=unit.rules | {rule})


def _kept(entry: Entry, edit: Edit) -> tuple[int, ...]:
    """The indices of the parts that a policy leaves."""
    indices = range(len(entry.message.parts))
    if not edit.left_out:
        return tuple(indices)
    return tuple(index for index in indices if CallRef(entry.id, index) not in edit.left_out)


def _is_skipped(entry: Entry, index: int, answer: tuple[Facts, int] | None, edit: Edit) -> bool:
    """Whether the policy leaves out this call, or its result, which is the same."""
    if CallRef(entry.id, index) in edit.left_out:
        return True
    return answer is not None and CallRef(answer[0].entry.id, answer[1]) in edit.left_out


def _rest(facts: Facts, kept: tuple[int, ...], shelf: Shelf) -> tuple[Piece, ...]:
    """The message with these of its parts only; nothing if there are none."""
    return (_part_of(facts, kept, shelf),) if kept else ()


def _part_of(facts: Facts, kept: tuple[int, ...], shelf: Shelf) -> Piece:
    message = facts.entry.message
    if len(kept) == len(message.parts):
        return facts.whole

    def make() -> Message:
        return replace(message, parts=tuple(message.parts[index] for index in kept))

    return shelf.variant(facts, ("part", kept), make)


def _call(entry: Entry, index: int) -> Call:
    part = entry.message.parts[index]
    assert isinstance(part, Call)
    return part


def _result(entry: Entry, index: int) -> Result:
    part = entry.message.parts[index]
    assert isinstance(part, Result)
    return part


def _answer(facts: Facts, index: int, label: str, shelf: Shelf) -> Piece:
    entry = facts.entry
    result = _result(entry, index)
    alone = entry.message.role is Role.TOOL and len(facts.answers) == 1
    if alone and result.id == label:
        return facts.whole

    def make() -> Message:
        return Message(role=Role.TOOL, parts=(replace(result, id=label),))

    # The id costs nothing.
    tokens = facts.whole.tokens if alone and len(entry.message.parts) == 1 else None
    return shelf.variant(facts, ("answer", index, label), make, tokens=tokens)


def _interrupted(facts: Facts, label: str, shelf: Shelf) -> Piece:
    def make() -> Message:
        return Message(role=Role.TOOL, parts=(Result(id=label, out=INTERRUPTED),))

    known = INTERRUPTED_TOKENS[shelf.tokenizer.id.name] if shelf.form.name == "openai" else None
    tokens = None if known is None else MESSAGE_TOKENS + known
    return shelf.variant(facts, ("interrupted", label), make, ours=True, tokens=tokens)


def _orphan(facts: Facts, index: int, passed: bool, shelf: Shelf) -> Piece:
    out = _result(facts.entry, index).out
    heading = PASSED if passed else ORPHAN

    def make() -> Message:
        said: tuple[Part, ...]
        if isinstance(out, str):
            said = (Text(heading + out),)
        else:
            sayable = (part for part in out if isinstance(part, (Text, File, Opaque)))
            said = (Text(heading), *sayable)
        return Message(role=Role.USER, parts=said)

    return shelf.variant(facts, ("orphan", index, passed), make)

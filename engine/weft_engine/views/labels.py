"""Labels: the ids by which a provider tells the calls of a view apart.

Providers use theirs again, within one conversation and even within one message. From its second
use on, an id gets a number. Depends only on what stands before. Must never know: where units
come from, what anything costs: ids cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from weft_engine.events.event import Message, Role
from weft_engine.events.part import Call, Part, Result
from weft_engine.views.unit import Unit


class Labels:
    """The ids used so far."""

    __slots__ = ("_used", "_uses")

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._uses: dict[str, int] = {}

    def label(self, unit: Unit) -> Unit:
        """`unit` with ids that nothing before it uses; its results stand in the order of its
        calls."""
        first = unit.pieces[0].message if unit.pieces else None
        if first is None or first.role is not Role.ASSISTANT:
            return unit
        ids = [part.id for part in first.parts if isinstance(part, Call)]
        if not ids:
            return unit
        labels = self._distinct(ids)
        if labels == ids:
            return unit
        calling, *answers = unit.pieces
        pieces = [calling.saying(_calling(first, labels))]
        for label, answer in zip(labels, answers, strict=True):
            pieces.append(answer.saying(_answering(answer.message, label)))
        return replace(unit, pieces=tuple(pieces))

    def _distinct(self, ids: Sequence[str]) -> list[str]:
        taken = set(ids)
        labels: list[str] = []
        for wanted in ids:
            label = wanted
            while not label or label in self._used or (label is not wanted and label in taken):
                self._uses[wanted] = self._uses.get(wanted, 1) + 1
                label = f"{wanted or 'call'}~{self._uses[wanted]}"
            self._used.add(label)
            labels.append(label)
        return labels


def _calling(message: Message, labels: Sequence[str]) -> Message:
    left = iter(labels)
    parts: list[Part] = [
        replace(part, id=next(left)) if isinstance(part, Call) else part for part in message.parts
    ]
    return replace(message, parts=tuple(parts))


def _answering(message: Message, label: str) -> Message:
    parts: list[Part] = [
        replace(part, id=label) if isinstance(part, Result) else part for part in message.parts
    ]
    return replace(message, parts=tuple(parts))

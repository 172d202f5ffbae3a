"""Answers that came about side by side: found in a reading order, and what to do about them.

Two generations of one order are siblings if they had seen the same turns (messages that are neither
generations nor tool results), neither had seen the other, and each is the first of its line there:
it had seen no other generation that had seen just these turns. So it depends on the records alone.
A generation that saw all before it and that all later ones have seen has none, so only what stands
between such waists is looked at, together with the first of these: who saw no turn since then is
of its line.
Must never know: how views show what is hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from weft_engine.errors import NotFound
from weft_engine.events.event import Message, Role
from weft_engine.events.part import Result
from weft_engine.events.reorder import Link, Node, seen_among
from weft_engine.events.row import ASSISTANT, ROLES, Row
from weft_engine.names import EventId, Position, RecordHash
from weft_engine.storage.lineage import ReadingOrder
from weft_engine.storage.marks import hidden_ids

_TOOL: Final = ROLES[Role.TOOL]
_CHUNK: Final = 256


@dataclass(frozen=True, slots=True)
class Answer:
    """One of several siblings. `led_to`: itself, what it alone led to in this turn, and the tool
    results of these, in reading order."""

    id: EventId
    led_to: tuple[EventId, ...]


def siblings(order: ReadingOrder) -> list[tuple[Answer, ...]]:
    """Groups of answers that nobody has chosen among yet, in reading order; each by (time, id)."""
    hidden = hidden_ids(order)
    groups: list[tuple[Answer, ...]] = []
    for rows in _stretches(order):
        for group in _Stretch(order, rows).groups():
            left = tuple(answer for answer in group if answer.id not in hidden)
            if len(left) > 1:
                groups.append(left)
    return groups


def group_of(order: ReadingOrder, event: EventId) -> tuple[Answer, ...]:
    """The siblings of `event`, itself among them. NotFound if it has none."""
    for group in siblings(order):
        if any(answer.id == event for answer in group):
            return group
    raise NotFound(
        f"event {event} is no answer that has siblings", hint="siblings() lists those that have"
    )


def _stretches(order: ReadingOrder) -> Iterator[list[Row]]:
    """What stands between two waists, with the first of these, where that holds more than one
    generation. Which waists are known depends on what came when; what follows from it does not."""
    done: int | None = None
    for unsure in order.unsure():
        assert unsure.place is not None
        if done is not None and unsure.place <= done:
            continue
        rows = [unsure]
        begins = 0
        for row in order.newest(before=unsure.place):
            rows.append(row)
            if row.waist:
                begins = 1
                break
        rows.reverse()
        done = unsure.place
        while more := order.oldest(after=done, limit=_CHUNK):
            end = next((index for index, row in enumerate(more) if row.waist), None)
            rows += more[:end]
            done = rows[-1].place
            if end is not None:
                break
        if sum(row.role == ASSISTANT for row in rows[begins:]) > 1:
            yield rows


class _Stretch:
    def __init__(self, order: ReadingOrder, rows: Sequence[Row]) -> None:
        self._order = order
        self._rows = rows
        self._seen = seen_among(self, [Node(self._members(row)) for row in rows])

    def groups(self) -> Iterator[tuple[Answer, ...]]:
        turns = 0
        for index, row in enumerate(self._rows):
            if row.role not in (ASSISTANT, _TOOL):
                turns |= 1 << index
        by_turns: dict[int, list[int]] = {}
        for index, bits in self._seen.items():
            by_turns.setdefault(bits & turns, []).append(index)
        for same in by_turns.values():
            everyone = sum(1 << index for index in same)
            first = [index for index in same if not self._seen[index] & everyone]
            if len(first) > 1:
                first.sort(key=lambda index: self._rows[index].key)
                yield tuple(self._answer(index, first, same) for index in first)

    def _answer(self, index: int, first: Sequence[int], same: Sequence[int]) -> Answer:
        others = sum(1 << other for other in first if other != index)
        line = {
            other
            for other in same
            if other == index or (self._seen[other] >> index & 1 and not self._seen[other] & others)
        }
        ids = {self._rows[other].id for other in line}
        led_to = [
            row.id
            for other, row in enumerate(self._rows)
            if other in line or (row.role == _TOOL and self._answers(row, ids))
        ]
        return Answer(self._rows[index].id, tuple(led_to))

    def _answers(self, row: Row, calls: set[EventId]) -> bool:
        """Whether a tool message holds results of one of these only."""
        body = self._order.event(row).body
        assert isinstance(body, Message)
        results = [part for part in body.parts if isinstance(part, Result)]
        return bool(results) and all(
            result.call is not None and result.call.event in calls for result in results
        )

    def _members(self, row: Row) -> list[Row]:
        if row.digest is None:
            return [row]
        rows = self._order.by_classes([row.digest])[row.digest]
        return [one for one in rows if one.key == row.key or self._order.includes(one)]

    # ---- what `seen_among` asks ---------------------------------------------------------------

    def seen_field(self, row: Row) -> tuple[RecordHash, ...] | None:
        return self._order.event(row).seen

    def links(self, first: Position, last: Position | None = None) -> Sequence[Link]:
        return self._order.links(first, last)

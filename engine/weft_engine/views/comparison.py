"""What is different between two views of one context, message by message, and by which rule.

A message that a view does not show is missing for exactly one reason, the first that holds:
erased; not said yet at the view's cut; hidden; covered by the summary; older than the window;
else the policy left it out. Must never know: where messages and receipts are kept, their texts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from weft_engine.names import EventId, RecordHash
from weft_engine.views.marks import StandingSummary
from weft_engine.views.shown import Area, Shown
from weft_engine.views.spec import ViewSpec


@dataclass(frozen=True, slots=True)
class Known:
    """A message at a cut: its `place` in the reading order, ascending, and what it costs whole."""

    place: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two views, and what is known at its cut. `known`: of all messages that either
    view shows or that are asked about, those that its reading order has; with the last one that
    the summary covers. `total`: how many messages it has in all."""

    spec: ViewSpec
    cut: tuple[RecordHash, ...]
    used_tokens: int
    shown: tuple[Shown, ...]
    known: Mapping[EventId, Known]
    total: int
    hidden: Mapping[EventId, EventId] = field(default_factory=dict)
    summary: StandingSummary | None = None
    erased: frozenset[EventId] = frozenset()

    def window_start(self) -> EventId | None:
        """The first message of its window: of those it shows there the oldest."""
        ids = [id_ for shown in self.shown if shown.area is Area.WINDOW for id_ in shown.ids]
        return min((id_ for id_ in ids if id_ in self.known), key=self._place, default=None)

    def _place(self, id_: EventId) -> int:
        return self.known[id_].place


class Reason(StrEnum):
    """Why a view does not show a message."""

    ERASED = "erased"
    NOT_YET = "not_yet"
    """Not among the messages at the view's cut: said later, or not arrived."""
    HIDDEN = "hidden"
    SUMMARISED = "summarised"
    BEFORE_WINDOW = "before_window"
    POLICY = "policy"


@dataclass(frozen=True, slots=True)
class Absent:
    """`by`: the hide event, the summary, or the first message of the window."""

    reason: Reason
    by: EventId | None = None


class Change(StrEnum):
    DROPPED = "dropped"
    """Shown in the first view, not in the second."""
    ADDED = "added"
    CHANGED = "changed"
    """Shown in both: in another area, at another cost, or by another rule."""
    MOVED = "moved"
    """The same in both, but at another place among the rest."""
    SAME = "same"
    ABSENT = "absent"
    """Shown in neither."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What became of one message from view `a` to view `b`. `tokens`: what it costs whole, None
    where neither cut has it. A tool call and its results cost what their `Shown` says together."""

    id: EventId
    change: Change
    a: Shown | Absent
    b: Shown | Absent
    tokens: int | None


@dataclass(frozen=True, slots=True)
class SpecChange:
    """A field of the spec, as in its JSON, with both values."""

    name: str
    a: object
    b: object


def compare(a: Side, b: Side) -> list[Difference]:
    """Every message that is not shown the same in both views, in the order of the later reading."""
    old, new = _Read.of(a), _Read.of(b)
    moved = _moved([*old.shown], [*new.shown])
    ids = sorted({**old.shown, **new.shown}, key=lambda id_: _order(id_, b, a))
    found = (_difference(id_, old, new, moved) for id_ in ids)
    return [difference for difference in found if difference.change is not Change.SAME]


def look_up(id_: EventId, a: Side, b: Side) -> Difference:
    """What became of one message, whether shown in either view or not."""
    old, new = _Read.of(a), _Read.of(b)
    return _difference(id_, old, new, _moved([*old.shown], [*new.shown]))


def spec_changes(a: ViewSpec, b: ViewSpec) -> list[SpecChange]:
    """The fields in which two specs differ, by name."""
    old, new = a.to_json(), b.to_json()
    return [
        SpecChange(name, old[name], new[name]) for name in sorted(old) if old[name] != new[name]
    ]


@dataclass(frozen=True, slots=True)
class _Read:
    """A side with what many questions need: how each message is shown, where the window begins."""

    side: Side
    shown: Mapping[EventId, Shown]
    start: EventId | None

    @staticmethod
    def of(side: Side) -> _Read:
        return _Read(side, _by_id(side.shown), side.window_start())

    def fate(self, id_: EventId) -> Shown | Absent:
        return self.shown.get(id_) or self._absence(id_)

    def _absence(self, id_: EventId) -> Absent:
        side = self.side
        if id_ in side.erased:
            return Absent(Reason.ERASED)
        known = side.known.get(id_)
        if known is None:
            return Absent(Reason.NOT_YET)
        if id_ in side.hidden:
            return Absent(Reason.HIDDEN, side.hidden[id_])
        summary = side.summary
        if summary is not None and id_ not in summary.late:
            last = side.known.get(summary.last)
            if last is not None and known.place <= last.place:
                return Absent(Reason.SUMMARISED, summary.id)
        if self.start is None or known.place < side.known[self.start].place:
            return Absent(Reason.BEFORE_WINDOW, self.start)
        return Absent(Reason.POLICY)


def _difference(id_: EventId, a: _Read, b: _Read, moved: frozenset[EventId]) -> Difference:
    old, new = a.fate(id_), b.fate(id_)
    match old, new:
        case Shown(), Shown():
            if (old.area, old.tokens, old.rules) != (new.area, new.tokens, new.rules):
                change = Change.CHANGED
            else:
                change = Change.MOVED if id_ in moved else Change.SAME
        case Shown(), Absent():
            change = Change.DROPPED
        case Absent(), Shown():
            change = Change.ADDED
        case _:
            change = Change.ABSENT
    known = b.side.known.get(id_) or a.side.known.get(id_)
    return Difference(id_, change, old, new, None if known is None else known.tokens)


def _by_id(shown: Sequence[Shown]) -> dict[EventId, Shown]:
    """In the order of the view. What is shown twice, in the preamble and in the window, counts as
    in the window, where it stands as it was said."""
    found: dict[EventId, Shown] = {}
    for one in shown:
        for id_ in one.ids:
            if one.area is Area.WINDOW:
                found.pop(id_, None)
            found[id_] = one
    return found


def _order(id_: EventId, *sides: Side) -> tuple[int, str]:
    for side in sides:
        if id_ in side.known:
            return side.known[id_].place, id_
    return -1, id_


def _moved(a: Sequence[EventId], b: Sequence[EventId]) -> frozenset[EventId]:
    """Those in both that are not in their longest common subsequence: as few as can be said to
    have moved. By patience sorting: `tails[n]` is the least end of an ascending run of n + 1."""
    places = {id_: place for place, id_ in enumerate(b)}
    common = [id_ for id_ in a if id_ in places]
    tails: list[int] = []
    ends: list[EventId] = []
    before: dict[EventId, EventId | None] = {}
    for id_ in common:
        length = bisect_left(tails, places[id_])
        tails[length : length + 1] = [places[id_]]
        ends[length : length + 1] = [id_]
        before[id_] = ends[length - 1] if length else None
    stayed: set[EventId] = set()
    at = ends[-1] if ends else None
    while at is not None:
        stayed.add(at)
        at = before[at]
    return frozenset(common) - stayed

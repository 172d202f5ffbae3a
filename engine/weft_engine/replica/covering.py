"""What a compaction covers: up to where, named by which records, and what of it is new.

It ends at the beginning of a turn, if one leaves about as much as is to be kept; in a long turn,
such as an agent's work on one question, it ends between two units of it: a message, or a call with
all its results. What a summary names is the past of records, so of the messages before its end it
covers those whose records have nothing behind it in their past; one record may be cut in two
(`upto`). Of several ends the newest is taken before which everything can be covered; where there is
none, the one that covers most.
Must never know: how a summary is written.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from weft_engine.events.codec import decode_event
from weft_engine.events.event import Event, Message, Role
from weft_engine.events.part import Result
from weft_engine.events.reorder import Link
from weft_engine.events.row import ROLES, Row
from weft_engine.events.summaries import WaitingCalls, covered_digest, has_pending_calls
from weft_engine.limits import DEPS_MAX
from weft_engine.names import EventId, Position, RecordHash
from weft_engine.records.frontier import Frontier
from weft_engine.storage.lineage import ReadingOrder
from weft_engine.storage.marks import hidden_ids
from weft_engine.storage.summaries import (
    Covering,
    Summaries,
    covered_by,
    extent_of,
    members_of,
)
from weft_engine.views.entry import Entry, head_length

ENDS_MAX: Final = 16
"""Ends of each kind that are tried."""
_USER: Final = ROLES[Role.USER]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a summary is to say of itself. `entries`: the messages it takes in anew, without the
    leading instructions and what is hidden; `replaces`: the summary that stands and whose messages
    it covers, too."""

    covers: tuple[RecordHash, ...]
    upto: EventId | None
    count: int
    digest: str
    entries: tuple[Entry, ...]
    replaces: Covering | None


@dataclass(frozen=True, slots=True)
class _Cut:
    covers: tuple[RecordHash, ...]
    upto: EventId | None
    rows: tuple[Row, ...]
    digest: str


def plan(order: ReadingOrder, *, keep: int, most: int) -> Plan | None:
    """What to cover so that at least `keep` tokens of the newest messages are not, nor is the
    newest unit; None if there is nothing that can be. The beginning of a turn is taken if it leaves
    no more than `most`."""
    planning = _Planning(order, keep)
    return (
        planning.best(planning.turns(keep, most))
        or planning.best(planning.units())
        or planning.best(planning.turns(max(keep, most + 1), None))
    )


def still_there(order: ReadingOrder, made: Plan) -> str | None:
    """Why what was planned can't be recorded any more; None if it can."""
    extent = extent_of(order, made.covers, made.upto)
    summaries = Summaries(order)
    covered = [] if extent is None else covered_by(order, summaries.rows, extent)
    if len(covered) != made.count or covered_digest(id_ for _, id_ in covered) != made.digest:
        return "messages that it covers were erased meanwhile"
    if made.replaces is not None:
        key = made.replaces.candidate.row.key
        again = next((one for one in summaries.candidates if one.row.key == key), None)
        if again is None or not isinstance(summaries.covering(again), Covering):
            return "the summary that it goes on from was revoked meanwhile"
    return None


class _Reader:
    """Events of rows, each read once."""

    def __init__(self, order: ReadingOrder) -> None:
        self._order = order
        self._events: dict[bytes, Event] = {}

    def events(self, rows: Sequence[Row]) -> list[Event]:
        missing = [row for row in rows if row.key not in self._events]
        bodies = self._order.bodies(missing)
        for row in missing:
            self._events[row.key] = decode_event(bodies[row.key])
        return [self._events[row.key] for row in rows]


class _Planning:
    """Ends are indices of `rows`: before each at least one message stands, behind it are `keep`
    tokens or more."""

    def __init__(self, order: ReadingOrder, keep: int) -> None:
        summaries = Summaries(order)
        self._order = order
        self._keep = keep
        self._rows = summaries.rows
        self._old = summaries.standing()
        self._reader = _Reader(order)
        self._hidden = hidden_ids(order)

    def turns(self, least: int, most: int | None) -> Iterator[int]:
        """Where turns begin, newest first, that leave so many tokens from there on. A turn begins
        with the first of the user's messages that stand together; one that brings results of tools
        begins none."""
        left = 0
        for index in range(len(self._rows) - 1, 0, -1):
            left += self._rows[index].tokens or 0
            if self._is_covered(index - 1) or (most is not None and left > most):
                return
            if left >= least and self._speaks(index) and not self._speaks(index - 1):
                yield index

    def units(self) -> Iterator[int]:
        """Where units end that are not covered yet, newest first. What was asked stays together
        with the first unit that it led to."""
        rows = self._rows
        first = 0
        if self._old is not None:
            covered = self._old.place
            first = bisect_right(rows, covered, key=lambda row: row.place or 0)
        events = self._reader.events(rows[first:])
        waiting = WaitingCalls()
        ends: list[int] = []
        for index, event in enumerate(events, start=first):
            if index > first and not waiting:
                ends.append(index)
            waiting.take(rows[index].id, event)
        left = 0
        behind = len(rows)
        for index in reversed(ends):
            left += sum(row.tokens or 0 for row in rows[index:behind])
            behind = index
            if left >= self._keep and not self._speaks(index - 1):
                yield index

    def best(self, ends: Iterator[int]) -> Plan | None:
        best: Plan | None = None
        for index in islice(ends, ENDS_MAX):
            made = self._planned(index)
            if made is not None and (best is None or made.count > best.count):
                best = made
            if best is not None and best.count == index:
                break
        return best

    def _is_covered(self, index: int) -> bool:
        """Whether the summary that stands reaches as far."""
        return self._old is not None and (self._rows[index].place or 0) <= self._old.place

    def _speaks(self, index: int) -> bool:
        row = self._rows[index]
        return row.role == _USER and not _brings_results(self._reader.events([row])[0])

    def _planned(self, index: int) -> Plan | None:
        cut = _cut(self._order, self._rows, index)
        if cut is None:
            return None
        old = self._old
        keys = {row.key for row in cut.rows}
        if old is not None:
            before = [row for row in self._rows if old.covers(row)]
            if len(keys) <= len(before):
                return None  # it would be beaten at once
            if not keys.issuperset(row.key for row in before):
                old = None
        fresh = [row for row in cut.rows if old is None or not old.covers(row)]
        events = self._reader.events(fresh)
        if has_pending_calls((row.id, event) for row, event in zip(fresh, events, strict=True)):
            return None
        entries = _entries(fresh, events)
        head = 0 if old is not None else head_length(entries)
        shown = tuple(entry for entry in entries[head:] if entry.id not in self._hidden)
        if not shown:
            return None
        return Plan(cut.covers, cut.upto, len(cut.rows), cut.digest, shown, old)


def _brings_results(event: Event) -> bool:
    body = event.body
    return isinstance(body, Message) and any(isinstance(part, Result) for part in body.parts)


def _entries(rows: Sequence[Row], events: Sequence[Event]) -> list[Entry]:
    found: list[Entry] = []
    for row, event in zip(rows, events, strict=True):
        assert isinstance(event.body, Message)
        found.append(Entry(row.id, event.body, event.author, row.time, row.tokens or 0))
    return found


def _cut(order: ReadingOrder, rows: Sequence[Row], index: int) -> _Cut | None:
    """The messages before `index` as the past of records: all that has no message from `index` on
    in its past, and of one record that has its part before `index`."""
    behind = [member for row in rows[index:] for member in members_of(order, row)]
    first = min(row.position for row in behind)
    own = {row.position for row in behind}
    links = order.links(first)
    tainted: dict[RecordHash, Link] = {}
    heirs: set[Position] = set()
    """Tainted by what they descend from, whatever they hold themselves."""
    for link in links:
        inherits = any(parent in tainted for parent in link.parents)
        if inherits:
            heirs.add(link.position)
        if inherits or link.position in own:
            tainted[link.hash] = link
    last = _divided(rows[:index], behind, heirs)
    tips = {hash_ for hash_ in order.frontier if hash_ not in tainted}
    for link in tainted.values():
        tips.update(parent for parent in link.parents if parent not in tainted)
    if last is not None:
        tips.update(link.hash for link in tainted.values() if link.position == last.position)
    covers = _maximal(order, tips)
    if not covers or len(covers) > DEPS_MAX:
        return None
    upto = None if last is None else last.id
    extent = extent_of(order, covers, upto)
    assert extent is not None
    covered = covered_by(order, rows, extent)
    ahead = {row.key for row in rows[:index]}
    if not covered or not ahead.issuperset(row.key for row, _ in covered):
        return None
    return _Cut(
        covers, upto, tuple(row for row, _ in covered), covered_digest(id_ for _, id_ in covered)
    )


def _divided(before: Sequence[Row], behind: Sequence[Row], heirs: set[Position]) -> Row | None:
    """The last row to cover of the record that holds messages on both sides, the first ones before.
    Of several records the one that gives most."""
    ends: dict[Position, EventId] = {}
    for row in behind:
        if row.position not in heirs:
            ends[row.position] = min(ends.get(row.position, row.id), row.id)
    parts: dict[Position, list[Row]] = {}
    for row in before:
        if row.position in ends:
            parts.setdefault(row.position, []).append(row)
    fitting = [
        part for position, part in parts.items() if all(row.id < ends[position] for row in part)
    ]
    if not fitting:
        return None
    most = max(fitting, key=lambda part: (len(part), -part[0].position))
    return max(most, key=lambda row: row.id)


def _maximal(order: ReadingOrder, tips: set[RecordHash]) -> Frontier:
    """Those of `tips` that are not in the past of others of them."""
    if len(tips) < 2:
        return tuple(tips)
    first = min(order.positions_of(tips).values())
    below: set[RecordHash] = set()
    left = set(tips)
    for link in reversed(order.links(first)):
        if link.hash in below:
            left.discard(link.hash)
        elif link.hash not in tips:
            continue
        below.update(link.parents)
    return tuple(sorted(left))

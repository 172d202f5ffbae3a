"""What a compaction covers: up to where, named by which records, and what of it is new.

Messages are covered up to the beginning of a turn. What a summary names is the past of records, so
of the messages before that beginning it covers those whose records have nothing behind it in their
past; one record may be cut in two (`upto`). Of several beginnings the newest is taken before which
everything can be covered; where there is none, the one that covers most.
Must never know: how a summary is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from weft_engine.events.codec import decode_event
from weft_engine.events.event import Event, Hide, Message, Role
from weft_engine.events.part import Result
from weft_engine.events.reorder import Link
from weft_engine.events.row import KINDS, ROLES, Row, id_bytes
from weft_engine.events.summaries import covered_digest, has_pending_calls
from weft_engine.limits import DEPS_MAX
from weft_engine.names import EventId, Position, RecordHash
from weft_engine.records.frontier import Frontier
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.summaries import (
    Covering,
    Includes,
    Summaries,
    covered_by,
    extent_of,
    in_effect,
    on_main,
)
from weft_engine.views.entry import Entry, head_length

BEGINNINGS_MAX: Final = 16
"""Beginnings of turns that are tried."""
_HIDE: Final = KINDS[Hide]
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


def plan(order: EventTable, *, keep: int, includes: Includes = on_main) -> Plan | None:
    """What to cover so that at least `keep` tokens of the newest messages are not; None if there is
    nothing that can be."""
    summaries = Summaries(order, includes)
    rows = summaries.rows
    old = summaries.standing()
    reader = _Reader(order)
    hidden = _hidden(order, includes)
    best: Plan | None = None
    for index in islice(_beginnings(rows, keep, reader), BEGINNINGS_MAX):
        if old is not None and (rows[index - 1].place or 0) <= old.place:
            break
        made = _planned(order, rows, index, old, reader, hidden)
        if made is not None and (best is None or made.count > best.count):
            best = made
        if best is not None and best.count == index:
            break
    return best


def still_there(order: EventTable, made: Plan, includes: Includes = on_main) -> str | None:
    """Why what was planned can't be recorded any more; None if it can."""
    extent = extent_of(order, made.covers, made.upto)
    summaries = Summaries(order, includes)
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

    def __init__(self, order: EventTable) -> None:
        self._order = order
        self._events: dict[bytes, Event] = {}

    def events(self, rows: Sequence[Row]) -> list[Event]:
        missing = [row for row in rows if row.key not in self._events]
        bodies = self._order.bodies(missing)
        for row in missing:
            self._events[row.key] = decode_event(bodies[row.key])
        return [self._events[row.key] for row in rows]


def _beginnings(rows: Sequence[Row], keep: int, reader: _Reader) -> Iterator[int]:
    """Where turns begin, newest first, as indices of `rows`: before each at least one message
    stands, behind it are `keep` tokens or more. A turn begins with the first of the user's messages
    that stand together; one that brings results of tools begins none."""
    tokens = 0
    for index in range(len(rows) - 1, 0, -1):
        tokens += rows[index].tokens or 0
        if tokens >= keep and _speaks(rows[index], reader) and not _speaks(rows[index - 1], reader):
            yield index


def _speaks(row: Row, reader: _Reader) -> bool:
    if row.role != _USER:
        return False
    body = reader.events([row])[0].body
    return isinstance(body, Message) and not any(isinstance(p, Result) for p in body.parts)


def _planned(
    order: EventTable,
    rows: Sequence[Row],
    index: int,
    old: Covering | None,
    reader: _Reader,
    hidden: frozenset[EventId],
) -> Plan | None:
    cut = _cut(order, rows, index)
    if cut is None:
        return None
    keys = {row.key for row in cut.rows}
    if old is not None:
        before = [row for row in rows if old.covers(row)]
        if len(keys) <= len(before):
            return None  # it would be beaten at once
        if not keys.issuperset(row.key for row in before):
            old = None
    fresh = [row for row in cut.rows if old is None or not old.covers(row)]
    events = reader.events(fresh)
    if has_pending_calls((row.id, event) for row, event in zip(fresh, events, strict=True)):
        return None
    entries = _entries(fresh, events)
    head = 0 if old is not None else head_length(entries)
    shown = tuple(entry for entry in entries[head:] if entry.id not in hidden)
    if not shown:
        return None
    return Plan(cut.covers, cut.upto, len(cut.rows), cut.digest, shown, old)


def _entries(rows: Sequence[Row], events: Sequence[Event]) -> list[Entry]:
    found: list[Entry] = []
    for row, event in zip(rows, events, strict=True):
        assert isinstance(event.body, Message)
        found.append(Entry(row.id, event.body, event.author, row.time, row.tokens or 0))
    return found


def _cut(order: EventTable, rows: Sequence[Row], index: int) -> _Cut | None:
    """The messages before `index` as the past of records: all that has no message from `index` on
    in its past, and of one record that has its part before `index`."""
    behind = list(rows[index:])
    for row in rows[index:]:
        if row.digest is not None:
            behind.extend(order.by_classes([row.digest])[row.digest])
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


def _maximal(order: EventTable, tips: set[RecordHash]) -> Frontier:
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


def _hidden(order: EventTable, includes: Includes) -> frozenset[EventId]:
    """The messages that views leave out, under the ids they are shown by."""
    hides, _ = in_effect(order, _HIDE, includes)
    targets = [id_bytes(event.body.target) for _, event in hides if isinstance(event.body, Hide)]
    found: set[EventId] = set()
    for row in order.by_ids(targets).values():
        members = [row] if row.digest is None else order.by_classes([row.digest])[row.digest]
        found.update(member.id for member in members)
    return frozenset(found)

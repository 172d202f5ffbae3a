"""The summary that stands in a reading order: found among its events, checked, with what is late.

A summary applies where all that it covers stands in the reading order: as many messages as it says,
with the digest it gives. Hiding takes nothing away from that; erasing a covered message does, for
the text may hold what was erased. Bodies of covered messages are not read. What was worked out
before is taken from `summary_memory`. Must never know: budgets, windows, what is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from weft_engine.events.codec import decode_event
from weft_engine.events.event import Event, Message, Summary, is_generation
from weft_engine.events.part import CallRef, Result
from weft_engine.events.row import MESSAGE, Row, id_bytes
from weft_engine.events.standing import ALL_STAND, Standing
from weft_engine.events.summaries import Candidate, Extent, by_preference, covered_digest
from weft_engine.names import EventId, RecordHash
from weft_engine.storage.lineage import ReadingOrder
from weft_engine.storage.stated import load_standing, read_events
from weft_engine.storage.summary_memory import Memory
from weft_engine.views.marks import StandingSummary

FIRST: Final = -(1 << 62)
"""In front of every place of a reading order."""
_LOOK_AHEAD: Final = 8


@dataclass(frozen=True, slots=True)
class Covering:
    """A summary that applies. It covers every message up to `place`, but for the `late`."""

    candidate: Candidate
    place: int
    last: EventId
    late: frozenset[EventId]

    def covers(self, row: Row) -> bool:
        return row.place is not None and row.place <= self.place and row.id not in self.late

    def standing(self) -> StandingSummary:
        row, summary = self.candidate.row, self.candidate.summary
        return StandingSummary(row.key, row.id, summary.text, summary.count, self.last, self.late)


def standing_summary(
    order: ReadingOrder, standing: Standing | None = None
) -> StandingSummary | None:
    """The summary that stands in `order`, if any does. `standing`: what its revokes leave, if that
    is known."""
    memory = order.summary_memory()
    if memory is not None:
        if memory.is_none:
            return None
        covering = _remembered(order, memory)
        if covering is not None and not splits(order, covering):
            return covering.standing()
    found = Summaries(order, standing).standing()
    return None if found is None else found.standing()


class Summaries:
    """The summaries of a reading order. What all of them need is read once, when it is needed."""

    def __init__(self, order: ReadingOrder, standing: Standing | None = None) -> None:
        self._order = order
        self._rows: Sequence[Row] | None = None
        self._known: dict[bytes, Covering | str] = {}
        found = [
            Candidate(row, event.body, event.author)
            for row, event in read_events(order, Summary)
            if isinstance(event.body, Summary)
        ]
        if standing is None:
            standing = load_standing(order) if found else ALL_STAND
        stands = {one.row.key: standing.stands(one.row.key, one.row.id) for one in found}
        self.candidates = by_preference(one for one in found if stands[one.row.key])
        """Those that nobody has revoked."""
        self.revoked = [one for one in found if not stands[one.row.key]]

    @property
    def rows(self) -> Sequence[Row]:
        """All messages of the reading order."""
        if self._rows is None:
            self._rows = self._order.placed_after(FIRST)
        return self._rows

    def standing(self) -> Covering | None:
        return next((one for one in self.coverings() if not self.splits(one)), None)

    def splits(self, covering: Covering) -> bool:
        return splits(self._order, covering)

    def coverings(self) -> Iterator[Covering]:
        """Those whose messages are all there, the preferred first."""
        for candidate in self.candidates:
            found = self.covering(candidate)
            if isinstance(found, Covering):
                yield found

    def covering(self, candidate: Candidate) -> Covering | str:
        """What a summary stands in for, or why it does not apply."""
        key = candidate.row.key
        if key not in self._known:
            self._known[key] = self._work_out(candidate)
        return self._known[key]

    def _work_out(self, candidate: Candidate) -> Covering | str:
        summary = candidate.summary
        if not self._order.is_before(summary.covers, candidate.row.position):
            return "it names records that are not in its past"
        extent = extent_of(self._order, summary.covers, summary.upto)
        if extent is None:
            return "it ends at an event that is in none of the records it names"
        covered = covered_by(self._order, self.rows, extent)
        if len(covered) != summary.count or not covered:
            return (
                f"of the {summary.count} messages it covers {len(covered)} are here; it does not"
                " apply any more once one of them is erased"
            )
        if covered_digest(id_ for _, id_ in covered) != summary.digest:
            return "it covers other messages than it says"
        last = covered[-1][0]
        assert last.place is not None
        inside = {row.key for row, _ in covered}
        late = frozenset(
            row.id
            for row in self.rows
            if row.place is not None and row.place < last.place and row.key not in inside
        )
        return Covering(candidate, last.place, last.id, late)


def extent_of(
    order: ReadingOrder, covers: Sequence[RecordHash], upto: EventId | None
) -> Extent | None:
    """The past that these records are, cut behind `upto`; None if no record of them holds that."""
    outside = order.outside(covers)
    if upto is None:
        return Extent(outside)
    row = order.by_ids([id_bytes(upto)]).get(id_bytes(upto))
    if row is None or row.position not in order.positions_of(covers).values():
        return None
    return Extent(outside, row.position, id_bytes(upto))


def covered_by(order: ReadingOrder, rows: Sequence[Row], extent: Extent) -> list[tuple[Row, bytes]]:
    """Those of `rows` that lie in `extent`, with the 24 bytes of the id that each goes by."""
    found: list[tuple[Row, bytes]] = []
    for row in rows:
        if row.digest is None or (extent.holds(row) and order.includes(row)):
            # Shown is the least member of a class; lying inside, it is the least inside, too.
            inside = [row.key] if extent.holds(row) else []
        else:
            inside = [one.key for one in members_of(order, row) if extent.holds(one)]
        if inside:
            found.append((row, min(inside)[8:]))
    return found


def members_of(order: ReadingOrder, row: Row) -> Sequence[Row]:
    """The rows that one message is known by on this branch: of an import there may be several. One
    that came to a branch it is from only after that was left does not count."""
    if row.digest is None:
        return (row,)
    return [one for one in order.by_classes([row.digest])[row.digest] if order.includes(one)]


def splits(order: ReadingOrder, covering: Covering) -> bool:
    """Whether right behind what a summary covers there stands a result for a call that it covers,
    waiting still. (Results elsewhere come too late for their calls: they are shown as text.)"""
    after = covering.place
    while rows := order.oldest(after=after, limit=_LOOK_AHEAD):
        bodies = order.bodies(rows)
        for row in rows:
            body = decode_event(bodies[row.key]).body
            results = [part for part in _parts(body) if isinstance(part, Result)]
            if not results:
                return False
            if any(
                part.call is not None and _waits(order, covering, part.call) for part in results
            ):
                return True
            assert row.place is not None
            after = row.place
    return False


def _waits(order: ReadingOrder, covering: Covering, ref: CallRef) -> bool:
    """Whether a covered call has neither a result that is covered nor been given up."""
    identity = id_bytes(ref.event)
    row = order.by_ids([identity]).get(identity)
    if row is not None and row.place is None and row.digest is not None:
        members = order.by_classes([row.digest])[row.digest]
        row = next((member for member in members if member.place is not None), None)
    if row is None or row.kind != MESSAGE or not covering.covers(row):
        return False
    author = decode_event(order.bodies([row])[row.key]).author
    after = row.place
    while rows := order.oldest(after=after, limit=_LOOK_AHEAD):
        bodies = order.bodies(rows)
        for behind in rows:
            assert behind.place is not None
            if behind.place > covering.place:
                return True
            event = decode_event(bodies[behind.key])
            if covering.covers(behind) and (
                _answers(event, ref) or (is_generation(event) and event.author == author)
            ):
                return False
            after = behind.place
    return True


def _answers(event: Event, ref: CallRef) -> bool:
    return any(isinstance(part, Result) and part.call == ref for part in _parts(event.body))


def _parts(body: object) -> Sequence[object]:
    return body.parts if isinstance(body, Message) else ()


def _remembered(order: ReadingOrder, memory: Memory) -> Covering | None:
    identity = memory.key[8:]
    row = order.by_ids([identity]).get(identity)
    last = order.oldest(after=memory.place - 1, limit=1)
    if row is None or not last or last[0].place != memory.place:
        return None
    event = decode_event(order.bodies([row])[row.key])
    if not isinstance(event.body, Summary):
        return None
    return Covering(Candidate(row, event.body, event.author), memory.place, last[0].id, memory.late)

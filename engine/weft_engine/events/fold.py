"""Folding records into the event index: which events a context has, and their reading order.

Records come in journal order, which is causal. The result depends on the set of records alone:
folding them one by one, in batches, or in another causal order ends in the same index.

What keeps this cheap:

* a message that no generation has seen yet falls into the last run of the order, by key;
* a generation that has seen everything comes last, and becomes a *waist*. While every later
  generation has seen it, the order is: what stood before it, it, the order of the rest. So whatever
  arrives later, only what stands behind the last waist it has seen is ordered anew;
* a branch has no copies of what it shares with its parent (see `line_order`).

Must never know: SQL, documents, views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from weft_engine.errors import InvalidMessage, LimitExceeded
from weft_engine.events.candidate import Candidate, Oddity, OddityKind, candidates, oddities
from weft_engine.events.codec import decode_event
from weft_engine.events.event import Branch, Event, ImportedFrom, Interrupted, Message
from weft_engine.events.interrupted import Told
from weft_engine.events.lines import Lines
from weft_engine.events.message_class import class_digest
from weft_engine.events.part import CallRef
from weft_engine.events.row import (
    INTERRUPTED,
    INVALID,
    KINDS,
    MESSAGE,
    ROLES,
    TOLD,
    Problem,
    Row,
    branch_bytes,
    carry_of,
    id_bytes,
)
from weft_engine.events.sheet import Sheet
from weft_engine.events.sight import has_seen_all
from weft_engine.events.streams import pieces
from weft_engine.events.table import Changes, Journaled, Table
from weft_engine.names import (
    EventId,
    Position,
    RecordHash,
    event_id_hlc,
    event_id_incarnation,
    is_event_id,
)
from weft_engine.records.envelope import Kind, Record
from weft_engine.records.frontier import Frontier, advance
from weft_engine.yjs.reader import read_update


def fold(
    table: Table,
    records: Sequence[Journaled],
    *,
    frontier: Frontier,
    count: Callable[[EventId, Message], int],
) -> Changes:
    """The changes that `records` make to the index in `table`. `frontier` is the context's before
    them; `count` gives a message's tokens."""
    return _Fold(table, frontier, count).run(records)


class _Fold:
    def __init__(
        self, table: Table, frontier: Frontier, count: Callable[[EventId, Message], int]
    ) -> None:
        self._table = table
        self._frontier = frontier
        self._count = count
        self._sheet = Sheet(table)
        self._changes = self._sheet.changes
        self._lines = Lines(self._sheet)
        self._told = Told(self._sheet, self._lines, count=count, place=self._place)
        self._streamed: list[tuple[bytes, Position]] = []

    def run(self, records: Sequence[Journaled]) -> Changes:
        found = [(journaled, self._candidates(journaled)) for journaled in records]
        ids = {
            id_bytes(EventId(candidate.key))
            for _, some in found
            for candidate in some
            if is_event_id(candidate.key)
        }
        ids.update(identity for identity, _ in self._streamed)
        self._sheet.load(ids)
        for journaled, some in found:
            for candidate in some:
                self._take(journaled, candidate)
            record = journaled.record
            self._frontier = advance(self._frontier, record.envelope.parents, record.hash)
        self._lines.finish()
        self._changes.streamed.update(
            one for one in self._streamed if self._sheet.rival(one[0]) is None
        )
        return self._changes

    # ---- candidates ---------------------------------------------------------------------------

    def _candidates(self, journaled: Journaled) -> Sequence[Candidate]:
        if journaled.record.envelope.kind not in (Kind.NATIVE, Kind.FOREIGN):
            return ()
        update = read_update(journaled.record.payload)
        found: Sequence[Oddity] = oddities(update)
        if any(odd.kind is OddityKind.DELETED for odd in found) and journaled.record.is_erased:
            # What is gone on purpose is no problem.
            found = [odd for odd in found if odd.kind is not OddityKind.DELETED]
        self._changes.problems.extend(
            Problem(
                journaled.position, odd.client, odd.clock, odd.key or "", f"no event: {odd.kind}"
            )
            for odd in found
        )
        self._streamed.extend(
            (id_bytes(piece.id), journaled.position) for piece in pieces(journaled.record, update)
        )
        return candidates(update)

    def _take(self, journaled: Journaled, candidate: Candidate) -> None:
        if not is_event_id(candidate.key):
            self._problem(journaled, candidate, "the key is no event id")
            return
        event_id = EventId(candidate.key)
        identity = id_bytes(event_id)
        rank = _rank(journaled.record, event_id)
        rival = self._sheet.rival(identity)
        if rival is not None:
            if not self._beats(journaled, candidate, rank, rival):
                self._problem(journaled, candidate, "another candidate holds this id")
                return
            self._displace(rival)
        json = journaled.record.payload[candidate.offset : candidate.offset + candidate.length]
        time = min(event_id_hlc(event_id), journaled.record.envelope.hlc)
        row = Row(
            key=time.to_bytes(8, "big") + identity,
            position=journaled.position,
            start=candidate.offset,
            size=candidate.length,
            rank=rank,
            kind=INVALID,
            role=0,
            tokens=None,
            place=None,
            waist=0,
            digest=None,
        )
        try:
            event = decode_event(json)
        except (InvalidMessage, LimitExceeded) as error:
            self._problem(journaled, candidate, str(error))
            self._sheet.put(row)
            return
        self._sheet.remember(row, event)
        row = replace(row, branch=branch_bytes(event.branch))
        body = event.body
        if not isinstance(body, Message):
            row = replace(row, kind=KINDS[type(body)])
            self._sheet.put(row)
            if isinstance(body, Branch):
                self._lines.stand(row, journaled, self._frontier)
            elif isinstance(body, Interrupted):
                self._told.take(row, event, journaled)
            return
        row = replace(
            row,
            kind=MESSAGE,
            role=ROLES[body.role],
            tokens=self._count(event_id, body),
            digest=class_digest(body, lambda ref: self._target_ext(ref, journaled)),
            carry=carry_of(body),
        )
        self._place(row, event, journaled)

    def _place(self, row: Row, event: Event, journaled: Journaled) -> None:
        order = self._lines.get(row.branch)
        sees_all = has_seen_all(self._table, order, row, event, journaled, self._frontier)
        self._lines.place(row, sees_all=sees_all)

    def _beats(self, journaled: Journaled, candidate: Candidate, rank: int, rival: Row) -> bool:
        """Whether this candidate goes before the one that holds the id so far."""
        if rank != rival.rank:
            return rank < rival.rank
        other = self._table.journaled(rival.position)
        rival_clock = next(
            (c.client, c.clock)
            for c in candidates(read_update(other.record.payload))
            if c.offset == rival.start
        )
        return _standing(journaled.record, (candidate.client, candidate.clock)) < _standing(
            other.record, rival_clock
        )

    def _displace(self, rival: Row) -> None:
        if rival.rank != TOLD:
            other = self._table.journaled(rival.position)
            loser = next(
                c for c in candidates(read_update(other.record.payload)) if c.offset == rival.start
            )
            self._problem(other, loser, "another candidate holds this id")
            if rival.kind == INTERRUPTED:
                self._told.lost(rival)
        self._lines.remove(rival)

    def _problem(self, journaled: Journaled, candidate: Candidate, reason: str) -> None:
        self._changes.problems.append(
            Problem(
                journaled.position, candidate.client, candidate.clock, candidate.key[:256], reason
            )
        )

    def _target_ext(self, ref: CallRef, journaled: Journaled) -> ImportedFrom | None:
        """The import identity of the message that holds a call, if that is in the past of
        the record: then it is so on every replica, whatever else has arrived there."""
        identity = id_bytes(ref.event)
        row = self._sheet.find(identity)
        if row is None or row.kind != MESSAGE or not self._is_past(row.position, journaled):
            return None
        body = self._sheet.event(row).body
        return body.ext if isinstance(body, Message) else None

    def _is_past(self, position: Position, of: Journaled) -> bool:
        """Whether the record at `position` is this one or in its past."""
        if position == of.position or self._sees_all_records(of.record):
            return True
        links = self._table.links(position)
        reached = {links[0].hash}
        for link in links:
            if not reached.isdisjoint(link.parents):
                reached.add(link.hash)
        return not reached.isdisjoint(of.record.envelope.parents)

    def _sees_all_records(self, record: Record) -> bool:
        return set(self._frontier).issubset(record.envelope.parents)


def _rank(record: Record, event: EventId) -> int:
    if event_id_incarnation(event) == record.envelope.origin:
        return 0
    return 1 if record.envelope.kind is Kind.FOREIGN else 2


def _standing(record: Record, clock: tuple[int, int]) -> tuple[int, RecordHash, tuple[int, int]]:
    return (record.envelope.hlc, record.hash, clock)

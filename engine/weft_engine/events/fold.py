"""Folding records into the event index: which events a context has, and their reading order.

Records come in journal order, which is causal. The result depends on the set of records alone:
folding them one by one, in batches, or in another causal order ends in the same index.

What keeps this cheap:

* a message that no generation has seen yet falls into the last run of the order, by key;
* a generation that has seen everything comes last, and becomes a *waist*. While every later
  generation has seen it, the order is: what stood before it, it, the order of the rest. So whatever
  arrives later, only what stands behind the last waist it has seen is ordered anew.

Must never know: SQL, documents, views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from weft_engine.errors import InvalidMessage, LimitExceeded
from weft_engine.events.candidate import Candidate, Oddity, OddityKind, candidates, oddities
from weft_engine.events.codec import decode_event
from weft_engine.events.event import Event, ImportedFrom, Message
from weft_engine.events.message_class import class_digest
from weft_engine.events.part import CallRef
from weft_engine.events.reorder import Link, Node, reorder
from weft_engine.events.row import (
    ASSISTANT,
    INVALID,
    KINDS,
    MESSAGE,
    ROLES,
    Problem,
    Row,
    id_bytes,
)
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

PLACE_STEP = 16
"""Distance of neighbours in the reading order, so that a late message finds a gap."""


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
        self._changes = Changes()
        self._by_id: dict[bytes, Row] = {}
        self._by_class: dict[bytes, list[Row]] = {}
        self._events: dict[bytes, Event] = {}
        last = table.last_place()
        self._last_place = -PLACE_STEP if last is None else last
        self._last_run: list[Row] = []
        self._older = table.newest()
        # Once set, placing is put off to the end: rows from here on must be ordered anew.
        self._reorder_from: int | None = None
        self._unplaced: list[Row] = []

    def run(self, records: Sequence[Journaled]) -> Changes:
        found = [(journaled, self._candidates(journaled)) for journaled in records]
        ids = {
            id_bytes(EventId(candidate.key))
            for _, some in found
            for candidate in some
            if is_event_id(candidate.key)
        }
        self._by_id.update(self._table.by_ids(ids))
        for journaled, some in found:
            for candidate in some:
                self._take(journaled, candidate)
            record = journaled.record
            self._frontier = advance(self._frontier, record.envelope.parents, record.hash)
        if self._reorder_from is not None:
            self._place_anew()
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
        return candidates(update)

    def _take(self, journaled: Journaled, candidate: Candidate) -> None:
        if not is_event_id(candidate.key):
            self._problem(journaled, candidate, "the key is no event id")
            return
        event_id = EventId(candidate.key)
        identity = id_bytes(event_id)
        rank = _rank(journaled.record, event_id)
        rival = self._by_id.get(identity)
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
            self._put(row)
            return
        self._events[row.key] = event
        body = event.body
        if not isinstance(body, Message):
            self._put(replace(row, kind=KINDS[type(body)]))
            return
        row = replace(row, kind=MESSAGE, role=ROLES[body.role], tokens=self._count(event_id, body))
        if event.branch is not None:
            self._put(row)
            return
        digest = class_digest(body, lambda ref: self._target_ext(ref, journaled))
        self._place(replace(row, digest=digest), event, journaled.record)

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
        other = self._table.journaled(rival.position)
        loser = next(
            c for c in candidates(read_update(other.record.payload)) if c.offset == rival.start
        )
        self._problem(other, loser, "another candidate holds this id")
        if rival.place is not None:
            self._reorder_behind(rival.place)
        elif rival.digest is not None:
            self._reorder_behind(self._shown_place(self._class_members(rival.digest)))
        if rival.digest is not None:
            left = [row for row in self._class_members(rival.digest) if row.key != rival.key]
            self._by_class[rival.digest] = left
            # Whoever else is of this class stood behind the one that goes now.
            self._unplaced.extend(left[:1])
        self._unplaced = [row for row in self._unplaced if row.key != rival.key]
        self._last_run = [row for row in self._last_run if row.key != rival.key]
        self._changes.rows.pop(rival.key, None)
        self._changes.removed.add(rival.key)

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
        row = self._by_id.get(identity)
        if row is None:
            row = self._table.by_ids([identity]).get(identity)
        if row is None or row.kind != MESSAGE or not self._is_past(row.position, journaled):
            return None
        body = self._event(row).body
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

    # ---- the order ----------------------------------------------------------------------------

    def _place(self, row: Row, event: Event, record: Record) -> None:
        if row.digest is not None:
            members = self._class_members(row.digest)
            if members:
                self._join(row, members)
                return
            self._by_class[row.digest] = [row]
        if self._reorder_from is not None:
            self._put(row)
            self._unplaced.append(row)
        elif row.role != ASSISTANT:
            self._place_in_last_run(row)
        elif self._has_seen_all(event, record):
            self._last_place += PLACE_STEP
            self._put(replace(row, place=self._last_place, waist=1))
            self._last_run = []
            self._older = iter(())
        else:
            self._put(row)
            self._unplaced.append(row)
            self._reorder_from = self._last_place

    def _has_seen_all(self, event: Event, record: Record) -> bool:
        """Whether its past is everything journaled before it. Earlier events of its own record
        count as seen anyway."""
        return self._sees_all_records(record) and (
            event.seen is None or set(self._frontier).issubset(event.seen)
        )

    def _place_in_last_run(self, row: Row) -> None:
        """By key among the messages behind the last generation. `_last_run` holds the end of that
        run, as far as it was needed."""
        run = self._last_run
        at = len(run)
        while at or self._load_older():
            at = at or 1
            if run[at - 1].key < row.key:
                break
            at -= 1
        if at == len(run):
            self._last_place += PLACE_STEP
            row = replace(row, place=self._last_place)
            self._put(row)
            run.append(row)
            return
        behind = run[at].place
        assert behind is not None
        before = run[at - 1].place if at else None
        if before is not None and behind - before > 1:
            row = replace(row, place=(before + behind) // 2)
            self._put(row)
            run.insert(at, row)
            return
        # No gap: the rest of the run moves up.
        run.insert(at, row)
        for index in range(at, len(run)):
            run[index] = replace(run[index], place=behind + PLACE_STEP * (index - at))
            self._put(run[index])
        self._last_place = behind + PLACE_STEP * (len(run) - 1 - at)

    def _load_older(self) -> bool:
        """Put one more message of the last run before those that are loaded."""
        for row in self._older:
            if row.key in self._changes.removed:
                continue
            if row.role == ASSISTANT:
                break
            self._last_run.insert(0, row)
            return True
        self._older = iter(())
        return False

    def _join(self, row: Row, members: Sequence[Row]) -> None:
        """One more member of a class: the same message under another id."""
        self._put(row)
        self._by_class[row.digest or b""] = [*members, row]
        shown = min(members, key=lambda member: member.key)
        if row.role != ASSISTANT and row.key > shown.key:
            return
        self._reorder_behind(self._shown_place(members))

    def _shown_place(self, members: Sequence[Row]) -> int:
        return min(
            (row.place for row in members if row.place is not None), default=self._last_place
        )

    def _reorder_behind(self, place: int) -> None:
        """Order anew from before the row at `place` on."""
        before = place - 1
        self._reorder_from = (
            before if self._reorder_from is None else min(before, self._reorder_from)
        )

    def _place_anew(self) -> None:
        assert self._reorder_from is not None
        reorder(self, self._reorder_from)

    # ---- what `reorder` asks ------------------------------------------------------------------

    def waists(self) -> list[Row]:
        """All waists as they are now, newest first."""
        fresh = [row for row in self._changes.rows.values() if row.waist]
        old = [
            row
            for row in self._table.waists()
            if row.key not in self._changes.rows and row.key not in self._changes.removed
        ]
        return sorted([*fresh, *old], key=lambda row: row.place or 0, reverse=True)

    def nodes_from(self, place: int | None) -> list[Node]:
        """The messages at and behind `place` (None: all) and those that have none yet, a node for
        each class."""
        first = -(1 << 62) if place is None else place
        rows = {
            row.key: row
            for row in self._table.placed_after(first - 1)
            if row.key not in self._changes.removed
        }
        for row in self._changes.rows.values():
            if row.place is not None and row.place >= first:
                rows[row.key] = row
            else:
                rows.pop(row.key, None)
        for row in self._unplaced:
            rows[row.key] = row
        nodes: dict[bytes, Node] = {}
        for row in rows.values():
            name = row.digest or row.key
            if name not in nodes:
                members = self._class_members(row.digest) if row.digest is not None else [row]
                nodes[name] = Node([self._changes.rows.get(m.key, m) for m in members])
        return list(nodes.values())

    def is_unplaced(self, row: Row) -> bool:
        return any(row.key == other.key for other in self._unplaced)

    def seen_field(self, row: Row) -> tuple[RecordHash, ...] | None:
        return self._event(row).seen

    def links(self, first: Position) -> Sequence[Link]:
        return self._table.links(first)

    def settle(self, nodes: Sequence[Node], base: int) -> None:
        """Write down the order: places behind `base`, each class under its least member."""
        for index, node in enumerate(nodes, start=1):
            shown = min(node.members, key=lambda row: row.key)
            for row in node.members:
                place = base + PLACE_STEP * index if row is shown else None
                if row.place != place or row.waist:
                    self._put(replace(row, place=place, waist=0))

    # ---- rows ---------------------------------------------------------------------------------

    def _put(self, row: Row) -> None:
        self._changes.rows[row.key] = row
        self._changes.removed.discard(row.key)
        self._by_id[row.key[8:]] = row
        if row.digest is not None and row.digest in self._by_class:
            members = self._by_class[row.digest]
            self._by_class[row.digest] = [row if m.key == row.key else m for m in members]

    def _class_members(self, digest: bytes) -> list[Row]:
        members = self._by_class.get(digest)
        if members is None:
            members = [
                self._changes.rows.get(row.key, row)
                for row in self._table.by_classes([digest]).get(digest, ())
                if row.key not in self._changes.removed
            ]
            self._by_class[digest] = members
        return members

    def _event(self, row: Row) -> Event:
        event = self._events.get(row.key)
        if event is None:
            event = self._events[row.key] = self._table.event(row)
        return event


def _rank(record: Record, event: EventId) -> int:
    if event_id_incarnation(event) == record.envelope.origin:
        return 0
    return 1 if record.envelope.kind is Kind.FOREIGN else 2


def _standing(record: Record, clock: tuple[int, int]) -> tuple[int, RecordHash, tuple[int, int]]:
    return (record.envelope.hlc, record.hash, clock)

"""The reading order of one branch while records are folded: main, or one that begins as its
parent's order does.

What a branch shares with its parent is not copied: up to its *base*, a place of the parent's order,
the orders are one and the same. That holds as long as everything up to the base is within the
branch's cut and the parent's order up to there stays as it is; when it does not, the branch is
placed anew: ordered behind a waist of the parent that all of it has seen, and the base is put
behind the last message up to which the outcome is what the parent has. Messages of ancestors that
are within the cut but stand behind the base are borrowed: they get places of this branch's own.
Must never know: SQL, documents, views.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from weft_engine.events.event import Branch
from weft_engine.events.reorder import Link, Node, reorder
from weft_engine.events.row import ASSISTANT, MAIN, MESSAGE, Row, id_bytes
from weft_engine.events.sheet import Sheet
from weft_engine.events.table import Line
from weft_engine.events.within import Within
from weft_engine.names import Position, RecordHash

PLACE_STEP = 16
"""Distance of neighbours in the reading order, so that a late message finds a gap."""
_LOOKED_UP_MAX = 512
"""Of so many records, what they hold is looked up; of more, a part of the order is read."""
NOTHING = -1
"""The base of a branch that begins differently from its parent; below every place."""


class LineOrder:
    """`line` and `parent` are None for main."""

    def __init__(self, sheet: Sheet, line: Line | None, parent: LineOrder | None) -> None:
        self.id = MAIN if line is None else line.id
        self.line = line
        self.parent = parent
        self.is_anew = False
        """Set: all of it is to be placed anew at the end."""
        self._sheet = sheet
        last = sheet.table.last_place(self.id)
        if last is None:
            last = -PLACE_STEP if line is None else line.base
        self._last_place = last
        self._last_run: list[Row] = []
        self._older = sheet.table.newest(branch=self.id)
        self._is_bounded = False
        """Whether a generation stands before the last run, in this branch's own part."""
        # Once set, placing is put off to the end: rows from here on must be ordered anew.
        self._reorder_from: int | None = None
        self._unplaced: dict[bytes, Row] = {}
        self._stable: int | None = None
        self._within: Within | None = None
        self._inherited: list[Row] = []

    @property
    def last_place(self) -> int:
        """Of all of its order."""
        return max(self._last_place, NOTHING)

    @property
    def is_settled_now(self) -> bool:
        """Whether nothing is put off to the end."""
        return self._reorder_from is None and not self.is_anew

    # ---- taking in ----------------------------------------------------------------------------

    def place(self, row: Row, *, sees_all: bool) -> None:
        """Take in a new message. `sees_all`: its past is all that was folded before."""
        if row.digest is not None:
            members = self._sheet.members(row.digest)
            self._sheet.put(row)
            if self._join(row, [m for m in members if m.key != row.key]):
                return
        if not self.is_settled_now:
            self._sheet.put(row)
            self._unplaced[row.key] = row
        elif row.role != ASSISTANT:
            self._place_in_last_run(row)
        elif sees_all:
            self._last_place += PLACE_STEP
            self._sheet.put(replace(row, place=self._last_place, waist=1))
            self._last_run = []
            self._older = iter(())
            self._is_bounded = True
        else:
            self._sheet.put(row)
            self._unplaced[row.key] = row
            self._reorder_from = self._last_place

    def displaced(self, rival: Row, left: Sequence[Row]) -> None:
        """`rival` is gone; `left` are the others of its class."""
        own = [row for row in left if row.branch == self.id]
        if rival.place is not None:
            self._reorder_behind(rival.place)
        elif rival.digest is not None:
            self._reorder_behind(self._shown_place(own))
        # Whoever else is of this class stood behind the one that goes now.
        self._unplaced.update({row.key: row for row in own[:1]})
        self._unplaced.pop(rival.key, None)
        self._last_run = [row for row in self._last_run if row.key != rival.key]

    def _join(self, row: Row, others: Sequence[Row]) -> bool:
        """Whether it is one more member of a class that stands here: the same message under
        another id."""
        own = [member for member in others if member.branch == self.id]
        if len(own) < len(others) and self._is_shared(others):
            self.is_anew = True
            return True
        if not own:
            return False
        shown = min(own, key=lambda member: member.key)
        if row.role == ASSISTANT or row.key < shown.key:
            self._reorder_behind(self._shown_place(own))
        return True

    def _is_shared(self, members: Sequence[Row]) -> bool:
        """Whether an ancestor has one of these."""
        ancestor = self.parent
        while ancestor is not None:
            if any(member.branch == ancestor.id for member in members):
                return True
            ancestor = ancestor.parent
        return False

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

    # ---- the last run -------------------------------------------------------------------------

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
        if at == 0 and self._is_before_base(row):
            self._sheet.put(row)
            self.is_anew = True
            return
        if at == len(run):
            self._last_place += PLACE_STEP
            row = replace(row, place=self._last_place)
            self._sheet.put(row)
            run.append(row)
            return
        behind = run[at].place
        assert behind is not None
        # A branch of this one may share what stands from there on.
        self._changed_from(behind)
        before = run[at - 1].place if at else None
        if before is not None and behind - before > 1:
            row = replace(row, place=(before + behind) // 2)
            self._sheet.put(row)
            run.insert(at, row)
            return
        # No gap: the rest of the run moves up.
        run.insert(at, row)
        for index in range(at, len(run)):
            run[index] = self._moved(run[index], behind + PLACE_STEP * (index - at))
        self._last_place = behind + PLACE_STEP * (len(run) - 1 - at)

    def _load_older(self) -> bool:
        """Put one more message of the last run before those that are loaded."""
        for row in self._older:
            if row.key in self._sheet.changes.removed:
                continue
            if row.role == ASSISTANT:
                self._is_bounded = True
                break
            self._last_run.insert(0, row)
            return True
        self._older = iter(())
        return False

    def _is_before_base(self, row: Row) -> bool:
        """Whether a message that comes first in the last run belongs in front of the last one that
        is shared with the parent."""
        if self._is_bounded or self.line is None or self.line.base == NOTHING:
            return False
        assert self.parent is not None
        last = self.parent.at(self.line.base)
        # None: the parent changed in this fold, and this one will follow.
        return last is None or (last.role != ASSISTANT and last.key > row.key)

    def _moved(self, row: Row, place: int) -> Row:
        row = replace(row, place=place)
        if row.branch == self.id:
            self._sheet.put(row)
        else:
            self._sheet.borrowed(self.id)[row.key] = place
        return row

    def _changed_from(self, place: int) -> None:
        stable = place - 1
        self._stable = stable if self._stable is None else min(stable, self._stable)

    # ---- the end of a fold --------------------------------------------------------------------

    def finish(self) -> int | None:
        """Place what was put off. The place up to which the order is what it was before this fold,
        if there is something behind it that is not; None if it was only added to."""
        if not self.is_settled_now:
            stable = reorder(self)
            self._changed_from(stable + 1)
            self._unplaced = {}
            self.is_anew, self._reorder_from = False, None
        return self._stable

    # ---- what `reorder` asks ------------------------------------------------------------------

    def waists(self) -> Iterator[Row]:
        if not self.is_anew:
            assert self._reorder_from is not None
            yield from self._sheet.waists(self.id, to=self._reorder_from)
        if self.parent is not None:
            within = self.within
            limit = self._first_in_common()
            # Newer ones could hardly be within the cut; not to look at them is no fault.
            last = [
                row.place
                for position in sorted(within.positions)
                for row in self.parent.written_between(position, position)
            ]
            to = max((place for place in last if place is not None), default=None)
            for row in self.parent.waists_back(to=to):
                if limit is not None and row.place is not None and row.place >= limit:
                    continue
                # In a record that is cut within, what a generation saw may be on the other side.
                is_split = within.upto is not None and row.position in within.positions
                if not is_split and all(
                    within.has(member.position, member.identity)
                    for member in self.parent.members(row)
                ):
                    yield row

    def _first_in_common(self) -> int | None:
        """The first place of the parent's order whose message has a member here, too: an import
        that both have."""
        assert self.parent is not None
        digests = {row.digest for row in self._sheet.of_branch(self.id) if row.digest is not None}
        places: list[int] = []
        for digest in digests:
            members = self.parent.class_members(digest)
            if members:
                shown = min(members, key=lambda row: row.key)
                place = self.parent.place_of(shown)
                # A class that a parent has, it shows.
                places.append(NOTHING if place is None else place)
        return min(places, default=None)

    def nodes_from(self, waist: Row | None) -> list[Node]:
        place = NOTHING if waist is None or waist.place is None else waist.place - 1
        if self.parent is None or (waist is not None and waist.branch == self.id):
            rows = self._sheet.placed_after(self.id, place)
            rows = [row for row in rows if row.key not in self._unplaced]
            return self._nodes([*rows, *self._unplaced.values()])
        own = [row for row in self._sheet.of_branch(self.id) if row.kind == MESSAGE]
        within = self.within
        self._inherited = self._parents_behind(waist, place, within.top)
        shared = [
            row
            for row in self._inherited
            if any(within.has(m.position, m.identity) for m in self.parent.members(row))
        ]
        if waist is not None:
            self._inherited = self._inherited[1:]
        return self._nodes([*shared, *own])

    def _parents_behind(self, waist: Row | None, place: int, top: Position) -> list[Row]:
        """The parent's messages from a waist on that may be within the cut. A waist has all records
        before its own in its past, so none of them holds what stands behind it."""
        assert self.parent is not None
        if waist is None or top - waist.position > _LOOKED_UP_MAX:
            return self.parent.placed_behind(place, written_by=top)
        some = self.parent.written_between(waist.position, top)
        return [row for row in some if row.place is not None and row.place > place]

    def is_settled(self, row: Row, waist: Row) -> bool:
        return waist.branch == self.id and row.key not in self._unplaced

    def seen_field(self, row: Row) -> tuple[RecordHash, ...] | None:
        return self._sheet.event(row).seen

    def links(self, first: Position, last: Position | None = None) -> Sequence[Link]:
        return self._sheet.table.links(first, last)

    def settle(self, nodes: Sequence[Node], waist: Row | None) -> int:
        if self.line is None or (waist is not None and waist.branch == self.id):
            base = NOTHING if waist is None or waist.place is None else waist.place
            self._put_behind(base, nodes)
            return base
        assert self.parent is not None
        base = NOTHING if waist is None or waist.place is None else waist.place
        count = self._alike(nodes, self._inherited)
        if count:
            # What was left out when these were asked for may stand between them.
            last = self._inherited[count - 1].place
            count = self._alike(nodes, self.parent.placed_behind(base, to=last))
        if count:
            shared = self._inherited[count - 1].place
            assert shared is not None
            base = shared
        stable = min(base, self.line.base)
        if waist is not None:
            self.within.learn(waist.position)
        self.line = replace(self.line, base=base, whole=self.within.whole)
        self._sheet.changes.lines[self.id] = self.line
        self._put_behind(base, nodes[count:])
        return stable

    def _alike(self, nodes: Sequence[Node], rows: Sequence[Row]) -> int:
        """How many of `nodes` begin as the parent's order does."""
        count = 0
        for node, row in zip(nodes, rows, strict=False):
            if node.key != row.key or any(member.branch == self.id for member in node.members):
                break
            count += 1
        return count

    def _put_behind(self, base: int, nodes: Sequence[Node]) -> None:
        """Write down the order: places behind `base`, each class under its least member."""
        borrowed: dict[bytes, int] = {}
        for index, node in enumerate(nodes, start=1):
            shown = node.shown
            place = base + PLACE_STEP * index
            if shown.branch != self.id:
                borrowed[shown.key] = place
            for row in node.members:
                mine = place if row is shown else None
                if row.branch == self.id and (row.place != mine or row.waist):
                    self._sheet.put(replace(row, place=mine, waist=0))
        if self.line is not None:
            places = self._sheet.borrowed(self.id)
            kept = {
                key: place
                for key, place in places.items()
                if self.line.base < place <= base and key not in borrowed
            }
            if places != (now := kept | borrowed):
                places.clear()
                places.update(now)

    # ---- what its branches ask ----------------------------------------------------------------

    @property
    def within(self) -> Within:
        """What it shares with its parent."""
        if self._within is None:
            assert self.line is not None
            row = self._sheet.find(self.line.id)
            assert row is not None, "a branch stands on its event"
            body = self._sheet.event(row).body
            assert isinstance(body, Branch)
            upto = None if body.upto is None else id_bytes(body.upto)
            self._within = Within(self._sheet.table, self.line.cut, upto, self.line.whole)
        return self._within

    def members(self, row: Row) -> list[Row]:
        """What one message is here: the rows of its class, or its one row."""
        return [row] if row.digest is None else self.class_members(row.digest)

    def class_members(self, digest: bytes) -> list[Row]:
        """The rows of a class that count here: its own, and its parent's if it shares one."""
        rows = self._sheet.members(digest)
        lineage: list[LineOrder] = [self]
        while (above := lineage[-1].parent) is not None:
            lineage.append(above)
        found: list[Row] = []
        for order in reversed(lineage):
            if found and not any(order.within.has(m.position, m.identity) for m in found):
                found = []
            found = [*found, *(row for row in rows if row.branch == order.id)]
        return found

    def _nodes(self, rows: Sequence[Row]) -> list[Node]:
        nodes: dict[bytes, Node] = {}
        for row in rows:
            name = row.digest or row.key
            if name not in nodes:
                nodes[name] = Node(self.members(row))
        return list(nodes.values())

    def at(self, place: int) -> Row | None:
        """The message at a place of its order."""
        order: LineOrder = self
        while order.line is not None and place <= order.line.base:
            assert order.parent is not None
            order = order.parent
        return next(iter(self._sheet.placed_after(order.id, place - 1, to=place)), None)

    def place_of(self, row: Row) -> int | None:
        """Where a message stands in its order."""
        order: LineOrder | None = self
        to: int | None = None
        while order is not None:
            place = row.place if row.branch == order.id else None
            if row.branch != order.id and order.line is not None:
                place = self._sheet.borrowed_place(order.id, row.key)
            if place is not None and (to is None or place <= to):
                return place
            if order.line is not None:
                to = order.line.base if to is None else min(to, order.line.base)
            order = order.parent
        return None

    def written_between(self, first: Position, last: Position) -> list[Row]:
        """The messages of its order that have a member in one of these records."""
        found: dict[bytes, Row] = {}
        for row in self._sheet.in_records(first, last):
            members = self.members(row)
            if members:
                shown = min(members, key=lambda member: member.key)
                place = self.place_of(shown)
                if place is not None:
                    found[shown.key] = replace(shown, place=place, waist=0)
        return sorted(found.values(), key=lambda row: row.place or 0)

    def placed_behind(
        self, place: int, *, to: int | None = None, written_by: Position | None = None
    ) -> list[Row]:
        """Its order behind `place`: all of it, or what was written by then and what is in classes;
        as far as the place `to`."""
        parts: list[list[Row]] = []
        order: LineOrder | None = self
        while order is not None and (to is None or to > place):
            base = NOTHING if order.line is None else order.line.base
            low = max(place, base)
            if to is None or low < to:
                parts.append(self._sheet.placed_after(order.id, low, to=to, written_by=written_by))
            to = base if to is None else min(to, base)
            order = order.parent
        return [row for part in reversed(parts) for row in part]

    def waists_back(self, *, to: int | None) -> Iterator[Row]:
        """The waists of its order, newest first, from the place `to` on."""
        order: LineOrder | None = self
        while order is not None:
            yield from self._sheet.waists(order.id, to=to)
            if order.line is not None:
                to = order.line.base if to is None else min(to, order.line.base)
            order = order.parent

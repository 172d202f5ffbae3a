"""The branches of a context while records are folded: which of them stand, and ordering them.

A branch stands if its event is valid and its parent stands; main always does. What is written on a
branch that does not stand is kept without a place until it does.
Must never know: SQL, how one branch is ordered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from weft_engine.events.event import Branch
from weft_engine.events.line_order import NOTHING, LineOrder
from weft_engine.events.row import BRANCH, MAIN, MESSAGE, Row
from weft_engine.events.sheet import Sheet
from weft_engine.events.table import Journaled, Line
from weft_engine.events.within import Within
from weft_engine.limits import BRANCH_DEPTH_MAX
from weft_engine.names import Position
from weft_engine.records.frontier import Frontier


class Lines:
    def __init__(self, sheet: Sheet) -> None:
        self._sheet = sheet
        self._main = LineOrder(sheet, None, None)
        self._orders: dict[bytes, LineOrder] = {MAIN: self._main}
        self._fresh: tuple[Position, set[bytes]] = (Position(0), set())

    def get(self, branch: bytes) -> LineOrder | None:
        """The order of a branch, if it stands."""
        wanted: list[Line] = []
        while branch not in self._orders:
            line = self._sheet.line(branch)
            if line is None:
                return None
            wanted.append(line)
            branch = line.parent
        order = self._orders[branch]
        for line in reversed(wanted):
            order = self._orders[line.id] = LineOrder(self._sheet, line, order)
        return order

    # ---- taking in ----------------------------------------------------------------------------

    def place(self, row: Row, *, sees_all: bool) -> None:
        """Take in a new message. `sees_all`: its past is all that was folded before."""
        if self._fresh[0] != row.position:
            self._fresh = (row.position, set())
        self._fresh[1].add(row.branch)
        order = self.get(row.branch)
        if order is None:
            self._sheet.put(row)
            return
        if row.digest is not None:
            self._touch(row, [m for m in self._sheet.members(row.digest) if m.key != row.key])
        order.place(row, sees_all=sees_all)

    def remove(self, row: Row) -> None:
        """`row` lost its id to another candidate."""
        others = [] if row.digest is None else self._sheet.members(row.digest)
        left = [other for other in others if other.key != row.key]
        self._touch(row, [*left, row])
        if row.kind == BRANCH:
            self._fall(row.identity)
        self._sheet.remove(row)
        order = self.get(row.branch)
        if order is not None and row.kind == MESSAGE:
            order.displaced(row, left)

    def _touch(self, row: Row, members: Iterable[Row]) -> None:
        """The message that `members` are changes on the branch of `row`: so it may on those that
        have it from there, or have one of these themselves."""
        members = list(members)
        if not members:
            return
        branches = self._sheet.borrowers([member.key for member in members])
        branches.update(member.branch for member in members)
        branches -= {row.branch, MAIN}
        for branch in branches:
            order = self.get(branch)
            if order is not None:
                order.is_anew = True

    def order_all_anew(self) -> None:
        """Every order from its beginning."""
        waiting = [self._main]
        while waiting:
            order = waiting.pop()
            order.is_anew = True
            for line in self._sheet.lines_above(order.id, NOTHING - 1):
                child = self.get(line.id)
                assert child is not None, "its line is there"
                waiting.append(child)

    # ---- which stand --------------------------------------------------------------------------

    def stand(self, row: Row, journaled: Journaled, frontier: Frontier) -> None:
        """Take in a valid branch event. `frontier` is that of all that was folded before."""
        sees_all = set(frontier).issubset(journaled.record.envelope.parents)
        waiting = [(row, journaled, frontier if sees_all else None)]
        while waiting:
            event, held_by, all_before = waiting.pop()
            parent = self.get(event.branch)
            if parent is None or self.get(event.identity) is not None:
                continue
            depth = 1 if parent.line is None else parent.line.depth + 1
            if depth > BRANCH_DEPTH_MAX:
                continue
            self._begin(event, held_by, parent, depth, all_before)
            for other in self._sheet.of_branch(event.identity):
                if other.kind == BRANCH:
                    waiting.append((other, self._sheet.table.journaled(other.position), None))

    def _begin(
        self,
        row: Row,
        journaled: Journaled,
        parent: LineOrder,
        depth: int,
        all_before: Frontier | None,
    ) -> None:
        body = self._sheet.event(row).body
        assert isinstance(body, Branch)
        parents = journaled.record.envelope.parents
        positions = self._sheet.table.positions(body.frontier)
        past = Within(self._sheet.table, parents, None)
        cut = tuple(
            hash_
            for hash_ in body.frontier
            if hash_ in positions
            and (
                hash_ in parents
                or (all_before is not None and positions[hash_] < journaled.position)
                or past.has_record(positions[hash_])
            )
        )
        line = Line(row.identity, parent.id, NOTHING, cut, Position(0), depth)
        has_own = any(other.kind == MESSAGE for other in self._sheet.of_branch(row.identity))
        is_fresh = self._fresh[0] == journaled.position and parent.id in self._fresh[1]
        has_all = all_before is not None and set(all_before).issubset(cut)
        is_now = has_all and body.upto is None and not has_own and not is_fresh
        if is_now and parent.is_settled_now:
            # All there is belongs to it.
            whole = max((positions[hash_] for hash_ in cut), default=Position(0))
            line = replace(line, base=parent.last_place, whole=whole)
        order = self._orders[row.identity] = LineOrder(self._sheet, line, parent)
        order.is_anew = not (is_now and parent.is_settled_now)
        self._sheet.changes.lines[line.id] = line

    def _fall(self, branch: bytes) -> None:
        """The event of a branch is gone: it does not stand, nor does what hangs on it."""
        fallen = [branch]
        for one in fallen:
            if self.get(one) is None:
                continue
            for row in self._sheet.of_branch(one):
                if row.kind == BRANCH:
                    fallen.append(row.identity)
                elif row.place is not None:
                    self._sheet.put(replace(row, place=None, waist=0))
            self._sheet.borrowed(one).clear()
            self._sheet.changes.lines[one] = None
        for one in fallen:
            self._orders.pop(one, None)

    # ---- the end of a fold --------------------------------------------------------------------

    def finish(self) -> None:
        """Order what was put off, each branch after its parent."""
        waiting: list[tuple[LineOrder, int | None]] = [(self._main, None)]
        while waiting:
            order, inherited = waiting.pop()
            stable = order.finish()
            if inherited is not None:
                stable = inherited if stable is None else min(inherited, stable)
            children = {child.id: child for child in self._orders.values() if child.parent is order}
            if stable is not None:
                for line in self._sheet.lines_above(order.id, stable):
                    child = children[line.id] = self._orders.get(line.id) or LineOrder(
                        self._sheet, line, order
                    )
                    self._orders[line.id] = child
                    child.is_anew = True
            for child in children.values():
                assert child.line is not None
                moved = stable is not None and child.line.base > stable
                waiting.append((child, stable if moved else None))

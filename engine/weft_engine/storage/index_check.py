"""Checking the event index of one context: folded anew from the journal and compared.

The new index is made in a connection's memory, one context at a time. Places are compared by the
order they give, because how far apart they stand depends on when the index was brought up.
Must never know: how records are checked (they are known to be sound here).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any, Final

from weft_engine.events.fold import fold
from weft_engine.events.row import MAIN, branch_id
from weft_engine.events.table import Journaled
from weft_engine.names import EventId, Position
from weft_engine.records.frontier import advance, pack
from weft_engine.storage import reading, summary_memory
from weft_engine.storage.event_schema import INDEX_TABLES
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.findings import Findings
from weft_engine.storage.line_check import check_lines
from weft_engine.storage.lineage import Lineage
from weft_engine.storage.projection import STEP_BYTES, STEP_RECORDS, Count
from weft_engine.storage.record_check import ContextRow
from weft_engine.storage.summaries import Summaries
from weft_engine.storage.waist_check import is_waist

_COLUMNS: Final = (
    "position",
    "start",
    "size",
    "rank",
    "kind",
    "role",
    "tokens",
    "class",
    "branch",
    "carry",
)
_EVENTS: Final = (
    f"SELECT key, {', '.join(_COLUMNS)} FROM {{}}.events WHERE context = ? ORDER BY key"
)
_ORDER: Final = (
    "SELECT key, place FROM {}.events WHERE context = ? AND branch = x'' AND place IS NOT NULL"
    " ORDER BY place, key"
)
# Not the reason: its words may change from one version of weft to the next.
_PROBLEMS: Final = (
    "SELECT position, client, clock, key FROM {}.problems WHERE context = ?"
    " ORDER BY position, client, clock"
)

_STREAMS: Final = "SELECT id, position FROM {}.streams WHERE context = ? ORDER BY id, position"


def check_index(
    connection: sqlite3.Connection,
    row: ContextRow,
    count: Count,
    *,
    findings: Findings,
    step: Callable[[int], None],
) -> int:
    """How many events the records of this context hold; what is wrong with its index goes to
    `findings`. The tables of `temp` are there, and are emptied. `step` is called with the number of
    records that were folded."""
    for table in INDEX_TABLES:
        connection.execute(f"DELETE FROM temp.{table}")
    check = _IndexCheck(connection, row, findings)
    if type(row.projected) is not int or not 0 <= row.projected <= row.position:
        check.find(f"its index is said to reach position {row.projected!r}")
    else:
        check.fold_anew(Position(row.projected), count, step)
        check.compare()
    # An index that lags is no fault: what it is to have is told all the same.
    check.fold_anew(row.position, count, step)
    return check.events()


class _IndexCheck:
    def __init__(self, connection: sqlite3.Connection, row: ContextRow, findings: Findings) -> None:
        self._connection = connection
        self._context = row
        self._findings = findings
        self.anew = EventTable(connection, row.id, schema="temp")
        self._is_right = True
        """So far."""

    def find(self, what: str) -> None:
        self._is_right = False
        self._findings.add(what, context=self._context.name)

    def fold_anew(self, upto: Position, count: Count, step: Callable[[int], None]) -> None:
        """Go on with the new index, up to a position."""
        after, frontier = self.anew.position, self.anew.frontier
        while after < upto:
            some = reading.records_after(
                self._connection,
                self._context.id,
                after,
                records_max=STEP_RECORDS,
                bytes_max=STEP_BYTES,
            )
            inside = [s for s in some if s.position <= upto]
            if not inside:
                break
            journaled = [Journaled(stored.position, stored.record) for stored in inside]
            changes = fold(self.anew, journaled, frontier=frontier, count=count)
            for stored in inside:
                frontier = advance(frontier, stored.record.envelope.parents, stored.record.hash)
            after = inside[-1].position
            self.anew.save(changes, upto=after, frontier=frontier)
            step(len(inside))

    def compare(self) -> None:
        """What is stored, with the new index as far as that reaches."""
        self._compare_reach()
        self._compare_rows()
        if self._compare_order():
            check_lines(self._connection, self.anew, self._context.id, self.find)
        self._compare_problems()
        self._compare_streams()
        self._compare_waists()
        if self._is_right:
            self._compare_summaries()

    def _compare_reach(self) -> None:
        if self.anew.position != self._context.projected:
            self.find(
                f"its index is said to reach position {self._context.projected}, where it has no"
                " record"
            )
        if self._context.projected_frontier != pack(self.anew.frontier):
            self.find("the frontier that its index is said to reach is wrong")

    def events(self) -> int:
        """How many events the new index has."""
        (events,) = self._connection.execute(
            "SELECT count(*) FROM temp.events WHERE context = ?", (self._context.id,)
        ).fetchone()
        return int(events)

    def _compare_rows(self) -> None:
        for stored, anew in _merged(self._rows("main", _EVENTS), self._rows("temp", _EVENTS)):
            if anew is None:
                assert stored is not None
                self.find(f"its index has event {_shown(stored[0])}, its records do not")
            elif stored is None:
                self.find(f"its index lacks event {_shown(anew[0])}")
            elif stored != anew:
                differing = [
                    f"{column} {_brief(old)} instead of {_brief(new)}"
                    for column, old, new in zip(_COLUMNS, stored[1:], anew[1:], strict=True)
                    if old != new
                ]
                self.find(f"its index says of event {_shown(anew[0])}: {', '.join(differing)}")

    def _compare_order(self) -> bool:
        pairs = zip_longest(self._rows("main", _ORDER), self._rows("temp", _ORDER))
        last: object = None
        for number, (stored, anew) in enumerate(pairs, start=1):
            if stored is None or anew is None or stored[0] != anew[0]:
                expected = "nothing" if anew is None else f"event {_shown(anew[0])}"
                self.find(f"its reading order is wrong from message {number} on, {expected}")
                return False
            if stored[1] == last:
                self.find(f"two messages share the place {last!r} of its reading order")
                return False
            last = stored[1]
        return True

    def _compare_problems(self) -> None:
        pairs = zip_longest(self._rows("main", _PROBLEMS), self._rows("temp", _PROBLEMS))
        if any(stored != anew for stored, anew in pairs):
            self.find("its list of problems is not that of its records")

    def _compare_streams(self) -> None:
        pairs = zip_longest(self._rows("main", _STREAMS), self._rows("temp", _STREAMS))
        if any(stored != anew for stored, anew in pairs):
            self.find("its list of open streams is not that of its records")

    def _compare_waists(self) -> None:
        """A waist that is not marked costs time only, and which are marked depends on when the
        index was brought up. One that is marked must be one."""
        for (key,) in self._connection.execute(
            "SELECT key FROM main.events AS e WHERE context = ? AND waist <> 0 AND NOT EXISTS"
            " (SELECT 1 FROM temp.events AS t WHERE t.context = e.context AND t.key = e.key"
            " AND t.waist = e.waist)",
            (self._context.id,),
        ).fetchall():
            row = self.anew.by_ids([key[8:]]).get(key[8:])
            if row is None or not is_waist(self.anew, row):
                self.find(f"its index says of event {_shown(key)} that all later ones saw it")

    def _compare_summaries(self) -> None:
        """What is remembered of the summary that stands in a branch must be what the records give.
        The index is known to be right."""
        stored = EventTable(self._connection, self._context.id)
        for branch, key, place, late in self._connection.execute(
            "SELECT branch, key, place, late FROM main.summaries WHERE context = ?",
            (self._context.id,),
        ).fetchall():
            if branch != MAIN and (type(branch) is not bytes or stored.line(branch) is None):
                self.find("it remembers the summary of a branch that it has not")
                continue
            id_ = branch_id(branch)
            best = next(Summaries(Lineage(self.anew, id_)).coverings(), None)
            if best is None:
                is_same = key == b"" and late == b""
            else:
                is_same = (
                    key == best.candidate.row.key
                    and late == summary_memory.packed(best.late)
                    and type(place) is int
                    and [
                        row.id
                        for row in Lineage(stored, id_).oldest(after=place - 1, limit=1)
                        if row.place == place
                    ]
                    == [best.last]
                )
            if not is_same:
                self.find("what it remembers of its summary is not what its records say")

    def _rows(self, schema: str, question: str) -> Iterator[tuple[Any, ...]]:
        return iter(self._connection.execute(question.format(schema), (self._context.id,)))


def _merged(
    stored: Iterator[tuple[Any, ...]], anew: Iterator[tuple[Any, ...]]
) -> Iterator[tuple[tuple[Any, ...] | None, tuple[Any, ...] | None]]:
    """Rows of two sources in order of their first column, side by side where it is the same."""
    left, right = next(stored, None), next(anew, None)
    while left is not None or right is not None:
        if right is None or (left is not None and _precedes(left[0], right[0])):
            yield left, None
            left = next(stored, None)
        elif left is None or left[0] != right[0]:
            yield None, right
            right = next(anew, None)
        else:
            yield left, right
            left, right = next(stored, None), next(anew, None)


def _precedes(stored: Any, anew: bytes) -> bool:
    """Whatever is no blob comes before all blobs."""
    return type(stored) is not bytes or stored < anew


def _shown(key: Any) -> str:
    if type(key) is not bytes or len(key) != 32:
        return repr(key)
    return EventId(f"{key[8:16].hex()}-{key[16:].hex()}")


def _brief(value: object) -> str:
    return value.hex() if type(value) is bytes else repr(value)

"""What is remembered of the summary that stands is dropped or followed as the index changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from weft_engine.events.event import Hide, Revoke, Summary
from weft_engine.events.row import KINDS, MAIN, MESSAGE, Row, id_bytes
from weft_engine.events.table import Changes, Line
from weft_engine.names import EventId, Position
from weft_engine.records.frontier import EMPTY
from weft_engine.storage.migration import _statements
from weft_engine.storage.projection import Step
from weft_engine.storage.summary_memory import NONE_APPLIES, Memory, follow, keep, recall

CONTEXT = 7
UPTO = Position(9)


def event_id(number: int) -> EventId:
    return EventId(f"{number:016x}-{'cd' * 16}")


def row(number: int, *, place: int | None, position: int = 3, kind: int = MESSAGE) -> Row:
    identity = id_bytes(event_id(number))
    return Row(identity[:8] + identity, Position(position), 0, 9, 0, kind, 1, 5, place, 0, None)


class Reach:
    """An order of main, and of a branch what stands behind place 100."""

    def __init__(self, branch: bytes = MAIN) -> None:
        self.branches = frozenset((MAIN, branch))

    def holds(self, row: Row) -> bool:
        if row.place is None or row.branch not in self.branches:
            return False
        return self.branches == {MAIN} or (row.place > 100) == (row.branch != MAIN)


MEMORY = Memory(row(99, place=None).key, 64, frozenset({event_id(2)}))


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as found:
        found.execute("CREATE TABLE contexts (id INTEGER, projected INTEGER)")
        found.execute("INSERT INTO contexts VALUES (?, ?)", (CONTEXT, UPTO))
        for statement in _statements(2):
            if "TABLE summaries" in statement:
                found.execute(statement)
        keep(found, CONTEXT, MEMORY, upto=UPTO)
        yield found


def after(
    connection: sqlite3.Connection, *rows: Row, known: tuple[Row, ...] = (), removed: bytes = b""
) -> Memory | None:
    changes = Changes({one.key: one for one in rows}, {removed} if removed else set())
    step = Step(CONTEXT, changes, Position(12), EMPTY, bool(known))
    follow(connection, step, known, Reach)
    return recall(connection, CONTEXT)


def test_it_comes_back_as_it_was(connection: sqlite3.Connection) -> None:
    assert recall(connection, CONTEXT) == MEMORY
    assert recall(connection, CONTEXT + 1) is None


def test_it_is_not_kept_if_the_index_went_on_meanwhile(connection: sqlite3.Connection) -> None:
    keep(connection, CONTEXT, replace(MEMORY, place=80), upto=Position(UPTO - 1))
    assert recall(connection, CONTEXT) == MEMORY


def test_what_comes_behind_changes_nothing(connection: sqlite3.Connection) -> None:
    hide = row(11, place=None, kind=KINDS[Hide])
    assert after(connection, row(10, place=80), hide, row(12, place=None)) == MEMORY


def test_what_comes_in_front_is_late(connection: sqlite3.Connection) -> None:
    late = frozenset({event_id(1), event_id(2), event_id(3)})
    found = after(connection, row(3, place=40), row(1, place=64), row(4, place=65))
    assert found == replace(MEMORY, late=late)


def test_where_no_summary_stands_nothing_is_late(connection: sqlite3.Connection) -> None:
    keep(connection, CONTEXT, NONE_APPLIES, upto=UPTO)
    assert after(connection, row(1, place=-16), row(2, place=0)) == NONE_APPLIES
    assert after(connection, row(1, place=-32), known=(row(1, place=-16),)) == NONE_APPLIES


@pytest.mark.parametrize("kind", [Summary, Revoke])
def test_another_summary_or_a_revoke_drops_it(
    connection: sqlite3.Connection, kind: type[Summary] | type[Revoke]
) -> None:
    assert after(connection, row(11, place=None, kind=KINDS[kind])) is None


@pytest.mark.parametrize(("old", "new"), [(48, 80), (80, 48), (48, 16), (48, None), (None, 48)])
def test_a_known_message_that_moves_in_front_drops_it(
    connection: sqlite3.Connection, old: int | None, new: int | None
) -> None:
    assert after(connection, row(5, place=new), known=(row(5, place=old),)) is None


def test_a_known_message_that_moves_behind_leaves_it(connection: sqlite3.Connection) -> None:
    assert after(connection, row(5, place=96), known=(row(5, place=80),)) == MEMORY
    assert after(connection, row(5, place=48), known=(row(5, place=48),)) == MEMORY


def test_an_event_that_another_record_holds_now_drops_it(connection: sqlite3.Connection) -> None:
    held = row(5, place=80)
    assert after(connection, replace(held, position=Position(11)), known=(held,)) is None


def test_an_event_that_goes_drops_it(connection: sqlite3.Connection) -> None:
    assert after(connection, removed=row(5, place=48).key) is None


# ---- branches -----------------------------------------------------------------------------------

BRANCH = id_bytes(event_id(77))
OTHER = id_bytes(event_id(78))
ON_BRANCH = Memory(row(98, place=None).key, 130, frozenset())


def both(connection: sqlite3.Connection, changes: Changes) -> tuple[Memory | None, Memory | None]:
    keep(connection, CONTEXT, ON_BRANCH, upto=UPTO, branch=BRANCH)
    follow(connection, Step(CONTEXT, changes, Position(12), EMPTY, False), (), Reach)
    return recall(connection, CONTEXT), recall(connection, CONTEXT, BRANCH)


def test_each_branch_has_its_own(connection: sqlite3.Connection) -> None:
    assert both(connection, Changes()) == (MEMORY, ON_BRANCH)
    assert recall(connection, CONTEXT, OTHER) is None


def test_what_comes_to_another_branch_changes_nothing(connection: sqlite3.Connection) -> None:
    strange = replace(row(3, place=40), branch=OTHER)
    summary = replace(row(4, place=None, kind=KINDS[Summary]), branch=OTHER)
    line = Line(OTHER, MAIN, 40, (), Position(0), 1)
    changes = Changes({strange.key: strange, summary.key: summary}, lines={OTHER: line})
    assert both(connection, changes) == (MEMORY, ON_BRANCH)


def test_what_comes_to_main_behind_a_branch_changes_nothing_there(
    connection: sqlite3.Connection,
) -> None:
    new = row(3, place=120)
    assert both(connection, Changes({new.key: new})) == (MEMORY, ON_BRANCH)


def test_what_is_late_on_a_branch_is_late_there_only(connection: sqlite3.Connection) -> None:
    late = replace(row(3, place=110), branch=BRANCH)
    found = replace(ON_BRANCH, late=frozenset({late.id}))
    assert both(connection, Changes({late.key: late})) == (MEMORY, found)


@pytest.mark.parametrize(
    "changes",
    [
        Changes(lines={BRANCH: None}),
        Changes(borrowed={BRANCH: {}}),
        Changes({b"": replace(row(4, place=None, kind=KINDS[Revoke]), branch=BRANCH)}),
    ],
)
def test_what_changes_a_branch_otherwise_drops_what_is_remembered_there(
    connection: sqlite3.Connection, changes: Changes
) -> None:
    assert both(connection, changes) == (MEMORY, None)


def test_another_summary_of_main_drops_both(connection: sqlite3.Connection) -> None:
    summary = row(4, place=None, kind=KINDS[Summary])
    assert both(connection, Changes({summary.key: summary})) == (None, None)

"""Every question to the event index is answered by an index, however long the context is.

SQLite guesses ten rows for a context as long as nothing tells it better, and then reads all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from weft_engine.names import Position, RecordHash
from weft_engine.storage.event_schema import create_event_tables
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.schema import connect, create

B = bytes(24)
QUESTIONS: dict[str, Callable[[EventTable], object]] = {
    "by_ids": lambda table: table.by_ids([bytes(24)]),
    "by_classes": lambda table: table.by_classes([bytes(16)]),
    "last_place": lambda table: table.last_place(),
    "placed_after": lambda table: table.placed_after(7),
    "newest": lambda table: list(table.newest()),
    "newest before": lambda table: list(table.newest(before=7)),
    "waists": lambda table: list(table.waists()),
    "oldest": lambda table: table.oldest(after=None, limit=5),
    "oldest after": lambda table: table.oldest(after=7, limit=5),
    "placed_before": lambda table: table.placed_before(7, 5),
    "placed_after on a branch": lambda table: table.placed_after(7, B, to=9, limit=3),
    "placed_back on a branch": lambda table: table.placed_back(B, after=3, before=9, limit=3),
    "last_place of a branch": lambda table: table.last_place(B),
    "newest on a branch": lambda table: list(table.newest(branch=B)),
    "waists on a branch": lambda table: list(table.waists(B, to=7)),
    "carried": lambda table: table.carried(),
    "carried on a branch": lambda table: table.carried_on(B, after=3, to=9),
    "unsure": lambda table: table.unsure(),
    "unsure on a branch": lambda table: table.unsure_on(B, after=3, to=None),
    "placed_on": lambda table: table.placed_on(B, after=3, to=9),
    "written_on": lambda table: table.written_on(B),
    "line": lambda table: table.line(B),
    "lines_above": lambda table: table.lines_above(B, 7),
    "of_branch": lambda table: table.of_branch(B),
    "borrowed": lambda table: table.borrowed(B),
    "borrowed_place": lambda table: table.borrowed_place(B, bytes(32)),
    "borrowers": lambda table: table.borrowers([bytes(32)]),
    "positions": lambda table: table.positions([RecordHash(bytes(32))]),
    "links": lambda table: table.links(Position(3), Position(9)),
    "of_kind": lambda table: table.of_kind(9),
    "by_time after": lambda table: table.by_time(after=bytes(32), before=None, limit=5),
    "by_time before": lambda table: table.by_time(after=None, before=bytes(32), limit=5),
}


@pytest.mark.parametrize("schema", ["main", "temp"])
@pytest.mark.parametrize("name", QUESTIONS)
def test_no_question_reads_a_whole_context(tmp_path: Path, name: str, schema: str) -> None:
    path = tmp_path / "s.db"
    create(path, store_id=bytes(16), epoch=bytes(8), created_ms=0)
    with closing(connect(path, readonly=True)) as connection:
        create_event_tables(connection, "temp")
        asked: list[str] = []
        connection.set_trace_callback(asked.append)
        QUESTIONS[name](EventTable(connection, 1, schema=schema))
        connection.set_trace_callback(None)
        assert asked
        for question in asked:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {question}")]
            assert not [step for step in plan if "SCAN" in step or step.endswith("(context=?)")], (
                question
            )

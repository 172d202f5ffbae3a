"""Listing contexts page by page: nothing is missed, and a late page costs what the first costs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from weft_engine.storage import reading
from weft_engine.storage.schema import connect, create

NAMES = [f"{team}/{number:04d}" for team in ("a", "b", "c") for number in range(500)]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    path = tmp_path / "s.db"
    create(path, store_id=bytes(16), epoch=bytes(8), created_ms=0)
    with closing(connect(path, readonly=False)) as found:
        found.executemany(
            "INSERT INTO contexts (name, frontier, records, position, hlc)"
            " VALUES (?, x'', 1, 1, x'0000000000000000')",
            [(name,) for name in NAMES],
        )
        yield found


@pytest.mark.parametrize("prefix", ["", "b/", "b/01", "d"])
@pytest.mark.parametrize("after", ["", "a/0499", "b/", "b/0101", "b/0499", "c/0499"])
def test_a_page_has_what_comes_after(
    connection: sqlite3.Connection, prefix: str, after: str
) -> None:
    found = reading.contexts(connection, prefix=prefix, after=after, limit=60)
    wanted = [name for name in NAMES if name.startswith(prefix) and name > after][:60]
    assert [one.name for one in found] == wanted


def test_a_late_page_costs_what_the_first_costs(connection: sqlite3.Connection) -> None:
    def steps(after: str) -> int:
        """Of SQLite's machine, to within ten."""
        count = 0

        def tick() -> int:
            nonlocal count
            count += 1
            return 0

        connection.set_progress_handler(tick, 10)
        assert len(reading.contexts(connection, prefix="b/", after=after, limit=10)) == 10
        connection.set_progress_handler(None, 0)
        return count

    assert steps("b/0480") <= steps("") + 2

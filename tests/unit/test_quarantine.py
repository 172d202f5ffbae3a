"""The quarantine: bounded in rows and bytes, and no amplifier of floods."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from weft_engine.limits import (
    QUARANTINE_BYTES_MAX,
    QUARANTINE_ENTRIES_MAX,
    QUARANTINE_ENTRY_BYTES_MAX,
    QUARANTINE_PER_LINK_MAX,
    QUARANTINE_PER_MINUTE_MAX,
    REASON_BYTES_MAX,
)
from weft_engine.storage.migration import _statements
from weft_engine.storage.quarantine import Refused, count, entries, keep
from weft_engine.sync.driving.evidence import Evidence

MINUTE_MS = 60_000
NOW_MS = 1_700_000_000_000


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as found:
        for statement in _statements(1):
            if "quarantine" in statement or "TABLE erasures" in statement:
                found.execute(statement)
        yield found


def refused(number: int = 0, *, size: int = 10, at_ms: int | None = None) -> Refused:
    """One a minute, so that they are no flood."""
    at = NOW_MS + number * MINUTE_MS if at_ms is None else at_ms
    return Refused(at, b"s" * 16, "c", bytes([number % 256]) * 32, "why", size, b"e" * size)


def test_what_is_kept_comes_back_newest_first(connection: sqlite3.Connection) -> None:
    said = [refused(0), refused(1), Refused(NOW_MS, b"", None, None, "a frame", 3, b"abc")]
    assert keep(connection, said) == 3
    assert entries(connection) == said[::-1]
    assert entries(connection, limit=1) == said[2:]
    assert (count(connection).entries, count(connection).evidence_bytes) == (3, 23)


def test_evidence_and_reason_are_cut(connection: sqlite3.Connection) -> None:
    size = QUARANTINE_ENTRY_BYTES_MAX + 1
    keep(connection, [Refused(1, b"", None, None, "ü" * REASON_BYTES_MAX, size, b"x" * size)])
    (found,) = entries(connection)
    assert found.size == size
    assert len(found.evidence) == QUARANTINE_ENTRY_BYTES_MAX
    assert len(found.reason.encode()) == REASON_BYTES_MAX


def test_where_something_was_erased_no_evidence_is_kept(connection: sqlite3.Connection) -> None:
    """Whatever context it says it is of: that may be what is wrong with it."""
    connection.execute("INSERT INTO erasures VALUES (1, 1, 0)")
    keep(connection, [refused(), Refused(NOW_MS, b"", None, None, "a frame", 3, b"abc")])
    assert [(one.reason, one.size, one.evidence) for one in entries(connection)] == [
        ("a frame", 3, b""),
        ("why", 10, b""),
    ]


def test_the_oldest_go_when_there_are_too_many(connection: sqlite3.Connection) -> None:
    for number in range(QUARANTINE_ENTRIES_MAX + 5):
        assert keep(connection, [refused(number)])
    assert count(connection).entries == QUARANTINE_ENTRIES_MAX
    oldest = entries(connection, limit=QUARANTINE_ENTRIES_MAX)[-1]
    assert oldest.at_ms == refused(5).at_ms


def test_the_oldest_go_when_they_are_too_large(connection: sqlite3.Connection) -> None:
    fit = QUARANTINE_BYTES_MAX // QUARANTINE_ENTRY_BYTES_MAX
    for number in range(fit + 3):
        keep(connection, [refused(number, size=QUARANTINE_ENTRY_BYTES_MAX)])
    assert count(connection).entries == fit
    assert count(connection).evidence_bytes == QUARANTINE_BYTES_MAX
    assert entries(connection, limit=fit)[-1].at_ms == refused(3).at_ms


def test_a_flood_is_not_written_down_and_ends(connection: sqlite3.Connection) -> None:
    flood = [refused(at_ms=NOW_MS + number) for number in range(500)]
    assert keep(connection, flood) == QUARANTINE_PER_MINUTE_MAX
    changes = connection.total_changes
    assert keep(connection, [refused(at_ms=NOW_MS + 999)]) == 0
    assert connection.total_changes == changes
    assert keep(connection, [refused(at_ms=NOW_MS + MINUTE_MS)])


def test_a_clock_that_was_set_back_does_not_shut_it(connection: sqlite3.Connection) -> None:
    keep(connection, [refused(at_ms=NOW_MS + number) for number in range(500)])
    assert keep(connection, [refused(at_ms=NOW_MS - MINUTE_MS * 60)])


def test_a_link_gathers_few_and_holds_little() -> None:
    evidence = Evidence()
    for _ in range(QUARANTINE_PER_LINK_MAX + 4):
        evidence.frame(b"x" * (QUARANTINE_ENTRY_BYTES_MAX * 2), "why", now_ms=1)
    assert len(evidence.entries) == QUARANTINE_PER_LINK_MAX
    assert {len(entry.evidence) for entry in evidence.entries} == {QUARANTINE_ENTRY_BYTES_MAX}

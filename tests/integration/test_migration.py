"""Stores of earlier formats, kept in tests/data, open as if they had been made today."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import weft
from tests.stores import open_replica
from weft_engine.storage.verify import verify

STORES = sorted((Path(__file__).parents[1] / "data").glob("store-format-*.db"))


@pytest.fixture(params=STORES, ids=lambda path: path.stem)
def old_store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copy(request.param, tmp_path / "old.db"))


def records(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM records ORDER BY position").fetchall()


def content(path: Path) -> bytes:
    return path.read_bytes()


def schema(path: Path) -> set[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema")]
        return {
            (table, f"{row[1]} {row[2]} {row[3]} {row[5]}")
            for table in tables
            for row in connection.execute(f"PRAGMA table_info({table})")
        }


async def test_everything_is_as_it_was_and_goes_on(old_store: Path) -> None:
    before = records(old_store)
    async with weft.open(old_store) as store:
        chat = store.context("acme/chat-1")
        texts = [said async for said in chat.history()]
        assert len(texts) == 82
        assert await chat.note("plan").text() == "line.\nSecond line.\n"
        replayed = await store.replay("trace-39")
        assert len(replayed.messages) > 1
        await chat.append("And now in this format.")
    after = records(old_store)
    assert after[: len(before)] == before
    assert len(after) == len(before) + 1
    assert verify(old_store, progress=lambda *_: None).is_sound


async def test_a_migrated_store_has_the_tables_of_a_new_one(
    old_store: Path, tmp_path: Path
) -> None:
    async with weft.open(old_store):
        pass
    new = tmp_path / "new.db"
    async with open_replica(new):
        pass
    assert schema(old_store) == schema(new)


async def test_reading_only_changes_nothing_and_says_what_to_do(old_store: Path) -> None:
    before = content(old_store)
    with pytest.raises(weft.OlderFormat, match="open it once for writing"):
        async with weft.open(old_store, readonly=True):
            pass
    assert content(old_store) == before


async def test_a_migration_that_fails_changes_nothing(old_store: Path) -> None:
    with closing(sqlite3.connect(old_store)) as connection:
        connection.execute("CREATE TABLE quarantine (id)")  # in the way of the last table but two
        connection.commit()
    before = schema(old_store)
    with pytest.raises(weft.StoreError, match="can't be brought from format"):
        async with weft.open(old_store):
            pass
    assert schema(old_store) == before

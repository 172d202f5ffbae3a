"""Stores of earlier formats, kept in tests/data, open as if they had been made today."""

from __future__ import annotations

import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import weft
from tests.stores import open_replica
from weft_engine.errors import RendererMismatch
from weft_engine.storage.verify import verify

DATA = Path(__file__).parents[1] / "data"
STORES = [DATA / "store-format-1.db"]
BEFORE_LINKS_WERE_REMEMBERED = DATA / "store-format-3.db"
"""Of today's format, by code that kept no cursors and nothing of what relays hold."""


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
        with pytest.raises(RendererMismatch, match="renderer 1"):
            await store.replay("trace-39")
        await chat.append("And now in this format.")
    after = records(old_store)
    assert after[: len(before)] == before
    assert len(after) == len(before) + 1
    assert verify(old_store, progress=lambda *_: None).is_sound


async def test_a_store_that_remembers_nothing_of_links_goes_on(tmp_path: Path) -> None:
    path = Path(shutil.copy(BEFORE_LINKS_WERE_REMEMBERED, tmp_path / "old.db"))
    before = records(path)
    for readonly in (True, False):
        async with weft.open(path, readonly=readonly) as store:
            chat = store.context("acme/chat-1")
            assert len([said async for said in chat.history()]) == 82
            waiting = await chat.unsynced()
            assert waiting.records > 0
            assert not waiting.is_known
    async with weft.open(path) as store:
        await store.context("acme/chat-1").append("And now with links.")
    after = records(path)
    assert after[: len(before)] == before
    assert len(after) == len(before) + 1
    assert verify(path, progress=lambda *_: None).is_sound


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


# ---- what may happen meanwhile --------------------------------------------------------------


def with_log(store: Path, name: str, *statements: str) -> Path:
    """A copy of the store whose last writer died: what the statements did stands in its log."""
    copy = store.with_name(name)
    with closing(sqlite3.connect(store, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for statement in statements:
            connection.execute(statement)
        for suffix in ("", "-wal"):
            shutil.copy(f"{store}{suffix}", f"{copy}{suffix}")
    assert Path(f"{copy}-wal").stat().st_size > 0
    return copy


def open_in_another_process(store: Path, *first: str) -> subprocess.CompletedProcess[bytes]:
    """Open for writing after these statements; whatever ends it ends only that process."""
    program = "\n".join(
        (
            "import asyncio, sys, weft",
            *first,
            "async def main():",
            "    async with weft.open(sys.argv[1]): pass",
            "asyncio.run(main())",
        )
    )
    return subprocess.run([sys.executable, "-c", program, str(store)], capture_output=True)


async def test_what_stands_in_an_old_log_is_kept(old_store: Path) -> None:
    before = records(old_store)
    told = "UPDATE receipts SET trace = 'in the log' WHERE trace = 'trace-39'"
    copy = with_log(old_store, "crashed.db", told)
    with pytest.raises(weft.OlderFormat):
        async with weft.open(copy, readonly=True):
            pass
    async with weft.open(copy) as store:
        with pytest.raises(RendererMismatch, match="renderer 1"):
            await store.replay("in the log")
    assert records(copy) == before
    assert verify(copy, progress=lambda *_: None).is_sound


async def test_killed_before_the_commit_of_a_migration(old_store: Path) -> None:
    before = schema(old_store)
    done = open_in_another_process(
        old_store,
        "import os, weft_engine.storage.schema as schema",
        "bring = schema.migrate",
        "def killed(connection, version):",
        "    bring(connection, version)",
        "    connection.execute('PRAGMA cache_spill = 1')",
        f"    os.kill(os.getpid(), {int(signal.SIGKILL)})",
        "schema.migrate = killed",
    )
    assert done.returncode == -signal.SIGKILL
    assert schema(old_store) == before
    async with weft.open(old_store):
        pass
    assert verify(old_store, progress=lambda *_: None).is_sound


async def test_killed_between_the_commit_and_the_folding_of_the_log(old_store: Path) -> None:
    """The header of the file still names the old format then; its log has the new one."""
    done = open_in_another_process(
        old_store,
        "import os, weft_engine.storage.schema as schema",
        "bring = schema.bring_up",
        "class Until:",
        "    def __init__(self, connection): self.connection = connection",
        "    def execute(self, statement):",
        f"        if 'wal_checkpoint' in statement: os.kill(os.getpid(), {int(signal.SIGKILL)})",
        "        return self.connection.execute(statement)",
        "import weft_engine.storage.journal as journal",
        "journal.bring_up = lambda path, connection: bring(path, Until(connection))",
    )
    assert done.returncode == -signal.SIGKILL
    with closing(sqlite3.connect(f"file:{old_store}?immutable=1", uri=True)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    async with weft.open(old_store, readonly=True) as store:
        assert len([said async for said in store.context("acme/chat-1").history()]) == 82
    assert verify(old_store, progress=lambda *_: None).is_sound
    async with weft.open(old_store) as store:
        await store.context("acme/chat-1").append("goes on")


def test_a_disk_that_is_full(old_store: Path) -> None:
    """No file may grow: the log of the migration can't be written."""
    before = schema(old_store)
    done = open_in_another_process(
        old_store,
        "import resource, signal",
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)",
        f"resource.setrlimit({resource.RLIMIT_FSIZE}, (20_000, 20_000))",
    )
    assert done.returncode == 1
    assert b"StoreError" in done.stderr
    assert schema(old_store) == before
    assert open_in_another_process(old_store).returncode == 0
    assert verify(old_store, progress=lambda *_: None).is_sound


async def test_two_openers_at_once(old_store: Path) -> None:
    async with weft.open(old_store):
        with pytest.raises(weft.StoreLocked):
            async with weft.open(old_store):
                pass
    async with weft.open(old_store):
        pass


async def test_a_reader_in_the_way_of_folding_stops_nobody(old_store: Path) -> None:
    with closing(sqlite3.connect(old_store, isolation_level=None)) as reader:
        reader.execute("PRAGMA journal_mode = WAL")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM records").fetchone()
        async with weft.open(old_store) as store, weft.open(old_store, readonly=True) as other:
            await store.context("acme/chat-1").append("beside a reader of the old format")
            assert other.readonly


async def test_a_newer_format_in_the_log_is_left_alone(old_store: Path) -> None:
    """The header of the file says an old one, so only the log tells."""
    copy = with_log(old_store, "newer.db", "PRAGMA user_version = 99")
    for readonly in (False, True):
        with pytest.raises(weft.NewerFormat, match="99"):
            async with weft.open(copy, readonly=readonly):
                pass
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (99,)

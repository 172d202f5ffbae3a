"""Putting another file in a store's place: at every moment there is one whole store, what stood
there is kept, and no lease of the one vouches for the other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import weft
from tests.command_line import main_of, record_set
from tests.full_store import check, identity, now_ms, quiet, rows
from tests.integration.swap_and_die import DIED, NOT_REACHED
from tests.stores import folder
from weft_engine.replica.replica import Replica
from weft_engine.storage.backup import back_up, restore
from weft_engine.storage.diagnosis import examine
from weft_engine.storage.draft import kept_files, second_names
from weft_engine.storage.repair import repair

STEPS_MAX = 20
SCRIPT = Path(__file__).with_name("swap_and_die.py")


async def write(store: Path, *texts: str) -> None:
    async with Replica.open(store, now_ms=now_ms, random=os.urandom) as replica:
        for text in texts:
            await replica.context("a").append(text)


def incarnations(store: Path) -> list[object]:
    """Who wrote the records, in the order in which they began to."""
    found = rows(
        store,
        "SELECT incarnation FROM records JOIN origins ON origins.id = origin ORDER BY position",
    )
    return list(dict.fromkeys(row[0] for row in found))


def codes(store: Path) -> set[str]:
    return {one.code for one in examine(store, progress=quiet).diagnoses}


def die(what: str, store: Path, step: int) -> int:
    words = [sys.executable, str(SCRIPT), what, str(store), str(step)]
    return subprocess.run(words, timeout=60, check=False).returncode


# ---- crashes --------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["repair", "restore"])
async def test_a_crash_at_any_step_leaves_one_whole_store(what: str) -> None:
    """Killed in front of every change of a name: the store is the old file or the new one, and
    after the next open no file has two names and nothing is lost."""
    seen: set[bool] = set()
    for step in range(STEPS_MAX):
        with folder() as place:
            store = place / "s.db"
            await write(store, "one", "two")
            back_up(store, place / "backup.db", now_ms=now_ms(), random=os.urandom, check=None)
            await write(store, "three")
            old, inode = record_set(store), store.stat().st_ino
            code = die(what, store, step)
            assert code in (DIED, NOT_REACHED)
            assert store.is_file()
            is_old = store.stat().st_ino == inode
            seen.add(is_old)
            is_twice = bool(second_names(store))
            assert is_twice <= is_old
            assert is_twice == ("replacement" in codes(store))
            if not is_old:
                (kept,) = kept_files(store)
                assert record_set(kept) == old
            before = record_set(store)
            assert before == old if is_old or what == "repair" else before < old
            await write(store, "after the crash")
            assert before < record_set(store)
            assert store.stat().st_nlink == 1
            assert "replacement" not in codes(store)
            assert check(store).findings == ()
            if is_old:
                assert not kept_files(store)
            if code == NOT_REACHED:
                assert not is_old
                break
    else:
        pytest.fail("it has more steps than are tried")
    assert seen == {True, False}


async def test_a_crash_at_any_step_keeps_the_log_of_a_file_that_is_lost() -> None:
    """Nothing could fold that log: until the new file is there, a repair must find it again."""
    repaired = 0
    for step in range(STEPS_MAX):
        with folder() as place:
            live, store = place / "live.db", place / "s.db"
            async with Replica.open(live, now_ms=now_ms, random=os.urandom) as replica:
                for number in range(5):
                    await replica.context("a").append(f"{number}")
                for suffix in ("", "-wal"):
                    shutil.copy(
                        live.with_name(live.name + suffix), store.with_name(store.name + suffix)
                    )
            store.write_bytes(bytes(store.stat().st_size))
            log = store.with_name("s.db-wal")
            content = bytearray(log.read_bytes())
            content[32 + 16] ^= 0xFF  # the sum of the first frame: SQLite believes none of them
            log.write_bytes(content)
            code = die("repair", store, step)
            if not check_is_store(store):
                done = repair(store, now_ms=now_ms(), random=os.urandom, progress=quiet)
                assert (done.saved, done.lost) == (5, 0)
                repaired += 1
            assert len(record_set(store)) == 5
            assert check(store).findings == ()
            (kept,) = kept_files(store)
            assert kept.with_name(kept.name + "-wal").read_bytes() == content
            if code == NOT_REACHED:
                break
    else:
        pytest.fail("it has more steps than are tried")
    assert repaired >= 5


def check_is_store(path: Path) -> bool:
    return path.read_bytes().startswith(b"SQLite format 3")


async def test_a_swap_that_fails_leaves_the_store_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "s.db"
    await write(store, "one")
    inode = store.stat().st_ino

    def refuse(*_: object) -> None:
        raise OSError("no more today")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refuse)
        with pytest.raises(weft.StoreError, match="no more today"):
            repair(store, now_ms=now_ms(), random=os.urandom, progress=quiet)
    assert (store.stat().st_ino, store.stat().st_nlink) == (inode, 1)
    assert not kept_files(store)
    assert check(store).is_sound


async def test_a_log_of_another_file_is_not_taken_for_the_new_ones(tmp_path: Path) -> None:
    """SQLite would write the frames of the old log over the new file."""
    store, backup = tmp_path / "s.db", tmp_path / "b.db"
    await write(store, "one")
    back_up(store, backup, now_ms=now_ms(), random=os.urandom, check=None)
    async with Replica.open(store, now_ms=now_ms, random=os.urandom) as replica:
        await replica.context("a").append("two")
        log = store.with_name("s.db-wal").read_bytes()
    store.unlink()
    store.with_name("s.db-wal").write_bytes(log)
    with pytest.raises(weft.StoreError, match="beside it lies s"):
        restore(backup, store, replace=False, now_ms=now_ms(), random=os.urandom, progress=quiet)
    assert not store.exists()
    assert store.with_name("s.db-wal").read_bytes() == log


# ---- leases ---------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["repair", "restore"])
async def test_no_lease_vouches_for_a_file_that_was_put_there(tmp_path: Path, what: str) -> None:
    store, backup = tmp_path / "s.db", tmp_path / "b.db"
    lease = tmp_path / "s.db.lease"
    await write(store, "one")
    await write(store, "two")
    assert len(incarnations(store)) == 1, "a clean close lets the next session go on"
    back_up(store, backup, now_ms=now_ms(), random=os.urandom, check=quiet)
    assert not backup.with_name("b.db.lease").exists()
    before = identity(store)
    left = lease.read_bytes()
    if what == "repair":
        kept = repair(store, now_ms=now_ms(), random=os.urandom, progress=quiet).kept
    else:
        done = restore(
            backup, store, replace=True, now_ms=now_ms(), random=os.urandom, progress=quiet
        )
        assert done.kept is not None
        kept = done.kept
    assert not lease.exists()
    assert rows(store, "SELECT count(*) FROM own_heads") == [(0,)]
    new = identity(store)
    assert new[1] != before[1]
    # Put back by hand it does not count either.
    lease.write_bytes(left)
    assert "lease" in codes(store)
    await write(store, "three")
    assert len(incarnations(store)) == 2
    assert identity(store)[1] not in (before[1], new[1])
    # Nor may the file that was there go on where it stood.
    epoch = identity(kept)[1]
    assert "lease" in codes(kept)
    await write(kept, "beside")
    assert len(incarnations(kept)) == 2
    assert identity(kept)[1] != epoch
    assert not set(incarnations(kept)[1:]) & set(incarnations(store))
    await write(store, "four")
    assert len(incarnations(store)) == 2, "from here on it is a store like any other"
    assert "lease" not in codes(store)


async def test_a_lease_of_a_store_that_is_gone_does_not_stay(tmp_path: Path) -> None:
    store, backup = tmp_path / "s.db", tmp_path / "b.db"
    await write(store, "one")
    back_up(store, backup, now_ms=now_ms(), random=os.urandom, check=None)
    store.unlink()
    assert store.with_name("s.db.lease").exists()
    restore(backup, store, replace=False, now_ms=now_ms(), random=os.urandom, progress=quiet)
    assert not store.with_name("s.db.lease").exists()
    await write(store, "two")
    assert len(incarnations(store)) == 2


async def test_a_crash_after_the_last_record_is_told_as_a_lost_lease(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    await write(store, "one")
    assert "lease" not in codes(store)
    store.with_name("s.db.lease").unlink()
    assert "lease" in codes(store)
    moved = tmp_path / "moved.db"
    await write(store, "two")
    shutil.move(store, moved)
    shutil.move(store.with_name("s.db.lease"), moved.with_name("moved.db.lease"))
    assert "lease" in codes(moved)


# ---- what is kept ---------------------------------------------------------------------------


async def test_what_was_replaced_is_told(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    await write(store, "one")
    assert "kept files" not in codes(store)
    with main_of(store) as connection:
        connection.execute("UPDATE records SET payload = x'00'")
    kept = repair(store, now_ms=now_ms(), random=os.urandom, progress=quiet).kept
    (note,) = [one for one in examine(store, progress=quiet).diagnoses if one.code == "kept files"]
    assert note.details == (kept.name,)
    assert not note.is_wrong

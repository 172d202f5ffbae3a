"""A backup is of one moment, whole, a store of its own and without secrets; a restored one goes on
as itself."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from functools import partial
from pathlib import Path

import pytest

import weft
from tests.command_line import conversation, main_of, record_set
from tests.full_store import check, identity, make_full_store, now_ms, quiet, rows
from tests.running_relay import running_relay
from tests.stores import all_records
from weft_engine.replica.replica import Replica
from weft_engine.storage.backup import Copied, back_up, restore
from weft_engine.storage.copying import COPIED, LEFT_OUT
from weft_engine.storage.lock import WriterLock
from weft_server.cli import main


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_full_store(tmp_path_factory.mktemp("whole") / "s.db")


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "s.db"))


def backed_up(store: Path, target: Path) -> Copied:
    return back_up(store, target, now_ms=now_ms(), random=os.urandom, check=quiet)


def restored(backup: Path, store: Path, *, replace: bool = False) -> Copied:
    return restore(
        backup, store, replace=replace, now_ms=now_ms(), random=os.urandom, progress=quiet
    )


# ---- what is in it --------------------------------------------------------------------------


def test_every_table_is_either_copied_or_left_out_on_purpose(store: Path) -> None:
    tables = {
        name
        for (name,) in rows(store, "SELECT name FROM sqlite_schema WHERE type = 'table'")
        if not str(name).startswith("sqlite_")
    }
    tables.add("cursors")  # made when the first one is kept
    assert tables == set(COPIED) | LEFT_OUT
    for table, columns in COPIED.items():
        if columns != "*":
            there = {row[1] for row in rows(store, f"PRAGMA table_info({table})")}
            assert there - set(columns.split(", ")) == ({"seed"} if table == "origins" else set())


def test_a_backup_has_all_that_the_store_has(store: Path, tmp_path: Path) -> None:
    copied = backed_up(store, tmp_path / "b.db")
    for table in COPIED:
        if table in ("origins", "signatures"):
            continue
        there, here = (
            rows(path, f"SELECT * FROM {table} ORDER BY 1, 2") for path in (store, copied.path)
        )
        assert here == there, table
        if table != "checkpoints":
            assert here, f"the test's store has nothing in {table}"
    kept = set(rows(store, "SELECT * FROM signatures"))
    assert kept < set(rows(copied.path, "SELECT * FROM signatures"))
    assert copied.records == len(record_set(store))


def test_what_nobody_had_signed_is_signed_in_the_backup(store: Path, tmp_path: Path) -> None:
    assert check(store).unsigned > 0
    report = check(backed_up(store, tmp_path / "b.db").path)
    assert report.is_sound
    assert report.unsigned == 0
    assert report.records == check(store).records


def _first(data: bytes, size: int) -> bytes:
    return data[:size]


def test_both_ends_of_a_forked_own_chain_are_signed(tmp_path: Path) -> None:
    """A store was cloned while it was open, and both went on: its own chain has two ends here."""
    one, two, both = (tmp_path / name for name in ("one.db", "two.db", "both.db"))

    async def fork() -> None:
        async with Replica.open(one, now_ms=now_ms, random=os.urandom) as replica:
            await replica.context("a").append("before")
        ((key,),) = rows(one, "SELECT seed FROM origins")
        assert isinstance(key, bytes)
        shutil.copy(one, two)
        for path, text in ((one, "this"), (two, "that")):
            # The same key again, as a clone in mid-run would have it.
            async with Replica.open(path, now_ms=now_ms, random=partial(_first, key)) as it:
                await it.context("a").append(text)

    asyncio.run(fork())
    shutil.copy(one, both)

    async def meet() -> None:
        async with (
            Replica.open(two, now_ms=now_ms, random=os.urandom) as source,
            Replica.open(both, now_ms=now_ms, random=os.urandom) as target,
        ):
            stored = await all_records(source)
            await target.journal.admit(
                [one.record for one in stored],
                await source.signature_items(stored),
                session=b"peer",
                now_ms=now_ms(),
            )

    asyncio.run(meet())
    forks = "SELECT count(*) FROM records GROUP BY context, origin, seq HAVING count(*) > 1"
    assert rows(both, forks)
    report = check(backed_up(both, tmp_path / "b.db").path)
    assert report.findings == ()
    assert report.unsigned == 0


def test_no_secret_is_anywhere_in_the_file(store: Path, tmp_path: Path) -> None:
    seeds = [row[0] for row in rows(store, "SELECT seed FROM origins WHERE seed IS NOT NULL")]
    assert len(seeds) >= 2
    # The store's id is none: it stands in what it has confirmed to others.
    secrets = [*seeds, b"secret-ticket-16", b"offered-ticket-1", identity(store)[1]]
    content = store.read_bytes()
    assert all(secret in content for secret in secrets if isinstance(secret, bytes))
    backup = backed_up(store, tmp_path / "b.db").path
    assert not backup.with_name("b.db-wal").exists()
    content = backup.read_bytes()
    assert not any(secret in content for secret in secrets if isinstance(secret, bytes))
    assert rows(backup, "SELECT count(*) FROM origins WHERE seed IS NOT NULL") == [(0,)]


def test_every_copy_has_an_identity_of_its_own(store: Path, tmp_path: Path) -> None:
    backup = backed_up(store, tmp_path / "b.db").path
    first = restored(backup, tmp_path / "r1.db").path
    second = restored(backup, tmp_path / "r2.db").path
    ids = [identity(path) for path in (store, backup, first, second)]
    assert len({store_id for store_id, _ in ids}) == 4
    assert len({epoch for _, epoch in ids}) == 4


def test_files_are_readable_by_their_owner_only(store: Path, tmp_path: Path) -> None:
    backup = backed_up(store, tmp_path / "b.db").path
    for path in (backup, restored(backup, tmp_path / "r.db").path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


# ---- while it is in use ---------------------------------------------------------------------


async def test_a_backup_beside_a_busy_writer_is_of_one_moment(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with weft.open(path) as store:
        chat = store.context("a")
        await chat.append("first")

        async def write() -> None:
            for number in range(120):
                await chat.append(f"{number} " + "word " * 50)

        writing = asyncio.create_task(write())
        sizes = []
        for number in range(5):
            target = tmp_path / f"b{number}.db"
            before = len(record_set(path))
            await store.backup(target)
            report = weft.verify(target)
            assert report.findings == ()
            assert before <= report.records <= len(record_set(path))
            sizes.append(report.records)
            await asyncio.sleep(0.01)
        await writing
        assert sizes == sorted(sizes)
        assert record_set(tmp_path / "b0.db") <= record_set(path)


async def test_what_was_acknowledged_before_is_in_it(tmp_path: Path) -> None:
    async with weft.open(tmp_path / "s.db") as store:
        chat = store.context("a")
        await chat.append("one")
        view = await chat.view(budget=1_000, trace_id="mine")
        await store.backup(tmp_path / "b.db")
        with pytest.raises(weft.StoreError, match="exists already"):
            await store.backup(tmp_path / "b.db")
    async with weft.open(tmp_path / "b.db", readonly=True) as copy:
        assert (await copy.replay("mine")).messages == view.messages


# ---- how it ends ----------------------------------------------------------------------------


def test_nothing_is_written_over(store: Path, tmp_path: Path) -> None:
    target = tmp_path / "b.db"
    target.write_text("mine")
    with pytest.raises(weft.StoreError, match="exists already"):
        backed_up(store, target)
    assert target.read_text() == "mine"
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(weft.StoreError, match="exists already"):
        backed_up(store, tmp_path / "dangling")
    with pytest.raises(weft.StoreError, match="exists already"):
        restored(store, target)


def test_a_name_that_is_taken_meanwhile_is_not_written_over(store: Path, tmp_path: Path) -> None:
    target = tmp_path / "b.db"

    def take_it(what: str, done: int, total: int) -> None:
        target.write_text("mine")

    with pytest.raises(weft.StoreError, match="exists already"):
        back_up(store, target, now_ms=now_ms(), random=os.urandom, check=take_it)
    assert target.read_text() == "mine"
    assert {path.name for path in tmp_path.glob("b.db*")} == {"b.db"}


def test_a_damaged_store_is_not_backed_up_as_if_it_were_well(store: Path, tmp_path: Path) -> None:
    with main_of(store) as connection:
        connection.execute("UPDATE records SET payload = x'00' WHERE position = 3")
    with pytest.raises(weft.StoreError, match="damaged"):
        backed_up(store, tmp_path / "b.db")
    with pytest.raises(weft.StoreError, match="damaged"):
        restored(store, tmp_path / "r.db")
    assert {path.name for path in tmp_path.iterdir()} <= {
        "s.db",
        "s.db-shm",
        "s.db-wal",
        "r.db.lock",
    }


def test_a_failed_backup_leaves_nothing(store: Path, tmp_path: Path) -> None:
    def stop(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        back_up(store, tmp_path / "b.db", now_ms=1, random=os.urandom, check=stop)
    assert not list(tmp_path.glob("b.db*"))
    with pytest.raises(weft.StoreError, match="can't be made"):
        backed_up(store, tmp_path / "nowhere" / "b.db")


# ---- restoring ------------------------------------------------------------------------------


def test_a_restored_store_goes_on_under_its_own_name(store: Path, tmp_path: Path) -> None:
    backup = backed_up(store, tmp_path / "b.db").path
    path = restored(backup, tmp_path / "r.db").path
    before = set(rows(path, "SELECT incarnation FROM origins"))

    async def write() -> None:
        async with weft.open(path) as opened:
            await opened.context("acme/one").append("after the restore")

    asyncio.run(write())
    new = set(rows(path, "SELECT incarnation FROM origins WHERE seed IS NOT NULL"))
    assert len(new) == 1
    assert not new & before
    assert check(path).is_sound
    assert record_set(store) < record_set(path)


def test_replacing_keeps_what_was_there_with_its_log(store: Path, tmp_path: Path) -> None:
    backup = backed_up(store, tmp_path / "b.db").path
    target = tmp_path / "t.db"

    async def write_and_copy() -> None:
        """A store whose writer died: its newest messages are in its log."""
        live = tmp_path / "live.db"
        async with weft.open(live) as opened:
            for number in range(20):
                await opened.context("mine").append(f"{number}")
            for suffix in ("", "-wal", "-shm"):
                shutil.copy(
                    live.with_name(live.name + suffix), target.with_name(target.name + suffix)
                )

    asyncio.run(write_and_copy())
    with pytest.raises(weft.StoreError, match="exists already"):
        restored(backup, target)
    done = restored(backup, target, replace=True)
    assert done.kept is not None
    assert done.kept.name.startswith("t.db.replaced-")
    assert len(record_set(done.kept)) == 20
    assert record_set(target) == record_set(store)
    assert check(target).is_sound
    assert check(done.kept).is_sound


def test_a_store_in_use_is_not_replaced(store: Path, tmp_path: Path) -> None:
    backup = backed_up(store, tmp_path / "b.db").path
    before = store.read_bytes()
    lock = WriterLock(store)
    lock.acquire()
    try:
        with pytest.raises(weft.StoreLocked):
            restored(backup, store, replace=True)
    finally:
        lock.release()
    assert store.read_bytes() == before
    assert not list(tmp_path.glob("*.replaced-*"))


async def test_a_reader_of_an_earlier_state_stops_a_replacement(
    store: Path, tmp_path: Path
) -> None:
    """Or the log, in which the newest records are, would be lost with the old file."""
    backup = backed_up(store, tmp_path / "b.db").path
    with main_of(store) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM records").fetchone()
        async with weft.open(store) as opened:
            await opened.context("acme/one").append("newer than what the reader sees")
        records = record_set(store)
        with pytest.raises(weft.StoreError, match="can't be folded"):
            await asyncio.to_thread(restored, backup, store, replace=True)
        reader.execute("ROLLBACK")
    assert record_set(store) == records


def test_a_backup_of_an_earlier_format_is_restored(tmp_path: Path) -> None:
    old = Path(__file__).parents[1] / "data/store-format-1.db"
    backup = Path(shutil.copy(old, tmp_path / "old.db"))
    before = backup.read_bytes()
    path = restored(backup, tmp_path / "r.db").path
    assert check(path).is_sound
    assert backup.read_bytes() == before
    assert record_set(path) == record_set(backup)


def test_a_backup_is_read_as_it_lies(store: Path, tmp_path: Path) -> None:
    backup = backed_up(store, tmp_path / "b.db").path
    restored(backup, tmp_path / "r.db")
    assert {path.name for path in tmp_path.glob("b.db*")} == {"b.db"}


def test_an_old_backup_and_a_relay_bring_everything_back(tmp_path: Path) -> None:
    """What the lost store had synced comes from the relay; what the restored one wrote before it
    was linked again is merged."""
    store, other = tmp_path / "s.db", tmp_path / "other.db"
    for path, text in ((store, "one"), (other, "elsewhere")):
        lines = path.with_suffix(".jsonl")
        lines.write_text(conversation("acme/a", text, "reply"))
        assert main(["import", str(lines), "--store", str(path)]) == 0
    with running_relay(tmp_path / "relay") as relay:

        def sync(path: Path) -> None:
            words = ["--url", relay.url, "--until-synced"]
            assert main(["sync", "--store", str(path), *words]) == 0

        sync(store)
        assert main(["backup", "--store", str(store), str(tmp_path / "b.db")]) == 0
        assert main(["append", "acme/a", "after the backup", "--store", str(store)]) == 0
        sync(store)
        sync(other)
        lost = record_set(store)
        assert main(["restore", str(tmp_path / "b.db"), "--store", str(store), "--replace"]) == 0
        assert record_set(store) < lost
        assert main(["append", "acme/a", "written offline", "--store", str(store)]) == 0
        offline = record_set(store)
        sync(store)
        sync(other)
        assert record_set(store) > lost | offline
        assert record_set(store) == record_set(other) == record_set(relay.store)
        for path in (store, other, relay.store):
            assert check(path).is_sound


def test_a_backup_can_be_synced_from(store: Path, tmp_path: Path) -> None:
    backup = backed_up(store, tmp_path / "b.db").path
    with running_relay(tmp_path / "relay") as relay:
        words = ["--url", relay.url, "--until-synced"]
        assert main(["sync", "--store", str(backup), *words]) == 0
        assert record_set(relay.store) == record_set(store)

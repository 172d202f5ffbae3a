"""`weft doctor` names what is wrong and what it means, and is quiet when nothing is; `weft stats`
adds up."""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

import weft
from tests.command_line import Run, main_of, record_set
from tests.command_line import weft as run
from tests.full_store import make_full_store, quiet, rows
from weft_engine.errors import NotAStore
from weft_engine.storage import usage
from weft_engine.storage.diagnosis import Diagnosis, Examination, examine
from weft_engine.storage.ledger import ERASED
from weft_engine.storage.lock import WriterLock, writing_process
from weft_engine.storage.usage import Usage, measure
from weft_server.cli import main


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_full_store(tmp_path_factory.mktemp("whole") / "s.db")


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "s.db"))


def look(store: Path) -> Examination:
    return examine(store, progress=quiet)


def found(store: Path) -> dict[str, Diagnosis]:
    return {diagnosis.code: diagnosis for diagnosis in look(store).diagnoses}


def change(store: Path, *statements: str) -> None:
    with main_of(store) as connection:
        for statement in statements:
            connection.execute(statement)


# ---- what is found --------------------------------------------------------------------------


def test_a_whole_store_has_nothing_wrong_and_things_worth_knowing(store: Path) -> None:
    examination = look(store)
    assert examination.is_sound
    notes = {one.code: one for one in examination.diagnoses}
    assert set(notes) >= {"waiting", "unsigned", "problems", "quarantine"}
    ((waiting,),) = rows(store, "SELECT count(*) FROM waiting")
    assert notes["waiting"].count == waiting
    assert "missing" in notes["waiting"].details[0]
    assert "the first written 1970-01-01" in notes["waiting"].details[-1]
    assert notes["quarantine"].details == (
        "aa: its payload is no sound update: 1, last 2023-11-14 22:13:20Z",
    )
    ((problems,),) = rows(store, "SELECT count(*) FROM problems")
    assert notes["problems"].count == problems
    for diagnosis in examination.diagnoses:
        assert diagnosis.what
        assert diagnosis.means
        assert diagnosis.to_do


def test_a_file_of_another_program_is_not_told_how_to_be_a_store(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.db"
    with closing(sqlite3.connect(theirs)) as connection:
        connection.execute("CREATE TABLE bookmarks (address TEXT)")
    with pytest.raises(NotAStore, match="belongs to another program"):
        look(theirs)


def test_a_new_store_has_nothing_to_tell(tmp_path: Path) -> None:
    assert run("append", "a", "hi", "--store", tmp_path / "s.db").code == 0
    (only,) = look(tmp_path / "s.db").diagnoses
    assert only.code == "unsigned"


@pytest.mark.parametrize(
    ("code", "statement", "detail"),
    [
        ("skewed", "UPDATE records SET flags = 1 WHERE position = 1", "origin"),
        ("erasures", "UPDATE erasures SET is_done = 0", "acme/one: 2"),
        ("index", "UPDATE contexts SET projected = 0, projected_frontier = x''", "records"),
    ],
)
def test_what_is_worth_knowing(store: Path, code: str, statement: str, detail: str) -> None:
    assert code not in found(store)
    change(store, statement)
    assert detail in found(store)[code].details[0]


def test_what_is_told_of_erasures(store: Path) -> None:
    notes = found(store)
    assert notes["confirmations"].details[0].startswith("acme/old: 1, confirmed by at least 1 ")
    ((done,),) = rows(store, "SELECT count(*) FROM erasures")
    assert notes["confirmations"].count == done
    assert notes["early erasers"].details == ("acme/early: 1", "acme/waits: 1")
    change(store, "UPDATE erasures SET is_done = 0 WHERE context = 1")
    assert found(store)["confirmations"].count == int(str(done)) - 2


async def test_checkpoints_that_do_not_agree(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with weft.open(path) as opened:
        await opened.context("a").note("plan").insert(0, "text")
    change(path, "INSERT INTO checkpoints VALUES (1, 1, x'00', x'', zeroblob(32))")
    examination = look(path)
    assert not examination.is_sound
    notes = {one.code: one for one in examination.diagnoses}
    assert "damage" not in notes
    assert notes["checkpoints"].is_wrong
    assert notes["checkpoints"].count == 1
    assert main(["doctor", "--store", str(path), "--repair"]) == 0
    assert "checkpoints" not in found(path)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE records SET payload = x'00' WHERE position = 3",
        "DELETE FROM signatures",
        "DELETE FROM events",
        "DROP TABLE events",
    ],
)
def test_damage_is_wrong_and_the_repair_is_offered(store: Path, statement: str) -> None:
    change(store, statement)
    examination = look(store)
    assert not examination.is_sound
    first = examination.diagnoses[0]
    assert first.code in ("damage", "unreadable")
    assert first.to_do == f"run: weft doctor --store {store} --repair"
    assert main(["doctor", "--store", str(store)]) == 1
    assert main(["doctor", "--store", str(store), "--repair"]) == 0
    assert main(["doctor", "--store", str(store)]) == 0


def test_rights_that_are_too_wide(store: Path) -> None:
    store.chmod(0o640)
    wide = found(store)["rights"]
    assert wide.is_wrong
    assert "s.db has mode 640" in wide.what
    assert wide.to_do.startswith(f"run: chmod 600 {store}")
    # The files beside it have its rights, as SQLite made them.
    subprocess.run(shlex.split(found(store)["rights"].to_do.removeprefix("run: ")), check=True)
    assert "rights" not in found(store)


async def test_a_writer_and_the_log_it_leaves(tmp_path: Path) -> None:
    path, left = tmp_path / "s.db", tmp_path / "left.db"
    async with weft.open(path) as opened:
        await opened.context("a").append("one")
        assert f"process {os.getpid()} " in found(path)["writer"].what
        assert writing_process(path) == os.getpid()
        for suffix in ("", "-wal"):
            shutil.copy(path.with_name(path.name + suffix), left.with_name(left.name + suffix))
    assert "writer" not in found(path)
    assert writing_process(path) is None
    log = found(left)["log"]
    assert not log.is_wrong
    assert "was left behind" in log.what


def test_a_lock_file_alone_is_no_writer(store: Path) -> None:
    lock = WriterLock(store)
    lock.acquire()
    assert writing_process(store) == os.getpid()
    lock.release()
    assert writing_process(store) is None


def test_unfinished_files(store: Path) -> None:
    store.with_name("s.db.0011223344556677.new").write_bytes(b"half")
    drafts = found(store)["drafts"]
    assert "s.db.0011223344556677.new" in drafts.to_do


def test_looking_changes_nothing(store: Path) -> None:
    before = store.read_bytes()
    look(store)
    assert store.read_bytes() == before


@pytest.mark.parametrize("size", [100, 5_000, 40_000])
def test_a_truncated_file_is_examined(store: Path, size: int) -> None:
    store.write_bytes(store.read_bytes()[:size])
    examination = look(store)
    assert not examination.is_sound
    assert "--repair" in examination.diagnoses[0].to_do


def test_an_earlier_format(tmp_path: Path) -> None:
    old = Path(__file__).parents[1] / "data/store-format-1.db"
    path = Path(shutil.copy(old, tmp_path / "old.db"))
    path.chmod(0o600)
    (only,) = look(path).diagnoses
    assert only.code == "older format"
    assert only.is_wrong


# ---- the commands ---------------------------------------------------------------------------


def test_what_doctor_says(store: Path) -> None:
    told = run("doctor", "--store", store)
    assert told.code == 0
    assert "note   records came before what they depend on" in told.out
    assert "       means: " in told.out
    assert told.out.splitlines()[-1].startswith(f"{store}: nothing is wrong; contexts: ")
    change(store, "UPDATE records SET payload = x'00' WHERE position = 3")
    told = run("doctor", "--store", store)
    assert told.code == 1
    assert told.out.startswith("WRONG  the store contradicts itself (")
    assert f"to do: run: weft doctor --store {store} --repair" in told.out
    data = run("doctor", "--store", store, "--json").json()
    assert data["sound"] is False
    assert data["diagnoses"][0]["code"] == "damage"


def test_what_a_repair_says(store: Path) -> None:
    total = len(record_set(store))
    change(store, "DELETE FROM records WHERE position = 8")
    told = run("doctor", "--store", store, "--repair")
    assert told.code == 0
    assert "lost here 1, waiting for what is missing" in told.out
    assert "the damaged file is " in told.out
    assert "weft sync" in told.err
    change(store, "DELETE FROM records WHERE position = 1")
    data = run("doctor", "--store", store, "--repair", "--json").json()
    assert data["lost"] == 1
    assert data["saved"] < total
    assert Path(data["kept"]).is_file()
    assert sum(context["lost"] for context in data["contexts"]) == 1


def test_the_log_of_one_run_is_the_store_of_the_next(store: Path, tmp_path: Path) -> None:
    """Back up, break, restore, as a user does it."""
    records = record_set(store)
    backup, other = tmp_path / "b.db", tmp_path / "o.db"
    told = run("backup", "--store", store, backup)
    assert told.code == 0
    assert f"{backup}: backed up and verified" in told.out
    again = run("backup", "--store", store, backup)
    assert again.code == 1
    assert "exists already" in again.err
    store.write_bytes(b"gone")
    told = run("restore", backup, "--store", store)
    assert told.code == 1
    assert "exists already" in told.err
    told = run("restore", backup, "--store", store, "--replace", "--json")
    assert Path(told.json()["kept"]).read_bytes() == b"gone"
    assert record_set(store) == records
    told = run("restore", backup, "--store", other)
    assert told.code == 0
    assert "restored and verified" in told.out
    quick = run("backup", "--store", other, tmp_path / "q.db", "--no-verify", "--json").json()
    assert quick["verified"] is False
    assert quick["records"] == len(records)


def test_bad_words_end_in_one_clear_error(tmp_path: Path, store: Path) -> None:
    def fails(*words: str | Path) -> Run:
        told = run(*words)
        assert told.code == 1
        assert told.err.startswith("weft: ")
        assert "hint: " in told.err
        assert "Traceback" not in told.err
        return told

    missing = tmp_path / "nothing.db"
    for command in ("doctor", "stats"):
        assert "there is no store" in fails(command, "--store", missing).err
    assert "there is no store" in fails("doctor", "--store", missing, "--repair").err
    assert "there is no store" in fails("backup", "--store", missing, tmp_path / "b.db").err
    assert "there is no backup" in fails("restore", missing, "--store", tmp_path / "n.db").err
    assert "is a folder" in fails("doctor", "--store", tmp_path).err
    assert "the store itself" in fails("restore", store, "--store", store, "--replace").err
    assert "no context 'x'" in fails("stats", "--store", store, "--context", "x").err
    junk = tmp_path / "junk"
    junk.write_bytes(b"junk" * 5000)
    assert "not a Weft store" in fails("restore", junk, "--store", tmp_path / "n.db").err
    assert "not a Weft store" in fails("doctor", "--store", junk, "--repair").err
    assert junk.read_bytes() == b"junk" * 5000
    assert {path.name for path in tmp_path.iterdir()} <= {
        *("s.db", "s.db-wal", "s.db-shm", "s.db.lock", "junk", "junk.lock", "n.db.lock"),
    }


# ---- stats ----------------------------------------------------------------------------------


def estimated(monkeypatch: pytest.MonkeyPatch, store: Path) -> Usage:
    """As with a SQLite that was built without `dbstat`."""
    with monkeypatch.context() as patch:
        patch.setattr(usage, "PAGES_OF_TREES", "SELECT name, pgsize FROM no_such_table")
        return measure(store)


def test_the_uses_add_up_to_the_file(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = measure(store)
    assert not exact.is_estimate
    assert sum(exact.uses.values()) == exact.file == store.stat().st_size
    assert all(size >= 0 for size in exact.uses.values())
    estimate = estimated(monkeypatch, store)
    assert estimate.is_estimate
    assert sum(estimate.uses.values()) == estimate.file == exact.file
    assert all(size >= 0 for size in estimate.uses.values())
    for use in ("event JSON", "envelopes", "notes and other updates"):
        assert estimate.uses[use] == exact.uses[use]
    change(store, "DELETE FROM problems", "DROP TABLE confirmations")
    with closing(sqlite3.connect(store)) as connection:
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    assert free > 0
    again = measure(store)
    assert again.uses["free pages"] == free * 4096
    assert sum(again.uses.values()) == again.file


def test_every_table_has_its_use(store: Path) -> None:
    names = {
        name
        for (name,) in rows(store, "SELECT name FROM sqlite_schema WHERE type = 'table'")
        if not str(name).startswith("sqlite_")
    }
    names.add("cursors")  # made when the first one is kept
    assert names == {"records", *(table for tables in usage.TABLES.values() for table in tables)}
    exact = measure(store)
    # The schema itself, and nothing else.
    ((schema,),) = rows(store, "SELECT sum(pgsize) FROM dbstat WHERE name LIKE 'sqlite_schema'")
    assert exact.uses["all else"] == schema
    assert (exact.lease, exact.kept) == (0, 0)
    store.with_name("s.db.lease").write_bytes(b"123")
    store.with_name("s.db.damaged-20261121-140501").write_bytes(b"12345")
    assert (measure(store).lease, measure(store).kept) == (3, 5)


def test_figures_are_those_of_the_payloads(store: Path) -> None:
    contexts = measure(store).contexts
    assert [one.total for one in contexts] == sorted((one.total for one in contexts), reverse=True)
    for one in contexts:
        ((records, envelopes, payloads),) = rows(
            store,
            "SELECT count(*), sum(length(envelope)), sum(length(payload)) FROM records JOIN"
            f" contexts ON contexts.id = context WHERE name = '{one.name}'",
        )
        assert (one.records, one.envelopes) == (records, envelopes)
        assert one.json + one.framing + one.updates + one.erased == payloads
        ((events, json),) = rows(
            store,
            "SELECT count(*), coalesce(sum(size), 0) FROM events JOIN contexts"
            f" ON contexts.id = context WHERE kind > 0 AND name = '{one.name}'",
        )
        assert (one.events, one.json) == (events, json)
    note = next(one for one in contexts if one.name == "acme/one")
    assert note.updates > len("first\nsecond\n")
    assert next(one for one in contexts if one.name == "acme/two").updates == 0


def test_erased_and_unindexed_payloads_are_counted_apart(store: Path) -> None:
    before = measure(store)
    ((size,),) = rows(
        store,
        "SELECT length(payload) - (SELECT sum(size) FROM events WHERE position = 4) FROM records"
        " WHERE position = 4",
    )
    change(store, f"UPDATE records SET flags = flags | {ERASED} WHERE position = 4")
    after = measure(store)
    assert after.uses["erased, stand-ins"] == before.uses["erased, stand-ins"] + int(str(size))
    assert before.uses["erased, stand-ins"] > 0
    assert (after.events, after.json) == (before.events, before.json)
    assert sum(after.uses.values()) == after.file
    change(store, "UPDATE contexts SET projected = 0", "DELETE FROM events", "DELETE FROM problems")
    bare = measure(store)
    assert bare.json == 0
    assert bare.unindexed + bare.uses["erased, stand-ins"] == sum(
        int(str(row[0])) for row in rows(store, "SELECT length(payload) FROM records")
    )


def test_what_stats_says(store: Path) -> None:
    told = run("stats", "--store", store).out
    assert "the store\n" in told
    assert "event JSON" in told
    assert "acme/one" in told
    assert "bytes of JSON each" in told
    one = run("stats", "--store", store, "--context", "acme/two", "--json").json()
    assert [context["name"] for context in one["contexts"]] == ["acme/two"]
    assert sum(one["uses"].values()) == one["file"]
    short = run("stats", "--store", store, "--limit", "1").out
    assert "in 4 more contexts" in short


async def test_stats_beside_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with weft.open(path) as opened:
        await opened.context("a").append("one")
        found = measure(path)
        assert found.log > 0
        assert sum(found.uses.values()) == found.file

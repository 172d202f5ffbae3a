"""Bad input ends in one clear error and a non-zero exit, and leaves every store as it was."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.command_line import conversation, opened, record_set
from weft_engine.replica.replica import Replica
from weft_engine.storage.migration import STORE_FORMAT
from weft_server.cli import main


@dataclass
class Bench:
    """A store with something in it, and what `weft` says about it."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    records: set[bytes] = field(default_factory=set)

    @property
    def store(self) -> Path:
        return self.folder / "s.db"

    def fails(self, *words: str | Path) -> str:
        """Run a command that must fail; the one error it gives, with its hint."""
        self.capsys.readouterr()
        assert main([str(word) for word in words]) == 1
        shown = self.capsys.readouterr()
        assert "Traceback" not in shown.err
        lines = shown.err.splitlines()
        (error,) = (line for line in lines if line.startswith("weft: "))
        (hint,) = (line for line in lines if line.startswith("hint: "))
        return f"{error}\n{hint}"

    def import_fails(self, text: str) -> str:
        file = self.folder / "bad.jsonl"
        file.write_text(text)
        return self.fails("import", file, "--store", self.store)

    def check_unchanged(self) -> None:
        assert main(["verify", "--store", str(self.store)]) == 0
        assert record_set(self.store) == self.records


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    bench = Bench(tmp_path, capsys)
    file = tmp_path / "good.jsonl"
    file.write_text(conversation("acme/one", "hello", "hi"))
    assert main(["import", str(file), "--store", str(bench.store)]) == 0
    bench.records = record_set(bench.store)
    return bench


# ---- lines ----------------------------------------------------------------------------------

BAD_LINES = {
    "no JSON": ("{nope", "not JSON"),
    "half a line": ('{"id": "x", "messages": [', "not JSON"),
    "no object": ("[1, 2]", "must be an object"),
    "no id": ('{"messages": []}', "$.id: missing"),
    "no messages": ('{"id": "x"}', "$.messages: missing"),
    "messages are no array": ('{"id": "x", "messages": {}}', "$.messages: must be an array"),
    "no role": ('{"id": "x", "messages": [{"content": "hi"}]}', "$.messages[0].role: missing"),
    "unknown role": (
        '{"id": "x", "messages": [{"role": "user", "content": ""}, {"role": "boss"}]}',
        "$.messages[1].role: unknown role 'boss'",
    ),
    "a message is no object": ('{"id": "x", "messages": [7]}', "$.messages[0]: must be an object"),
    "NaN": ('{"id": "x", "messages": [], "score": NaN}', "NaN"),
    "too deep": ('{"id": "x", "messages": [], "t": ' + "[" * 70 + "]" * 70 + "}", "64 levels"),
    "control characters in the name": (
        '{"id": "a\\u0007b", "messages": [{"role": "user", "content": "hi"}]}',
        "control character",
    ),
    "a name too long": (json.dumps({"id": "x" * 257, "messages": []}), "257 bytes"),
    "an empty name": ('{"id": "", "messages": []}', "0 bytes"),
    "an empty segment": ('{"id": "a//b", "messages": []}', "empty segment"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line(bench: Bench, name: str) -> None:
    line, expected = BAD_LINES[name]
    error = bench.import_fails(line)
    assert expected in error
    assert "bad.jsonl, line 1" in error
    bench.check_unchanged()


def test_what_came_before_a_bad_line_stays_and_is_reported(bench: Bench) -> None:
    file = bench.folder / "bad.jsonl"
    file.write_text(f"{conversation('a', 'x')}\n\n{conversation('b', 'y')}\n{{\n")
    error = bench.fails("import", file, "--store", bench.store)
    assert "bad.jsonl, line 4" in error
    assert main(["contexts", "--store", str(bench.store), "--json"]) == 0
    names = [json.loads(line)["context"] for line in bench.capsys.readouterr().out.splitlines()]
    assert names == ["a", "acme/one", "b"]
    file.write_text(f"{conversation('a', 'x')}\n{conversation('b', 'y')}\n{conversation('c')}\n")
    assert main(["import", str(file), "--store", str(bench.store), "--json"]) == 0
    told = json.loads(bench.capsys.readouterr().out)
    assert told == {"conversations": 3, "messages_new": 0, "messages_known": 2}


def test_what_was_imported_before_is_told(bench: Bench) -> None:
    file = bench.folder / "bad.jsonl"
    file.write_text(f"{conversation('a', 'x')}\n{{\n")
    bench.capsys.readouterr()
    assert main(["import", str(file), "--store", str(bench.store)]) == 1
    shown = bench.capsys.readouterr()
    assert "imported before it stopped: conversations: 1, new messages: 1" in shown.err
    assert shown.out == ""


def test_bytes_that_are_no_text(bench: Bench) -> None:
    file = bench.folder / "bad.jsonl"
    file.write_bytes(b'{"id": "x", "messages": [{"role": "user", "content": "\xff\xfe"}]}\n')
    error = bench.fails("import", file, "--store", bench.store)
    assert "bad.jsonl, line 1: byte 54 is no UTF-8" in error
    bench.check_unchanged()


def test_a_message_of_20_mb(bench: Bench) -> None:
    error = bench.import_fails(conversation("big", "small", "x" * 20_000_000))
    assert "bad.jsonl, line 1: $.messages[1]" in error
    assert "8388608" in error
    assert "8 MiB" in error
    bench.check_unchanged()


def test_20_mb_beside_the_messages(bench: Bench) -> None:
    error = bench.import_fails(
        json.dumps(
            {"id": "big", "messages": [{"role": "user", "content": "x"}], "k": "x" * 20_000_000}
        )
    )
    assert "bad.jsonl, line 1" in error
    assert "8388608" in error
    bench.check_unchanged()


def test_a_20_mb_message_appended(bench: Bench) -> None:
    file = bench.folder / "m.json"
    file.write_text(json.dumps({"role": "user", "content": "x" * 20_000_000}))
    error = bench.fails("append", "acme/one", "--store", bench.store, "--json-message", file)
    assert "8388608" in error
    bench.check_unchanged()


def test_a_message_that_is_none(bench: Bench) -> None:
    file = bench.folder / "m.json"
    file.write_text('{"content": "who says this?"}')
    error = bench.fails("append", "acme/one", "--store", bench.store, "--json-message", file)
    assert "$.role: missing" in error
    bench.check_unchanged()


@pytest.mark.parametrize("command", ["append", "history", "view"])
def test_a_context_name_with_control_characters(bench: Bench, command: str) -> None:
    words = ["hi"] if command == "append" else []
    error = bench.fails(command, "a\x1b[31mb", *words, "--store", bench.store)
    assert "control character" in error
    assert "\x1b" not in error
    bench.check_unchanged()


@pytest.mark.parametrize("command", ["history", "view"])
def test_a_context_that_is_not_there(bench: Bench, command: str) -> None:
    assert "no context 'acme/two'" in bench.fails(command, "acme/two", "--store", bench.store)
    bench.check_unchanged()


# ---- files ----------------------------------------------------------------------------------


def test_an_empty_file_is_no_error(bench: Bench) -> None:
    file = bench.folder / "empty.jsonl"
    file.touch()
    bench.capsys.readouterr()
    assert main(["import", str(file), "--store", str(bench.store)]) == 0
    assert "has no lines" in bench.capsys.readouterr().out
    bench.check_unchanged()


def test_a_missing_file(bench: Bench) -> None:
    file = bench.folder / "none.jsonl"
    assert f"there is no file {file}" in bench.fails("import", file, "--store", bench.store)
    bench.check_unchanged()


def test_a_folder_as_file(bench: Bench) -> None:
    error = bench.fails("import", bench.folder, "--store", bench.store)
    assert f"{bench.folder} can't be read" in error
    bench.check_unchanged()


# ---- stores ---------------------------------------------------------------------------------

READING = (("verify",), ("contexts",), ("export",), ("history", "a"), ("view", "a"))
EVERY = (*READING, ("append", "a", "hi"))


def _refused(bench: Bench, store: Path, *expected: str) -> None:
    """Every command refuses `store` in these words, and changes nothing in its folder."""
    before = _bytes_in(store)
    for words in EVERY:
        error = bench.fails(*words, "--store", store)
        for text in (str(store), *expected):
            assert text in error, words
    assert _bytes_in(store) == before


def _bytes_in(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.parent.iterdir() if path.is_file()}


def test_a_text_file_as_store(bench: Bench) -> None:
    store = bench.folder / "notes.txt"
    store.write_text("dear diary\n" * 100)
    _refused(bench, store, "is not a Weft store", "no SQLite file")


def test_an_empty_file_as_store(bench: Bench) -> None:
    store = bench.folder / "empty.db"
    store.touch()
    _refused(bench, store, "is not a Weft store")


def test_a_store_of_another_program(bench: Bench) -> None:
    store = bench.folder / "theirs.db"
    with opened(store) as connection:
        connection.execute("CREATE TABLE records (hash BLOB)")
    _refused(bench, store, "belongs to another program")


def test_a_store_of_a_newer_format(bench: Bench) -> None:
    with opened(bench.store) as connection:
        connection.execute(f"PRAGMA user_version = {STORE_FORMAT + 1}")
    _refused(bench, bench.store, f"store format {STORE_FORMAT + 1}", "upgrade weft")
    with opened(bench.store) as connection:
        connection.execute(f"PRAGMA user_version = {STORE_FORMAT}")
    bench.check_unchanged()


def test_a_truncated_store(bench: Bench) -> None:
    store = bench.folder / "cut.db"
    whole = bench.store.read_bytes()
    for size in (4096, len(whole) // 2, len(whole) - 4096):
        store.write_bytes(whole[:size])
        _refused(bench, store, "is truncated", "weft doctor")
    bench.check_unchanged()


def test_a_store_with_a_torn_page(bench: Bench) -> None:
    """Damage that only shows when it is read: verify tells, and no command hides it."""
    with opened(bench.store) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'records'"
        ).fetchone()
    store = bench.folder / "torn.db"
    whole = bytearray(bench.store.read_bytes())
    whole[(page - 1) * 4096 : page * 4096] = bytes(4096)
    store.write_bytes(whole)
    error = bench.fails("verify", "--store", store)
    assert f"{store} is damaged" in error
    bench.check_unchanged()


def test_a_folder_as_store(bench: Bench) -> None:
    store = bench.folder / "folder"
    store.mkdir()
    for words in EVERY:
        assert f"{store} is a folder" in bench.fails(*words, "--store", store)
    assert sorted(path.name for path in bench.folder.iterdir() if "folder" in path.name) == [
        "folder"
    ]


@pytest.mark.parametrize("words", READING)
def test_a_store_that_is_not_there(bench: Bench, words: tuple[str, ...]) -> None:
    store = bench.folder / "none.db"
    assert f"there is no store at {store}" in bench.fails(*words, "--store", store)
    assert not store.exists()


def test_a_store_in_a_folder_that_is_not_there(bench: Bench) -> None:
    store = bench.folder / "none" / "s.db"
    error = bench.fails("append", "a", "hi", "--store", store)
    assert f"there is no folder {store.parent}" in error
    assert "hint: make it" in error


def test_a_second_writer_is_told_the_first(bench: Bench) -> None:
    async def hold() -> None:
        async with Replica.open(
            bench.store, now_ms=lambda: time.time_ns() // 1_000_000, random=os.urandom
        ):
            file = bench.folder / "good.jsonl"
            for words in (["append", "a", "hi"], ["import", str(file)]):
                error = await asyncio.to_thread(bench.fails, *words, "--store", bench.store)
                assert f"process {os.getpid()}" in error
            for reading in (["verify"], ["contexts"], ["export"], ["view", "acme/one"]):
                reading += ["--store", str(bench.store)]
                assert await asyncio.to_thread(main, reading) == 0

    asyncio.run(hold())
    bench.check_unchanged()


@contextmanager
def _without_privileges() -> Iterator[None]:
    """Root may write anywhere, so tests of rights run as nobody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def readonly_folder(bench: Bench) -> Iterator[Path]:
    # Everything is imported before the rights are gone: Python may lie where nobody can read it.
    for words in EVERY:
        bench.fails(*words, "--store", bench.folder)
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_new_store_in_a_folder_that_is_read_only(bench: Bench, readonly_folder: Path) -> None:
    store = readonly_folder / "s.db"
    with _without_privileges():
        error = bench.fails("append", "a", "hi", "--store", store)
    assert str(store) in error
    assert "rights of the folder" in error
    assert list(readonly_folder.iterdir()) == []


def test_a_store_in_a_folder_that_is_read_only(bench: Bench, readonly_folder: Path) -> None:
    store = readonly_folder / "s.db"
    shutil.copy(bench.store, store)
    store.chmod(0o444)
    with _without_privileges():
        for words in EVERY:
            error = bench.fails(*words, "--store", store)
            assert f"the folder of {store} may not be written" in error
    assert [path.name for path in readonly_folder.iterdir()] == ["s.db"]


def test_a_store_that_may_not_be_read(bench: Bench) -> None:
    for words in EVERY:
        bench.fails(*words, "--store", bench.folder)
    folder = Path(tempfile.mkdtemp())
    store = folder / "s.db"
    shutil.copy(bench.store, store)
    folder.chmod(0o755)
    store.chmod(0o000)
    with _without_privileges():
        for words in EVERY:
            assert f"{store} may not be read" in bench.fails(*words, "--store", store)
    shutil.rmtree(folder)


# ---- other words ----------------------------------------------------------------------------


def test_an_export_over_its_own_store(bench: Bench) -> None:
    error = bench.fails("export", "--store", bench.store, "--output", bench.store)
    assert "is the store itself" in error
    bench.check_unchanged()


def test_an_export_to_nowhere(bench: Bench) -> None:
    target = bench.folder / "none" / "out.jsonl"
    assert f"{target} can't be written" in bench.fails(
        "export", "--store", bench.store, "--output", target
    )
    bench.check_unchanged()


def test_an_export_that_fails_leaves_what_was_there(bench: Bench) -> None:
    target = bench.folder / "out.jsonl"
    target.write_text("before")
    bench.fails("export", "--store", bench.folder / "none.db", "--output", target)
    assert target.read_text() == "before"
    assert not [path for path in bench.folder.iterdir() if path.name.startswith(".out")]


def test_a_view_that_can_not_fit(bench: Bench) -> None:
    error = bench.fails(
        "view", "acme/one", "--store", bench.store, "--budget", "4", "--reserve", "3"
    )
    assert "tokens" in error
    bench.check_unchanged()


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["view", "a", "--store", "s.db", "--budget", "-5"],
        ["history", "a", "--store", "s.db", "--limit", "0"],
        ["token", "--key", "k", "--expires", "soon"],
        ["append", "a", "--store", "s.db"],
        ["contexts"],
    ],
)
def test_a_wrong_command_line_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: weft" in capsys.readouterr().err

"""``weft compact`` and ``weft summaries``, as a user runs them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line import conversation, record_set, weft
from tests.stores import folder

PROGRAM = f"{sys.executable} -c"


@pytest.fixture
def store() -> Iterator[Path]:
    with folder() as found:
        store = found / "a.db"
        said = [f"{who} {n}" for n in range(4) for who in ("question", "answer")]
        (found / "file.jsonl").write_text(conversation("talk", *said) + "\n")
        done = weft("import", found / "file.jsonl", "--store", store)
        assert done.code == 0, done.err
        yield store


def name_of(store: Path) -> str:
    (line,) = weft("contexts", "--store", store, "--json").lines()
    name = line["context"]
    assert isinstance(name, str)
    return name


def test_a_program_writes_the_summary(store: Path) -> None:
    name = name_of(store)
    program = f"{PROGRAM} \"import sys; print('about', len(sys.stdin.read().split()), 'words')\""
    done = weft(
        "compact", name, "--store", store, "--keep", "0", "--command", program, "--by", "me"
    )
    assert done.code == 0, done.err
    (info,) = weft("summaries", name, "--store", store, "--json").lines()
    assert done.out.strip() == info["id"]
    assert info["text"] == "about 18 words\n"
    assert (info["state"], info["count"], info["late"], info["by"]) == ("stands", 6, 0, "me")
    shown = weft("summaries", name, "--store", store)
    assert "stands · 6 messages · me" in shown.out
    again = weft("compact", name, "--store", store, "--keep", "0", "--command", program)
    assert (again.code, again.out.strip()) == (0, "nothing to compact")


def test_the_next_one_gets_the_summary_so_far(store: Path) -> None:
    name = name_of(store)
    done = weft("compact", name, "--store", store, "--keep", "0", "--summary", "-", stdin=b"so far")
    assert done.code == 0, done.err
    for text, role in (("and now?", "user"), ("now this", "assistant"), ("next", "user")):
        assert weft("append", name, text, "--role", role, "--store", store).code == 0
    program = f'{PROGRAM} "import sys; sys.stdout.write(sys.stdin.read())"'
    done = weft("compact", name, "--store", store, "--keep", "0", "--command", program, "--json")
    assert done.code == 0, done.err
    lines = weft("summaries", name, "--store", store, "--json").lines()
    assert [line["state"] for line in lines] == ["beaten", "stands"]
    assert lines[1]["id"] == done.json()["id"]
    assert lines[1]["text"].startswith("[summary so far]\nso far\n\nuser: question 3\n\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--command", f'{PROGRAM} "raise SystemExit(3)"'], "ended with 3"),
        (["--command", f'{PROGRAM} ""'], "empty text"),
        (["--command", "no-such-program-here"], "can't be run"),
        (["--command", " "], "is empty"),
        (["--command", "'open"], "can't be read"),
        (
            ["--command", f"{PROGRAM} \"import sys; sys.stdout.buffer.write(b'\\\\xff')\""],
            "no UTF-8",
        ),
        (["--summary", "-"], "empty text"),
        (["--summary", "no/such/file"], "no file"),
    ],
)
def test_what_gives_no_summary_records_nothing(store: Path, words: list[str], told: str) -> None:
    name, before = name_of(store), record_set(store)
    done = weft("compact", name, "--store", store, "--keep", "0", *words)
    assert done.code == 1
    assert told in done.err
    assert record_set(store) == before


def test_there_must_be_a_store_and_a_context(store: Path) -> None:
    elsewhere = store.with_name("none.db")
    for command in (["compact", "x", "--summary", "-"], ["summaries", "x"]):
        done = weft(*command, "--store", elsewhere, stdin=b"text")
        assert done.code == 1
        assert not elsewhere.exists()
        done = weft(*command, "--store", store, stdin=b"text")
        assert done.code == 1
        assert "no context" in done.err
    assert json.loads(weft("contexts", "--store", store, "--json").out)

"""Branches on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command_line import Run, conversation
from weft_server.cli import main


class Here:
    def __init__(self, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.store = store
        self._capsys = capsys

    def __call__(self, *words: str) -> Run:
        self._capsys.readouterr()
        code = main([*words, "--store", str(self.store)])
        shown = self._capsys.readouterr()
        return Run(code, shown.out, shown.err)


@pytest.fixture
def here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Here:
    file = tmp_path / "in.jsonl"
    lines = (conversation("zoo", "hello", "hi", "bye"), conversation("other", "x"))
    file.write_text("".join(f"{line}\n" for line in lines))
    assert main(["import", str(file), "--store", str(tmp_path / "s.db")]) == 0
    return Here(tmp_path / "s.db", capsys)


def said(run: Run) -> list[str]:
    return [line["event"]["parts"][0]["text"] for line in run.lines()]


def test_from_beginning_one_to_exporting_it(here: Here) -> None:
    none = here("branches", "zoo")
    assert (none.code, none.out) == (0, "")
    assert "no branches" in none.err
    last = here("history", "zoo", "--json").lines()[-1]["id"]
    id_ = here("branch", "zoo", "again", "--before", last).out.strip()
    assert here("append", "zoo", "what else?", "--branch", "again").code == 0
    assert here("append", "zoo", "on main").code == 0
    assert said(here("history", "zoo", "--json", "--branch", id_)) == ["hello", "hi", "what else?"]
    assert said(here("history", "zoo", "--json")) == ["hello", "hi", "bye", "on main"]
    view = here("view", "zoo", "--branch", "again", "--json").json()
    assert [message["content"] for message in view["messages"]] == ["hello", "hi", "what else?"]
    (exported,) = here("export", "--branch", "again").lines()
    assert exported["id"] == "zoo"
    assert len(exported["messages"]) == 3
    (line,) = here("branches", "zoo", "--json").lines()
    assert (line["id"], line["name"], line["parent"]) == (id_, "again", None)
    assert (line["messages"], line["closed"]) == (1, None)
    assert f"{id_}  again" in here("branches", "zoo").out


def test_names_and_ids(here: Here) -> None:
    first = here("branch", "zoo", "again").out.strip()
    second = here("branch", "zoo", "again", "--branch", first).out.strip()
    told = here("history", "zoo", "--branch", "again")
    assert told.code == 1
    assert first in told.err
    assert second in told.err
    assert here("history", "zoo", "--branch", second).code == 0
    assert "of again" in here("branches", "zoo").out
    for words in (
        ("history", "zoo", "--branch", "nobody"),
        ("branch", "nowhere", "x"),
        ("branch", "zoo", "x", "--after", "nonsense"),
        ("branches", "nowhere"),
    ):
        wrong = here(*words)
        assert wrong.code == 1, words
        assert "hint: " in wrong.err


def test_what_is_said_about_a_branch(here: Here) -> None:
    last = here("history", "zoo", "--json").lines()[-1]["id"]
    branch = here("branch", "zoo", "again").out.strip()
    assert here("append", "zoo", "more", "--branch", "again").code == 0
    assert here("fact", "zoo", "city", "Lima", "--branch", "again").code == 0
    assert here("facts", "zoo").out == ""
    assert "city" in here("facts", "zoo", "--branch", branch).out
    pin = here("pin", "zoo", last, "--branch", "again").out.strip()
    assert here("pin", "zoo", last).out.strip() != pin
    assert here("hide", "zoo", last, "--branch", "again").code == 0
    assert here("revoke", "zoo", pin).code == 1, "it is on the branch"
    assert here("revoke", "zoo", pin, "--branch", "again").code == 0
    note = here.store.with_name("summary.txt")
    note.write_text("short")
    made = here("compact", "zoo", "--summary", str(note), "--keep", "0", "--branch", "again")
    assert made.code == 0, made.err
    assert here("summaries", "zoo").out == ""
    assert "short" in here("summaries", "zoo", "--branch", "again").out
    assert here("search", "more", "--context", "zoo", "--branch", "again", "--json").lines()
    assert here("append", "zoo", "more still").code == 0
    assert len(here("search", "more", "--context", "zoo", "--json").lines()) == 2
    (hit,) = here("search", "more", "--context", "zoo", "--branch", branch, "--json").lines()
    assert hit["branch"] == branch
    assert "--context" in here("search", "more", "--branch", branch).err
    assert here("revoke", "zoo", branch).code == 0
    assert here("branches", "zoo", "--json").json()["revoked"] is True
    assert ", revoked" in here("branches", "zoo").out

"""``weft fact``, ``weft facts``, ``weft pin``, ``weft hide``, ``weft revoke``, as a user meets
them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from weft_server.cli import main


class Here:
    def __init__(self, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.store = store
        self._capsys = capsys

    def weft(self, command: str, *words: str, code: int = 0) -> str:
        """What `weft` says of the context ``c``: its result, or its remarks if it fails."""
        assert main([command, "c", *words, "--store", str(self.store)]) == code
        told = self._capsys.readouterr()
        return (told.err if code else told.out).strip()

    def json(self, command: str, *words: str) -> Any:
        return json.loads(self.weft(command, *words, "--json"))


@pytest.fixture
def here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(tmp_path / "s.db", capsys)


def test_facts_are_said_and_shown(here: Here) -> None:
    first = here.weft("fact", "user.city", "Lima", "--crit", "important")
    here.weft("fact", "tags", "--value", '["b", {"a": 1.5}]', "--rule", "union")
    assert here.weft("facts").splitlines() == [
        'tags: ["b", {"a": 1.5}]',
        'user.city: "Lima"  (important)',
    ]
    second = here.json("fact", "user.city", "Quito\n\x1b[1m", "--expires", "5")["id"]
    lines = [json.loads(line) for line in here.weft("facts", "--json").splitlines()]
    assert lines[1]["value"] == "Quito\n\x1b[1m"
    assert (lines[1]["ids"], lines[1]["expires"], lines[1]["rule"]) == ([second], 5, "last")
    assert "\x1b" not in here.weft("facts")
    here.weft("revoke", second, "--reason", "wrong")
    assert '"Lima"' in here.weft("facts")
    assert first in here.weft("facts", "--json")
    here.weft("fact", "user.city", "--forget")
    assert "Lima" not in here.weft("facts")
    assert here.json("fact", "user.city", "--forget")["id"] is None


def test_facts_that_make_no_sense(here: Here) -> None:
    assert "no JSON" in here.weft("fact", "a", "--value", "{", code=1)
    assert "--forget" in here.weft("fact", "a", "--value", "null", code=1)
    assert "vote" in here.weft("fact", "a", "x", "--rule", "vote", code=1)
    assert "crit" in here.weft("fact", "a", "x", "--crit", "much", code=1)
    here.weft("fact", "a", "x")
    assert main(["facts", "nowhere", "--store", str(here.store)]) == 1


def test_messages_are_pinned_and_hidden_and_let_go(here: Here) -> None:
    said = here.json("append", "hello")["id"]
    for command in ("pin", "hide"):
        mark = here.weft(command, said)
        assert here.json(command, said)["ids"] == [mark]
        assert len(here.json(command, said, "--undo")["ids"]) == 1
        assert here.json(command, said, "--undo")["ids"] == []
        assert "no event" in here.weft(command, "nonsense", code=1)
    assert "hide it" in here.weft("revoke", said, code=1)

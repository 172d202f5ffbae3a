"""What views use, on the command line: ``weft configure`` and ``weft view --policy``."""

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
    file.write_text(conversation("zoo", *(f"message {n}" for n in range(20))))
    assert main(["import", str(file), "--store", str(tmp_path / "s.db")]) == 0
    return Here(tmp_path / "s.db", capsys)


def test_settings_are_set_shown_and_used(here: Here) -> None:
    usual = here("configure", "zoo", "--json").json()
    assert (usual["budget"], usual["reserved"], usual["changed"]) == (8000, 1000, False)
    words = ("--budget", "900", "--policy", 'last_n:{"limit":4}', "--trigger", "0.5")
    changed = here("configure", "zoo", *words, "--format", "anthropic", "--json").json()
    assert changed == {
        "budget": 900,
        "reserved": 112,
        "policy": 'last_n:{"limit":4}',
        "format": "anthropic",
        "tokenizer": "o200k_base",
        "trigger": 0.5,
        "changed": True,
    }
    again = here("configure", "zoo", *words)
    assert again.code == 0
    assert "nothing was written" in again.err
    view = here("view", "zoo", "--json").json()
    assert len(view["messages"]["messages"]) <= 4
    assert view["receipt"]["spec"]["budget"] == 900


def test_a_view_by_another_policy(here: Here) -> None:
    def spec(policy: str) -> object:
        view = here("view", "zoo", "--policy", policy, "--json").json()
        return view["receipt"]["spec"]["policy"]

    assert spec("summarize") == {"name": "summarize", "version": 1, "config": {}}
    assert spec("last_n") == {"name": "last_n", "version": 1, "config": {"limit": 400}}
    assert spec('skip_parts:{"limit":7}') == {
        "name": "skip_parts",
        "version": 1,
        "config": {"limit": 7, "skip_kinds": ["reasoning", "tool"]},
    }
    assert spec('decay:{"half_life_ms":5}') == {
        "name": "decay",
        "version": 1,
        "config": {"half_life_ms": 5},
    }


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("nope", "no view policy 'nope'"),
        ("last_n:7", "JSON object, not '7'"),
        ("last_n:{", "JSON object, not '{'"),
        ('last_n:{"limit":0}', "1 or more, not 0"),
        ('manual:{"limit":4}', "manual takes no settings"),
        ("decay", "half_life_ms"),
    ],
)
def test_wrong_policies(here: Here, policy: str, said: str) -> None:
    for command in ("view", "configure"):
        failed = here(command, "zoo", "--policy", policy)
        assert (failed.code, failed.out) == (1, "")
        assert said in failed.err


def test_nothing_is_made_to_show_settings(here: Here, tmp_path: Path) -> None:
    assert here("configure", "elsewhere").code == 1
    missing = tmp_path / "missing.db"
    assert main(["configure", "zoo", "--store", str(missing)]) == 1
    assert not missing.exists()

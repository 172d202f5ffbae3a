"""Every example runs, with nothing but the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ten_lines.py", "That was 'What do I like?', number 3 of yours."),
        ("tool_calls.py", "241"),
        ("streaming.py", "assistant: Rye bread, always."),
        ("long_chat.py", "taken back: True"),
        ("together.py", "not saved yet: 0 messages, at the second"),
    ],
)
def test_an_example_runs_and_says_what_it_should(name: str, words: str) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert words in run.stdout


def test_every_example_is_run_by_this_test() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "ten_lines.py",
        "tool_calls.py",
        "streaming.py",
        "long_chat.py",
        "together.py",
    }

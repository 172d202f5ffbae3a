"""Running the command `weft` as a user does, and looking at a store as nobody should."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WEFT = (sys.executable, "-c", "import sys; from weft_server.cli import main; sys.exit(main())")
TRANSCRIPTS = Path(__file__).parents[2] / "shared/data/agent-transcripts.jsonl"


@dataclass(frozen=True)
class Run:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def weft(*words: str | Path, stdin: bytes = b"") -> Run:
    """`weft` with these words, as a process of its own."""
    done = subprocess.run([*WEFT, *map(str, words)], input=stdin, capture_output=True, timeout=60)
    return Run(done.returncode, done.stdout.decode(), done.stderr.decode())


def conversation(name: str, *said: str) -> str:
    """A line of a file to import: the user and the assistant in turns."""
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(said)]
    return json.dumps({"id": name, "messages": messages})


@contextmanager
def opened(store: Path) -> Iterator[sqlite3.Connection]:
    """The bare tables of a store; what is changed stays."""
    with closing(sqlite3.connect(store)) as connection, connection:
        yield connection


def record_set(store: Path) -> set[bytes]:
    with opened(store) as connection:
        return {row[0] for row in connection.execute("SELECT hash FROM records")}


@contextmanager
def main_of(store: Path) -> Iterator[sqlite3.Connection]:
    """As `opened`, each statement for itself."""
    with closing(sqlite3.connect(store, isolation_level=None)) as connection:
        yield connection

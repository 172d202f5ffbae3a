"""`weft append --stream` and `weft watch`: text that grows, seen by another process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line import WEFT, weft
from tests.stores import folder


@pytest.fixture
def store() -> Iterator[Path]:
    with folder() as found:
        yield found / "s.db"


def start(*words: str | Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*WEFT, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def heard(process: subprocess.Popen[bytes], words: bytes) -> bytes:
    """What it says up to these words, and what came with them."""
    assert process.stdout is not None
    said = b""
    while words not in said:
        more = os.read(process.stdout.fileno(), 4096)
        assert more, "it has ended"
        said += more
    return said


def texts(store: Path) -> list[str]:
    run = weft("history", "c", "--store", store, "--json")
    return ["".join(p["text"] for p in line["event"]["parts"]) for line in run.lines()]


def test_stdin_becomes_one_message(store: Path) -> None:
    run = weft(
        "append", "c", "--store", store, "--stream", "--role", "assistant", stdin="a\nbö\n".encode()
    )
    assert run.code == 0, run.err
    (line,) = weft("history", "c", "--store", store, "--json").lines()
    assert line["id"] == run.out.strip()
    assert line["event"]["parts"] == [{"text": "a\nbö\n", "type": "text"}]


@pytest.mark.parametrize(
    ("stdin", "kept", "words"), [(b"", [], "nothing came"), (b"ab\xff", [], "no UTF-8")]
)
def test_what_is_no_text_is_told(store: Path, stdin: bytes, kept: list[str], words: str) -> None:
    weft("append", "c", "first", "--store", store)
    run = weft("append", "c", "--store", store, "--stream", stdin=stdin)
    assert run.code == 1
    assert words in run.err
    assert texts(store) == ["first", *kept]


def test_a_watcher_sees_it_grow_and_an_interrupt_leaves_what_there_was(store: Path) -> None:
    weft("append", "c", "first", "--store", store)
    watcher = start("watch", "c", "--store", store, "--json", "--last", "1")
    assert watcher.stdout is not None
    assert json.loads(watcher.stdout.readline())["event"]["parts"][0]["text"] == "first"
    writer = start("append", "c", "--store", store, "--stream", "--role", "assistant")
    assert writer.stdin is not None
    heard = ""
    for piece in ("one ", "two ", "three"):
        writer.stdin.write(piece.encode())
        writer.stdin.flush()
        heard_before = len(heard)
        while len(heard) < heard_before + len(piece):
            heard += json.loads(watcher.stdout.readline())["text"]
    assert heard == "one two three"
    writer.send_signal(signal.SIGINT)
    assert writer.wait(timeout=20) == 130
    line = json.loads(watcher.stdout.readline())
    assert line["is_interrupted"]
    watcher.send_signal(signal.SIGINT)
    assert watcher.wait(timeout=20) == 130
    for process in (writer, watcher):
        process.communicate()
    assert texts(store) == ["first", "one two three"]


def test_people_read_the_rest_in_the_same_line(store: Path) -> None:
    weft("append", "c", "first", "--store", store)
    watcher = start("watch", "c", "--store", store, "--last", "1")
    shown = heard(watcher, b"first")
    writer = start("append", "c", "--store", store, "--stream", "--role", "assistant")
    assert writer.stdin is not None
    for piece in (b"one ", b"two ", b"three"):
        writer.stdin.write(piece)
        writer.stdin.flush()
        shown += heard(watcher, piece)
    writer.communicate(b" four", timeout=20)
    shown += heard(watcher, b" four\n")
    watcher.send_signal(signal.SIGINT)
    watcher.communicate(timeout=20)
    assert watcher.returncode == 130
    assert shown.decode().splitlines()[-1] == "one two three four"

"""`weft demo` from end to end, on the sample that ships."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from tests.command_line import TRANSCRIPTS, record_set, weft

SAMPLE = files("weft_server") / "samples" / "conversations.jsonl"


def some(folder: Path, count: int) -> Path:
    """A file with the first conversations of the sample."""
    path = folder / "some.jsonl"
    lines = SAMPLE.read_text(encoding="utf-8").splitlines()[:count]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_five_replicas_converge_and_it_is_shown_how(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    run = weft("demo", "--input", some(tmp_path, 3), "--keep", kept)
    assert run.code == 0, run.out + run.err
    *shown, last = run.out.splitlines()
    assert re.fullmatch(
        r"converged: 5 replicas, 3 contexts, [\d,]+ events, view fingerprint [0-9a-f]{64}", last
    )
    story = "\n".join(shown)
    for words in (
        "with no network",
        "The network breaks",
        "tool calls",
        "SIGKILL",
        "all it wrote is safe at us",
        "is up again",
        "The network is healed",
        "the regions hold the same after",
        "what both wrote",
        "its view",
    ):
        assert words in story
    # Before the heal the two sides of the cut differ.
    apart = re.findall(r"^ .*(?:eu|us, ap) +ha(?:s|ve) .* fingerprint ([0-9a-f]+)…", story, re.M)
    assert len(set(apart)) == 2
    # The stores that were kept say the same as the last line.
    regions = [kept / name / "store" / "relay.db" for name in ("eu", "us", "ap")]
    stores = [kept / "laptop.db", kept / "phone.db", *regions]
    first, *others = [record_set(store) for store in stores]
    assert all(one == first for one in others)
    assert weft("verify", "--store", regions[2]).code == 0


def test_it_ends_its_processes_when_it_is_told_to_end(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "weft_server", "demo", "--input", str(some(tmp_path, 3))]
    demo = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
    )
    assert demo.stdout is not None
    region_pids: list[int] = []
    for line in demo.stdout:
        if found := re.search(r"listens on .* process (\d+)", line):
            region_pids.append(int(found[1]))
            if len(region_pids) == 3:
                demo.send_signal(signal.SIGTERM)
                break
    _, errors = demo.communicate(timeout=20)
    assert demo.returncode == 128 + signal.SIGTERM, errors
    assert "Traceback" not in errors
    assert len(region_pids) == 3
    assert not any(Path(f"/proc/{pid}").exists() for pid in region_pids)
    assert not list(tmp_path.glob("weft-demo-*"))


def test_an_input_that_is_not_there_is_named(tmp_path: Path) -> None:
    run = weft("demo", "--input", tmp_path / "missing.jsonl")
    assert run.code == 1
    assert "missing.jsonl" in run.err


def test_a_bad_input_fails_with_its_reason(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"id": "a", "messages": [{"content": "no role"}]}\n')
    run = weft("demo", "--input", bad)
    assert run.code == 1
    assert "role" in run.err
    assert "Traceback" not in run.err


def test_the_sample_is_our_own_and_imports(tmp_path: Path) -> None:
    run = weft("import", str(SAMPLE), "--store", tmp_path / "a.db", "--json")
    assert run.code == 0
    said = run.json()
    assert said["conversations"] == 12
    if TRANSCRIPTS.exists():
        real = TRANSCRIPTS.read_text(encoding="utf-8")
        assert not set(SAMPLE.read_text(encoding="utf-8").splitlines()) & set(real.splitlines())

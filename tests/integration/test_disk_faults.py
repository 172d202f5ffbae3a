"""Full, read-only and dying disks: `tests/integration/faulty_disk.py` in a process of its own, with
a library between it and the disk that lets calls fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores import folder

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler for the faults"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the faults are for Linux"),
]


@pytest.fixture(scope="module")
def library() -> Iterator[Path]:
    with folder() as place:
        built = place / "diskfault.so"
        source = Path(__file__).with_name("diskfault.c")
        subprocess.run(
            ["cc", "-Wall", "-shared", "-fPIC", "-o", built, source, "-ldl", "-pthread"], check=True
        )
        yield built


def tell(library: Path, story: str, *numbers: int) -> str:
    with folder() as place:
        words = [library, place, story, *numbers]
        done = subprocess.run(
            [
                sys.executable,
                "-W",
                "error",
                "-m",
                "tests.integration.faulty_disk",
                *map(str, words),
            ],
            cwd=ROOT,
            env={**os.environ, "LD_PRELOAD": str(library)},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def test_some_calls_fail(library: Path) -> None:
    assert tell(library, "every_call", 97, 500).count(" runs\n") > 10


@pytest.mark.deep
def test_every_call_fails(library: Path) -> None:
    tell(library, "every_call", 1, 500)


@pytest.mark.deep
def test_calls_fail_while_the_log_is_checkpointed(library: Path) -> None:
    tell(library, "every_call", 701, 400_000)


@pytest.mark.parametrize("story", ["in_the_background", "on_a_readonly_disk", "while_reading"])
def test_a_disk_that_fails(library: Path, story: str) -> None:
    tell(library, story)

"""The simulated disk, told by hand what the preloaded library would tell it."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation import disk
from tests.simulation.disk import Disk, _Change, _File

ROOT = Path(__file__).parents[2]


def written(path: Path, before: bytes, *writes: tuple[int, bytes]) -> tuple[Disk, _File]:
    """A file of `before`, synced, and then these writes, not synced."""
    path.write_bytes(before)
    file = _File(str(path), len(before))
    place = Disk(str(path.parent), names={str(path): file})
    content = bytearray(before)
    for at, new in writes:
        old = bytes(content[at : at + len(new)])
        file.changes.append(_Change(at, new, old, len(content)))
        content.extend(bytes(max(0, at + len(new) - len(content))))
        content[at : at + len(new)] = new
    path.write_bytes(content)
    return place, file


def test_what_was_synced_is_there_after_any_power_loss(tmp_path: Path) -> None:
    place, file = written(tmp_path / "a", b"old" * 400, (0, b"new" * 400))
    file.changes.clear()  # a sync
    for seed in range(50):
        assert place.after_power_loss(random.Random(seed)) == {"a": b"new" * 400}


def test_what_was_not_synced_is_there_lost_or_torn_in_sectors(tmp_path: Path) -> None:
    place, _ = written(tmp_path / "a", b"o" * 2048, (0, b"n" * 2048))
    found = {place.after_power_loss(random.Random(seed))["a"] for seed in range(200)}
    assert b"o" * 2048 in found
    assert b"n" * 2048 in found
    for data in found:
        assert {data[at : at + 512] for at in range(0, 2048, 512)} <= {b"o" * 512, b"n" * 512}
    assert len(found) > 4


def test_writes_are_lost_one_without_the_other(tmp_path: Path) -> None:
    place, _ = written(tmp_path / "a", b"", (0, b"1" * 512), (512, b"2" * 512))
    found = {place.after_power_loss(random.Random(seed))["a"] for seed in range(200)}
    assert {b"", b"1" * 512, b"1" * 512 + b"2" * 512, bytes(512) + b"2" * 512} <= found


def test_nothing_after_the_cut_is_there(tmp_path: Path) -> None:
    place, file = written(tmp_path / "a", b"old", (0, b"new"), (3, b"later"))
    place.cut, file.cut = 0, 1
    assert place.after_kill() == {"a": b"new"}
    found = {place.after_power_loss(random.Random(seed))["a"] for seed in range(50)}
    assert found == {b"old", b"new"}


def test_a_name_that_was_not_synced_may_be_gone_and_a_removed_one_may_be_back(
    tmp_path: Path,
) -> None:
    place, file = written(tmp_path / "a", b"data")
    file.last = b"data"
    place.name(str(tmp_path / "b"), file)
    place.name(str(tmp_path / "a"), None)
    found = {frozenset(place.after_power_loss(random.Random(seed))) for seed in range(50)}
    assert found == {frozenset("a"), frozenset("ab"), frozenset("b")}
    place.namings.clear()  # a sync of the folder
    assert set(place.after_power_loss(random.Random(1))) == {"b"}


@pytest.mark.skipif(disk.build() is None, reason="needs a C compiler for the disk library")
def test_the_library_tells_of_what_sqlite_does(tmp_path: Path) -> None:
    program = Path(__file__).with_name("disk_probe.py")
    done = subprocess.run(
        [sys.executable, "-m", f"tests.simulation.{program.stem}", str(tmp_path)],
        cwd=ROOT,
        env={"LD_PRELOAD": str(disk.build())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["FULL", "kept", "NORMAL", "lost", "full"]

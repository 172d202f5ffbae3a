"""Run with the disk library by test_disk.py: what a commit leaves behind, and a full disk."""

from __future__ import annotations

import random
import sqlite3
import sys
from pathlib import Path

from tests.simulation.disk import Disks


def main(root: Path) -> None:
    disks = Disks.find(root)
    assert disks is not None
    for mode in ("FULL", "NORMAL"):
        folder = root / mode
        folder.mkdir()
        place = disks.disk(folder)
        path = folder / "a.db"
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {mode}")
        connection.execute("CREATE TABLE t (x)")
        connection.execute("PRAGMA wal_checkpoint")
        for number in range(20):
            connection.execute("INSERT INTO t VALUES (?)", (number,))
        counts = set()
        for seed in range(20):
            disks.paused = True
            copy = root / f"{mode}-{seed}"
            copy.mkdir()
            for name, data in place.after_power_loss(random.Random(seed)).items():
                (copy / name).write_bytes(data)
            after = sqlite3.connect(copy / "a.db")
            counts.add(after.execute("SELECT count(*) FROM t").fetchone()[0])
            after.close()
            disks.paused = False
        print(mode, "kept" if counts == {20} else "lost")
        if mode == "NORMAL":
            place.is_full = True
            try:
                connection.execute("INSERT INTO t VALUES (?)", (bytes(100_000),))
            except sqlite3.OperationalError as error:
                print("full" if "full" in str(error) else error)
        connection.close()
    assert not disks.faults, disks.faults
    disks.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

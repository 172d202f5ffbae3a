"""What file systems say of files, made up: inode numbers, times of change and real paths.

Stands in for the module `os` where a store asks which file it is (`storage.identity`,
`storage.lease`), so that a history depends on no number that the machine it runs on gives out, and
can copy a whole disk: a file that nothing can tell from the one it was made of.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Inode:
    """As in `os.stat_result`."""

    st_ino: int
    st_ctime_ns: int


class FileTable:
    """Use it as the module `os`."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[Inode, int]] = {}
        """By device and number of the file that is really there, with its real time of change."""
        self._made = 0
        self.places: dict[str, str] = {}
        """Folder of a machine -> where that machine sees it."""
        self.path = self

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def stat(self, path: Path) -> Inode:
        return self._of(os.stat(path))

    def fstat(self, descriptor: int) -> Inode:
        return self._of(os.fstat(descriptor))

    def realpath(self, path: Path) -> str:
        return f"{self.places.get(str(path.parent), path.parent)}/{path.name}"

    def give(self, path: Path, inode: Inode | None) -> None:
        """A file was just written: it is `inode`, or (None) one that was never there before."""
        found = os.stat(path)
        self._known[found.st_dev, found.st_ino] = inode or self._fresh(), found.st_ctime_ns

    def _of(self, found: os.stat_result) -> Inode:
        key = found.st_dev, found.st_ino
        known = self._known.get(key)
        if known is None:
            inode = self._fresh()
        elif known[1] != found.st_ctime_ns:
            inode = Inode(known[0].st_ino, self._fresh().st_ctime_ns)
        else:
            return known[0]
        self._known[key] = inode, found.st_ctime_ns
        return inode

    def _fresh(self) -> Inode:
        self._made += 1
        return Inode(100_000 + self._made, 1_600_000_000_000_000_000 + self._made)

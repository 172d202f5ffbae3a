"""Disks that lose power: what was synced is there, what was only written may be there or not.

A library that is preloaded (disk.c) tells of every operation on the files below one folder before
it happens. From these follows each state that a power loss may leave: every write since the last
sync of its file is there, is lost, or is torn in sectors of 512 bytes, and of the names that were
made or removed since the last sync of the folder some are. SQLite's ``-shm`` is left out: it is
memory, and made anew.

Without a compiler, or where the library was not preloaded, there are no such faults: `Disks.find`
gives None, and a crash keeps the files as they were written.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import blake2b
from pathlib import Path
from tempfile import gettempdir
from typing import Final

_SOURCE: Final = Path(__file__).with_name("disk.c")
_SECTOR: Final = 512
_WATCHER: Final = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_void_p,
    ctypes.c_long,
    ctypes.c_long,
)


class What(IntEnum):
    """As in disk.c."""

    OPENED = 0
    CLOSED = 1
    WRITE = 2
    TRUNCATE = 3
    SYNC = 4
    UNLINK = 5
    LINK = 6
    RENAME = 7


def build() -> Path | None:
    """The library, built if it is not there yet; None where that can't be done."""
    if not sys.platform.startswith("linux") or shutil.which("cc") is None:
        return None
    digest = blake2b(_SOURCE.read_bytes(), digest_size=8).hexdigest()
    library = Path(gettempdir()) / f"weft-disk-{os.getuid()}-{digest}.so"
    if not library.exists():
        draft = library.with_suffix(f".{os.getpid()}")
        subprocess.run(
            ["cc", "-O2", "-shared", "-fPIC", "-o", str(draft), str(_SOURCE), "-ldl"], check=True
        )
        draft.rename(library)
    return library


@dataclass(slots=True, eq=False)
class _Change:
    """Of a file's bytes: a write of `new` over `old` at `at`; `old` ends where the file ended."""

    at: int
    new: bytes | None
    """None: the file was cut or grown to the size `at`."""
    old: bytes
    old_size: int


@dataclass(slots=True, eq=False)
class _File:
    path: str
    size: int
    changes: list[_Change] = field(default_factory=list)
    """Since the last sync."""
    cut: int | None = None
    """How many of them were made before the power failed."""
    last: bytes | None = None
    """Its bytes, once it has no name any more."""


@dataclass(slots=True, eq=False)
class _Naming:
    path: str
    before: _File | None
    after: _File | None


@dataclass(slots=True, eq=False)
class Disk:
    """One machine's folder."""

    folder: str
    is_full: bool = False
    was_full: bool = False
    """Since the process began: what failed then may only be told later."""
    lies: bool = False
    """Says that it has synced and has not."""
    failed: Callable[[], None] = lambda: None
    """Called when the power fails in the middle of something (`fail_in`)."""
    names: dict[str, _File] = field(default_factory=dict)
    namings: list[_Naming] = field(default_factory=list)
    cut: int | None = None
    countdown: int | None = None
    unsynced: int = 0
    """Changes that the last power loss could decide about."""

    @property
    def is_off(self) -> bool:
        return self.cut is not None

    def fail_in(self, operations: int) -> None:
        """After so many more operations nothing reaches this disk any more."""
        self.countdown = operations

    def count(self) -> None:
        if self.countdown is not None and self.cut is None:
            self.countdown -= 1
            if self.countdown <= 0:
                self.cut = len(self.namings)
                for file in self.files():
                    file.cut = len(file.changes)
                self.failed()

    def files(self) -> list[_File]:
        found = dict.fromkeys(self.names.values())
        for naming in self.namings:
            for file in (naming.before, naming.after):
                if file is not None:
                    found[file] = None
        return list(found)

    def name(self, path: str, file: _File | None) -> None:
        self.namings.append(_Naming(path, self.names.get(path), file))
        if file is None:
            del self.names[path]
        else:
            self.names[path] = file

    def after_kill(self) -> dict[str, bytes]:
        """Name -> bytes: everything that was written before the end."""
        names, contents = self._at_the_cut()
        return {Path(path).name: bytes(contents[file]) for path, file in names.items()}

    def after_power_loss(self, rng: random.Random) -> dict[str, bytes]:
        """Name -> bytes, as a power loss may leave them."""
        names, contents = self._at_the_cut()
        namings = self.namings if self.cut is None else self.namings[: self.cut]
        for naming in reversed(namings[rng.randint(0, len(namings)) :]):
            _set(names, naming.path, naming.before)
        self.unsynced = len(namings)
        found = {}
        for path, file in names.items():
            changes = file.changes if file.cut is None else file.changes[: file.cut]
            self.unsynced += len(changes)
            found[Path(path).name] = bytes(_shuffled(rng, contents[file], changes))
        return found

    def forget(self) -> None:
        """The folder was written anew, and all of that is synced."""
        self.names.clear()
        self.namings.clear()
        self.cut = self.countdown = None

    def _at_the_cut(self) -> tuple[dict[str, _File], dict[_File, bytearray]]:
        contents: dict[_File, bytearray] = {}
        for file in self.files():
            data = file.last
            if data is None:
                data = Path(file.path).read_bytes()
            contents[file] = content = bytearray(data)
            if file.cut is not None:
                for change in reversed(file.changes[file.cut :]):
                    _undo(content, change)
        names = dict(self.names)
        if self.cut is not None:
            for naming in reversed(self.namings[self.cut :]):
                _set(names, naming.path, naming.before)
        return names, contents


class Disks:
    """The watched folder, with a `Disk` for each folder in it."""

    def __init__(self, root: Path, library: ctypes.CDLL) -> None:
        self._root = f"{root}/"
        self._library = library
        self._disks: dict[str, Disk] = {}
        self._open: dict[int, tuple[Disk, _File | None]] = {}
        self.paused = False
        self.faults: list[BaseException] = []
        """What went wrong in here: the library can't be told."""
        self._watcher = _WATCHER(self._told)
        library.weft_disk_watch(self._root.encode(), self._watcher)

    @classmethod
    def find(cls, root: Path) -> Disks | None:
        """The disks of the folders in `root`, if this process runs with the library."""
        library = ctypes.CDLL(None)
        return cls(root, library) if hasattr(library, "weft_disk_watch") else None

    def disk(self, folder: Path) -> Disk:
        return self._disks.setdefault(str(folder), Disk(str(folder)))

    def close(self) -> None:
        self._library.weft_disk_watch(None, _WATCHER())

    # ---- told by the library ------------------------------------------------------------------

    def _told(
        self,
        what: int,
        fd: int,
        path: bytes | None,
        other: bytes | None,
        data: int | None,
        size: int,
        at: int,
    ) -> int:
        if what == What.CLOSED:
            self._open.pop(fd, None)
        if self.paused:
            return 0
        try:
            match what:
                case What.OPENED:
                    return self._opened(fd, os.fsdecode(path or b""), existed=bool(at))
                case What.WRITE | What.TRUNCATE | What.SYNC:
                    disk, file = self._open.get(fd, (None, None))
                    if disk is not None:
                        return self._changed(disk, file, What(what), fd, data, size, at)
                case What.UNLINK | What.LINK | What.RENAME:
                    self._named(What(what), os.fsdecode(path or b""), os.fsdecode(other or b""), at)
        except BaseException as error:  # noqa: BLE001 - C can't raise it
            self.faults.append(error)
        return 0

    def _opened(self, fd: int, path: str, *, existed: bool) -> int:
        self._open.pop(fd, None)
        if path in self._disks:
            self._open[fd] = (self._disks[path], None)
            return 0
        folder, _, name = path.rpartition("/")
        disk = self._disks.get(folder)
        if disk is None or name.endswith(("-shm", ".lock")):
            return 0
        file = disk.names.get(path)
        if file is None:
            if not existed and disk.is_full:
                return errno.ENOSPC
            file = _File(path, os.fstat(fd).st_size)
            if existed:
                disk.names[path] = file
            else:
                disk.name(path, file)
                disk.count()
        self._open[fd] = (disk, file)
        return 0

    def _changed(
        self,
        disk: Disk,
        file: _File | None,
        what: What,
        fd: int,
        data: int | None,
        size: int,
        at: int,
    ) -> int:
        if what is What.SYNC:
            if not disk.lies and not disk.is_off:
                if file is None:
                    disk.namings.clear()
                else:
                    file.changes.clear()
            disk.count()
            return 0
        if file is None:
            return 0
        if what is What.WRITE:
            if disk.is_full and at + size > file.size:
                return errno.ENOSPC
            old = self._read(fd, file, size, at)
            file.changes.append(_Change(at, ctypes.string_at(data or 0, size), old, file.size))
            file.size = max(file.size, at + size)
        else:
            if disk.is_full and size > file.size:
                return errno.ENOSPC
            old = self._read(fd, file, max(0, file.size - size), size)
            file.changes.append(_Change(size, None, old, file.size))
            file.size = size
        disk.count()
        return 0

    def _read(self, fd: int, file: _File, size: int, at: int) -> bytes:
        try:
            return os.pread(fd, size, at)
        except OSError:
            return Path(file.path).read_bytes()[at : at + size]  # it was opened for writing only

    def _named(self, what: What, path: str, other: str, existed: int) -> None:
        disk = self._disks.get((other or path).rpartition("/")[0])
        if disk is None:
            return
        file = disk.names.get(path)
        if file is None:
            return
        if what is What.UNLINK:
            if existed:
                if sum(named is file for named in disk.names.values()) == 1:
                    file.last = Path(path).read_bytes()
                else:
                    file.path = next(n for n, f in disk.names.items() if f is file and n != path)
                disk.name(path, None)
        elif what is What.LINK:
            if not existed:
                disk.name(other, file)
        else:
            replaced = disk.names.get(other)
            if replaced is not None:
                replaced.last = Path(other).read_bytes()
            disk.name(other, file)
            disk.name(path, None)
            file.path = other
        disk.count()


def _set(names: dict[str, _File], path: str, file: _File | None) -> None:
    if file is None:
        names.pop(path, None)
    else:
        names[path] = file


def _undo(content: bytearray, change: _Change) -> None:
    if change.new is None:
        if change.old_size <= len(content):
            del content[change.old_size :]
        else:
            content[change.at :] = change.old
    else:
        content[change.at : change.at + len(change.old)] = change.old
        del content[change.old_size :]


def _shuffled(rng: random.Random, content: bytearray, changes: list[_Change]) -> bytearray:
    """What is left of a file whose `changes`, which led to `content`, were not synced."""
    content = bytearray(content)
    for change in reversed(changes):
        _undo(content, change)
    # Half the time nothing but the sync made a difference: all of it is lost, or all is there.
    fate = rng.choice(("all", "none", "some", "some"))
    for change in changes:
        kept = fate == "all" or (fate == "some" and rng.random() < 0.6)
        torn = fate == "some" and rng.random() < 0.3
        if change.new is None:
            if kept:
                if change.at <= len(content):
                    del content[change.at :]
                else:
                    content.extend(bytes(change.at - len(content)))
            continue
        if not kept and not torn:
            continue
        end = change.at + len(change.new)
        if len(content) < end:
            content.extend(bytes(end - len(content)))
        at = change.at
        while at < end:
            until = min(end, (at // _SECTOR + 1) * _SECTOR)
            if kept or rng.random() < 0.5:
                content[at:until] = change.new[at - change.at : until - change.at]
            at = until
    return content

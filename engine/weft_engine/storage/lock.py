"""One writer for one file: an advisory lock beside the store, with the writer's process id."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from weft_engine.errors import StoreError, StoreLocked


class WriterLock:
    """Held from `acquire` to `release`; the system lets go of it when the process dies.

    The lock file stays: removing it would let two processes lock two files of one name.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._path = store.with_name(store.name + ".lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Raises StoreLocked, naming the process that holds it."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError as error:
            raise StoreError(
                f"there is no folder {self._path.parent} to make the store {self._store.name} in",
                hint="make it, or check the path",
            ) from error
        except OSError as error:
            raise StoreError(
                f"the lock file {self._path} can't be opened: {error}",
                hint="check the rights of the folder, or open with readonly=True",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held_by = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            pid = int(held_by) if held_by.isdigit() else None
            raise StoreLocked(
                f"the store {self._store} is being written by process {held_by or 'unknown'}",
                pid=pid,
            ) from None
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(descriptor)
            raise StoreError(
                f"the lock file {self._path} can't be written: {error}",
                hint="check the disk and its free space, or open with readonly=True",
            ) from error
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def writing_process(store: Path) -> int | None:
    """The id of the process that writes in the store (0 if it can't be told), None if none does.

    Looks by taking a shared lock for a moment; a writer that opens in that very moment is refused.
    """
    try:
        descriptor = os.open(store.with_name(store.name + ".lock"), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        held_by = os.read(descriptor, 32).decode("ascii", "replace").strip()
        return int(held_by) if held_by.isdigit() else 0
    finally:
        os.close(descriptor)
    return None

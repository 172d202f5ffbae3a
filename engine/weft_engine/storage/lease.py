"""The lease: a file beside the store that says its last close was clean, and nobody wrote since.

It is written at the end, and the store keeps what the file system says of it (`Lease`): inode and
time of change can't be given to a copy. So only the very file that was left counts, at the same
path, on the same machine, which has not been restarted. It is gone, durably, before the next record
is written: a store that was copied, restored or killed has no valid lease.

Must never know: SQL, what the lease allows.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from weft_engine.errors import StoreError
from weft_engine.storage.machine import Machine
from weft_engine.storage.syncing import sync_folder

LEASE_SUFFIX: Final = ".lease"
NONCE_BYTES: Final = 16
_BYTES_MAX: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Lease:
    """What a store keeps of its lease, to know it again. `inode` without the device, whose number
    may change from start to start; `changed_ns` is the file's ctime."""

    nonce: bytes
    inode: int
    changed_ns: int

    def __str__(self) -> str:
        return f"{self.nonce.hex()} {self.inode} {self.changed_ns}"

    @classmethod
    def of(cls, text: object) -> Self | None:
        """The lease in what `str` made; None if it is something else."""
        words = text.split(" ") if isinstance(text, str) else []
        try:
            nonce, inode, changed_ns = words
            return cls(bytes.fromhex(nonce), int(inode), int(changed_ns))
        except ValueError:
            return None


def write_lease(
    store: Path, machine: Machine, *, nonce: bytes, incarnation: bytes | None
) -> Lease | None:
    """Leave a lease beside the store, durably. None if there can be none: on a machine that does
    not know when it was started, or where the file can't be written. Then the next open takes the
    close for an unclean one, which costs a comparison and is never wrong."""
    if machine.boot is None:
        return None
    path = _path(store)
    try:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, _content(store, machine, nonce, incarnation))
            os.fsync(descriptor)
            found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(store.parent)
    except OSError:
        return None
    return Lease(nonce, found.st_ino, found.st_ctime_ns)


def is_valid(lease: Lease, store: Path, machine: Machine, *, incarnation: bytes | None) -> bool:
    """Whether the file that `lease` is about is there as it was left, and we are where it was."""
    if machine.boot is None:
        return False
    try:
        descriptor = os.open(_path(store), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        found = os.fstat(descriptor)
        content = os.read(descriptor, _BYTES_MAX)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return (
        (found.st_ino, found.st_ctime_ns) == (lease.inode, lease.changed_ns)
        and content == _content(store, machine, lease.nonce, incarnation)
    )  # fmt: skip


def consume(store: Path) -> None:
    """Make sure that there is no lease, durably. StoreError if that can't be done."""
    try:
        _path(store).unlink(missing_ok=True)
        sync_folder(store.parent)
    except OSError as error:
        raise StoreError(
            f"the lease of the store {store} can't be taken up: {error}",
            hint="check the rights of the folder; nothing was written",
        ) from error


def _path(store: Path) -> Path:
    return store.with_name(store.name + LEASE_SUFFIX)


def _content(store: Path, machine: Machine, nonce: bytes, incarnation: bytes | None) -> bytes:
    lines = (
        "weft lease 1",
        nonce.hex(),
        "" if incarnation is None else incarnation.hex(),
        machine.id,
        machine.boot or "",
        os.path.realpath(store),
    )
    return "\n".join(lines).encode(errors="surrogateescape")

"""Making files and names durable: what the operating system may still hold in memory only."""

from __future__ import annotations

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """The names in it, as they are now, outlive a power loss."""
    _sync(folder, os.O_RDONLY)


def sync_file(path: Path) -> None:
    """What is in it outlives a power loss."""
    _sync(path, os.O_RDWR)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

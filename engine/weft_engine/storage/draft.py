"""Files made beside their place and put there whole, under a name that nothing else has.

A crash leaves what was there before, and at most a draft, which nobody opens.
Must never know: what is in the files.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from weft_engine.errors import StoreError
from weft_engine.storage.schema import sync_folder

BESIDE: Final = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file while it is in use."""
DRAFT_SUFFIX: Final = ".new"
LEASE_SUFFIX: Final = ".lease"
_SAME_SECOND_MAX: Final = 100
_NO_ROOM: Final = "check that the folder exists, is writable and has room"


@contextmanager
def drafted(target: Path, token: bytes) -> Iterator[Path]:
    """An empty file beside `target`, readable by its owner only, gone afterwards with what SQLite
    left beside it. `token` makes its name unlike any other."""
    draft = target.with_name(f"{target.name}.{token.hex()}{DRAFT_SUFFIX}")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreError(f"{target} can't be made: {error}", hint=_NO_ROOM) from error
    try:
        yield draft
    finally:
        for path in (draft, *(beside(draft, suffix) for suffix in BESIDE)):
            path.unlink(missing_ok=True)


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def refuse_existing(target: Path) -> None:
    """StoreError if something has this name already: nothing is ever written over."""
    if os.path.lexists(target):
        raise StoreError(f"{target} exists already", hint="give another name; it was not changed")


def place(draft: Path, target: Path) -> None:
    """Give a finished draft the name `target`, durably; StoreError if something has it already.

    A link fails where a name is taken, a rename would write over it.
    """
    try:
        _sync_file(draft)
        os.link(draft, target)
        sync_folder(target.parent)
    except FileExistsError:
        refuse_existing(target)
        raise
    except OSError as error:
        raise StoreError(f"{target} can't be made: {error}", hint=_NO_ROOM) from error


def swap(draft: Path, store: Path, *, kept: Path) -> None:
    """Put a finished draft in the place of `store`, which stays as `kept` with its log.

    The caller holds the store's lock and has folded its log into it, or nothing can read the file
    at all. First the old file has both names, then one rename changes which file is the store: at
    every moment there is one, and it is whole. A log that a reader still holds open goes before,
    because SQLite would take it for the new file's.
    """
    try:
        _sync_file(draft)
        os.link(store, kept)
        log = beside(store, "-wal")
        if log.exists() and log.stat().st_size > 0:
            os.link(log, beside(kept, "-wal"))
        sync_folder(store.parent)
        for suffix in (*BESIDE, LEASE_SUFFIX):
            beside(store, suffix).unlink(missing_ok=True)
        os.rename(draft, store)
        sync_folder(store.parent)
    except OSError as error:
        if kept.exists() and store.exists() and kept.samefile(store):
            kept.unlink()
            beside(kept, "-wal").unlink(missing_ok=True)
        raise StoreError(
            f"{store} can't be replaced: {error}", hint="check the folder; the store is as it was"
        ) from error


def kept_name(store: Path, why: str, now_ms: int) -> Path:
    """What a file that is replaced is called from now on, such as ``s.db.damaged-20261121-140501``
    (UTC), with a number behind it if that is taken."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now_ms / 1000))
    kept = beside(store, f".{why}-{stamp}")
    for number in range(2, _SAME_SECOND_MAX):
        if not os.path.lexists(kept):
            break
        kept = beside(store, f".{why}-{stamp}-{number}")
    refuse_existing(kept)
    return kept


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

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
from weft_engine.storage.lease import LEASE_SUFFIX
from weft_engine.storage.syncing import sync_file, sync_folder

BESIDE: Final = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file while it is in use."""
DRAFT_SUFFIX: Final = ".new"
DAMAGED: Final = "damaged"
REPLACED: Final = "replaced"
"""Why a file was put aside: part of its name."""
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
    for suffix in ("-wal", "-journal"):
        # SQLite would take it for this file's and write what is in it over it.
        left = beside(target, suffix)
        if left.exists() and left.stat().st_size > 0:
            raise StoreError(
                f"{target} can't be made: beside it lies {left.name}, the log of a file that had"
                " this name",
                hint="what that file had committed last may be in it only: put both together again,"
                " or move it away",
            )
    try:
        sync_file(draft)
        os.link(draft, target)
        # Of a store that is no more. It would not count, as its own store alone knows it.
        beside(target, LEASE_SUFFIX).unlink(missing_ok=True)
        sync_folder(target.parent)
    except FileExistsError:
        refuse_existing(target)
        raise
    except OSError as error:
        raise StoreError(f"{target} can't be made: {error}", hint=_NO_ROOM) from error


def swap(draft: Path, store: Path, *, kept: Path) -> None:
    """Put a finished draft in the place of `store`, which stays as `kept` with its log.

    The caller holds the store's lock. First the old file has both names, then one rename changes
    which file is the store: at every moment there is one, and it is whole. A log that is left goes
    before, because SQLite would take it for the new file's. A crash in between leaves the old file
    under both names, and its log perhaps under the other one only: see `undo_unfinished`.
    """
    try:
        sync_file(draft)
        os.link(store, kept)
        log = beside(store, "-wal")
        if log.exists() and log.stat().st_size > 0:
            os.link(log, beside(kept, "-wal"))
        sync_folder(store.parent)
        for suffix in (*BESIDE, LEASE_SUFFIX):
            beside(store, suffix).unlink(missing_ok=True)
        # A power loss must not take the rename and leave a log of the old file.
        sync_folder(store.parent)
        os.rename(draft, store)
        sync_folder(store.parent)
    except OSError as error:
        failure = StoreError(
            f"{store} can't be replaced: {error}", hint="check the folder; the store is as it was"
        )
        try:
            _undo(store)
        except OSError as second:
            failure.add_note(f"{kept} may be a second name of it: {second}")
        raise failure from error


def second_names(store: Path) -> list[Path]:
    """The names beside `store` that are another name of this very file: a swap has ended between
    its steps."""
    if not store.is_file() or store.stat().st_nlink == 1:
        return []
    return [path for path in kept_files(store) if path.samefile(store)]


def undo_unfinished(store: Path) -> None:
    """Take back a swap that has ended between its steps: `store` is the old file with its log, and
    has one name again. The caller holds the store's lock. StoreError if that can't be done."""
    try:
        _undo(store)
    except OSError as error:
        raise StoreError(
            f"a replacement of {store} was interrupted and can't be taken back: {error}",
            hint="check the folder and its rights; the store is whole",
        ) from error


def _undo(store: Path) -> None:
    names = second_names(store)
    for kept in names:
        log, kept_log = beside(store, "-wal"), beside(kept, "-wal")
        if kept_log.exists() and not (log.exists() and log.samefile(kept_log)):
            # Whoever opens the file for reading makes an empty log.
            log.unlink(missing_ok=True)
            os.link(kept_log, log)
            sync_folder(store.parent)
        # As long as the file has this name, a crash here leads here again.
        kept_log.unlink(missing_ok=True)
        kept.unlink()
    if names:
        sync_folder(store.parent)


def kept_files(store: Path) -> list[Path]:
    """What was replaced beside `store` and kept, the oldest first of each kind."""
    pattern = "".join(f"[{char}]" if char in "*?[" else char for char in store.name)
    return sorted(
        path
        for why in (DAMAGED, REPLACED)
        for path in store.parent.glob(f"{pattern}.{why}-*")
        if path.is_file() and not path.name.endswith((*BESIDE, LEASE_SUFFIX, ".lock"))
    )


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

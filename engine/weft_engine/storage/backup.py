"""Backing a store up while it is in use, and making a store of a backup.

A backup is a store: it can be verified, read, opened and synced like any other. It has an identity
of its own and no private keys, so neither it nor what is restored from it can ever write on under
the original's name.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from weft_engine.errors import NotAStore, StoreError
from weft_engine.storage.copying import copy_store, source_uri
from weft_engine.storage.draft import (
    REPLACED,
    drafted,
    kept_name,
    place,
    refuse_existing,
    swap,
    undo_unfinished,
)
from weft_engine.storage.folding import fold_log
from weft_engine.storage.identity import Identity
from weft_engine.storage.lock import WriterLock
from weft_engine.storage.migration import STORE_FORMAT
from weft_engine.storage.schema import bring_up, check_header, connect, damaged
from weft_engine.storage.verify import Progress, Report, verify

Random = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Copied:
    """A backup or a restored store. `kept`: what stood in its place before."""

    path: Path
    store: bytes
    contexts: int
    records: int
    bytes: int
    report: Report | None
    """What the check of the copy said, if there was one."""
    kept: Path | None = None


def back_up(
    store: Path, target: Path, *, now_ms: int, random: Random, check: Progress | None
) -> Copied:
    """Copy one moment of the store, which may be in use, to the new file `target`.

    With `check` every hash and signature of the copy is verified before it gets its name. Raises
    NotAStore, OlderFormat, NewerFormat, StoreError; then there is no such file.
    """
    refuse_existing(target)
    check_header(store)
    with drafted(target, random(8)) as draft:
        copied = _copy(store, draft, is_still=False, now_ms=now_ms, random=random, check=check)
        place(draft, target)
    return _named(copied, target, None)


def restore(
    backup: Path,
    store: Path,
    *,
    replace: bool,
    now_ms: int,
    random: Random,
    progress: Progress,
) -> Copied:
    """Make the store `store` from a backup, under an identity of its own.

    Every hash and signature is verified first. A store that stands there is kept under another
    name if `replace`, and refused otherwise. Raises NotAStore, NewerFormat, StoreLocked,
    StoreError; then nothing was changed.
    """
    if not replace:
        refuse_existing(store)
    if not backup.exists():
        raise NotAStore(f"there is no backup at {backup}", hint="check the path")
    if store.exists() and backup.samefile(store):
        raise StoreError(f"{backup} is the store itself", hint="give the path of a backup")
    lock = WriterLock(store)
    lock.acquire()
    try:
        undo_unfinished(store)
        with _brought_up(backup, store, random) as source, drafted(store, random(8)) as draft:
            copied = _copy(
                source, draft, is_still=True, now_ms=now_ms, random=random, check=progress
            )
            kept = None
            if store.exists():
                if not replace:
                    refuse_existing(store)
                kept = kept_name(store, REPLACED, now_ms)
                fold_log(store)
                swap(draft, store, kept=kept)
            else:
                place(draft, store)
    finally:
        lock.release()
    return _named(copied, store, kept)


def _copy(
    source: Path,
    draft: Path,
    *,
    is_still: bool,
    now_ms: int,
    random: Random,
    check: Progress | None,
) -> Copied:
    identity = Identity(random(16), random(8))
    try:
        copy_store(source, draft, identity, created_ms=now_ms, is_still=is_still)
        report = None if check is None else verify(draft, progress=check)
        if report is not None and not report.is_sound:
            first = report.findings[0]
            where = "" if first.context is None else f" in context {first.context!r}"
            raise StoreError(
                f"{source} is damaged ({report.findings_total} findings, the first{where}:"
                f" {first.what})",
                hint="no copy was made; see what `weft doctor` says of it",
            )
        with closing(connect(draft, readonly=True)) as connection:
            (contexts,) = connection.execute(
                "SELECT count(*) FROM contexts WHERE records > 0"
            ).fetchone()
            (records,) = connection.execute("SELECT count(*) FROM records").fetchone()
    except sqlite3.Error as error:
        raise damaged(source, error) from error
    return Copied(draft, identity.store, contexts, records, draft.stat().st_size, report)


def _named(copied: Copied, path: Path, kept: Path | None) -> Copied:
    return Copied(
        path, copied.store, copied.contexts, copied.records, copied.bytes, copied.report, kept
    )


def _look_at(backup: Path) -> sqlite3.Connection:
    return sqlite3.connect(source_uri(backup, is_still=True), uri=True)


@contextmanager
def _brought_up(backup: Path, store: Path, random: Random) -> Iterator[Path]:
    """The backup itself, or a copy of it in this format if it has an earlier one."""
    check_header(backup, readonly=False)
    try:
        with closing(_look_at(backup)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        raise damaged(backup, error) from error
    if version == STORE_FORMAT:
        yield backup
        return
    with drafted(store, random(8)) as scratch:
        try:
            with (
                closing(_look_at(backup)) as source,
                closing(sqlite3.connect(scratch, isolation_level=None)) as target,
            ):
                source.backup(target)
            with closing(connect(scratch, readonly=False)) as target:
                bring_up(scratch, target)
        except sqlite3.Error as error:
            raise damaged(backup, error) from error
        yield scratch

"""The SQLite file: its tables, and opening it without harm to files that are not ours.

The journal is the table `records`. `origins`, `contexts` and `signatures` belong to it; `waiting`
holds what came before its past. Everything below them can be rebuilt from the journal.
"""

from __future__ import annotations

import glob
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from weft_engine.errors import NewerFormat, NotAStore, OlderFormat, StoreError
from weft_engine.storage.event_schema import create_event_tables
from weft_engine.storage.identity import place_of
from weft_engine.storage.machine import Machine
from weft_engine.storage.migration import STORE_FORMAT, migrate
from weft_engine.storage.syncing import sync_folder

APPLICATION_ID: Final = 0x77656674
"""``weft`` in ASCII, in the header of every store."""
_FIRST_FORMAT: Final = 1
"""What `_TABLES` make; `migration` has what came later."""
_HEADER_BYTES: Final = 100
_BUSY_TIMEOUT_S: Final = 5.0
_NOWHERE: Final[Mapping[str, object]] = {}

_TABLES: Final = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value NOT NULL
) WITHOUT ROWID;

CREATE TABLE origins (
    id INTEGER PRIMARY KEY,
    incarnation BLOB NOT NULL UNIQUE,
    public_key BLOB,            -- 32 bytes, once a signature of it was seen
    seed BLOB                   -- 32 secret bytes, for incarnations of this store only
);

CREATE TABLE contexts (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    frontier BLOB NOT NULL,     -- hashes of 32 bytes, ascending
    records INTEGER NOT NULL,
    position INTEGER NOT NULL,  -- of its newest record
    hlc BLOB NOT NULL,          -- 8 bytes, the highest that is not flagged skewed
    projected INTEGER NOT NULL DEFAULT 0,      -- position up to which `events` is complete
    projected_frontier BLOB NOT NULL DEFAULT x''
);

CREATE TABLE records (
    position INTEGER PRIMARY KEY,   -- never given twice: no row of this table is ever deleted
    context INTEGER NOT NULL,
    origin INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    envelope BLOB NOT NULL,
    payload BLOB NOT NULL,
    flags INTEGER NOT NULL      -- 1: stamped too far ahead of this replica's clock
);
CREATE INDEX records_by_context ON records (context, position);

CREATE TABLE signatures (
    position INTEGER PRIMARY KEY,   -- of the record that is the signed tip
    signature BLOB NOT NULL
);

CREATE TABLE waiting (
    hash BLOB PRIMARY KEY,
    context TEXT NOT NULL,
    envelope BLOB NOT NULL,
    payload BLOB NOT NULL,
    session BLOB NOT NULL,      -- who offered it, for the quota
    covered INTEGER NOT NULL,   -- whether a verified signature covers it
    public_key BLOB,
    signature BLOB              -- if it is itself a signed tip
) WITHOUT ROWID;

CREATE TABLE waiting_for (
    missing BLOB NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (missing, hash)
) WITHOUT ROWID;
CREATE INDEX waiting_for_by_hash ON waiting_for (hash);

CREATE TABLE specs (
    id INTEGER PRIMARY KEY,
    json TEXT NOT NULL UNIQUE
);

CREATE TABLE receipts (
    trace TEXT PRIMARY KEY,
    context TEXT NOT NULL,
    cut BLOB NOT NULL,
    spec INTEGER NOT NULL,
    fingerprint BLOB NOT NULL
) WITHOUT ROWID;
"""


def create(
    path: Path, *, store_id: bytes, epoch: bytes, created_ms: int, machine: Machine | None = None
) -> None:
    """Make an empty store, readable by its owner only: it holds private keys.

    It is built beside its place and renamed, so that a crash leaves no half-made store.
    """
    draft = path.with_name(f"{path.name}.{store_id.hex()}.new")
    try:
        # The caller holds the writer's lock: what others began to make was left behind.
        _remove(*path.parent.glob(f"{glob.escape(path.name)}.{'[0-9a-f]' * 32}.new*"))
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        place = {} if machine is None else place_of(descriptor, machine)
        os.close(descriptor)
        connection = sqlite3.connect(draft, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            make_tables(
                connection, store_id=store_id, epoch=epoch, created_ms=created_ms, place=place
            )
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                # So a disk that fails now is told: the draft needs its rollback journal.
                raise OSError(f"its journal mode stays {mode!r}")
        finally:
            connection.close()
        os.link(draft, path)
        try:
            sync_folder(path.parent)
        except OSError:
            # A power loss might take its name, with all that was acknowledged by then.
            _remove(path)
            raise
        os.unlink(draft)
    except FileExistsError:
        # Somebody else made it between our look and our link: theirs is as good.
        draft.unlink(missing_ok=True)
    except (OSError, sqlite3.Error) as error:
        failure = StoreError(
            f"the store {path} can't be created: {error}",
            hint="check that the folder exists, is writable and has room",
        )
        try:
            _remove(
                *(draft.with_name(draft.name + end) for end in ("", "-journal", "-wal", "-shm"))
            )
        except OSError as second:
            failure.add_note(f"and what was begun can't be removed: {second}")
        raise failure from error


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def make_tables(
    connection: sqlite3.Connection,
    *,
    store_id: bytes,
    epoch: bytes,
    created_ms: int,
    place: Mapping[str, object] = _NOWHERE,
) -> None:
    """Turn an empty file into an empty store, in one transaction."""
    connection.execute("BEGIN")
    for statement in _TABLES.split(";\n"):
        connection.execute(statement)
    create_event_tables(connection, "main")
    connection.executemany(
        "INSERT INTO meta VALUES (?, ?)",
        [("store", store_id), ("epoch", epoch), ("created_ms", created_ms), *place.items()],
    )
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    migrate(connection, _FIRST_FORMAT)
    connection.execute("COMMIT")


def connect(path: Path, *, readonly: bool) -> sqlite3.Connection:
    """A connection to the store at `path`, which has passed `check_header`; usable from any one
    thread at a time."""
    mode = "ro" if readonly else "rw"
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=_BUSY_TIMEOUT_S,
        )
    except sqlite3.Error as error:
        raise StoreError(
            f"the store {path} can't be opened: {error}",
            hint="check that it is there and that you may open it",
        ) from error
    try:
        if not readonly:
            # FULL, not NORMAL: NORMAL takes acknowledged rows back after a power loss.
            connection.execute("PRAGMA synchronous = FULL")
            # A copy made by other means than ours may have lost it.
            connection.execute("PRAGMA journal_mode = WAL")
            # What is deleted is overwritten, or an erasure would leave it in free pages.
            connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("SELECT value FROM meta WHERE key = 'store'").fetchone()
        # As it stands in the log, where `check_header` does not look.
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        connection.close()
        raise damaged(path, error) from error
    except UnicodeDecodeError as error:
        # SQLite quotes what it can't make sense of, and that need not be text.
        connection.close()
        raise damaged(path, sqlite3.DatabaseError("malformed database schema")) from error
    if version > STORE_FORMAT or (readonly and version < STORE_FORMAT):
        connection.close()
        check_format(path, version, readonly=readonly)
    return connection


def damaged(path: Path, error: sqlite3.Error) -> StoreError:
    """What to raise when SQLite complains about the file itself."""
    text = str(error)
    if isinstance(error, sqlite3.DatabaseError) and (
        "malformed" in text or "not a database" in text or "no such table" in text
    ):
        return NotAStore(
            f"{path} is damaged: {text}",
            # SQLite says the same of what the disk can't read.
            hint="check the disk; `weft doctor` says what is wrong, and with --repair saves what is"
            " sound",
        )
    if "readonly database" in text:
        return StoreError(
            f"the store {path} can't be written: {text}",
            hint="check the rights of the file and its folder, or open it with readonly=True",
        )
    return StoreError(f"the store {path} failed: {text}", hint="check the disk and its free space")


def check_writable(path: Path, connection: sqlite3.Connection) -> None:
    """StoreError if SQLite could open the store for reading only, which it does not say."""
    try:
        # On such a connection even BEGIN IMMEDIATE succeeds. This reaches no disk.
        connection.execute("BEGIN")
        connection.execute("UPDATE meta SET value = value WHERE key = 'store'")
        connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise damaged(path, error) from error


def bring_up(path: Path, connection: sqlite3.Connection) -> None:
    """Migrate the store behind a writing connection, if it has an earlier format. After an error
    the connection is good for nothing but to be closed, which takes back what was begun."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == STORE_FORMAT:
        return
    try:
        connection.execute("BEGIN IMMEDIATE")
        migrate(connection, version)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise StoreError(
            f"the store {path} can't be brought from format {version} to {STORE_FORMAT}: {error}",
            hint="it was not changed; check the disk and its free space",
        ) from error
    # Into the file itself, where `check_header` looks. If a reader is in the way it stays in the
    # log, which is as good.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def check_header(path: Path, *, readonly: bool = True) -> None:
    """NotAStore, NewerFormat, or for readers OlderFormat if the header of the file says so.
    Changes and locks nothing.

    SQLite reads it, not we: a process that closes a file it opened by itself loses every lock it
    holds on that file (POSIX), so another process would take the write-ahead log for nobody's and
    delete it, with all that is acknowledged in it.
    """
    try:
        if not path.is_file():
            raise NotAStore(f"there is no store at {path}", hint="check the path")
        size = path.stat().st_size
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        ) as connection:
            application, version, is_short = _read_header(connection)
    except (OSError, sqlite3.OperationalError) as error:
        raise StoreError(
            f"the store {path} can't be read: {error}",
            hint="check the disk, and that you may read the file",
        ) from error
    except sqlite3.DatabaseError:
        application, version, is_short = None, 0, False
    hint = "the file was not changed; give another path"
    if application is None or size < _HEADER_BYTES:
        raise NotAStore(f"{path} is not a Weft store: it is no SQLite file", hint=hint)
    if application != APPLICATION_ID:
        raise NotAStore(f"{path} is not a Weft store: it belongs to another program", hint=hint)
    # A write-ahead log beside it may have a later format, and an interrupted checkpoint explains a
    # short file.
    has_log = path.with_name(path.name + "-wal").exists()
    check_format(path, version, readonly=readonly and not has_log)
    if is_short and not has_log:
        raise NotAStore(
            f"{path} is truncated: of its pages only {size} bytes are there",
            hint="see what `weft doctor` says of it; `weft doctor --repair` saves what is sound",
        )


def check_format(path: Path, version: int, *, readonly: bool) -> None:
    """NewerFormat, or for readers OlderFormat."""
    told = f"{path} has store format {version}, this weft reads {STORE_FORMAT}"
    if version > STORE_FORMAT:
        raise NewerFormat(told)
    if readonly and version < STORE_FORMAT:
        raise OlderFormat(told)


def _read_header(connection: sqlite3.Connection) -> tuple[int, int, bool]:
    """Application id, format version, and whether the file is shorter than its header says."""
    is_short = False
    try:
        connection.execute("PRAGMA application_id").fetchone()
    except sqlite3.DatabaseError as error:
        if "malformed" not in str(error):
            raise
        is_short = True
        # Then SQLite reads the header of a short file, too.
        connection.execute("PRAGMA writable_schema = ON")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return application, version, is_short

"""The key of a region: the file it is kept in, and how its public side is written.

Must never know: what is certified with it.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from weft_engine.errors import CallerError, NotFound, StoreError
from weft_engine.records.certificate import RegionKey

_SEED_BYTES: Final = 32
_FILE_BYTES_MAX: Final = 256


def key_file_beside(store: Path) -> Path:
    """Where the key of a relay is that names no other file."""
    return store.with_name(store.name + ".region-key")


def read_region_key(path: Path) -> RegionKey:
    """The key in this file: 64 hexadecimal digits. NotFound if there is none, CallerError if it
    holds something else."""
    try:
        with path.open("rb") as file:
            text = file.read(_FILE_BYTES_MAX).strip()
    except FileNotFoundError:
        raise NotFound(
            f"there is no region key {path}", hint="weft serve makes one when it starts"
        ) from None
    except OSError as error:
        raise CallerError(
            f"{path} can't be read: {error.strerror}", hint="give a readable key file"
        ) from None
    try:
        seed = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        seed = b""
    if len(seed) != _SEED_BYTES:
        raise CallerError(
            f"{path} is no region key", hint=f"it holds {2 * _SEED_BYTES} hexadecimal digits"
        )
    return RegionKey(seed)


def region_key(path: Path) -> RegionKey:
    """The key in this file, made if there is none, readable by its owner only."""
    if not path.exists():
        try:
            _make(path)
        except FileExistsError:
            pass  # Somebody else made it between our look and our making: theirs is as good.
        except OSError as error:
            raise StoreError(
                f"the region key {path} can't be made: {error.strerror}",
                hint="give a file in a writable folder with --region-key",
            ) from error
    return read_region_key(path)


def public_key(text: str) -> bytes:
    """The 32 bytes of a region's public key in hexadecimal, or CallerError."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != _SEED_BYTES:
        raise CallerError(
            f"{text[:80]!r} is no public key of a region",
            hint="write the 64 hexadecimal digits that weft keys prints",
        )
    return key


def _make(path: Path) -> None:
    """Beside its place and linked there, so that a crash leaves no half-made key."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            print(secrets.token_hex(_SEED_BYTES), file=file)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        os.unlink(draft)

"""The tokens that are no longer good although nothing in them says so: a file of their ids.

One id to a line; what follows a ``#`` is a remark. Only ever appended to, by `weft token revoke` or
by hand. Must never know: what tokens say, links.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from weft_engine.errors import CallerError
from weft_engine.limits import MIB
from weft_server.door.tokens import is_token_id

FILE_BYTES_MAX: Final = 16 * MIB
_FILE_NAME: Final = "revoked-tokens"


def revoked_file(data: Path) -> Path:
    """Where the list is of a relay that names no other file, in the folder of its store."""
    return data / _FILE_NAME


def read_revoked(path: Path) -> frozenset[str]:
    """The ids in the file, none if there is no file; CallerError if it can't be used."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        raise CallerError(
            f"{path} can't be read: {error.strerror}", hint="give a readable file with --revoked"
        ) from None
    if len(data) > FILE_BYTES_MAX:
        raise CallerError(
            f"{path} is larger than {FILE_BYTES_MAX} bytes",
            hint="take out the ids of tokens that have expired, or retire their key",
        )
    lines = data.decode("utf-8", errors="replace").splitlines()
    found = [line.partition("#")[0].strip() for line in lines]
    for number, id_ in enumerate(found, 1):
        if id_ and not is_token_id(id_):
            raise CallerError(
                f"line {number} of {path} is no id of a token", hint="one id to a line, # remarks"
            )
    return frozenset(filter(None, found))


def revoke(path: Path, token_id: str, *, remark: str) -> bool:
    """Add an id to the list, durably; whether it was not there."""
    if token_id in read_revoked(path):
        return False
    line = f"{token_id}  # {' '.join(remark.split())}\n" if remark else f"{token_id}\n"
    try:
        with path.open("ab+") as file:
            # Whoever edited it by hand may have left the last line open.
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else "\n" + line
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise CallerError(
            f"{path} can't be written: {error.strerror}", hint="give a writable file with --revoked"
        ) from None
    return True

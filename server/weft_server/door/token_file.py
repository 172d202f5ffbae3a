"""A file that holds a token, as `weft token` prints it. Must never know: what a token says."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from weft_engine.errors import CallerError
from weft_engine.limits import KIB

_TOKEN_BYTES_MAX: Final = 64 * KIB


def read_token(path: Path) -> str:
    """The token in a file. CallerError if there is none."""
    try:
        with path.open("rb") as file:
            text = file.read(_TOKEN_BYTES_MAX).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CallerError(
            f"the token file {path} can't be read: {error}",
            hint="give the file that weft token wrote",
        ) from error
    if not text:
        raise CallerError(f"the token file {path} is empty", hint="write one with weft token")
    return text

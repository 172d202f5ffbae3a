"""A file that a command reads, or stdin where it is called ``-``.

Must never know: what stands in it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final

from weft_engine.errors import CallerError, NotFound

STDIN: Final = "-"


@contextmanager
def open_input(name: str) -> Iterator[BinaryIO]:
    """The bytes of the file `name`. NotFound or CallerError if it can't be read."""
    if name == STDIN:
        yield sys.stdin.buffer
        return
    try:
        file = open(name, "rb")  # noqa: SIM115 - what the with block raises is not ours to explain
    except FileNotFoundError:
        raise NotFound(
            f"there is no file {name}", hint="check the path, or give - for stdin"
        ) from None
    except OSError as error:
        raise CallerError(
            f"{name} can't be read: {error.strerror}", hint="give a readable file, or - for stdin"
        ) from None
    with file:
        yield file


def shown_name(name: str) -> str:
    return "stdin" if name == STDIN else name


def read_text(name: str, *, bytes_max: int) -> str:
    """All of a file as text. CallerError if it is no UTF-8 or larger than `bytes_max`."""
    with open_input(name) as file:
        data = file.read(bytes_max + 1)
    if len(data) > bytes_max:
        raise CallerError(
            f"{shown_name(name)} is larger than {bytes_max} bytes", hint="split it into messages"
        )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise CallerError(
            f"{shown_name(name)} is no UTF-8: byte {error.start}", hint="convert it to UTF-8"
        ) from None

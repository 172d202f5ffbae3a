"""The conversations of a file, each as JSON text with the place where it stands.

JSON lines are read one by one. A file whose first line does not end its value holds one value that
is written over many lines; it, or a first line that is an array, is read whole. Must never know:
what a conversation is made of.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO, Final

from weft_engine.errors import CallerError, LimitExceeded
from weft_engine.limits import MIB

VALUE_BYTES_MAX: Final = 512 * MIB

_BOM: Final = b"\xef\xbb\xbf"


def conversation_lines(file: BinaryIO, source: str) -> Iterator[tuple[str, str]]:
    """(place, JSON text) of each conversation. CallerError or LimitExceeded for what can't be read;
    what a text holds is not looked into."""
    number = 0
    is_first = True
    while data := file.readline(VALUE_BYTES_MAX + 1):
        number += 1
        where = f"{source}, line {number}"
        if len(data) > VALUE_BYTES_MAX:
            raise LimitExceeded(
                f"{where}: it is longer than {VALUE_BYTES_MAX} bytes",
                hint="split the conversation",
            )
        if number == 1:
            data = data.removeprefix(_BOM)
        line = _decoded(data, where)
        if line.isspace() or not line:
            continue
        if is_first and (line.lstrip().startswith("[") or _goes_on(line)):
            rest = file.read(VALUE_BYTES_MAX + 1)
            if len(data) + len(rest) > VALUE_BYTES_MAX:
                raise LimitExceeded(
                    f"{source} is one value of more than {VALUE_BYTES_MAX} bytes",
                    hint="write one conversation a line",
                )
            yield from _values(line + _decoded(rest, source), source)
            return
        is_first = False
        yield where, line


def _goes_on(line: str) -> bool:
    """Whether the value that begins in `line` is not over at its end."""
    try:
        json.loads(line, parse_int=str, parse_float=str)
    except json.JSONDecodeError as error:
        return error.pos >= len(line.rstrip())
    except RecursionError:
        return False  # whoever reads it says that it nests too deep
    return False


def _values(text: str, source: str) -> Iterator[tuple[str, str]]:
    from weft_engine.formats.verbatim_json import parse_verbatim, write_verbatim

    if not text.lstrip().startswith("["):
        yield f"{source}, line 1", text
        return
    try:
        listed = parse_verbatim(text)
    except CallerError as error:
        raise CallerError(f"{source}: {error.message}", hint=error.hint) from error
    if not isinstance(listed, list):
        raise CallerError(f"{source} holds no array", hint="give one conversation a line")
    for index, tree in enumerate(listed):
        yield f"{source}, line 1, conversation {index + 1}", write_verbatim(tree)


def _decoded(data: bytes, where: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise CallerError(
            f"{where}: byte {error.start} is no UTF-8", hint="convert the file to UTF-8"
        ) from None

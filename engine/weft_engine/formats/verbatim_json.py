"""JSON as it was written: key order, repeated keys and the text of numbers survive.

Foreign files must come back equal after they went through us, so their numbers are held as text
(`1.0`, `1` and `1e0` are three numbers here) and an object that repeats a key is held as its
pairs. Must never know: what the JSON means.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from weft_engine.canonical import json_path, not_json
from weft_engine.errors import InvalidMessage
from weft_engine.json_depth import check_depth
from weft_engine.limits import NESTING_DEPTH_MAX


@dataclass(frozen=True, slots=True)
class Number:
    """A number as its digits stood."""

    text: str


@dataclass(frozen=True, slots=True)
class Pairs:
    """An object that repeats a key."""

    items: tuple[tuple[str, Verbatim], ...]


Verbatim = bool | str | Number | Pairs | list["Verbatim"] | dict[str, "Verbatim"] | None
"""Compare two of them by `write_verbatim`: dicts compare equal in any order."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def parse_verbatim(text: str) -> Verbatim:
    """The tree of one JSON text. InvalidMessage for what is no JSON (NaN is none) and for more
    than NESTING_DEPTH_MAX levels. Lone surrogates stay."""
    check_depth(text)
    try:
        tree: Verbatim = _decoder.decode(_joined(text))
    except json.JSONDecodeError as error:
        raise not_json(error) from None
    return tree


def write_verbatim(tree: Verbatim) -> str:
    """Compact JSON text of `tree`; in ASCII if it holds a lone surrogate, which UTF-8 can't."""
    try:
        text = _encoder.encode(tree)
    except TypeError:  # a number or repeated keys: the C encoder knows neither
        chunks: list[str] = []
        _write(tree, chunks)
        text = "".join(chunks)
    if not text.isascii() and _SURROGATE.search(text):
        return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    return text


def verbatim(value: object) -> Verbatim:
    """`value`, made of Python's own types, as a tree. InvalidMessage with the path for what JSON
    can't say: bytes, NaN, keys that are no strings. Tuples are arrays."""
    return _tree(value, "$", 0)


def well_formed(text: str) -> str:
    """`text` with U+FFFD for each lone surrogate, otherwise as it is."""
    return text if text.isascii() else _SURROGATE.sub("�", text)


def _members(pairs: list[tuple[str, Verbatim]]) -> Verbatim:
    members = dict(pairs)
    return members if len(members) == len(pairs) else Pairs(tuple(pairs))


def _refuse_constant(name: str) -> Verbatim:
    raise InvalidMessage(f"not JSON: {name} is no JSON number")


_decoder: Final = json.JSONDecoder(
    object_pairs_hook=_members,
    parse_int=Number,
    parse_float=Number,
    parse_constant=_refuse_constant,
)
_encoder: Final = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))


def _write(tree: Verbatim, chunks: list[str]) -> None:
    if isinstance(tree, Number):
        chunks.append(tree.text)
    elif isinstance(tree, list):
        before = "["
        for item in tree:
            chunks.append(before)
            _write(item, chunks)
            before = ","
        chunks.append("]" if tree else "[]")
    elif isinstance(tree, (dict, Pairs)):
        before = "{"
        items = tree.items if isinstance(tree, Pairs) else tuple(tree.items())
        for key, item in items:
            chunks += (before, _encoder.encode(key), ":")
            _write(item, chunks)
            before = ","
        chunks.append("}" if items else "{}")
    else:
        chunks.append(_encoder.encode(tree))


def _tree(value: object, path: str, depth: int) -> Verbatim:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _joined(str.__str__(value))
    if isinstance(value, int):
        try:
            return Number(int.__repr__(value))
        except ValueError:  # Python's own limit on the digits it writes
            raise InvalidMessage("an integer has too many digits", path=path) from None
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidMessage(f"{value} is no JSON number", path=path)
        return Number(float.__repr__(value))
    if not isinstance(value, (list, tuple, Mapping)):
        raise InvalidMessage(f"{type(value).__name__} is no JSON value", path=path)
    if depth == NESTING_DEPTH_MAX:
        raise InvalidMessage(f"nested deeper than {NESTING_DEPTH_MAX} levels", path=path)
    if isinstance(value, (list, tuple)):
        return [_tree(item, json_path(path, i), depth + 1) for i, item in enumerate(value)]
    pairs: list[tuple[str, Verbatim]] = []
    for key, item in value.items():
        if not isinstance(key, str):
            raise InvalidMessage(f"the key {key!r} is no string", path=path)
        pairs.append((_joined(str.__str__(key)), _tree(item, json_path(path, key), depth + 1)))
    return _members(pairs)


def _joined(text: str) -> str:
    """Two halves of one character that stand side by side are that character, in JSON text
    anyway; here the str of an application is read the same way."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")

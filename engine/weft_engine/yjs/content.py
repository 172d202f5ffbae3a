"""What a struct of a Yjs v1 update holds: read over, checked and measured, mostly not kept.

Format: yjs/yjs, `src/structs/Content*.js`. Refused are contents that Yjs and yrs 0.28 read in
different ways, because what is read here must be what every document makes of it: JSON (2), the
types XmlHook (5), and what only one of them has (moves, weak links, undefined types).
Must never know: which struct it is, or what the content is for.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Final, NoReturn

from weft_engine.limits import NESTING_DEPTH_MAX, VALUES_PER_PAYLOAD_MAX
from weft_engine.yjs.lib0 import (
    ANY_OBJECT,
    ANY_STRING,
    check_count,
    malformed,
    read_span,
    read_string,
    read_string_span,
    read_var_uint,
    skim_any,
)
from weft_engine.yjs.update import Kind, Span

Content = tuple[int, Span | None, int, int, int]
"""(length in clocks, where its text stands, nesting depth, values in it, where it ends)"""

_TYPES_BARE: Final = frozenset({0, 1, 2, 4, 6})  # Array, Map, Text, XmlFragment, XmlText
_TYPE_XML_ELEMENT: Final = 3
# A string is one token, closed or not, so that brackets in it don't count and the scan is linear.
_JSON_TOKEN: Final = re.compile(r'"(?:[^"\\]+|\\.)*+["\\]?|[\[\]{}]', re.DOTALL)
_JSON_COMMON: Final = frozenset({"true", "false", "null", '""'})


def _read_deleted(data: bytes, start: int) -> Content:
    length, position = read_var_uint(data, start)
    return length, None, 0, 0, position


def _read_binary(data: bytes, start: int) -> Content:
    return 1, None, 0, 0, read_span(data, start)[1]


def read_text(data: bytes, start: int) -> Content:
    """STRING. Its length is counted in UTF-16 code units, as JavaScript does."""
    begin, end = read_span(data, start)
    text = data[begin:end]
    length = end - begin
    if not text.isascii():
        try:
            length = len(text.decode().encode("utf-16-le")) >> 1
        except UnicodeDecodeError as error:
            raise malformed(begin + error.start, "a string that is not UTF-8") from None
    return length, (begin, end - begin), 0, 0, end


def _read_embed(data: bytes, start: int) -> Content:
    depth, values, position = _read_json(data, start)
    return 1, None, depth, values, position


def _read_format(data: bytes, start: int) -> Content:
    _, position = read_string_span(data, start)
    return _read_embed(data, position)


def _read_type(data: bytes, start: int) -> Content:
    reference, position = read_var_uint(data, start)
    if reference == _TYPE_XML_ELEMENT:
        _, position = read_string_span(data, position)
    elif reference not in _TYPES_BARE:
        raise malformed(start, f"the type {reference} is not one that Yjs and yrs share")
    return 1, None, 0, 0, position


def read_values(data: bytes, start: int) -> Content:
    """ANY. The common one, exactly one string, is looked at first."""
    count, position = read_var_uint(data, start)
    if count == 1 and data[position : position + 1] == _STRING_TAG:
        begin, end = read_string_span(data, position + 1)
        return 1, (begin, end - begin), 0, 1, end
    check_count(data, position, count, bytes_each=1, what="values")
    deepest = total = 0
    for _ in range(count):
        depth, values, position = skim_any(data, position)
        total += values
        if depth > deepest:
            deepest = depth
    return count, None, deepest, total, position


def _read_doc(data: bytes, start: int) -> Content:
    _, position = read_string_span(data, start)
    if data[position : position + 1] != _OBJECT_TAG:
        raise malformed(position, "the options of a subdocument are not an object")
    depth, values, position = skim_any(data, position)
    return 1, None, depth, values, position


def _read_json(data: bytes, start: int) -> tuple[int, int, int]:
    """A string of JSON: (nesting depth, values at most, where it ends).

    Accepted is what both `JSON.parse` and serde_json take: no NaN, no number beyond a double, no
    lone surrogate. Depth and size are checked before it is parsed.
    """
    text, position = read_string(data, start)
    if text in _JSON_COMMON:
        return 0, 1, position
    brackets = text.count("[") + text.count("{")
    values = 1 + brackets + text.count(",")
    if values > VALUES_PER_PAYLOAD_MAX:
        raise malformed(start, f"JSON of {values} values; the limit is {VALUES_PER_PAYLOAD_MAX}")
    depth = _json_depth(text) if brackets else 0
    if depth > NESTING_DEPTH_MAX:
        raise malformed(start, f"JSON nests {depth} deep; the limit is {NESTING_DEPTH_MAX}")
    try:
        value = _JSON_DECODER.decode(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        raise malformed(start, "text that should be JSON is not") from None
    return depth, values, position


def _json_depth(text: str) -> int:
    depth = deepest = 0
    for token in _JSON_TOKEN.finditer(text):
        first = text[token.start()]
        if first in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in "]}":
            depth -= 1
    return deepest


def _json_number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number beyond a double")
    return value


def _json_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


_JSON_DECODER: Final = json.JSONDecoder(
    parse_float=_json_number, parse_int=_json_number, parse_constant=_json_constant
)
_STRING_TAG: Final = bytes((ANY_STRING,))
_OBJECT_TAG: Final = bytes((ANY_OBJECT,))

CONTENT_READERS: Final[dict[int, tuple[Kind, Callable[[bytes, int], Content]]]] = {
    Kind.DELETED.value: (Kind.DELETED, _read_deleted),
    Kind.BINARY.value: (Kind.BINARY, _read_binary),
    Kind.STRING.value: (Kind.STRING, read_text),
    Kind.EMBED.value: (Kind.EMBED, _read_embed),
    Kind.FORMAT.value: (Kind.FORMAT, _read_format),
    Kind.TYPE.value: (Kind.TYPE, _read_type),
    Kind.ANY.value: (Kind.ANY, read_values),
    Kind.DOC.value: (Kind.DOC, _read_doc),
}

"""JSON with one spelling: RFC 8785 out, strict I-JSON in.

Whatever is hashed, signed or compared between replicas is written by `canonical_json`, and our
own fields are read by `parse_json`, which refuses everything that two readers could understand
differently. Must never know: what the values mean.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

import rfc8785

from weft_engine.errors import InvalidMessage
from weft_engine.json_depth import check_depth
from weft_engine.limits import INTEGER_MAX, NESTING_DEPTH_MAX

JsonValue = bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"] | None

_encode: Final = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_INTEGER_DIGITS_MAX: Final = len(str(-INTEGER_MAX))
_DOUBLE_DIGITS_MAX: Final = len("-100000000000000000000")  # above, they are written with exponent


def json_path(path: str, step: str | int) -> str:
    """`path` extended by a key or an index: ``$.parts[2]["odd key"]``."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    if _IDENTIFIER.fullmatch(step):
        return f"{path}.{step}"
    return f"{path}[{json.dumps(step)}]"


# ---- writing --------------------------------------------------------------------------------


def canonical_json(value: object) -> bytes:
    """`value` as RFC 8785 JSON in UTF-8.

    InvalidMessage with the path for what has no such form: NaN, infinities, integers beyond
    2**53-1, lone surrogates, keys that are no strings, more than NESTING_DEPTH_MAX levels.
    """
    if _is_plain(value):
        return canonical_plain(value)
    return rfc8785.dumps(_checked(value, "$", 0))


def canonical_plain(value: object) -> bytes:
    """As `canonical_json`, for values that our own code built from strings, small integers,
    booleans, None, lists and dicts with ASCII keys: only lone surrogates are looked for."""
    try:
        return _encode(value).encode()
    except UnicodeEncodeError:
        return rfc8785.dumps(_checked(value, "$", 0))  # raises with the path of the surrogate


def _is_plain(value: object) -> bool:
    """Whether json's C encoder writes exactly what RFC 8785 asks for.

    It does if there are no floats, no integers beyond 53 bits and only ASCII keys: it escapes the
    same characters the same way, and ASCII keys sort alike by code point and by UTF-16 unit.
    Works level by level, so that the number of rounds is the depth.
    """
    level = [value]
    for depth in range(NESTING_DEPTH_MAX + 1):
        below: list[object] = []
        for item in level:
            kind = type(item)
            if kind is str or item is None or kind is bool:
                continue
            if isinstance(item, int):
                if not -INTEGER_MAX <= item <= INTEGER_MAX:
                    return False
            elif kind is dict and isinstance(item, dict) and depth < NESTING_DEPTH_MAX:
                for key in item:
                    if type(key) is not str or not key.isascii():
                        return False
                below.extend(item.values())
            elif isinstance(item, (list, tuple)) and depth < NESTING_DEPTH_MAX:
                below.extend(item)
            elif not isinstance(item, str):
                return False
        if not below:
            return True
        level = below
    return False


def _checked(value: object, path: str, depth: int) -> JsonValue:
    """`value` as plain JSON values, or InvalidMessage that says where and why not."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if lone_surrogate(value):
            raise InvalidMessage("a string holds a lone surrogate", path=path)
        return str.__str__(value)
    if isinstance(value, int):
        if not -INTEGER_MAX <= value <= INTEGER_MAX:
            raise InvalidMessage(f"an integer is beyond {INTEGER_MAX}", path=path)
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidMessage(f"{value} is no JSON number", path=path)
        return float(value)
    if not isinstance(value, (list, tuple, Mapping)):
        raise InvalidMessage(f"{type(value).__name__} is no JSON value", path=path)
    if depth == NESTING_DEPTH_MAX:
        raise InvalidMessage(f"nested deeper than {NESTING_DEPTH_MAX} levels", path=path)
    if isinstance(value, (list, tuple)):
        return [_checked(item, json_path(path, i), depth + 1) for i, item in enumerate(value)]
    members: dict[str, JsonValue] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise InvalidMessage(f"the key {key!r} is no string", path=path)
        if lone_surrogate(key):
            raise InvalidMessage("a key holds a lone surrogate", path=path)
        members[str.__str__(key)] = _checked(item, json_path(path, key), depth + 1)
    return members


def lone_surrogate(text: str) -> bool:
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


# ---- reading --------------------------------------------------------------------------------


class _Refused(Exception):
    """A hook of the parser met something that strict JSON has no place for. Never leaves here."""


class _Fault:
    """Stands in a parsed tree where something is wrong, so that its path can be found."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


def parse_json(data: bytes | str, *, floats: bool = False) -> object:
    """The value of strict JSON, or InvalidMessage with the path of what is wrong.

    Refused: duplicate keys, numbers with a fraction or exponent, NaN and infinities, integers
    beyond 2**53-1, lone surrogates, more than NESTING_DEPTH_MAX levels, anything behind the value.
    With `floats`, all that `canonical_json` writes is read. Linear in the size of any input.
    """
    text = decode_text(data)
    check_depth(text)
    try:
        value: object = (_parse_floats if floats else _parse)(text)
    except json.JSONDecodeError as error:
        raise not_json(error) from None
    except _Refused:
        _report_fault(text, floats=floats)
    # A surrogate can only come from an escape, and canonical JSON has none of those.
    if "\\ud" in text or "\\uD" in text:
        try:
            _encode(value).encode()
        except UnicodeEncodeError:
            _report_fault(text, floats=floats)
    return value


def decode_text(data: bytes | str) -> str:
    """UTF-8 as text. InvalidMessage if it is not well formed, or if a str holds surrogates."""
    try:
        if isinstance(data, str):
            if not data.isascii():
                data.encode()
            return data
        return data.decode()
    except UnicodeError as error:
        raise InvalidMessage(f"not well-formed Unicode: {error}") from None


def not_json(error: json.JSONDecodeError) -> InvalidMessage:
    return InvalidMessage(f"not JSON: {error.msg} at line {error.lineno} column {error.colno}")


def first_repeated(pairs: list[tuple[str, object]]) -> str | None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return key
        seen.add(key)
    return None


def _small_integer(digits: str) -> int:
    if len(digits) <= _INTEGER_DIGITS_MAX:
        value = int(digits)
        if -INTEGER_MAX <= value <= INTEGER_MAX:
            return value
    raise _Refused


def _integer_or_double(digits: str) -> int | float:
    """Where doubles are allowed, 2**53 and above are read as the double that is written so."""
    if len(digits) > _DOUBLE_DIGITS_MAX or len(digits) < _INTEGER_DIGITS_MAX - 1:
        return _small_integer(digits)
    value = float(digits)
    exact = abs(value) > INTEGER_MAX and rfc8785.dumps(value) == digits.encode()
    return value if exact else _small_integer(digits)


def _refuse(_: str) -> NoReturn:
    raise _Refused


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise _Refused
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Refused
    return members


_parse: Final[Callable[[str], object]] = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=_small_integer,
    parse_float=_refuse,
    parse_constant=_refuse,
).decode
_parse_floats: Final[Callable[[str], object]] = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=_integer_or_double,
    parse_float=_finite,
    parse_constant=_refuse,
).decode


def _report_fault(text: str, *, floats: bool) -> NoReturn:
    """Reads `text` once more with marks where the hooks refused, to name the first one's path."""

    def members(pairs: list[tuple[str, object]]) -> object:
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        return _Fault(f"the key {first_repeated(pairs)!r} occurs twice")

    def integer(digits: str) -> object:
        try:
            return _integer_or_double(digits) if floats else _small_integer(digits)
        except _Refused:
            return _Fault(f"an integer is beyond {INTEGER_MAX}")

    def fraction(digits: str) -> object:
        if not floats:
            return _Fault("a number has a fraction or an exponent; only integers are allowed here")
        return _Fault("a number is out of range") if math.isinf(float(digits)) else 0.0

    decoder = json.JSONDecoder(
        object_pairs_hook=members,
        parse_int=integer,
        parse_float=fraction,
        parse_constant=lambda name: _Fault(f"{name} is no JSON number"),
    )
    try:
        marked: object = decoder.decode(text)
    except json.JSONDecodeError as error:
        raise not_json(error) from None
    _find_fault(marked, "$")
    raise AssertionError("a refused text has a fault")


def _find_fault(value: object, path: str) -> None:
    if isinstance(value, _Fault):
        raise InvalidMessage(value.reason, path=path)
    if isinstance(value, str) and lone_surrogate(value):
        raise InvalidMessage("a string holds a lone surrogate", path=path)
    if isinstance(value, list):
        for index, item in enumerate(value):
            _find_fault(item, json_path(path, index))
    if isinstance(value, dict):
        for key, item in value.items():
            if lone_surrogate(key):
                raise InvalidMessage("a key holds a lone surrogate", path=path)
            _find_fault(item, json_path(path, key))

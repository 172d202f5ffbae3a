"""A total order over JSON values, exact on numbers of any size, and one spelling of each value.

    null < false < true < numbers < strings < arrays < objects

Numbers are compared as the decimal numbers that their digits say, never as floats: 1e2 is 100, and
9007199254740993 is above 9007199254740992. Strings go by code points, arrays item by item, objects
by their members sorted by name. Must never know: what the values mean.
"""

from __future__ import annotations

import json
import re
from json.encoder import encode_basestring
from typing import Final, TypeAlias

Tree: TypeAlias = "bool | str | Digits | list[Tree] | dict[str, Tree] | None"
OrderKey: TypeAlias = tuple[object, ...]
"""Compares as the value does. The first item is the rank of its type, so what stands behind it is
only ever compared with its like."""

_NUMBER: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?)0*([0-9]*))?", re.ASCII)
_EXPONENT_DIGITS_MAX: Final = 18
_EXPONENT_MAX: Final = 10**_EXPONENT_DIGITS_MAX
"""An exponent beyond it counts as this: no such number fits a double, so none but what is next to
nothing can stand in an event."""
_NINES_COMPLEMENT: Final = str.maketrans("0123456789", "9876543210")


class Digits(str):
    """A number as its text."""

    __slots__ = ()


_decode: Final = json.JSONDecoder(parse_int=Digits, parse_float=Digits).decode


def parse_tree(text: str) -> Tree:
    """The value of JSON text that was checked when it entered (`canonical.parse_json`)."""
    tree: Tree = _decode(text)
    return tree


def order_key(tree: Tree) -> OrderKey:
    match tree:
        case None:
            return (0,)
        case bool():
            return (2,) if tree else (1,)
        case Digits():
            return (3, *number_key(tree))
        case str():
            return (4, tree)
        case list():
            return (5, tuple(order_key(item) for item in tree))
        case dict():
            return (6, tuple((name, order_key(tree[name])) for name in sorted(tree)))


def number_key(text: str) -> tuple[int, int, str]:
    """(sign, exponent, digits) of 0.digits * 10 ** exponent without zeros at either end, turned
    round for negative numbers so that it ascends."""
    found = _NUMBER.fullmatch(text)
    assert found is not None, "a number of checked JSON"
    minus, whole, fraction, exponent_sign, exponent_digits = found.groups(default="")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return (0, 0, "")
    exponent = 0
    if exponent_digits:
        far = len(exponent_digits) > _EXPONENT_DIGITS_MAX
        exponent = _EXPONENT_MAX if far else int(exponent_digits)
    exponent = -exponent if exponent_sign == "-" else exponent
    exponent += len(digits) - len(fraction)
    digits = digits.rstrip("0")
    if minus:
        # ":" comes behind every digit, so that -0.12 comes behind -0.123.
        return (-1, -exponent, digits.translate(_NINES_COMPLEMENT) + ":")
    return (1, exponent, digits)


def write_tree(tree: Tree) -> str:
    """Compact JSON with sorted members; numbers keep their digits."""
    match tree:
        case None:
            return "null"
        case bool():
            return "true" if tree else "false"
        case Digits():
            return str.__str__(tree)
        case str():
            return encode_basestring(tree)
        case list():
            return f"[{','.join(write_tree(item) for item in tree)}]"
        case dict():
            members = (
                f"{encode_basestring(name)}:{write_tree(tree[name])}" for name in sorted(tree)
            )
            return f"{{{','.join(members)}}}"

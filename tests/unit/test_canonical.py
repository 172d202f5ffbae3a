"""Canonical JSON: the examples of RFC 8785, and what strict reading refuses, where."""

from __future__ import annotations

import json
import math
import sys
import time
from enum import IntEnum, StrEnum

import pytest

from weft_engine.canonical import canonical_json, parse_json
from weft_engine.errors import InvalidMessage
from weft_engine.limits import INTEGER_MAX, MIB, NESTING_DEPTH_MAX


class Colour(StrEnum):
    RED = "red"


class Size(IntEnum):
    BIG = 3


def nested(depth: int) -> object:
    value: object = []
    for _ in range(depth - 1):
        value = [value]
    return value


# ---- writing --------------------------------------------------------------------------------


def test_the_example_of_rfc_8785_section_3_2_2() -> None:
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": '€$\x0f\nA\'B"\\\\"/',
        "literals": [None, True, False],
    }
    assert (
        canonical_json(value)
        == (
            '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
            '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
        ).encode()
    )


def test_the_sorting_example_of_rfc_8785_section_3_2_3() -> None:
    value = {
        "€": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\x80": "Control",
        "ö": "Latin Small Letter O With Diaeresis",
    }
    assert list(json.loads(canonical_json(value))) == [
        "\r",
        "1",
        "\x80",
        "ö",
        "€",
        "\U0001f600",  # before U+FB33 by UTF-16 code unit, after it by code point
        "\ufb33",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (5e-324, "5e-324"),
        (-1.7976931348623157e308, "-1.7976931348623157e+308"),
        (295147905179352830000.0, "295147905179352830000"),
        (9.999999999999997e22, "9.999999999999997e+22"),
        (1e21, "1e+21"),
        (0.000001, "0.000001"),
        (1e-7, "1e-7"),
        (333333333.3333332, "333333333.3333332"),
        (1.0, "1"),
        (True, "true"),
        (INTEGER_MAX, "9007199254740991"),
        (-INTEGER_MAX, "-9007199254740991"),
        ("\x00\x1f\x7f\u2028/", '"\\u0000\\u001f\x7f\u2028/"'),
        ((1, ("a",)), '[1,["a"]]'),
        ({}, "{}"),
        ({"b": Colour.RED, "a": Size.BIG}, '{"a":3,"b":"red"}'),
    ],
)
def test_one_spelling(value: object, text: str) -> None:
    assert canonical_json(value) == text.encode()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, math.nan]}, "$.a[1]"),
        ({"a": math.inf}, "$.a"),
        ([2**53], "$[0]"),
        ([{"odd key": -(2**53)}], '$[0]["odd key"]'),
        ({"a": {"b": "x\ud800"}}, "$.a.b"),
        ({"a": {"\udfff": 1}}, "$.a"),
        ({"a": {1: 2}}, "$.a"),
        ({"a": {None: 2}}, "$.a"),
        ({"a": b"bytes"}, "$.a"),
        ({"a": {1, 2}}, "$.a"),
        (nested(NESTING_DEPTH_MAX + 1), "$" + "[0]" * NESTING_DEPTH_MAX),
        (json.loads('{"a":' * 64 + "{}" + "}" * 64), "$" + ".a" * NESTING_DEPTH_MAX),
        (["é", nested(NESTING_DEPTH_MAX)], "$[1]" + "[0]" * (NESTING_DEPTH_MAX - 1)),
    ],
)
def test_what_has_no_canonical_form_is_refused_where_it_stands(value: object, path: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        canonical_json(value)
    assert caught.value.path == path


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(InvalidMessage, match="deeper than 64"):
        canonical_json(loop)


def test_the_deepest_allowed_value_is_written_and_read_again() -> None:
    deepest = nested(NESTING_DEPTH_MAX)
    assert parse_json(canonical_json(deepest)) == deepest


# ---- reading --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (' {"a" : [1, -2, true, null] } \n', {"a": [1, -2, True, None]}),
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ("-0", 0),
        ("9007199254740991", INTEGER_MAX),
        ('"\\u0000 1.5 NaN [[["', "\x00 1.5 NaN [[["),
        ('"\\\\ud800"', "\\ud800"),
        ("[" + '"[[[[",' * 40 + '"]"]', ["[[[["] * 40 + ["]"]),
    ],
)
def test_strict_json_is_read(text: str, value: object) -> None:
    assert parse_json(text) == value
    assert parse_json(text.encode()) == value


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        ('{"a": [{"b": 1, "b": 1}]}', "$.a[0]", "the key 'b' occurs twice"),
        ('{"a": [0, 1.0]}', "$.a[1]", "fraction"),
        ('{"a": 1e2}', "$.a", "exponent"),
        ('{"a b": NaN}', '$["a b"]', "NaN"),
        ("[-Infinity]", "$[0]", "-Infinity"),
        ("[9007199254740992]", "$[0]", "beyond"),
        ("[-9007199254740992]", "$[0]", "beyond"),
        (f"[{'9' * 5000}]", "$[0]", "beyond"),
        ('{"x": ["\\ud83d"]}', "$.x[0]", "lone surrogate"),
        ('{"x": ["\\uDE00\\uD83D"]}', "$.x[0]", "lone surrogate"),
        ('{"x": {"\\ud83d": 1}}', "$.x", "lone surrogate"),
        ('"raw \ud83d"', "$", "Unicode"),
        ("{} {}", "$", "Extra data"),
        ("", "$", "not JSON"),
        ("{'a': 1}", "$", "not JSON"),
        ('{"a": 1.5,', "$", "not JSON"),
        ('"a\nb"', "$", "not JSON"),
        ("\ufeff{}", "$", "not JSON"),
        ("[" * 65 + "]" * 65, "$", "deeper than 64"),
        ("[" * 40 + "[]," * 40_000 + "[" * 25 + "]" * 65, "$", "deeper than 64"),
        ('{"a":' * 65 + "1" + "}" * 65, "$", "deeper than 64"),
    ],
)
def test_what_is_not_strict_json_is_refused_where_it_stands(
    text: str, path: str, reason: str
) -> None:
    with pytest.raises(InvalidMessage, match=reason) as caught:
        parse_json(text)
    assert caught.value.path == path


@pytest.mark.parametrize("data", [b'"\xff"', b'"\xed\xa0\xbd"', b'"\xc0\x80"', b"\xfe\xff"])
def test_bytes_that_are_no_utf_8_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidMessage, match="Unicode"):
        parse_json(data)


def test_floats_are_read_where_they_are_allowed() -> None:
    assert parse_json('{"a": [1.5, 1e2, 7]}', floats=True) == {"a": [1.5, 100.0, 7]}
    assert parse_json("[9007199254740992, -100000000000000000000]", floats=True) == [2.0**53, -1e20]
    for text in ("1e999", "[-1e999]", "NaN", '{"a": 1.0, "a": 2.0}', "9007199254740993"):
        with pytest.raises(InvalidMessage):
            parse_json(text, floats=True)


@pytest.mark.parametrize(
    "hostile",
    [
        b"[" * 8 * MIB,
        b'{"a":' * (8 * MIB // 5),
        b"[" * 4 * MIB + b"]" * 4 * MIB,
        b'"' + b'\\"' * 4 * MIB,
        b'"' * 8 * MIB,
        b"]" * 8 * MIB,
        b"9" * 8 * MIB,
    ],
    ids=lambda data: data[:6].decode(),
)
def test_hostile_megabytes_are_refused_soon_and_at_any_depth_of_the_stack(hostile: bytes) -> None:
    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
        else:
            with pytest.raises(InvalidMessage):
                parse_json(hostile)

    started = time.process_time()
    deep(sys.getrecursionlimit() // 2)
    assert time.process_time() - started < 5  # well under one second where it was measured

"""Updates that the reader refuses, and how it says so; and the numbers they are made of."""

from __future__ import annotations

import pytest

from tests.unit.yjs_bytes import X, any_in_map, chain_of_maps, in_root, string, update_of
from weft_engine.errors import MalformedUpdate
from weft_engine.limits import CLOCK_END_MAX, INTEGER_MAX, NESTING_DEPTH_MAX
from weft_engine.yjs.lib0 import read_var_int, read_var_uint, var_uint
from weft_engine.yjs.reader import read_update

REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "no deletes": update_of(X)[:-1],
    "bytes after the end": update_of(X) + b"\x00",
    "number not in shortest form": b"\x81\x00" + update_of(X)[1:],
    "client above 53 bits": b"\x01\x01" + b"\xff" * 7 + b"\x1f\x00" + X + b"\x00",
    "client of ten bytes": b"\x01\x01" + b"\x80" * 9 + b"\x01\x00" + X + b"\x00",
    "clock that yrs wraps": update_of(X, clock=2**32),
    "clock at the end of 32 bits": update_of(X, clock=CLOCK_END_MAX),
    "length that yrs wraps": update_of(b"\x00" + var_uint(2**32 + 1)),
    "sum that yrs wraps": update_of(b"\x00" + var_uint(2**31), b"\x00" + var_uint(2**31)),
    "empty GC": update_of(b"\x00\x00"),
    "empty skip": update_of(b"\x0a\x00"),
    "empty deleted": update_of(in_root(1, b"\x00")),
    "empty string": update_of(in_root(4, b"\x00")),
    "no values": update_of(any_in_map(b"", count=0)),
    "GC with flags": update_of(b"\x80\x05"),
    "skip with flags": update_of(b"\x4a\x05"),
    "bit 0x10 of info": update_of(b"\x38" + X[1:]),
    "JSON content": update_of(in_root(2, b"\x01" + string("1"))),
    "JSON content as yrs reads it": update_of(in_root(2, b"\x00" + string("1"))),
    "move": update_of(in_root(11, b"\x00\x01\x00")),
    "XmlHook": update_of(in_root(7, b"\x05\x01h")),
    "weak link": update_of(in_root(7, b"\x07\x00\x01\x00")),
    "undefined type": update_of(in_root(7, b"\x0f")),
    "parent neither root nor id": update_of(b"\x28\x02" + X[2:]),
    "parent cut off": b"\x01\x01\x01\x00\x28",
    "client twice": b"\x02" + update_of(X)[1:-1] + update_of(X, clock=1)[1:],
    "client without structs": b"\x01\x00\x01\x00\x00",
    "deletes of a client twice": update_of(X, deletes=b"\x02\x01\x01\x00\x01\x01\x01\x05\x01"),
    "empty delete": update_of(X, deletes=b"\x01\x01\x01\x00\x00"),
    "delete that yrs wraps": update_of(X, deletes=b"\x01\x01\x01\x01" + var_uint(2**32 - 1)),
    "origin is itself": update_of(b"\x84\x01\x00\x01x"),
    "origin is later": update_of(b"\x84\x01\x05\x01x"),
    "right origin is itself": update_of(b"\x44\x01\x00\x01x"),
    # What pycrdt 0.14.13 itself writes after a local edit inside a character: "é", insert(1, "x").
    "edit inside a character": bytes.fromhex("01010101c401000101017800"),
    "text split inside a character": bytes.fromhex("010201000401017402c3a9840100000000"),
    "parent is itself": update_of(b"\x27\x00\x01\x00\x01k\x01"),
    "origin clock beyond 32 bits": update_of(b"\x84\x02" + var_uint(2**32) + b"\x01x"),
    "parent is a string": update_of(in_root(4, b"\x01x"), b"\x07\x00\x01\x00\x01"),
    "parents in a circle": bytes.fromhex("02 01010007000200 01 01020007000100 01 00"),
    "types too deep": chain_of_maps(NESTING_DEPTH_MAX + 2),
    "types far too deep": chain_of_maps(20_000),
    "values too deep": update_of(any_in_map(b"\x75\x01" * (NESTING_DEPTH_MAX + 1) + b"\x7e")),
    "values far too deep": update_of(any_in_map(b"\x75\x01" * 100_000 + b"\x7e")),
    "objects far too deep": update_of(any_in_map(b"\x76\x01\x01k" * 100_000 + b"\x7e")),
    "JSON too deep": update_of(in_root(5, string("[" * 65 + "]" * 65))),
    "JSON far too deep": update_of(in_root(5, string("[" * 200_000))),
    "JSON deep behind quotes": update_of(in_root(5, string('["' + '\\"' * 9 + '",' + "[" * 70))),
    "subdocument options too deep": update_of(
        in_root(9, string("id") + b"\x76\x01\x01k" * 65 + b"\x7e")
    ),
    "subdocument options no object": update_of(in_root(9, string("id") + b"\x7e")),
    "embed is no JSON": update_of(in_root(5, string("{a:1}"))),
    "embed is empty": update_of(in_root(5, string(""))),
    "embed is undefined": update_of(in_root(5, string("undefined"))),
    "embed is NaN": update_of(in_root(5, string("NaN"))),
    "embed beyond a double": update_of(in_root(5, string("1e999"))),
    "embed integer beyond a double": update_of(in_root(5, string("1" * 5000))),
    "embed with a lone surrogate": update_of(in_root(5, string('"\\ud800"'))),
    "format is no JSON": update_of(in_root(6, string("bold") + string("x"))),
    "string not UTF-8": update_of(in_root(4, string(b"a\xff"))),
    "string with a surrogate": update_of(in_root(4, string(b"\xed\xa0\x80"))),
    "overlong UTF-8": update_of(in_root(4, string(b"\xc0\x80"))),
    "root name not UTF-8": update_of(b"\x28\x01" + string(b"\xff") + b"\x01k\x01\x7e"),
    "key not UTF-8": update_of(b"\x28\x01\x01m" + string(b"\xff") + b"\x01\x7e"),
    "value not UTF-8": update_of(any_in_map(b"\x77" + string(b"\xff"))),
    "format key not UTF-8": update_of(in_root(6, string(b"\xff") + string("1"))),
    "object key not UTF-8": update_of(any_in_map(b"\x76\x01" + string(b"\xff") + b"\x7e")),
    "unknown tag": update_of(any_in_map(b"\x73")),
    "tag with the high bit": update_of(any_in_map(b"\xf7\x01x")),
    "integer above 53 bits": update_of(any_in_map(b"\x7d\xbf" + b"\xff" * 6 + b"\x7f")),
    "integer too long": update_of(any_in_map(b"\x7d\xbf" + b"\xff" * 12 + b"\x00")),
    "float cut off": update_of(any_in_map(b"\x7b\x00\x00"))[:-1],
    "huge clients": var_uint(2**40) + b"\x00",
    "huge structs": update_of(X, count=2**40),
    "huge values": update_of(any_in_map(b"\x7e", count=2**40)),
    "huge array": update_of(any_in_map(b"\x75" + var_uint(2**40))),
    "huge object": update_of(any_in_map(b"\x76" + var_uint(2**40))),
    "huge string": update_of(in_root(4, var_uint(2**40) + b"x")),
    "huge binary": update_of(in_root(3, var_uint(2**40) + b"x")),
    "huge delete clients": b"\x00" + var_uint(2**40),
    "huge deletes": b"\x00\x01\x01" + var_uint(2**40),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_refused(data: bytes) -> None:
    with pytest.raises(MalformedUpdate, match=r"^byte \d+: "):
        read_update(data)


def test_depth_of_types_is_allowed_up_to_the_limit() -> None:
    assert read_update(chain_of_maps(NESTING_DEPTH_MAX + 1)).depth == NESTING_DEPTH_MAX


def test_error_names_the_byte() -> None:
    with pytest.raises(MalformedUpdate, match=r"^byte 10: a string that is not UTF-8"):
        read_update(update_of(in_root(4, string(b"a\xff"))))


@pytest.mark.parametrize("value", [0, 1, 127, 128, 16383, 16384, 2**32, 2**49, INTEGER_MAX])
def test_var_uint_round_trip(value: int) -> None:
    assert read_var_uint(var_uint(value), 0) == (value, len(var_uint(value)))


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"\x00", 0),
        (b"\x40", 0),
        (b"\x3f", 63),
        (b"\x7f", -63),
        (b"\x80\x01", 64),
        (b"\xc0\x01", -64),
        (b"\xbf" + b"\xff" * 6 + b"\x1f", INTEGER_MAX),
    ],
)
def test_var_int(data: bytes, value: int) -> None:
    assert read_var_int(data, 0) == (value, len(data))

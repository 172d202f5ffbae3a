"""The primitives of lib0, the encoding under Yjs v1 updates, read with bounds checks.

Format: dmonad/lib0, `encoding.js` and `decoding.js` (varUint, varInt, varString, any). Every
function takes the bytes and where to start, and returns what it read and where it stopped.
Whatever is not sound raises MalformedUpdate with the byte offset, and nothing is allocated for a
length that was not checked against the bytes that are left.

Stricter than lib0 in one way: numbers come in their shortest form only, as every encoder writes
them. yrs wraps a number that is too large for it silently, so a lenient reader would see another
update than the document does. Must never know: what the values mean.
"""

from __future__ import annotations

from typing import Final

from weft_engine.errors import MalformedUpdate
from weft_engine.limits import INTEGER_MAX, NESTING_DEPTH_MAX, VALUES_PER_PAYLOAD_MAX

ANY_UNDEFINED: Final = 127
ANY_NULL: Final = 126
ANY_INTEGER: Final = 125
ANY_FLOAT32: Final = 124
ANY_FLOAT64: Final = 123
ANY_BIGINT: Final = 122
ANY_FALSE: Final = 121
ANY_TRUE: Final = 120
ANY_STRING: Final = 119
ANY_OBJECT: Final = 118
ANY_ARRAY: Final = 117
ANY_BINARY: Final = 116

_FIXED_BYTES: Final = {
    ANY_UNDEFINED: 0,
    ANY_NULL: 0,
    ANY_FALSE: 0,
    ANY_TRUE: 0,
    ANY_FLOAT32: 4,
    ANY_FLOAT64: 8,
    ANY_BIGINT: 8,
}
_CONTAINERS: Final = frozenset({ANY_ARRAY, ANY_OBJECT})
# 7 bits a byte: 8 bytes carry 56 bits, enough for the 53 of a safe integer.
_VAR_UINT_SHIFT_MAX: Final = 49
# The first byte of a varInt carries 6 bits.
_VAR_INT_SHIFT_MAX: Final = 48


def malformed(offset: int, what: str) -> MalformedUpdate:
    return MalformedUpdate(f"byte {offset}: {what}")


def read_var_uint(data: bytes, start: int) -> tuple[int, int]:
    """A number from 0 to 2**53 - 1."""
    try:
        byte = data[start]
        if byte < 0x80:
            return byte, start + 1
        return _read_groups(data, start, value=byte & 0x7F, shift_max=_VAR_UINT_SHIFT_MAX, shift=7)
    except IndexError:
        raise malformed(start, "the update ends inside a number") from None


def read_var_int(data: bytes, start: int) -> tuple[int, int]:
    """A number from -(2**53 - 1) to 2**53 - 1. Minus zero is read as zero."""
    try:
        byte = data[start]
        value, position = byte & 0x3F, start + 1
        if byte & 0x80:
            value, position = _read_groups(
                data, start, value=value, shift_max=_VAR_INT_SHIFT_MAX, shift=6
            )
    except IndexError:
        raise malformed(start, "the update ends inside a number") from None
    return (-value if byte & 0x40 else value), position


def _read_groups(
    data: bytes, start: int, *, value: int, shift: int, shift_max: int
) -> tuple[int, int]:
    """The rest of a number after its first byte; IndexError at the end of the bytes."""
    position = start + 1
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > shift_max:
            raise malformed(start, f"a number of more than {position - start} bytes")
    if byte == 0:
        raise malformed(start, "a number that is not in its shortest form")
    if value > INTEGER_MAX:
        raise malformed(start, f"the number {value} is above {INTEGER_MAX}")
    return value, position


def read_span(data: bytes, start: int) -> tuple[int, int]:
    """Length-prefixed bytes: where they begin and where they end."""
    try:
        length = data[start]
    except IndexError:
        raise malformed(start, "the update ends where a length should be") from None
    begin = start + 1
    if length >= 0x80:
        length, begin = read_var_uint(data, start)
    end = begin + length
    if end > len(data):
        raise malformed(start, f"{length} bytes claimed, {len(data) - begin} are left")
    return begin, end


def read_string(data: bytes, start: int) -> tuple[str, int]:
    begin, end = read_span(data, start)
    try:
        return data[begin:end].decode(), end
    except UnicodeDecodeError as error:
        raise malformed(begin + error.start, "a string that is not UTF-8") from None


def read_string_span(data: bytes, start: int) -> tuple[int, int]:
    """A string that is checked but not kept: where its UTF-8 begins and ends."""
    begin, end = read_span(data, start)
    text = data[begin:end]
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError as error:
            raise malformed(begin + error.start, "a string that is not UTF-8") from None
    return begin, end


def skim_any(data: bytes, start: int) -> tuple[int, int, int]:
    """Read over one `any` value: (how deep containers nest, how many values, where it ends).

    A scalar has depth 0, an empty array depth 1. Iterative: `open_containers` holds, for each
    container around the current one, how many values it still has to come and if it has keys.
    """
    open_containers: list[tuple[int, bool]] = []
    to_come, keyed = 1, False
    depth, values, position, size = 0, 0, start, len(data)
    while True:
        while to_come == 0:
            if not open_containers:
                return depth, values, position
            to_come, keyed = open_containers.pop()
        to_come -= 1
        values += 1
        if keyed:
            _, position = read_string_span(data, position)
        if position >= size:
            raise malformed(position, "the update ends where a value should be")
        at, tag = position, data[position]
        position += 1
        if tag == ANY_STRING:
            _, position = read_string_span(data, position)
        elif tag == ANY_INTEGER:
            _, position = read_var_int(data, position)
        elif tag == ANY_BINARY:
            _, position = read_span(data, position)
        elif tag in _FIXED_BYTES:
            position += _FIXED_BYTES[tag]
            if position > size:
                raise malformed(at, "the update ends inside a value")
        elif tag in _CONTAINERS:
            open_containers.append((to_come, keyed))
            if len(open_containers) > NESTING_DEPTH_MAX:
                raise malformed(at, f"values nest deeper than {NESTING_DEPTH_MAX}")
            depth = max(depth, len(open_containers))
            to_come, position = read_var_uint(data, position)
            keyed = tag == ANY_OBJECT
            check_count(data, position, to_come, bytes_each=2 if keyed else 1, what="values")
            if values + to_come > VALUES_PER_PAYLOAD_MAX:
                raise malformed(at, f"more than {VALUES_PER_PAYLOAD_MAX} values in one")
        else:
            raise malformed(at, f"a value has the unknown tag {tag}")


def check_count(data: bytes, position: int, count: int, *, bytes_each: int, what: str) -> None:
    """Refuse a count of things that the bytes left could not hold, or that is over the limit."""
    if count * bytes_each > len(data) - position:
        raise malformed(position, f"{count} {what} claimed, {len(data) - position} bytes are left")
    if count > VALUES_PER_PAYLOAD_MAX:
        raise malformed(position, f"{count} {what}; the limit is {VALUES_PER_PAYLOAD_MAX}")


def var_uint(value: int) -> bytes:
    """`value` as a varUint."""
    assert 0 <= value <= INTEGER_MAX, value
    if value < 0x80:
        return bytes((value,))
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)

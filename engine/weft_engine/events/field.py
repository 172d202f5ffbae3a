"""The fields of JSON objects: what each may hold, and how objects become values and back.

A `Shape` is declared once and reads, writes and checks both ways, so that the two directions
can't drift apart. Must never know: which events and parts there are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from operator import attrgetter
from typing import Final, Generic, TypeVar

from weft_engine.canonical import parse_json
from weft_engine.errors import InvalidMessage, LimitExceeded
from weft_engine.limits import INTEGER_MAX
from weft_engine.names import is_event_id

T = TypeVar("T")

Check = Callable[[object, str, str], object]
"""(value, path of the object, name of the field) -> the value for the other side.
InvalidMessage if it may not be. The path is put together only when something is wrong."""


class _Absent(Enum):
    ABSENT = 0


class _Required(Enum):
    REQUIRED = 0


ABSENT: Final = _Absent.ABSENT
REQUIRED: Final = _Required.REQUIRED


def wrong(path: str, name: str, problem: str) -> InvalidMessage:
    return InvalidMessage(problem, path=f"{path}.{name}")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a field may hold: `read` from JSON's values, `write` to them."""

    read: Check
    write: Check


@dataclass(frozen=True, slots=True)
class Field:
    """A field `name` in JSON that is `attribute` of the value. With the default, it is absent."""

    name: str
    kind: Kind
    default: object = REQUIRED
    attribute: str = ""


class Shape(Generic[T]):
    """How values of one dataclass stand in JSON: its fields, in the order of the class."""

    def __init__(self, make: type[T], *shape_fields: Field) -> None:
        attributes = [field.attribute or field.name for field in shape_fields]
        declared = getattr(make, "__match_args__", ())  # the fields of a dataclass, in order
        assert attributes == list(declared), f"{make.__name__} has the fields {declared}"
        self.make: Callable[..., T] = make
        self._readers = [(f.name, f.kind.read, f.default) for f in shape_fields]
        self._writers = [(f.name, f.kind.write, f.default) for f in shape_fields]
        # Of one attribute, attrgetter gives the bare value; asked for it twice, it gives a tuple,
        # whose second half zip leaves behind.
        self._values = attrgetter(*attributes, attributes[0])

    def read(self, members: Mapping[str, object], path: str) -> T:
        values: list[object] = []
        for name, read, default in self._readers:
            item = members.get(name, ABSENT)
            if item is not ABSENT:
                values.append(read(item, path, name))
            elif default is REQUIRED:
                raise wrong(path, name, "missing")
            else:
                values.append(default)
        return self.make(*values)

    def write(self, value: T, path: str) -> dict[str, object]:
        members: dict[str, object] = {}
        for item, (name, write, default) in zip(self._values(value), self._writers, strict=False):
            if item is not default and item != default:
                members[name] = write(item, path, name)
        return members


_HEX_256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HASH_BYTES: Final = 32


# ---- scalars --------------------------------------------------------------------------------


def _text(value: object, path: str, name: str) -> object:
    if isinstance(value, str):
        return value
    raise wrong(path, name, "must be a string")


def _hex_256(value: object, path: str, name: str) -> object:
    if isinstance(value, str) and _HEX_256.fullmatch(value):
        return value
    raise wrong(path, name, "must be 64 lower hex digits")


def _flag(value: object, path: str, name: str) -> object:
    if value is True or value is False:
        return value
    raise wrong(path, name, "must be true or false")


def integer(minimum: int = 0) -> Kind:
    def check(value: object, path: str, name: str) -> object:
        if type(value) is int and minimum <= value <= INTEGER_MAX:
            return value
        raise wrong(path, name, f"must be an integer from {minimum} to {INTEGER_MAX}")

    return Kind(check, check)


def choice(options: type[StrEnum]) -> Kind:
    known = {option.value: option for option in options}

    def check(value: object, path: str, name: str) -> object:
        option = known.get(value) if isinstance(value, str) else None
        if option is None:
            raise wrong(path, name, f"must be one of {', '.join(known)}")
        return option

    return Kind(check, check)


def _json_text(value: object, path: str, name: str) -> object:
    try:
        parse_json(value if isinstance(value, str) else "", floats=True)
    except InvalidMessage as error:
        raise wrong(path, name, f"must be JSON text: {error.message}") from None
    return value


TEXT: Final = Kind(_text, _text)
HEX_256: Final = Kind(_hex_256, _hex_256)
FLAG: Final = Kind(_flag, _flag)
COUNT: Final = integer()
JSON_TEXT: Final = Kind(_json_text, _json_text)
"""JSON that we read ourselves one day. (What we only hand on may be any string.)"""


# ---- names of events and records ------------------------------------------------------------


def _event_id(value: object, path: str, name: str) -> object:
    if isinstance(value, str) and is_event_id(value):
        return value
    raise wrong(path, name, "must be an event id (16 hex digits, a dash, 32 hex digits)")


def _read_event_ids(value: object, path: str, name: str) -> object:
    if not isinstance(value, list):
        raise wrong(path, name, "must be an array of event ids")
    return tuple(_event_id(item, path, f"{name}[{index}]") for index, item in enumerate(value))


def _write_event_ids(value: object, path: str, name: str) -> object:
    if not isinstance(value, tuple):
        raise wrong(path, name, "must be a tuple of event ids")
    return [_event_id(item, path, f"{name}[{index}]") for index, item in enumerate(value)]


EVENT_ID: Final = Kind(_event_id, _event_id)
EVENT_IDS: Final = Kind(_read_event_ids, _write_event_ids)


def frontier(limit_name: str, limit: int) -> Kind:
    """Record hashes, strictly ascending, so that one frontier has one spelling."""

    def ascending(hashes: tuple[bytes, ...], path: str, name: str) -> None:
        if len(hashes) > limit:
            raise LimitExceeded(
                f"{path}.{name} has {len(hashes)} record hashes, {limit_name} is {limit}"
            )
        for index in range(1, len(hashes)):
            if hashes[index - 1] >= hashes[index]:
                raise wrong(path, f"{name}[{index}]", "record hashes must ascend")

    def read(value: object, path: str, name: str) -> object:
        if not isinstance(value, list):
            raise wrong(path, name, "must be an array of record hashes")
        hashes: list[bytes] = []
        for index, item in enumerate(value):
            hashes.append(bytes.fromhex(str(_hex_256(item, path, f"{name}[{index}]"))))
        ascending(tuple(hashes), path, name)
        return tuple(hashes)

    def write(value: object, path: str, name: str) -> object:
        if not isinstance(value, tuple):
            raise wrong(path, name, "must be a tuple of record hashes")
        for index, item in enumerate(value):
            if not isinstance(item, bytes) or len(item) != _HASH_BYTES:
                raise wrong(path, f"{name}[{index}]", f"must be {_HASH_BYTES} bytes")
        ascending(value, path, name)
        return [item.hex() for item in value]

    return Kind(read, write)


# ---- objects --------------------------------------------------------------------------------


def nested(shape: Shape[T], cls: type[T]) -> Kind:
    def read(value: object, path: str, name: str) -> object:
        if not isinstance(value, dict):
            raise wrong(path, name, "must be an object")
        return shape.read(value, f"{path}.{name}")

    def write(value: object, path: str, name: str) -> object:
        if not isinstance(value, cls):
            raise wrong(path, name, f"must be a {cls.__name__}")
        return shape.write(value, f"{path}.{name}")

    return Kind(read, write)

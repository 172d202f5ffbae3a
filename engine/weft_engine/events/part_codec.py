"""Parts of messages as JSON objects tagged by ``type``, both ways.

A part of a type that only a later version knows is carried as an `Opaque` of the format
`UNKNOWN_PART`, which nothing renders, and written as the object it was: older and newer replicas
agree about its message's bytes and class. Must never know: events, formats of providers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from weft_engine.canonical import canonical_json, json_path, parse_json
from weft_engine.errors import InvalidMessage, LimitExceeded
from weft_engine.events.field import (
    ABSENT,
    COUNT,
    EVENT_ID,
    FLAG,
    HEX_256,
    TEXT,
    Field,
    Kind,
    Shape,
    wrong,
)
from weft_engine.events.part import (
    Call,
    CallRef,
    Data,
    File,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Result,
    Source,
    Text,
)
from weft_engine.limits import PARTS_MAX
from weft_engine.names import EventId

UNKNOWN_PART: Final = "weft.part"
"""The `format` of an `Opaque` that stands for a part of an unknown type; its `json` is the whole
part as canonical JSON. The tag ``opaque`` can't name it."""

_TYPES_IN_OUT: Final = frozenset({"text", "refusal", "file", "source", "data", "opaque"})
"""What a result may hold. Calls and results stand in the message only, where they can be named."""


def read_parts(value: object, path: str, *, in_out: bool = False) -> tuple[Part, ...]:
    """The parts in an array of JSON objects that stands at `path`."""
    if not isinstance(value, list):
        raise InvalidMessage("must be an array of parts", path=path)
    _check_count(len(value), path)
    return tuple([_read_part(item, json_path(path, i), in_out) for i, item in enumerate(value)])


def write_parts(parts: object, path: str, *, in_out: bool = False) -> list[object]:
    """The JSON objects of `parts`, checked."""
    if not isinstance(parts, tuple):
        raise InvalidMessage("must be a tuple of parts", path=path)
    _check_count(len(parts), path)
    return [_write_part(part, json_path(path, i), in_out) for i, part in enumerate(parts)]


def is_unknown_part(part: Part) -> bool:
    return isinstance(part, Opaque) and part.format == UNKNOWN_PART


def _check_count(count: int, path: str) -> None:
    if count > PARTS_MAX:
        raise LimitExceeded(f"{path} has {count} parts, PARTS_MAX is {PARTS_MAX}")


def _read_part(value: object, path: str, in_out: bool) -> Part:
    if not isinstance(value, dict):
        raise InvalidMessage("a part must be an object", path=path)
    kind = value.get("type", ABSENT)
    if not isinstance(kind, str):
        raise wrong(path, "type", "missing" if kind is ABSENT else "must be a string")
    shape = _SHAPES.get(kind)
    if shape is None:
        return Opaque(UNKNOWN_PART, canonical_json(value).decode())
    if in_out and kind not in _TYPES_IN_OUT:
        raise wrong(path, "type", f"a {kind} can't stand in a result")
    part: Part = shape.read(value, path)
    _check_part(part, path)
    return part


def _write_part(part: object, path: str, in_out: bool) -> object:
    kind = _TYPES.get(type(part))
    if kind is None:
        raise InvalidMessage(f"{type(part).__name__} is no part", path=path)
    if isinstance(part, Opaque) and part.format == UNKNOWN_PART:
        return _unknown_part(part.json, path)
    if in_out and kind not in _TYPES_IN_OUT:
        raise wrong(path, "type", f"a {kind} can't stand in a result")
    _check_part(part, path)
    members = _SHAPES[kind].write(part, path)
    members["type"] = kind
    return members


def _check_part(part: object, path: str) -> None:
    if isinstance(part, File) and (part.url is None) == (part.blob is None):
        raise InvalidMessage("a file has either a url or a blob", path=path)
    if isinstance(part, Opaque) and part.format == UNKNOWN_PART:
        raise wrong(path, "format", f"{UNKNOWN_PART} is reserved")


def _unknown_part(text: str, path: str) -> Mapping[str, object]:
    value = parse_json(text)
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(kind, str) or kind in _SHAPES:
        raise wrong(path, "json", f"{UNKNOWN_PART} stands for parts of unknown types only")
    if canonical_json(value) != text.encode():
        raise wrong(path, "json", f"{UNKNOWN_PART} must hold canonical JSON")
    return value


# ---- the fields that only parts have --------------------------------------------------------


def _read_out(value: object, path: str, name: str) -> object:
    return value if isinstance(value, str) else read_parts(value, f"{path}.{name}", in_out=True)


def _write_out(value: object, path: str, name: str) -> object:
    return value if isinstance(value, str) else write_parts(value, f"{path}.{name}", in_out=True)


def _read_call(value: object, path: str, name: str) -> object:
    if not isinstance(value, list) or len(value) != 2:
        raise wrong(path, name, "must be [event id, part index]")
    EVENT_ID.read(value[0], path, f"{name}[0]")
    COUNT.read(value[1], path, f"{name}[1]")
    return CallRef(EventId(value[0]), value[1])


def _write_call(value: object, path: str, name: str) -> object:
    if not isinstance(value, CallRef):
        raise wrong(path, name, "must be a CallRef")
    event = EVENT_ID.write(value.event, path, f"{name}[0]")
    return [event, COUNT.write(value.part, path, f"{name}[1]")]


_OUT: Final = Kind(_read_out, _write_out)
_CALL_REF: Final = Kind(_read_call, _write_call)

_SHAPES: Final[Mapping[str, Shape[Any]]] = {
    "text": Shape(Text, Field("text", TEXT)),
    "refusal": Shape(Refusal, Field("text", TEXT)),
    "reasoning": Shape(
        Reasoning,
        Field("for", TEXT, attribute="provider"),
        Field("text", TEXT, None),
        Field("sig", TEXT, None),
        Field("data", TEXT, None),
        Field("itemId", TEXT, None, attribute="item_id"),
    ),
    "call": Shape(
        Call,
        Field("id", TEXT),
        Field("name", TEXT),
        Field("args", TEXT),
        Field("itemId", TEXT, None, attribute="item_id"),
    ),
    "result": Shape(
        Result,
        Field("id", TEXT),
        Field("out", _OUT),
        Field("call", _CALL_REF, None),
        Field("error", FLAG, False),
        Field("name", TEXT, None),
    ),
    "file": Shape(
        File,
        Field("mediaType", TEXT, attribute="media_type"),
        Field("bytes", COUNT, None, attribute="size"),
        Field("url", TEXT, None),
        Field("blob", HEX_256, None),
        Field("name", TEXT, None),
        Field("w", COUNT, None, attribute="width"),
        Field("h", COUNT, None, attribute="height"),
    ),
    "source": Shape(Source, Field("json", TEXT)),
    "data": Shape(Data, Field("name", TEXT), Field("json", TEXT)),
    "opaque": Shape(Opaque, Field("format", TEXT), Field("json", TEXT)),
}
_TYPES: Final = {shape.make: kind for kind, shape in _SHAPES.items()}

"""Events as canonical JSON, both ways, checked both ways.

What `encode_event` writes every replica reads alike, and what `decode_event` gives is valid. An
event that fails here is the caller's fault on the way in and a listed problem on the way out.
Must never know: documents, orders, views, the formats of providers.
"""

from __future__ import annotations

from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Any, Final

from weft_engine.canonical import canonical_json, parse_json
from weft_engine.errors import InvalidMessage, LimitExceeded
from weft_engine.events.event import (
    Body,
    Branch,
    Close,
    Config,
    Criticality,
    Event,
    Fact,
    Hide,
    ImportedFrom,
    Interrupted,
    Lifetime,
    Message,
    Original,
    Pin,
    PolicyChoice,
    Revoke,
    Role,
    Summary,
    Unknown,
    Via,
)
from weft_engine.events.field import (
    ABSENT,
    COUNT,
    EVENT_ID,
    EVENT_IDS,
    JSON_TEXT,
    TEXT,
    Field,
    Kind,
    Shape,
    choice,
    frontier,
    integer,
    nested,
    wrong,
)
from weft_engine.events.part import Text
from weft_engine.events.part_codec import read_parts, write_parts
from weft_engine.limits import DEPS_MAX, EVENT_BYTES_MAX, SEEN_MAX
from weft_engine.names import EventId, RecordHash

_FRONTIER: Final = frontier("DEPS_MAX", DEPS_MAX)
_SEEN: Final = frontier("SEEN_MAX", SEEN_MAX)
_CRITICALITY: Final = Field("crit", choice(Criticality), None)
_EXPIRES: Final = Field("expires", COUNT, None)
_REPLACES: Final = Field("replaces", EVENT_IDS, ())
_TARGET: Final = Field("target", EVENT_ID)
_REASON: Final = Field("reason", TEXT, None)
_PARTS: Final = Field(
    "parts",
    Kind(
        read=lambda value, path, name: read_parts(value, f"{path}.{name}"),
        write=lambda value, path, name: write_parts(value, f"{path}.{name}"),
    ),
)

_VIA: Final = Shape(Via, Field("provider", TEXT), Field("model", TEXT, None))
_EXT: Final = Shape(ImportedFrom, Field("source", TEXT), Field("index", COUNT))
_SRC: Final = Shape(Original, Field("format", TEXT), Field("json", TEXT))
_POLICY: Final = Shape(
    PolicyChoice, Field("name", TEXT), Field("version", COUNT), Field("config", JSON_TEXT)
)

_SHAPES: Final[Mapping[str, Shape[Any]]] = {
    "message": Shape(
        Message,
        Field("role", choice(Role)),
        _PARTS,
        Field("name", TEXT, None),
        Field("tokens", integer(1), None),
        Field("via", nested(_VIA, Via), None),
        _CRITICALITY,
        Field("life", choice(Lifetime), None),
        _EXPIRES,
        Field("meta", JSON_TEXT, None),
        Field("ext", nested(_EXT, ImportedFrom), None),
        Field("src", nested(_SRC, Original), None),
    ),
    "fact": Shape(
        Fact,
        Field("key", TEXT),
        Field("value", JSON_TEXT),
        Field("rule", TEXT),
        _REPLACES,
        _CRITICALITY,
        _EXPIRES,
    ),
    "summary": Shape(
        Summary,
        Field("covers", _FRONTIER),
        Field("count", COUNT),
        Field("digest", TEXT),
        Field("text", TEXT),
        Field("by", TEXT, None),
        Field("upto", EVENT_ID, None),
    ),
    "branch": Shape(
        Branch,
        Field("name", TEXT),
        Field("from", _FRONTIER, attribute="frontier"),
        Field("upto", EVENT_ID, None),
    ),
    "pin": Shape(Pin, _TARGET),
    "hide": Shape(Hide, _TARGET),
    "revoke": Shape(Revoke, _TARGET, _REASON),
    "close": Shape(Close, _REASON),
    "config": Shape(
        Config,
        _REPLACES,
        Field("budget", COUNT, None),
        Field("reserved", COUNT, None),
        Field("trigger", COUNT, None),
        Field("clear_at_least", COUNT, None),
        Field("policy", nested(_POLICY, PolicyChoice), None),
        Field("tokenizer", TEXT, None),
        Field("format", TEXT, None),
        Field("metadata", JSON_TEXT, None),
    ),
    "interrupted": Shape(
        Interrupted,
        _TARGET,
        _PARTS,
        Field("role", choice(Role), Role.ASSISTANT),
        Field("name", TEXT, None),
    ),
}
_quote: Final = encode_basestring
_KINDS: Final = {shape.make: kind for kind, shape in _SHAPES.items()}


def encode_event(event: Event) -> bytes:
    """`event` as canonical JSON, the same bytes on every replica.

    InvalidMessage with the path for what no event may hold, an `Unknown` body included, for its
    fields are not known here. LimitExceeded for too many parts or hashes, or too many bytes.
    """
    body = event.body
    if type(body) is Message and (data := _plain_message(event, body)) is not None:
        _check_size(len(data))
        return data
    kind = _KINDS.get(type(body))
    if kind is None:
        raise InvalidMessage("this version can't write an event of this kind", path="$.kind")
    members = _SHAPES[kind].write(body, "$")
    members["kind"] = kind
    members["author"] = TEXT.write(event.author, "$", "author")
    if event.branch is not None:
        members["branch"] = EVENT_ID.write(event.branch, "$", "branch")
    if event.seen is not None:
        members["seen"] = _SEEN.write(event.seen, "$", "seen")
    data = canonical_json(members)
    _check_size(len(data))
    return data


def _plain_message(event: Event, body: Message) -> bytes | None:
    """What `encode_event` gives for most messages, which are one text and nothing else, written
    in one go: appends are made of these. None if the message is not of this kind, or not sound."""
    if (
        len(body.parts) != 1
        or type(part := body.parts[0]) is not Text
        or type(body.role) is not Role
        or event.branch is not None
        or event.seen is not None
        or body.name is not None
        or body.tokens is not None
        or body.via is not None
        or body.crit is not None
        or body.life is not None
        or body.expires is not None
        or body.meta is not None
        or body.ext is not None
        or body.src is not None
    ):
        return None
    try:
        return (
            f'{{"author":{_quote(event.author)},"kind":"message","parts":'
            f'[{{"text":{_quote(part.text)},"type":"text"}}],"role":"{body.role.value}"}}'
        ).encode()
    except (TypeError, UnicodeEncodeError):
        return None  # encode_event says what is wrong, and where


def decode_event(data: bytes) -> Event:
    """The event that `data` holds. InvalidMessage with the path of what is wrong; LimitExceeded
    for too many parts, hashes or bytes. Unknown fields are passed over, an unknown kind gives an
    `Unknown` body, an unknown type of part an `Opaque` (see `part_codec`)."""
    _check_size(len(data))
    members = parse_json(data)
    if not isinstance(members, dict):
        raise InvalidMessage("an event must be an object")
    kind = _required_text(members, "kind")
    author = _required_text(members, "author")
    branch: EventId | None = None
    if "branch" in members:
        EVENT_ID.read(members["branch"], "$", "branch")
        branch = EventId(members["branch"])
    seen = members.get("seen", ABSENT)
    shape = _SHAPES.get(kind)
    body: Body = Unknown(kind) if shape is None else shape.read(members, "$")
    return Event(author, body, branch, None if seen is ABSENT else _read_seen(seen))


def _read_seen(value: object) -> tuple[RecordHash, ...]:
    hashes = _SEEN.read(value, "$", "seen")
    assert isinstance(hashes, tuple)
    return hashes


def _required_text(members: Mapping[str, object], name: str) -> str:
    value = members.get(name, ABSENT)
    if isinstance(value, str):
        return value
    raise wrong("$", name, "missing" if value is ABSENT else "must be a string")


def _check_size(size: int) -> None:
    if size > EVENT_BYTES_MAX:
        raise LimitExceeded(f"an event has {size} bytes, EVENT_BYTES_MAX is {EVENT_BYTES_MAX}")

"""Streams: what an update says of messages that are still being generated, read from its bytes.

While a message grows it stands in the root map `streams`, under the id of the event it will be:

    <event id>        how it was opened: the event itself with no parts yet, canonical JSON
    <event id>/<n>    text, the n-th piece, from 0
    <event id>+<n>    other parts, the n-th piece, as a JSON array

Every piece is the first set of a key of its own and names its stream. (A text that is appended to
would be shorter by 50 bytes a piece, but says in its bytes neither which stream it belongs to, so
that nothing could be erased by the id of its event, nor that a document can take it in.)
Only what the id's own incarnation wrote in native records counts. A stream ends when a message
comes under its id, or an `interrupted` event with that target.

Must never know: which streams are open, documents, storage.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from typing import Final

from weft_engine.canonical import canonical_json, parse_json
from weft_engine.errors import InvalidMessage, LimitExceeded
from weft_engine.events.codec import decode_event
from weft_engine.events.event import Event, Interrupted, Message
from weft_engine.events.part import Part, Text
from weft_engine.events.part_codec import read_parts, write_parts
from weft_engine.limits import STREAM_BYTES_MAX
from weft_engine.names import EventId, event_id_hlc, event_id_incarnation
from weft_engine.records.envelope import Kind, Record
from weft_engine.yjs.encoder import EVENTS_ROOT, STREAMS_ROOT
from weft_engine.yjs.update import Kind as Content
from weft_engine.yjs.update import Struct, Update

_KEY: Final = re.compile(r"([0-9a-f]{16}-[0-9a-f]{32})(?:([/+])(0|[1-9][0-9]{0,8}))?", re.ASCII)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_HIGH: Final = ("\ud800", "\udbff")
_INTERRUPTED: Final = b'"interrupted"'


@dataclass(frozen=True, slots=True)
class Piece:
    """What an update adds to a stream. `number` None: it opens it. The piece is text, or other
    parts as JSON (`is_json`), and stands at `offset` in the payload."""

    id: EventId
    number: int | None
    is_json: bool
    offset: int
    length: int
    clock: int

    def text(self, payload: bytes) -> str:
        return payload[self.offset : self.offset + self.length].decode()


def text_key(id_: EventId, number: int) -> str:
    return f"{id_}/{number}"


def parts_key(id_: EventId, number: int) -> str:
    return f"{id_}+{number}"


def write_piece(piece: str | tuple[Part, ...]) -> bytes:
    """Text without lone surrogates, or parts. InvalidMessage for parts that no event may hold."""
    if isinstance(piece, str):
        return piece.encode()
    return canonical_json(write_parts(piece, "$.parts"))


def pieces(record: Record, update: Update) -> tuple[Piece, ...]:
    """What `update`, the payload of `record`, adds to streams, in the order of the bytes."""
    if record.envelope.kind is not Kind.NATIVE:
        return ()
    found: list[Piece] = []
    for struct in update.structs:
        if struct.parent != STREAMS_ROOT or struct.key is None or struct.kind is not Content.ANY:
            continue
        match = _KEY.fullmatch(struct.key)
        if match is None or struct.content is None:
            continue
        id_ = EventId(match[1])
        if (
            event_id_incarnation(id_) == record.envelope.origin
            and event_id_hlc(id_) <= record.envelope.hlc
        ):
            number = None if match[3] is None else int(match[3])
            found.append(Piece(id_, number, match[2] == "+", *struct.content, struct.clock))
    return tuple(found)


def is_quiet(update: Update) -> bool:
    """Whether it does nothing but add to streams: no event comes or goes by it."""
    return not update.deletes and all(
        struct.key is not None and struct.parent == STREAMS_ROOT for struct in update.structs
    )


def event_of(struct: Struct) -> str | None:
    """The event id under which a struct stands by its key: an event's own, or a piece's stream."""
    if struct.key is None or struct.parent not in (EVENTS_ROOT, STREAMS_ROOT):
        return None
    if struct.parent == EVENTS_ROOT:
        return struct.key
    match = _KEY.fullmatch(struct.key)
    return None if match is None else match[1]


def told_by(update: Update, payload: bytes) -> EventId | None:
    """The stream whose end an update tells of and nothing else: the target of the one `interrupted`
    event in it."""
    if len(update.structs) != 1:
        return None
    (struct,) = update.structs
    if struct.parent != EVENTS_ROOT or struct.content is None:
        return None
    start, length = struct.content
    json = payload[start : start + length]
    if _INTERRUPTED not in json:
        return None
    try:
        body = decode_event(json).body
    except (InvalidMessage, LimitExceeded):
        return None
    return body.target if isinstance(body, Interrupted) else None


@dataclass(slots=True)
class Growth:
    """One stream, put together from its pieces as they come in the order of its writer's chain,
    as far as they fit into one event."""

    id: EventId
    opening: Event | None = None
    _pieces: dict[int, str | tuple[Part, ...]] = field(default_factory=dict)
    _bytes: int = 0

    def take(self, piece: Piece, payload: bytes) -> None:
        """The first of each number counts; what can't be read counts as nothing."""
        text = piece.text(payload)
        try:
            if piece.number is None:
                event = decode_event(text.encode())
                if self.opening is None and isinstance(event.body, Message):
                    self.opening = event
            elif piece.number not in self._pieces:
                size = piece.length if piece.is_json else json_bytes(text)
                if self._bytes + size > STREAM_BYTES_MAX:
                    return
                self._bytes += size
                value = read_parts(parse_json(text.encode()), "$") if piece.is_json else text
                self._pieces[piece.number] = value
        except (InvalidMessage, LimitExceeded):
            return

    @property
    def count(self) -> int:
        """How many pieces there are, from 0 on without a gap."""
        count = 0
        while count in self._pieces:
            count += 1
        return count

    @property
    def parts(self) -> tuple[Part, ...]:
        return join(self._pieces[number] for number in range(self.count))


def join(some: Iterable[str | tuple[Part, ...]]) -> tuple[Part, ...]:
    """The parts of a message that was given in pieces: text that follows on text is one part."""
    parts: list[Part] = []
    texts: list[str] = []
    for piece in some:
        if isinstance(piece, str):
            texts.append(piece)
            continue
        if text := "".join(texts):
            parts.append(Text(text))
        texts.clear()
        parts.extend(piece)
    if text := "".join(texts):
        parts.append(Text(text))
    return tuple(parts)


def json_bytes(text: str) -> int:
    """How much of an event a text takes up."""
    return len(encode_basestring(text).encode())


def text_of(parts: Iterable[Part]) -> str:
    return "".join(part.text for part in parts if isinstance(part, Text))


def well_formed(text: str, *, is_last: bool) -> tuple[str, str]:
    """`text` with halves of one character joined and lone ones as U+FFFD; and what is held back
    until the next piece comes, unless this is the last: a first half at the end."""
    if _SURROGATE.search(text) is None:
        return text, ""
    held = ""
    if not is_last and _HIGH[0] <= text[-1] <= _HIGH[1]:
        text, held = text[:-1], text[-1]
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"), held


# ---- interrupted ----------------------------------------------------------------------------


def broken_off(id_: EventId, opening: Event, parts: tuple[Part, ...]) -> Event:
    """The `interrupted` event of a stream that came as far as `parts`."""
    assert isinstance(opening.body, Message), "a stream is a message to be"
    body = Interrupted(id_, parts, opening.body.role, opening.body.name)
    return Event(opening.author, body, opening.branch, opening.seen)


def as_far_as_it_came(event: Event) -> Event:
    """The message that an `interrupted` event stands for."""
    body = event.body
    assert isinstance(body, Interrupted), "only a broken stream has a message to be"
    message = Message(body.role, body.parts, body.name)
    return Event(event.author, message, event.branch, event.seen)


def precedence(parts: tuple[Part, ...], id_: str) -> tuple[int, int, str]:
    """Of several `interrupted` events with one target the least counts: the longest text, then
    the most parts, then the least id."""
    return (-len(text_of(parts)), -len(parts), id_)

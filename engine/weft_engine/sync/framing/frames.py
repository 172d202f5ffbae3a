"""Frames: the messages of a link, and their one encoding. docs/PROTOCOL.md is their grammar.

A frame is the version byte, then one msgpack array [type, ...fields] in shortest form. Whatever is
not exactly that raises MalformedFrame, which names what is wrong. Must never know: whether a
message makes sense where it comes.
"""

from __future__ import annotations

from typing import Final

import msgpack

from weft_engine.errors import MalformedFrame
from weft_engine.limits import FRAME_BYTES_MAX
from weft_engine.sync.framing import link_frames, region_frames
from weft_engine.sync.framing.fields import bare_fields, interest_fields, item_fields
from weft_engine.sync.framing.messages import (
    Ack,
    Branches,
    Bye,
    Check,
    Clock,
    Compared,
    Contexts,
    Cursor,
    Erased,
    Fragment,
    Frontier,
    Frontiers,
    Heartbeat,
    Hello,
    Issue,
    Kept,
    Live,
    Message,
    PresenceTold,
    Reach,
    Records,
    Resume,
    Resumed,
    Sample,
    Subscribe,
    Ticket,
    Tips,
    Tree,
    Want,
    Zoom,
    Zooms,
)
from weft_engine.sync.framing.wire import Reader

VERSION: Final = 1
IGNORED_TYPES: Final = range(64, 128)
"""Types that a later version may add and that whoever does not know them ignores."""
_READERS: Final = (*link_frames.READERS, *region_frames.READERS)


# ---- writing --------------------------------------------------------------------------------


def encode(message: Message) -> bytes:
    """The bytes of a message, which may be more than a frame holds (`fragments.cut`)."""
    packed: bytes = msgpack.packb(_fields(message))
    return bytes((VERSION,)) + packed


def _fields(message: Message) -> tuple[object, ...]:
    match message:
        case Hello():
            return (
                0,
                message.format_version,
                message.store,
                message.epoch,
                message.region,
                message.now_ms,
                *interest_fields(message.interest),
                (message.window.frames, message.window.bytes),
            )
        case Bye():
            return (1, message.code, message.reason, message.hint)
        case Contexts():
            return (2, message.entries, message.last)
        case Frontier():
            return (3, message.context, message.frontier, message.sample)
        case Records():
            items = [item_fields(item) for item in message.items]
            erasers = [
                (envelope, payload, bare_fields(item))
                for envelope, payload, item in message.erasers
            ]
            return (4, message.serial, message.upto, message.records, items, erasers)
        case Ack():
            return (5, message.first, message.last, message.regions)
        case Want():
            return (6, message.hashes)
        case Heartbeat():
            return (7,)
        case Fragment():
            return (8, message.id, message.index, message.count, message.data)
        case Ticket():
            return (9, message.shown)
        case Issue():
            return (10, message.fresh)
        case Kept():
            return (11,)
        case Erased():
            return (12, message.entries)
        case Resume():
            cursor = message.cursor
            return (13, None if cursor is None else (cursor.position, cursor.row))
        case Resumed():
            return (14, message.is_resumed)
        case Cursor():
            return (15, message.position, message.row)
        case Subscribe():
            return (16, message.round, *interest_fields(message.interest))
        case PresenceTold():
            states = [(one.client, one.clock, one.state) for one in message.states]
            return (17, message.context, states)
        case Tree():
            return (18, message.count, message.salt, message.digest)
        case Branches():
            return (19, message.opened, message.leaves, message.lacking, message.more)
        case Compared():
            return (20, message.count)
        case Tips():
            return (21, message.serial, message.upto, message.hashes)
        case Live():
            return (22, message.regions)
        case Reach():
            return (23, message.regions)
        case Zoom():
            return (24, message.context, message.round, message.held, message.asks)
        case Sample():
            return (25, message.context, message.ends, message.floor)
        case Check():
            return (26, message.entries)
        case Clock():
            return (27, message.mark, message.now_ms)
        case Frontiers():
            return (28, [(one.context, one.frontier) for one in message.entries])
        case Zooms():
            return (29, [(z.context, z.round, z.held, z.asks) for z in message.entries])


# ---- reading --------------------------------------------------------------------------------


def decode_frame(frame: bytes) -> Message | None:
    """The message of a frame; None for a type that is to be ignored."""
    if len(frame) > FRAME_BYTES_MAX:
        raise MalformedFrame(f"a frame of {len(frame)} bytes exceeds {FRAME_BYTES_MAX}")
    return decode_message(frame)


def decode_message(data: bytes) -> Message | None:
    """As `decode_frame`, for what was put together from fragments too."""
    if not data:
        raise MalformedFrame("a frame is empty")
    if data[0] != VERSION:
        raise MalformedFrame(
            f"a frame has version {data[0]}, this is version {VERSION}",
            hint="upgrade the older of the two ends",
        )
    reader = Reader(data, 1)
    count = reader.array("a frame", count_min=1, count_max=1 << 16)
    type_ = reader.uint("a frame's type")
    if type_ in IGNORED_TYPES:
        return None
    found = _READERS[type_] if type_ < len(_READERS) else None
    if found is None:
        raise MalformedFrame(f"a frame has the unknown type {type_}", hint="upgrade weft")
    name, fields, read = found
    if count != fields + 1:
        raise MalformedFrame(f"a {name} has {count - 1} fields, it must have {fields}")
    message = read(reader)
    reader.end(name)
    return message

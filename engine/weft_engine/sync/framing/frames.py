"""Frames: the messages of a link, and their one encoding. docs/PROTOCOL.md is their grammar.

A frame is the version byte, then one msgpack array [type, ...fields] in shortest form. Whatever is
not exactly that raises MalformedFrame, which names what is wrong. Must never know: whether a
message makes sense where it comes.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

import msgpack

from weft_engine.errors import CallerError, InvalidName, MalformedFrame
from weft_engine.limits import (
    CHECKED_CONTEXTS_MAX,
    CLOCK_END_MAX,
    CONTEXT_NAME_BYTES_MAX,
    CONTEXTS_PER_FRAME,
    ERASE_PAYLOAD_BYTES_MAX,
    ERASED_PER_FRAME_MAX,
    ERASERS_PER_MESSAGE_MAX,
    FOREIGN_PAYLOAD_BYTES_MAX,
    FRAME_BYTES_MAX,
    FRONTIER_HASHES_MAX,
    INTEGER_MAX,
    INTEREST_CONTEXTS_MAX,
    INTEREST_PREFIXES_MAX,
    LIVE_REGIONS_MAX,
    MESSAGE_BYTES_MAX,
    POSITIONS_PER_ACK_MAX,
    PRESENCE_BYTES_MAX,
    PRESENCE_PER_FRAME_MAX,
    REASON_BYTES_MAX,
    RECORDS_PER_MESSAGE_MAX,
    REGION_NAME_BYTES_MAX,
    SAMPLE_ENDS_MAX,
    SAMPLE_FLOOR_MAX,
    SAMPLE_HASHES_MAX,
    TICKET_BYTES,
    TREE_DEPTH_MAX,
    TREE_DIGEST_BYTES,
    TREE_DIGESTS_PER_MESSAGE_MAX,
    TREE_LEVELS_MAX,
    TREE_ROOT_BYTES,
    TREE_SALT_BYTES,
    WANTED_PER_FRAME_MAX,
    WINDOW_FRAMES_MAX,
    ZOOM_BYTES_MAX,
)
from weft_engine.names import ContextName, Position, RecordHash, context_name
from weft_engine.records.certificate import Certificate
from weft_engine.records.envelope import ENVELOPE_BYTES_MAX
from weft_engine.records.erasure import Eraser
from weft_engine.records.identity import SignatureItem
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
    Heartbeat,
    Hello,
    Issue,
    Kept,
    Live,
    Message,
    PresenceState,
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
    Window,
    Zoom,
    region_name,
)
from weft_engine.sync.framing.wire import Reader
from weft_engine.sync.interest import Interest

VERSION: Final = 1
IGNORED_TYPES: Final = range(64, 128)
"""Types that a later version may add and that whoever does not know them ignores."""
_POSITION_MAX: Final = 2**63 - 1
_BYE_CODE: Final = re.compile(r"[a-z][a-z_]{0,31}", re.ASCII)


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
                *_interest_fields(message.interest),
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
                (envelope, payload, _bare(item)) for envelope, payload, item in message.erasers
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
            return (16, message.round, *_interest_fields(message.interest))
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


def _interest_fields(interest: Interest) -> tuple[list[ContextName], tuple[str, ...]]:
    return sorted(interest.contexts), interest.prefixes


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


def _hello(reader: Reader) -> Hello:
    format_version = reader.uint("format version")
    store = reader.blob("store", size_min=16, size_max=16)
    epoch = reader.blob("epoch", size_min=8, size_max=8)
    region = None if reader.nil() else _region(reader)
    now_ms = _now_ms(reader)
    interest = _interest(reader, "a hello")
    reader.array("window", count_min=2, count_max=2)
    window = Window(
        reader.uint("window frames", least=1, most=WINDOW_FRAMES_MAX),
        reader.uint("window bytes", least=1, most=MESSAGE_BYTES_MAX),
    )
    return Hello(format_version, store, epoch, region, now_ms, interest, window)


def _interest(reader: Reader, whose: str) -> Interest:
    contexts = _texts(reader, "contexts", INTEREST_CONTEXTS_MAX)
    prefixes = _texts(reader, "prefixes", INTEREST_PREFIXES_MAX)
    try:
        interest = Interest.of(contexts=contexts, prefixes=prefixes)
    except CallerError as error:
        raise MalformedFrame(f"{whose}'s interest is none: {error.message}") from None
    if sorted(interest.contexts) != contexts or list(interest.prefixes) != prefixes:
        raise MalformedFrame(f"{whose}'s interest names something twice or out of order")
    return interest


def _bye(reader: Reader) -> Bye:
    code = reader.text("code", bytes_max=32)
    if _BYE_CODE.fullmatch(code) is None:
        raise MalformedFrame(f"a bye has the code {code!r}")
    reason = reader.text("reason", bytes_max=REASON_BYTES_MAX)
    return Bye(code, reason, reader.text("hint", bytes_max=REASON_BYTES_MAX))


def _contexts(reader: Reader) -> Contexts:
    entries: list[tuple[ContextName, bytes]] = []
    for _ in range(reader.array("contexts", count_max=CONTEXTS_PER_FRAME, item_bytes=37)):
        reader.array("an entry", count_min=2, count_max=2)
        context = _context(reader)
        entries.append((context, reader.blob("fingerprint", size_min=32, size_max=32)))
    return Contexts(tuple(entries), reader.flag("last"))


def _frontier(reader: Reader) -> Frontier:
    context = _context(reader)
    frontier = reader.hashes("frontier", count_min=1, count_max=FRONTIER_HASHES_MAX, ascending=True)
    sample = reader.hashes("sample", count_max=SAMPLE_HASHES_MAX, ascending=False)
    return Frontier(context, frontier, sample)


def _records(reader: Reader) -> Records:
    serial = _serial(reader)
    upto = None if reader.nil() else _position(reader)
    records: list[tuple[bytes, bytes]] = []
    count = reader.array("records", count_min=1, count_max=RECORDS_PER_MESSAGE_MAX, item_bytes=5)
    for _ in range(count):
        reader.array("a record", count_min=2, count_max=2)
        envelope = reader.blob("envelope", size_max=ENVELOPE_BYTES_MAX)
        records.append((envelope, reader.blob("payload", size_max=FOREIGN_PAYLOAD_BYTES_MAX)))
    items: list[SignatureItem] = []
    # One for each record at most: a signature is sent beside the tip that it signs.
    for _ in range(reader.array("items", count_max=count, item_bytes=135)):
        items.append(_item(reader))
    return Records(serial, upto, tuple(records), tuple(items), _erasers(reader))


def _erasers(reader: Reader) -> tuple[tuple[bytes, bytes, SignatureItem], ...]:
    found: list[tuple[bytes, bytes, SignatureItem]] = []
    for _ in range(reader.array("erasers", count_max=ERASERS_PER_MESSAGE_MAX, item_bytes=140)):
        reader.array("an eraser", count_min=3, count_max=3)
        envelope = reader.blob("envelope", size_max=ENVELOPE_BYTES_MAX)
        payload = reader.blob("payload", size_max=ERASE_PAYLOAD_BYTES_MAX)
        reader.array("an eraser's item", count_min=3, count_max=3)
        key = reader.blob("public key", size_min=32, size_max=32)
        tip = RecordHash(reader.blob("tip", size_min=32, size_max=32))
        signature = reader.blob("signature", size_min=64, size_max=64)
        found.append((envelope, payload, SignatureItem(key, tip, signature)))
    return tuple(found)


def item_fields(item: SignatureItem) -> tuple[bytes, ...]:
    """A signature as it stands in a message."""
    fields = (item.public_key, item.tip, item.signature)
    certificate = item.certificate
    return fields if certificate is None else (*fields, certificate.region, certificate.signature)


def eraser_fields(eraser: Eraser) -> tuple[bytes, bytes, tuple[bytes, ...]]:
    """An eraser as it stands in a message."""
    return (eraser.record.envelope_bytes, eraser.record.payload, _bare(eraser.item))


def _bare(item: SignatureItem) -> tuple[bytes, ...]:
    return (item.public_key, item.tip, item.signature)


def _item(reader: Reader) -> SignatureItem:
    count = reader.array("an item", count_min=3, count_max=5)
    if count == 4:
        raise MalformedFrame("an item has 4 items, it must have 3, or 5 with a certificate")
    key = reader.blob("public key", size_min=32, size_max=32)
    tip = RecordHash(reader.blob("tip", size_min=32, size_max=32))
    signature = reader.blob("signature", size_min=64, size_max=64)
    if count == 3:
        return SignatureItem(key, tip, signature)
    region = reader.blob("region key", size_min=32, size_max=32)
    by_region = reader.blob("region signature", size_min=64, size_max=64)
    return SignatureItem(key, tip, signature, Certificate(region, by_region))


def _ack(reader: Reader) -> Ack:
    first = _serial(reader)
    last = _serial(reader)
    if last < first:
        raise MalformedFrame(f"an ack of {first} to {last} goes backwards")
    return Ack(first, last, _positions(reader))


def _positions(reader: Reader) -> tuple[tuple[str, Position], ...]:
    regions: list[tuple[str, Position]] = []
    count = reader.array("regions", count_max=POSITIONS_PER_ACK_MAX, item_bytes=4)
    for _ in range(count):
        reader.array("a region's position", count_min=2, count_max=2)
        regions.append((_region(reader), _position(reader)))
    return tuple(regions)


def _want(reader: Reader) -> Want:
    return Want(
        reader.hashes("hashes", count_min=1, count_max=WANTED_PER_FRAME_MAX, ascending=True)
    )


def _heartbeat(_: Reader) -> Heartbeat:
    return Heartbeat()


def _fragment(reader: Reader) -> Fragment:
    id_ = reader.uint("message id")
    index = reader.uint("fragment index")
    count = reader.uint("fragment count")
    data = reader.blob("fragment", size_min=1, size_max=FRAME_BYTES_MAX)
    return Fragment(id_, index, count, data)


def _ticket(reader: Reader) -> Ticket:
    return Ticket(_ticket_or_nil(reader))


def _issue(reader: Reader) -> Issue:
    return Issue(_ticket_or_nil(reader))


def _kept(_: Reader) -> Kept:
    return Kept()


def _ticket_or_nil(reader: Reader) -> bytes | None:
    if reader.nil():
        return None
    return reader.blob("ticket", size_min=TICKET_BYTES, size_max=TICKET_BYTES)


def _erased(reader: Reader) -> Erased:
    entries: list[tuple[RecordHash, tuple[bytes, ...]]] = []
    count = reader.array("erasers", count_min=1, count_max=ERASED_PER_FRAME_MAX, item_bytes=53)
    for _ in range(count):
        reader.array("an entry", count_min=2, count_max=2)
        eraser = RecordHash(reader.blob("eraser", size_min=32, size_max=32))
        stores = reader.array("stores", count_min=1, count_max=ERASED_PER_FRAME_MAX, item_bytes=18)
        named = [reader.blob("store", size_min=16, size_max=16) for _ in range(stores)]
        if any(former >= latter for former, latter in pairwise(named)):
            raise MalformedFrame("the stores of an eraser do not ascend")
        entries.append((eraser, tuple(named)))
    if any(former[0] >= latter[0] for former, latter in pairwise(entries)):
        raise MalformedFrame("the erasers do not ascend")
    return Erased(tuple(entries))


def _cursor(reader: Reader) -> Cursor:
    return Cursor(_position(reader), reader.blob("row", size_min=8, size_max=8))


def _resume(reader: Reader) -> Resume:
    if reader.nil():
        return Resume(None)
    reader.array("a cursor", count_min=2, count_max=2)
    return Resume(_cursor(reader))


def _resumed(reader: Reader) -> Resumed:
    return Resumed(reader.flag("resumed"))


def _subscribe(reader: Reader) -> Subscribe:
    return Subscribe(reader.uint("round", least=1), _interest(reader, "a subscribe"))


def _presence(reader: Reader) -> PresenceTold:
    context = _context(reader)
    states: list[PresenceState] = []
    for _ in range(
        reader.array("states", count_min=1, count_max=PRESENCE_PER_FRAME_MAX, item_bytes=4)
    ):
        reader.array("a state", count_min=3, count_max=3)
        client = reader.uint("client", most=INTEGER_MAX)
        clock = reader.uint("clock", most=CLOCK_END_MAX)
        state = None if reader.nil() else reader.text("state", bytes_max=PRESENCE_BYTES_MAX)
        states.append(PresenceState(client, clock, state))
    if any(former.client >= latter.client for former, latter in pairwise(states)):
        raise MalformedFrame("the clients of a presence do not ascend")
    return PresenceTold(context, tuple(states))


def _tree(reader: Reader) -> Tree:
    count = reader.uint("count", most=INTEGER_MAX)
    salt = reader.blob("salt", size_min=TREE_SALT_BYTES, size_max=TREE_SALT_BYTES)
    digest = reader.blob("digest", size_min=TREE_ROOT_BYTES, size_max=TREE_ROOT_BYTES)
    return Tree(count, salt, digest)


def _branches(reader: Reader) -> Branches:
    digests = 0
    opened: list[tuple[int, int, bytes]] = []
    for _ in range(_nodes(reader, "opened nodes")):
        reader.array("an opened node", count_min=3, count_max=3)
        path = _path(reader)
        levels = reader.uint("levels", least=1, most=TREE_LEVELS_MAX)
        if path.bit_length() - 1 + levels > TREE_DEPTH_MAX:
            raise MalformedFrame(f"a node is opened below {TREE_DEPTH_MAX} bits")
        size = TREE_DIGEST_BYTES << levels
        opened.append((path, levels, reader.blob("digests", size_min=size, size_max=size)))
        digests += 1 << levels
    leaves, lacking = _leaves(reader, "leaves"), _leaves(reader, "lacking")
    digests += sum(1 + len(some) // TREE_DIGEST_BYTES for _, some in (*leaves, *lacking))
    if digests > TREE_DIGESTS_PER_MESSAGE_MAX:
        raise MalformedFrame(
            f"{digests} nodes and digests in a message exceed {TREE_DIGESTS_PER_MESSAGE_MAX}"
        )
    return Branches(tuple(opened), leaves, lacking, reader.flag("more"))


def _nodes(reader: Reader, what: str) -> int:
    return reader.array(what, count_max=TREE_DIGESTS_PER_MESSAGE_MAX, item_bytes=3)


def _leaves(reader: Reader, what: str) -> tuple[tuple[int, bytes], ...]:
    found: list[tuple[int, bytes]] = []
    for _ in range(_nodes(reader, what)):
        reader.array(f"one of {what}", count_min=2, count_max=2)
        path = _path(reader)
        size_max = TREE_DIGESTS_PER_MESSAGE_MAX * TREE_DIGEST_BYTES
        digests = reader.blob("digests", size_max=size_max)
        if len(digests) % TREE_DIGEST_BYTES:
            raise MalformedFrame(f"digests of {TREE_DIGEST_BYTES} bytes take {len(digests)} bytes")
        found.append((path, digests))
    return tuple(found)


def _path(reader: Reader) -> int:
    return reader.uint("path", least=1, most=(2 << TREE_DEPTH_MAX) - 1)


def _compared(reader: Reader) -> Compared:
    return Compared(reader.uint("count", most=INTEGER_MAX))


def _tips(reader: Reader) -> Tips:
    serial = _serial(reader)
    upto = None if reader.nil() else _position(reader)
    hashes = reader.hashes("tips", count_min=1, count_max=WANTED_PER_FRAME_MAX, ascending=True)
    return Tips(serial, upto, hashes)


def _live(reader: Reader) -> Live:
    count = reader.array("regions", count_max=LIVE_REGIONS_MAX)
    regions = tuple(_region(reader) for _ in range(count))
    if any(former >= latter for former, latter in pairwise(regions)):
        raise MalformedFrame("the regions do not ascend")
    return Live(regions)


def _reach(reader: Reader) -> Reach:
    return Reach(_positions(reader))


def _zoom(reader: Reader) -> Zoom:
    context = _context(reader)
    round_ = reader.uint("round", least=1, most=INTEGER_MAX)
    held = reader.blob("held", size_max=ZOOM_BYTES_MAX)
    return Zoom(context, round_, held, reader.flag("asks"))


def _sample(reader: Reader) -> Sample:
    context = _context(reader)
    ends = reader.hashes("ends", count_max=SAMPLE_ENDS_MAX, ascending=False)
    return Sample(context, ends, reader.hashes("floor", count_max=SAMPLE_FLOOR_MAX, ascending=True))


def _check(reader: Reader) -> Check:
    entries: list[tuple[ContextName, bytes, bytes]] = []
    for _ in range(
        reader.array("entries", count_min=1, count_max=CHECKED_CONTEXTS_MAX, item_bytes=70)
    ):
        reader.array("an entry", count_min=3, count_max=3)
        context = _context(reader)
        fingerprint = reader.blob("fingerprint", size_min=32, size_max=32)
        entries.append((context, fingerprint, reader.blob("digest", size_min=32, size_max=32)))
    return Check(tuple(entries))


def _clock(reader: Reader) -> Clock:
    mark = reader.uint("mark", most=_POSITION_MAX)
    return Clock(mark, None if reader.nil() else _now_ms(reader))


def _now_ms(reader: Reader) -> int:
    return reader.uint("now_ms", most=(1 << 48) - 1)


_READERS: Final = (
    ("hello", 8, _hello),
    ("bye", 3, _bye),
    ("contexts", 2, _contexts),
    ("frontier", 3, _frontier),
    ("records", 5, _records),
    ("ack", 3, _ack),
    ("want", 1, _want),
    ("heartbeat", 0, _heartbeat),
    ("fragment", 4, _fragment),
    ("ticket", 1, _ticket),
    ("issue", 1, _issue),
    ("kept", 0, _kept),
    ("erased", 1, _erased),
    ("resume", 1, _resume),
    ("resumed", 1, _resumed),
    ("cursor", 2, _cursor),
    ("subscribe", 3, _subscribe),
    ("presence", 2, _presence),
    ("tree", 3, _tree),
    ("branches", 4, _branches),
    ("compared", 1, _compared),
    ("tips", 3, _tips),
    ("live", 1, _live),
    ("reach", 1, _reach),
    ("zoom", 4, _zoom),
    ("sample", 3, _sample),
    ("check", 1, _check),
    ("clock", 2, _clock),
)


def _serial(reader: Reader) -> int:
    return reader.uint("serial", least=1)


def _position(reader: Reader) -> Position:
    return Position(reader.uint("position", most=_POSITION_MAX))


def _hash(reader: Reader, what: str) -> RecordHash:
    return RecordHash(reader.blob(what, size_min=32, size_max=32))


def _context(reader: Reader) -> ContextName:
    try:
        return context_name(reader.text("context", bytes_max=CONTEXT_NAME_BYTES_MAX))
    except InvalidName as error:
        raise MalformedFrame(f"a context has no valid name: {error.message}") from None


def _region(reader: Reader) -> str:
    try:
        return region_name(reader.text("region", bytes_max=REGION_NAME_BYTES_MAX))
    except InvalidName as error:
        raise MalformedFrame(f"a region has no valid name: {error.message}") from None


def _texts(reader: Reader, what: str, count_max: int) -> list[str]:
    count = reader.array(what, count_max=count_max)
    return [reader.text(f"one of {what}", bytes_max=CONTEXT_NAME_BYTES_MAX) for _ in range(count)]

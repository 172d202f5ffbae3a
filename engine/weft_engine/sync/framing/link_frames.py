"""Reading what any end of a link may say: frames of the types 0 to 17, in this order.

Reading one raises MalformedFrame, which names what is wrong. Must never know: whether a message
makes sense where it comes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from weft_engine.errors import MalformedFrame
from weft_engine.limits import (
    CLOCK_END_MAX,
    CONTEXTS_PER_FRAME,
    ERASE_PAYLOAD_BYTES_MAX,
    ERASED_PER_FRAME_MAX,
    ERASERS_PER_MESSAGE_MAX,
    FOREIGN_PAYLOAD_BYTES_MAX,
    FRAME_BYTES_MAX,
    FRONTIER_HASHES_MAX,
    INTEGER_MAX,
    MESSAGE_BYTES_MAX,
    PRESENCE_BYTES_MAX,
    PRESENCE_PER_FRAME_MAX,
    REASON_BYTES_MAX,
    RECORDS_PER_MESSAGE_MAX,
    SAMPLE_HASHES_MAX,
    TICKET_BYTES,
    WANTED_PER_FRAME_MAX,
    WINDOW_FRAMES_MAX,
)
from weft_engine.names import ContextName, RecordHash
from weft_engine.records.envelope import ENVELOPE_BYTES_MAX
from weft_engine.records.identity import SignatureItem
from weft_engine.sync.framing.fields import (
    read_context,
    read_interest,
    read_item,
    read_now_ms,
    read_position,
    read_positions,
    read_region,
    read_serial,
)
from weft_engine.sync.framing.messages import (
    Ack,
    Bye,
    Contexts,
    Cursor,
    Erased,
    Fragment,
    Frontier,
    Heartbeat,
    Hello,
    Issue,
    Kept,
    Message,
    PresenceState,
    PresenceTold,
    Records,
    Resume,
    Resumed,
    Subscribe,
    Ticket,
    Want,
    Window,
)
from weft_engine.sync.framing.wire import Reader

_BYE_CODE: Final = re.compile(r"[a-z][a-z_]{0,31}", re.ASCII)


def _hello(reader: Reader) -> Hello:
    format_version = reader.uint("format version")
    store = reader.blob("store", size_min=16, size_max=16)
    epoch = reader.blob("epoch", size_min=8, size_max=8)
    region = None if reader.nil() else read_region(reader)
    now_ms = read_now_ms(reader)
    interest = read_interest(reader, "a hello")
    reader.array("window", count_min=2, count_max=2)
    window = Window(
        reader.uint("window frames", least=1, most=WINDOW_FRAMES_MAX),
        reader.uint("window bytes", least=1, most=MESSAGE_BYTES_MAX),
    )
    return Hello(format_version, store, epoch, region, now_ms, interest, window)


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
        context = read_context(reader)
        entries.append((context, reader.blob("fingerprint", size_min=32, size_max=32)))
    return Contexts(tuple(entries), reader.flag("last"))


def _frontier(reader: Reader) -> Frontier:
    context = read_context(reader)
    frontier = reader.hashes("frontier", count_min=1, count_max=FRONTIER_HASHES_MAX, ascending=True)
    sample = reader.hashes("sample", count_max=SAMPLE_HASHES_MAX, ascending=False)
    return Frontier(context, frontier, sample)


def _records(reader: Reader) -> Records:
    serial = read_serial(reader)
    upto = None if reader.nil() else read_position(reader)
    records: list[tuple[bytes, bytes]] = []
    count = reader.array("records", count_min=1, count_max=RECORDS_PER_MESSAGE_MAX, item_bytes=5)
    for _ in range(count):
        reader.array("a record", count_min=2, count_max=2)
        envelope = reader.blob("envelope", size_max=ENVELOPE_BYTES_MAX)
        records.append((envelope, reader.blob("payload", size_max=FOREIGN_PAYLOAD_BYTES_MAX)))
    items: list[SignatureItem] = []
    # One for each record at most: a signature is sent beside the tip that it signs.
    for _ in range(reader.array("items", count_max=count, item_bytes=135)):
        items.append(read_item(reader))
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


def _ack(reader: Reader) -> Ack:
    first = read_serial(reader)
    last = read_serial(reader)
    if last < first:
        raise MalformedFrame(f"an ack of {first} to {last} goes backwards")
    return Ack(first, last, read_positions(reader))


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
    return Cursor(read_position(reader), reader.blob("row", size_min=8, size_max=8))


def _resume(reader: Reader) -> Resume:
    if reader.nil():
        return Resume(None)
    reader.array("a cursor", count_min=2, count_max=2)
    return Resume(_cursor(reader))


def _resumed(reader: Reader) -> Resumed:
    return Resumed(reader.flag("resumed"))


def _subscribe(reader: Reader) -> Subscribe:
    return Subscribe(reader.uint("round", least=1), read_interest(reader, "a subscribe"))


def _presence(reader: Reader) -> PresenceTold:
    context = read_context(reader)
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


READERS: Final[tuple[tuple[str, int, Callable[[Reader], Message]], ...]] = (
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
)
"""Of each: name, number of fields, what reads them; in the order of their types."""
